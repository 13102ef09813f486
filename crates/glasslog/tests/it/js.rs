//! Two verifiers, one answer: `clients/js`, which shares no code with the crates, judges the files that they judge.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use base64ct::{Base64, Encoding};
use glasslog_conda::Conda1Map;
use glasslog_core::policy::Policy;
use glasslog_vindex::{Answer, JsonField, Key, Lookup, MapFunction, Pinned, VerifiedLookup};
use serde_json::{Value, json};

use crate::{
    support::{Server, home, keep_to, poll, request, run, size_of, write},
    torture::full,
};

/// Mutations of a file that are tried, unless all are asked for.
const SAMPLE: usize = 300;

/// What a verifier knows, and asks.
struct Question<'q> {
    origin: &'q str,
    /// A policy file.
    policy: &'q [u8],
    map_fn: &'q dyn MapFunction,
    key: Key,
    /// Seconds since 1970.
    now: u64,
}

/// The second verifier, or `None`, saying so, where node is absent.
fn second_verifier() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/js/bin/verify.mjs");
    let node = Command::new("node")
        .args(["-e", "process.exit(Number(process.versions.node.split('.')[0]) < 20 ? 1 : 0)"])
        .output();
    if node.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    skip("no node 20 to run clients/js with");
    None
}

/// Says so; with `CI=true` nothing may be skipped.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "may not be skipped: {why}");
    println!("skipped: {why}");
}

/// What the second verifier says of each file.
fn theirs(program: &Path, question: &Question<'_>, files: &[Vec<u8>]) -> Vec<Value> {
    let home = home();
    let mut command = Command::new("node");
    keep_to(&mut command, home.path());
    write(home.path(), "policy", question.policy);
    command.arg(program).args(["proof", "--policy", "policy", "--origin", question.origin]);
    command.args(["--map-fn", question.map_fn.name(), "--key-hash", &question.key.to_string()]);
    command.args(["--now", &question.now.to_string()]);
    for (number, file) in files.iter().enumerate() {
        write(home.path(), &number.to_string(), file);
        command.arg(number.to_string());
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}: {stderr}", output.status);
    let verdicts: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(verdicts.len(), files.len());
    assert_eq!(verdicts.iter().any(is_refused), output.status.code() == Some(1));
    verdicts
}

fn is_refused(verdict: &Value) -> bool {
    verdict["verdict"] == "refused"
}

/// What we say, in the words of the second verifier.
fn ours(question: &Question<'_>, file: &[u8]) -> Value {
    let policy = Policy::parse(question.policy).unwrap();
    let pinned = Pinned { origin: question.origin, policy: &policy, map_fn: question.map_fn };
    let found = Lookup::parse(file).map_err(|error| error.to_string()).and_then(|lookup| {
        lookup.verify(&pinned, &question.key, question.now).map_err(|error| error.to_string())
    });
    match found {
        Err(reason) => json!({ "verdict": "refused", "reason": reason }),
        Ok(found) => told(&found),
    }
}

fn told(found: &VerifiedLookup) -> Value {
    let (verdict, count, last, indices, entries) = match found.answer() {
        Answer::Absent => ("absent", 0, None, Vec::new(), Vec::new()),
        Answer::Present(present) => {
            let leaf = |entry: &[u8]| glasslog_core::hash::leaf_hash(entry).to_string();
            let entries =
                present.entries.iter().map(|(index, entry)| json!({ "index": index.0, "leaf": leaf(entry) }));
            let indices = present.indices.iter().map(|index| index.0).collect();
            ("present", present.count, Some(present.last.0), indices, entries.collect())
        }
    };
    let checkpoint = found.checkpoint();
    json!({
        "verdict": verdict, "key": found.key().to_string(), "count": count, "last": last, "indices": indices, "entries": entries,
        "disavowed": !found.disavowals().is_empty(), "origin": checkpoint.origin(), "size": checkpoint.size().0,
        "root": checkpoint.root().to_string(), "as_of": found.evaluation().as_of,
    })
}

