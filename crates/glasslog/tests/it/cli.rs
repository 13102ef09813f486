//! Usage, exit codes, keys and settings.

use assert_cmd::Command;
use aws_lc_rs::digest::{SHA256, digest};
use base64ct::Encoding;

use crate::support::{Server, glasslog, home, run, write};

#[test]
fn usage_errors_are_64() {
    let home = home();
    for args in
        [&["no-such-command"][..], &["serve", "--no-such-flag"], &["ingest", "conda"], &["verify"], &[]]
    {
        assert_eq!(run(home.path(), args).0, 64, "{args:?}");
    }
}

#[test]
fn help_and_version_are_0_and_say_so_on_stdout() {
    let home = home();
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["completions", "bash"]] {
        let (code, stdout, stderr) = run(home.path(), args);
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
        assert!(stdout.contains("glasslog"), "{args:?}");
    }
}

#[test]
fn a_key_is_made_and_shown() {
    let home = home();
    let (code, made, _) = run(home.path(), &["key", "new", "example.org/log"]);
    assert_eq!(code, 0);
    assert!(made.starts_with("example.org/log+"), "{made}");
    let (code, shown, stderr) = run(home.path(), &["key", "show", "log.key"]);
    assert_eq!((code, &shown), (0, &made), "{stderr}");
    let secret = std::fs::read_to_string(home.path().join("log.key")).unwrap();
    assert!(secret.starts_with("PRIVATE+KEY+example.org/log+"), "kept in the field's own form");
    let (code, _, stderr) = run(home.path(), &["key", "new", "example.org/log"]);
    assert_eq!(code, 5, "nothing is overwritten: {stderr}");
    assert_eq!(std::fs::read_to_string(home.path().join("log.key")).unwrap(), secret);
    assert_eq!(run(home.path(), &["key", "new", "no spaces allowed", "--out", "x"]).0, 64);
}

/// Each type of key as the specifications number them, with the key ID that tlog-cosignature computes.
#[test]
fn keys_of_each_type_are_made_and_shown() {
    let home = home();
    for (kind, file, type_byte, signature_type, bytes) in [
        ("log", "log.key", 1, "0x01", 32),
        ("witness", "witness.key", 4, "0x04", 32),
        ("witness-ml-dsa", "witness-ml-dsa.key", 6, "0x06", 1312),
    ] {
        let (code, made, stderr) = run(home.path(), &["key", "new", "example.org/k", "--type", kind]);
        assert_eq!(code, 0, "{stderr}");
        let (name, rest) = made.trim().split_once('+').unwrap();
        let (id, material) = rest.split_once('+').unwrap();
        let material = base64ct::Base64::decode_vec(material).unwrap();
        assert_eq!((name, material[0], material.len()), ("example.org/k", type_byte, 1 + bytes), "{kind}");
        let hashed = digest(&SHA256, &[b"example.org/k\n", &material[..]].concat());
        assert_eq!(id, const_hex::encode(&hashed.as_ref()[..4]), "{kind}");

        let (code, shown, stderr) = run(home.path(), &["key", "show", file]);
        assert_eq!((code, &shown), (0, &made), "{kind}: {stderr}");
        let (_, json, _) = run(home.path(), &["key", "show", file, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json["type"].as_str(), json["vkey"].as_str()), (Some(signature_type), Some(made.trim())));
    }
    std::fs::remove_file(home.path().join("log.key")).unwrap();
    let (code, both, stderr) = run(home.path(), &["key", "show", "--dir", "."]);
    assert_eq!((code, both.lines().count()), (0, 2), "a witness's directory: {stderr}");
    assert_eq!(run(home.path(), &["key", "new", "example.org/k", "--type", "rsa"]).0, 64);
}

