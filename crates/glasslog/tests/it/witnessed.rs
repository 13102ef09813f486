//! A log, its witnesses and its verifiers, each the real binary.

use std::path::Path;

use serde_json::Value;

use crate::support::{Server, home, poll, run, write};

/// A log with two witnesses that know it, each with a name for settings.
struct Witnessed {
    log: Server,
    witnesses: [Server; 2],
    external: String,
}

impl Witnessed {
    fn start(home: &Path, args: &[&str]) -> Witnessed {
        let log = Server::start(home, args);
        let flag = format!("{}={}", log.origin, log.vkey);
        let witness = |dir| Server::witness(home, &["--dir", dir, "--log", &flag]);
        let witnesses = [witness("w1"), witness("w2")];
        log.stop();
        let [one, two] = &witnesses;
        let of = |name: &str, witness: &Server| {
            let keys = std::iter::once(&witness.vkey).chain(&witness.more_vkeys);
            keys.map(|vkey| format!("{name}={}={vkey}", witness.url)).collect::<Vec<_>>().join(",")
        };
        let external = format!("{},{}", of("one", one), of("two", two));
        let log = Witnessed::again(home, &external, args);
        Witnessed { log, witnesses, external }
    }

    fn again(home: &Path, external: &str, args: &[&str]) -> Server {
        let log = Server::start(
            home,
            &[args, &["--external-witnesses", external, "--witness-timeout", "1"]].concat(),
        );
        // Until a quorum has confirmed the last checkpoint, adds are pushed back.
        poll(|| (log.get("/ready").status == 200).then_some(()));
        log
    }
}