/// That both give one answer about each file; which of them are accepted.
fn both(program: &Path, question: &Question<'_>, files: &[Vec<u8>]) -> Vec<bool> {
    let theirs = theirs(program, question, files);
    let agree = |(file, theirs): (&Vec<u8>, &Value)| {
        let ours = ours(question, file);
        if is_refused(&ours) || is_refused(theirs) {
            assert_eq!(is_refused(&ours), is_refused(theirs), "{ours} {theirs}");
            return false;
        }
        for (name, value) in ours.as_object().unwrap() {
            assert_eq!(&theirs[name], value, "{name} of {theirs}");
        }
        true
    };
    files.iter().zip(&theirs).map(agree).collect()
}

/// That both accept `file`, and refuse it with any one byte changed: every byte in one way, or [`SAMPLE`] of them.
fn both_refuse_mutations(program: &Path, question: &Question<'_>, file: &[u8]) {
    let step = if full() { 1 } else { file.len().div_ceil(SAMPLE) };
    let mutated = |place: usize| {
        let mut mutated = file.to_vec();
        // Never 0, and another for each place.
        mutated[place] ^= u8::try_from(place % 255 + 1).unwrap();
        mutated
    };
    let mut files = vec![file.to_vec()];
    files.extend((0..file.len()).step_by(step).map(mutated));
    let accepted = both(program, question, &files);
    let first = accepted.iter().skip(1).position(|accepted| *accepted);
    assert_eq!((accepted[0], first), (true, None), "which of every {step}th byte");
}

/// The files beside the page that are about `json-field`, each with what is asked: one run for all with one question.
#[test]
fn both_verifiers_say_the_same_of_the_pages_files() {
    let Some(program) = second_verifier() else { return };
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec");
    let mut questions: Vec<(Vec<String>, Vec<Vec<u8>>)> = Vec::new();
    for file in ["vindex-vectors.txt", "vindex-attacks.txt"] {
        let text = std::fs::read_to_string(spec.join(file)).unwrap();
        for block in text.split("\n\n").filter(|block| block.contains("map_fn: json-field:")) {
            let get = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(String::from);
            let asked: Option<Vec<String>> =
                ["origin: ", "policy: ", "map_fn: ", "key: ", "now: "].into_iter().map(get).collect();
            let files = ["sound: ", "lookup: "].into_iter().filter_map(get);
            let files: Vec<Vec<u8>> = files.map(|file| Base64::decode_vec(&file).unwrap()).collect();
            let Some(asked) = asked.filter(|_| !files.is_empty()) else { continue };
            match questions.iter_mut().find(|(known, _)| *known == asked) {
                Some((_, known)) => known.extend(files),
                None => questions.push((asked, files)),
            }
        }
    }
    let (mut accepted, mut refused) = (0, 0);
    for (asked, files) in questions {
        let [origin, policy, map_fn, key, now] = &asked[..] else { panic!("{asked:?}") };
        let question = Question {
            origin,
            policy: &Base64::decode_vec(policy).unwrap(),
            map_fn: &JsonField::parse(map_fn).unwrap(),
            key: Key(const_hex::decode_to_array(key).unwrap()),
            now: now.parse().unwrap(),
        };
        let found = both(&program, &question, &files);
        accepted += found.iter().filter(|accepted| **accepted).count();
        refused += found.iter().filter(|accepted| !**accepted).count();
    }
    assert!(accepted > 70 && refused > 120, "{accepted} accepted, {refused} refused");
}

/// A file with all there is in one: list, tail, given entries and a cosignature.
#[test]
fn both_verifiers_refuse_every_changed_byte_of_a_file() {
    let Some(program) = second_verifier() else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/vindex-vectors.txt");
    let text = std::fs::read_to_string(page).unwrap();
    let wanted = "shows: in the trie and in the tail, with an entry of each\n";
    let block = text.split("\n\n").find(|block| block.starts_with(wanted)).unwrap();
    let get = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let question = Question {
        origin: get("origin: "),
        policy: &Base64::decode_vec(get("policy: ")).unwrap(),
        map_fn: &JsonField::parse(get("map_fn: ")).unwrap(),
        key: Key(const_hex::decode_to_array(get("key: ")).unwrap()),
        now: get("now: ").parse().unwrap(),
    };
    both_refuse_mutations(&program, &question, &Base64::decode_vec(get("lookup: ")).unwrap());
}

/// Lookups as the server gives them to whoever asks for a proof file.
fn fetch(server: &Server, query: &str) -> Vec<u8> {
    let url = format!("{}/vindex/lookup?{query}", server.url);
    let answer = request(&url, "GET", &[("Accept", "text/x.tlog.proof")], b"").unwrap();
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.body
}