#[test]
fn config_check_says_who_said_what() {
    let home = home();
    write(home.path(), "glasslog.toml", b"checkpoint_interval = 2\nentry_schema = \"conda-1\"\n");
    write(home.path(), "token", b"s3cret\n");
    let mut check = Command::from_std(glasslog(home.path()));
    check.args(["config", "check", "--batch-max-size", "7"]).env("API_KEY_FILE", "token").env("DEDUP", "off");
    let output = check.assert().code(0).get_output().clone();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let line = |name: &str| {
        let line = stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {stdout}"))
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("CHECKPOINT_INTERVAL"), "2 (glasslog.toml)");
    assert_eq!(line("ENTRY_SCHEMA"), "conda-1 (glasslog.toml)");
    assert_eq!(line("BATCH_MAX_SIZE"), "7 (--batch-max-size)");
    assert_eq!(line("DEDUP"), "off ($DEDUP)");
    assert_eq!(line("API_KEY"), "(secret) ($API_KEY_FILE)");
    assert_eq!(line("LISTEN_ADDR"), "127.0.0.1:2025 (default)");
    assert!(!stdout.contains("s3cret"), "{stdout}");
    assert!(stdout.contains("writes need one of 1 token(s)"), "{stdout}");
}

/// What `serve` would refuse of witnesses is refused here too, without asking anybody, also of a log that is not made yet.
#[test]
fn config_check_judges_witnesses() {
    let home = home();
    let home = home.path();
    let key = |name: &str| {
        let (_, vkey, _) =
            run(home, &["key", "new", name, "--type", "witness", "--out", &format!("{name}.key")]);
        vkey.trim().to_owned()
    };
    let (a, b) = (key("a.example"), key("b.example"));
    let check = |more: &[&str]| run(home, &[&["config", "check"], more].concat());
    let two = format!("a=http://127.0.0.1:1={a},b=http://127.0.0.1:2/w/={b}");
    let (code, told, stderr) = check(&["--external-witnesses", &two]);
    assert_eq!((code, told.contains("2 witness(es): nothing is published")), (0, true), "{told} {stderr}");
    let (_, told, _) = check(&[]);
    assert!(told.contains("no witnesses") && told.contains("no rate limit"), "{told}");
    assert!(!check(&["--rate-limit-per-second", "5"]).1.contains("no rate limit"));
    write(home, "policy", format!("log {}\nwitness a {a}\nquorum a\n", key_of_a_log(home)).as_bytes());
    let secret = format!("a=http://u:pw@127.0.0.1:1={a}");
    let wrong = two.replace(&b, "b.example+bar+baz");
    for (settings, why) in [
        (&["--external-witnesses", wrong.as_str()][..], "not 8 lower-case hex digits"),
        (&["--external-witnesses", secret.as_str()], "the URL of witness a"),
        (&["--external-witnesses", two.as_str(), "--witness-quorum", "3"], "there are 2"),
        (&["--external-witnesses", two.as_str(), "--witness-quorum", "1"], "ALLOW_DISJOINT_QUORUMS"),
        (&["--policy", "policy"], "give each witness line its URL"),
        (&["--policy", "absent"], "absent"),
    ] {
        let (code, _, stderr) = check(settings);
        assert_eq!((code, stderr.contains(why)), (64, true), "{settings:?}: {stderr}");
        assert_eq!((stderr.lines().count(), stderr.contains("pw@")), (1, false), "{stderr}");
    }
    assert!(!home.join("glasslog-data").exists(), "checking makes nothing");
    write(home, "both.toml", b"[witness]\nwitness_logs = \"a\"\n");
    let (code, _, stderr) = check(&["--config", "both.toml"]);
    assert_eq!((code, stderr.contains("WITNESS_LOGS")), (64, true), "{stderr}");
}