fn online(home: &Path, external: &str) -> (i32, Value, String) {
    let args =
        ["config", "check", "--online", "--json", "--witness-timeout", "2", "--external-witnesses", external];
    let (code, stdout, stderr) = run(home, &args);
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

#[test]
fn config_check_asks_each_witness_what_it_holds() {
    let home = home();
    let home = home.path();
    let Witnessed { log, witnesses: [one, two], external } = Witnessed::start(home, &[]);
    for entry in [b"a", b"b", b"c"] {
        log.add(entry);
    }
    log.wait_for_size(3);
    let (code, report, stderr) = poll(|| {
        let (code, report, stderr) = online(home, &external);
        let sizes = [0, 1].map(|n| report["logs"][0]["witnesses"][n]["size"].as_u64());
        (sizes == [Some(3), Some(3)]).then_some((code, report, stderr))
    });
    let log_report = &report["logs"][0];
    assert_eq!(
        (code, &log_report["quorum"], &log_report["public"]),
        (0, &true.into(), &3.into()),
        "{stderr}"
    );
    assert_eq!(log_report["witnesses"][0]["keys"].as_array().unwrap().len(), 2, "0x04 and 0x06");
    assert!(
        log_report["witnesses"][0]["latency_ms"].is_u64() && log_report["witnesses"][0]["cosigned"].is_u64()
    );
    let (code, told, _) = run(home, &["config", "check", "--online", "--external-witnesses", &external]);
    assert_eq!((code, told.matches("holds  size 3").count()), (0, 2), "{told}");
    assert!(told.contains("fill the quorum"), "{told}");

    // Another key than the pinned one; one that is down.
    let (_, other, _) = run(home, &["key", "new", &two.origin, "--type", "witness", "--out", "other.key"]);
    let first = external.split(",two=").next().unwrap();
    let wrong = format!("{first},two={}={}", two.url, other.trim());
    let (code, report, _) = online(home, &wrong);
    let problem = report["logs"][0]["witnesses"][1]["problem"].as_str().unwrap().to_owned();
    assert_eq!((code, problem.contains("compare the key")), (4, true), "a majority of two is two: {problem}");
    one.kill();
    let (code, report, _) = online(home, &external);
    let problem = report["logs"][0]["witnesses"][0]["problem"].as_str().unwrap();
    assert_eq!((code, problem.contains("cannot be reached")), (4, true), "{problem}");
    assert_eq!(report["logs"][0]["witnesses"][1]["size"], 3);

    // Nothing to ask, and nobody to ask about.
    let (code, told, _) = run(home, &["config", "check", "--online"]);
    assert_eq!((code, told.contains("no witness")), (0, true), "{told}");
    let (code, _, stderr) =
        run(home, &["config", "check", "--online", "--dir", "new", "--external-witnesses", &external]);
    assert_eq!((code, stderr.contains("start it once")), (64, true), "{stderr}");
    assert!(!home.join("new").exists(), "looking makes nothing");
}

/// What `verify` and `fsck` say of a log that real witnesses cosign, by both of their keys.
#[test]
fn verifiers_count_what_witnesses_cosigned() {
    let home = home();
    let home = home.path();
    let conda = ["--entry-schema", "conda-1", "--vindex-enabled", "false"];
    let Witnessed { log, witnesses: [one, two], external } = Witnessed::start(home, &conda);
    let repodata = r#"{"packages.conda":{"a-1-0.conda":{"name":"a","version":"1","build":"0","build_number":0,"sha256":"aa00000000000000000000000000000000000000000000000000000000000000","size":1}}}"#;
    write(home, "noarch/repodata.json", repodata.as_bytes());
    let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--log-url", &log.url];
    assert_eq!(run(home, &args).0, 0);
    log.wait_for_size(1);
    let policy = |one: &str, two: &str| {
        format!(
            "log {}\nwitness one {one}\nwitness two {two}\ngroup both all one two\nquorum both\n",
            log.vkey
        )
    };
    let verify = |policy: &str| {
        write(home, "policy", policy.as_bytes());
        let args =
            ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda", "--json"];
        let more = ["--repodata", "noarch/repodata.json", "--log-url", &log.url, "--policy", "policy"];
        let (code, stdout, stderr) = run(home, &[&args[..], &more].concat());
        (code, serde_json::from_str::<Value>(&stdout).unwrap_or_default(), stderr)
    };
    let by_both = policy(&one.vkey, &two.vkey);
    for text in [&by_both, &policy(&one.more_vkeys[0], &two.more_vkeys[0])] {
        let (code, report, stderr) = poll(|| Some(verify(text)).filter(|(code, ..)| *code == 0));
        assert_eq!((code, &report["freshness"]), (0, &"fresh".into()), "{stderr}");
        assert_eq!(report["witnesses"], serde_json::json!(["one", "two"]), "{report}");
    }
    assert_eq!(run(home, &["fsck", &log.url, "--policy", "policy"]).0, 0);
    let json: Value = serde_json::from_slice(&log.get("/log.json").body).unwrap();
    let (code, _, stderr) = verify(json["policy"].as_str().unwrap());
    assert_eq!(code, 0, "the policy that the log says it has, two keys each: {stderr}");
    let (_, stranger, _) = run(home, &["key", "new", "w.example", "--type", "witness", "--out", "w.key"]);
    assert_eq!(verify(&policy(&one.vkey, stranger.trim())).0, 4, "one that never cosigned");

    // With one witness gone the quorum of two is not there: what was public stays so, and nothing follows it.
    two.kill();
    assert_eq!(verify(&by_both).0, 0);
    let entry = r#"{"artifact":{},"eco":"conda","meta":{"name":"zz"},"path":"noarch/zz-1-0.conda","profile":"conda-repodata-1","repo":"mine","type":"record","v":1}"#;
    log.add(entry.as_bytes());
    poll(|| log.get("/ready").text().contains("\"quorum\":false").then_some(()));
    assert_eq!(log.checkpoint().0, 1);
    drop((one, external));
}

/// A planned change of the log's key: witnesses that know the old key go on cosigning, and take the new one when told.
#[test]
fn a_change_of_key_keeps_its_witnesses() {
    let home = home();
    let home = home.path();
    let Witnessed { log, witnesses: [one, two], external } = Witnessed::start(home, &[]);
    log.add(b"under the old key");
    log.wait_for_size(1);
    let old = log.vkey.clone();
    assert_eq!(run(home, &["key", "rotate"]).0, 0);
    log.stop();
    let log = Witnessed::again(home, &external, &[]);
    let new = log.vkey.clone();
    assert_ne!(new, old);
    log.add(b"under both");
    let note = log.wait_for_size(2);
    assert!(note.matches("\n— ").count() >= 4, "two keys of the log, and cosignatures: {note}");

    // Each witness is told of the new key beside the old one, and restarted.
    let flags = [format!("{}={old}", log.origin), format!("{}={new}", log.origin)];
    let again = |witness: Server, dir| {
        let listen = witness.url.strip_prefix("http://").unwrap().to_owned();
        witness.stop();
        Server::witness(home, &["--dir", dir, "--listen", &listen, "--log", &flags[0], "--log", &flags[1]])
    };
    let (_one, _two) = (again(one, "w1"), again(two, "w2"));
    let (code, _, stderr) = run(home, &["key", "rotate", "--finish"]);
    assert_eq!(code, 0, "{stderr}");
    log.stop();
    let log = Witnessed::again(home, &external, &[]);
    log.add(b"under the new key");
    let note = log.wait_for_size(3);
    assert_eq!(note.matches(&format!("\n— {} ", log.origin)).count(), 1, "{note}");
    log.stop();
}