/// Logs two packages, the first twice with different licences, and waits until lookups are of all that is public.
fn fill(home: &Path, server: &Server) {
    for license in ["MIT", "BSD"] {
        let record = |name: &str, license: &str, digit: &str| {
            let sha256 = digit.repeat(64);
            format!(
                r#""{name}-1-0.conda":{{"name":"{name}","version":"1","build":"0","build_number":0,"license":"{license}","sha256":"{sha256}","size":1}}"#
            )
        };
        let records = [record("a", license, "a"), record("b", "MIT", "b")].join(",");
        let repodata =
            format!(r#"{{"info":{{"subdir":"noarch"}},"packages":{{}},"packages.conda":{{{records}}}}}"#);
        write(home, "noarch/repodata.json", repodata.as_bytes());
        let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--log-url", &server.url];
        let (code, stdout, stderr) = run(home, &args);
        assert_eq!(code, 0, "{stdout}{stderr}");
    }
    let size = size_of(&server.checkpoint().1);
    poll(|| {
        let answer: Value =
            serde_json::from_slice(&server.get("/vindex/lookup?kind=path&key=x").body).ok()?;
        (answer["tree_size"].as_u64()? >= size).then_some(())
    });
}

/// Files of a real log with an index, by HTTP.
#[test]
fn both_verifiers_say_the_same_of_a_logs_files() {
    let Some(program) = second_verifier() else { return };
    let home = home();
    let home = home.path();
    for (kind, file) in [("log", "log/log.key"), ("witness", "cosigner.key")] {
        assert_eq!(run(home, &["key", "new", "log.example/js", "--type", kind, "--out", file]).0, 0);
    }
    let cosigner = std::fs::read_to_string(home.join("cosigner.key")).unwrap();
    let args = ["--dir", "log", "--entry-schema", "conda-1", "--log-cosigner-key", cosigner.trim()];
    let server = Server::start(home, &args);
    if server.get("/vindex/stats").status == 404 {
        return skip("this server keeps no index");
    }
    fill(home, &server);
    let described: Value = serde_json::from_slice(&server.get("/log.json").body).unwrap();
    let own = described["vkeys"][1].as_str().unwrap();
    let policy = format!("log {}\nwitness own {own}\nquorum none\n", server.vkey);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let question = |kind: &str, name: &str| Question {
        origin: &server.origin,
        policy: policy.as_bytes(),
        map_fn: &Conda1Map,
        key: Conda1Map.key(Some(kind), name).unwrap(),
        now,
    };
    let artifact = format!("sha256:{}", "b".repeat(64));
    for (kind, name, count) in [
        ("path", "conda/mine/noarch/a-1-0.conda", 2),
        ("path", "conda/mine/noarch/b-1-0.conda", 1),
        ("path", "conda/mine/noarch/c-1-0.conda", 0),
        ("path", "", 0),
        ("name", "conda/mine/a", 2),
        ("artifact", &artifact, 1),
    ] {
        let question = question(kind, name);
        let queries = ["", "&entries=64", "&limit=1", "&limit=1&entries=1"];
        let files = queries.map(|more| fetch(&server, &format!("kind={kind}&key={name}{more}")));
        assert_eq!(both(&program, &question, &files), [true; 4], "{kind} {name}");
        let told = ours(&question, &files[1]);
        assert_eq!(told["count"], count, "{kind} {name}");
        assert!(told["as_of"].as_u64().is_some_and(|time| time <= now + 300), "{told}");
        let other = Question { key: Key([7; 32]), ..question };
        assert_eq!(both(&program, &other, &files[..1]), [false], "{kind} {name}: another question");
    }
    let (kind, name) = ("path", "conda/mine/noarch/a-1-0.conda");
    let file = fetch(&server, &format!("kind={kind}&key={name}&entries=64"));
    // With `quorum none` a cosignature that is no known key's any more would be passed over: the log's line alone is left.
    let file = String::from_utf8(file).unwrap();
    let (before, lines) = file.split_once("\n\u{2014} ").unwrap();
    let first = lines.split('\n').next().unwrap();
    let file = format!("{before}\n\u{2014} {first}\n");
    both_refuse_mutations(&program, &question(kind, name), file.as_bytes());
}