/// With several logs in the settings file, `--dir` says which one a command about one log means.
#[test]
fn one_of_several_logs_is_named_by_its_directory() {
    let home = home();
    let home = home.path();
    let file = "[[log]]\nname = \"a\"\nlog_origin = \"log.example/a\"\ncheckpoint_interval = 864\n\n\
                [[log]]\nname = \"b\"\ndir = \"elsewhere\"\nlog_origin = \"log.example/b\"\n";
    let places = [
        ("glasslog-data/a", "log.example/a"),
        ("elsewhere", "log.example/b"),
        ("served/below/a", "log.example/a"),
    ];
    for (dir, origin) in places {
        Server::start(home, &["--dir", dir, "--log-origin", origin]).stop();
    }
    write(home, "glasslog.toml", file.as_bytes());
    let (code, stanza, stderr) = run(home, &["log-stanza", "--dir", "glasslog-data/a"]);
    assert_eq!((code, stanza.contains("vkey log.example/a+")), (0, true), "{stanza} {stderr}");
    let (code, rotated, stderr) = run(home, &["key", "rotate", "--dir", "./elsewhere/"]);
    assert_eq!((code, rotated.contains("log.example/b+")), (0, true), "{stderr}");
    assert!(home.join("elsewhere/log-old.key").exists());
    // It looks at that log, which needs no recovery.
    let (code, _, stderr) = run(home, &["recover", "glasslog-data/a"]);
    assert_eq!((code, stderr.contains("is not behind")), (5, true), "{stderr}");
    // As `serve --dir served/below` has it.
    let (code, stanza, stderr) = run(home, &["log-stanza", "--dir", "served/below/a"]);
    assert_eq!((code, stanza.contains("vkey log.example/a+")), (0, true), "{stanza} {stderr}");
    for args in [&["log-stanza"][..], &["key", "rotate"], &["recover", "glasslog-data"]] {
        let (code, _, stderr) = run(home, args);
        assert_eq!((code, stderr.contains("glasslog-data/a, elsewhere")), (64, true), "{args:?}: {stderr}");
    }
}

fn key_of_a_log(home: &std::path::Path) -> String {
    let (_, vkey, _) = run(home, &["key", "new", "log.example", "--out", "other.key"]);
    vkey.trim().to_owned()
}

#[test]
fn config_check_explains_a_witness_of_the_same_file() {
    let home = home();
    let (code, stdout, _) = run(home.path(), &["config", "check"]);
    assert_eq!((code, stdout.contains("witness:")), (0, false), "nobody speaks of one");
    let file =
        "[witness]\ndir = \"w\"\nwitness_private_key = \"PRIVATE+KEY+s3cret\"\nrate_limit_per_second = 7\n";
    write(home.path(), "glasslog.toml", file.as_bytes());
    let (code, stdout, stderr) = run(home.path(), &["config", "check"]);
    assert_eq!(code, 0, "{stderr}");
    let told = |name: &str| {
        let line =
            stdout.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_default();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told("witness:RATE_LIMIT_PER_SECOND"), "7 (glasslog.toml)");
    assert_eq!(told("RATE_LIMIT_PER_SECOND"), "100 (default)");
    assert_eq!(told("witness:LISTEN_ADDR"), "127.0.0.1:2026 (default)");
    assert_eq!(told("witness:WITNESS_PRIVATE_KEY"), "(secret) (glasslog.toml)");
    assert_eq!(told("witness:dir"), "w (where it lies)");
    assert!(!stdout.contains("s3cret"), "{stdout}");
    write(home.path(), "glasslog.toml", b"[witness]\nlog_origin = \"x\"\n");
    let (code, _, stderr) = run(home.path(), &["config", "check"]);
    assert_eq!((code, stderr.contains("log_origin is not a setting here")), (64, true), "{stderr}");
}

#[test]
fn settings_of_later_releases_are_refused_not_ignored() {
    let home = home();
    for (name, value) in [("S3_BUCKET", "b"), ("DATABASE_URL", "postgres://u:pw@h/d")] {
        let output = glasslog(home.path()).args(["config", "check"]).env(name, value).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{name}: {stderr}");
        assert!(
            stderr.contains(name) && stderr.contains("yet") && !stderr.contains("pw@"),
            "{name}: {stderr}"
        );
    }
}

/// What the operators' pages list is what there is.
#[test]
fn the_operator_pages_list_every_setting() {
    use glasslog::settings::table::{TABLE, WITNESS_TABLE};
    for (name, page, table) in [
        ("operate.md", include_str!("../../../../docs/operate.md"), TABLE),
        ("witness.md", include_str!("../../../../docs/witness.md"), WITNESS_TABLE),
    ] {
        for setting in table {
            let mentioned = page.contains(&format!("`{}`", setting.name));
            assert!(mentioned, "docs/{name} does not mention {}", setting.name);
        }
    }
}
