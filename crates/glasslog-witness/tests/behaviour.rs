//! What a witness does over HTTP when all is well, and what it refuses. The black-box suite of the specification's checks
//! stands beside this; here is what needs a look inside, or a configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod support;

use std::{num::NonZeroU32, sync::Arc, sync::atomic::Ordering};

use bytes::Bytes;
use glasslog_core::{
    TreeSize,
    note::{Algorithm, Ed25519Signer, Note, SecretKey, Signature},
    policy::Policy,
};
use glasslog_witness::{
    Limits, Rate, WitnessError,
    decide::Held,
    list::ListedLog,
    logs::KnownLog,
    state::{MemoryWitnessState, Record, StateError, Swap, WitnessState},
};
use support::{Double, Log, Mood, NAME, NOW, PretendMlDsa, Setup, Unclosed, Witness, witness_key};

#[tokio::test]
async fn a_log_grows_and_is_shown_as_it_was_cosigned() {
    let log = Log::new("log.example/one");
    let witness = Witness::of(&[&log]).await;
    assert_eq!(witness.get(&log.path()).await.status, 404, "never cosigned");
    for (old, size) in [(0, 1), (1, 1), (1, 5), (5, 8), (8, 8)] {
        let reply = witness.add(&log.request(0, old, size)).await;
        let checkpoint = log.checkpoint(0, size);
        assert_eq!(reply.cosigned_at(&log, &checkpoint), NOW, "{old} to {size}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));

        let shown = witness.get(&log.path()).await;
        assert_eq!(shown.text(), format!("{}{}", log.sign(&checkpoint), reply.text()), "{old} to {size}");
        assert_eq!(shown.header("access-control-allow-origin"), Some("*"));
        assert_eq!(shown.header("cache-control"), Some("no-cache"));
    }
    let etag = witness.get(&log.path()).await.header("etag").unwrap().to_owned();
    let mut client = witness.client().await;
    let request =
        |method: &str, headers: &str| format!("{method} {} HTTP/1.1\r\nHost: w\r\n{headers}\r\n", log.path());
    client.send(request("GET", &format!("If-None-Match: {etag}\r\n")).as_bytes()).await;
    assert_eq!(client.reply().await.status, 304);
    client.send(request("HEAD", "").as_bytes()).await;
    let head = client.try_reply(true).await.unwrap();
    assert_eq!((head.status, head.header("etag")), (200, Some(&*etag)));
    let upper = log.path().to_uppercase().replace("CHECKPOINT", "checkpoint");
    for path in [&*upper, "/abc/checkpoint", "/checkpoint", "//checkpoint", &format!("{}/", log.path())] {
        assert_eq!(witness.get(path).await.status, 404, "{path}");
    }
    witness.stop().await.unwrap();
}

#[tokio::test]
async fn each_verdict_has_its_status_and_is_counted() {
    let (log, unknown) = (Log::new("log.example/one"), Log::new("log.example/unknown"));
    let witness = Witness::of(&[&log]).await;
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 200);
    let impostor = Log {
        origin: log.origin.clone(),
        key: SecretKey::from_seed("x", Algorithm::Ed25519, &[1; 32]).unwrap(),
    };
    for (outcome, status, body) in [
        ("malformed", 400, b"old 5".to_vec()),
        ("unknown_log", 404, unknown.request(0, 0, 5)),
        ("not_signed", 403, impostor.request(0, 5, 6)),
        ("old_above_new", 400, log.request(0, 9, 6)),
        ("conflict", 409, log.request(0, 4, 6)),
        ("inconsistent", 422, log.request(1, 5, 6)),
    ] {
        let reply = witness.add(&body).await;
        assert_eq!(reply.status, status, "{outcome}: {}", reply.text());
        let text = reply.text();
        assert!(
            text.ends_with('\n') && text.lines().count() == 1 && !text.contains("— "),
            "{outcome}: {text:?}"
        );
        assert_eq!(
            witness.metric(&format!("glasslog_witness_requests_total{{outcome=\"{outcome}\"}}")).await,
            1
        );
        if status == 409 {
            assert_eq!((text, reply.header("content-type")), ("5\n", Some("text/x.tlog.size")));
        }
    }
    assert_eq!(witness.metric("glasslog_witness_fork_evidence_total{kind=\"two_roots\"}").await, 0);
    assert_eq!(witness.add(&log.request(1, 5, 5)).await.status, 422);
    assert_eq!(witness.add(&log.request(1, 3, 5)).await.status, 409);
    assert_eq!(witness.metric("glasslog_witness_fork_evidence_total{kind=\"two_roots\"}").await, 2);
    for (method, path, status) in [
        ("GET", "/add-checkpoint", 405),
        ("PUT", "/add-checkpoint", 405),
        ("HEAD", "/add-checkpoint", 405),
        ("POST", "/add-checkpoint/", 404),
        ("POST", "/", 405),
        ("OPTIONS", "/witness.v0.json", 204),
    ] {
        let mut client = witness.client().await;
        client
            .send(format!("{method} {path} HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await;
        assert_eq!(client.try_reply(method == "HEAD").await.unwrap().status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_witness_says_of_itself() {
    let log = Log::new("log.example/one");
    let witness = Witness::of(&[&log]).await;
    let json: serde_json::Value =
        serde_json::from_slice(&witness.get("/witness.v0.json").await.body).unwrap();
    assert_eq!(json["name"], NAME);
    assert_eq!(json["submission_url"], "https://witness.example");
    assert_eq!(json["monitoring_url"], "https://witness.example");
    assert_eq!(json["verifier_keys"][0], witness_key().verifier_key().to_string());
    assert_eq!(json["logs"], 1);
    let page = witness.get("/").await;
    let policy = page.text();
    let policy = policy.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>")).unwrap().0;
    let policy = Policy::parse(format!("{policy}\nquorum w\n").as_bytes()).unwrap();
    assert_eq!(policy.witness_keys()[0], witness_key().verifier_key().clone());
    assert!(policy.is_filled_by(|key| key == witness_key().verifier_key()));
    assert_eq!(witness.get("/health").await.text(), "ok\n");
    let ready: serde_json::Value = serde_json::from_slice(&witness.get("/ready").await.body).unwrap();
    assert_eq!((&ready["ready"], &ready["cosigned"]), (&true.into(), &0.into()));
    assert_eq!(witness.metric("glasslog_witness_logs ").await, 1);
}

#[tokio::test]
async fn time_does_not_go_back_with_the_clock_nor_with_a_restart() {
    let log = Log::new("log.example/one");
    let state: Arc<dyn WitnessState> = Arc::new(MemoryWitnessState::default());
    let kept = Arc::new(Unclosed(state));
    let setup = || Setup { state: kept.clone(), ..Setup::of(&[&log]) };
    let witness = Witness::start(setup()).await;
    let checkpoint = log.checkpoint(0, 5);
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.cosigned_at(&log, &checkpoint), NOW);
    for (now, signed) in [(NOW - 86_400, NOW), (0, NOW), (NOW + 9, NOW + 9), (NOW + 3, NOW + 9)] {
        witness.now.store(now, Ordering::SeqCst);
        assert_eq!(witness.add(&log.request(0, 5, 5)).await.cosigned_at(&log, &checkpoint), signed, "{now}");
    }
    witness.stop().await.unwrap();

    let witness = Witness::start(setup()).await;
    assert_eq!(witness.add(&log.request(0, 5, 5)).await.cosigned_at(&log, &checkpoint), NOW + 9);
    assert_eq!(witness.add(&log.request(1, 5, 5)).await.status, 422, "the root is defended");
    assert_eq!(witness.add(&log.request(1, 0, 7)).await.text(), "5\n");
}

/// The size and the root that are compared must be those of the checkpoint that is shown.
#[tokio::test]
async fn a_record_that_contradicts_itself_is_not_believed() {
    let log = Log::new("log.example/one");
    let note = Bytes::from(log.sign(&log.checkpoint(0, 5)));
    let held = |size, fork| Held { size: TreeSize(size), root: log.checkpoint(fork, 5).root, time: NOW };
    let origin = || log.origin.clone();
    for (record, starts) in [
        (Record { origin: origin(), held: held(5, 0), note: note.clone() }, true),
        (Record { origin: origin(), held: held(4, 0), note: note.clone() }, false),
        (Record { origin: origin(), held: held(5, 1), note: note.clone() }, false),
        (Record { origin: "log.example/two".into(), held: held(5, 0), note: note.clone() }, false),
        (Record { origin: origin(), held: held(5, 0), note: Bytes::from("cut off") }, false),
    ] {
        let told = format!("{record:?}");
        let state = MemoryWitnessState::default();
        state.swap(&[Swap { expected: None, next: record }]).unwrap();
        let witness = Witness::start(Setup { state: Arc::new(state), ..Setup::of(&[&log]) }).await;
        if starts {
            assert_eq!(witness.add(&log.request(0, 5, 6)).await.status, 200, "{told}");
            witness.stop().await.unwrap();
        } else {
            let ended = witness.ended().await;
            assert!(
                matches!(ended, Err(WitnessError::State(StateError::Corrupt { .. }))),
                "{told}: {ended:?}"
            );
        }
    }
}

/// Anybody can send a public checkpoint again: within a second it costs neither a commit nor the log's budget.
#[tokio::test]
async fn a_refresh_within_the_second_is_the_same_cosignature() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Well);
    let limited = KnownLog { qpd: NonZeroU32::new(2), ..log.known() };
    let setup = Setup { logs: vec![limited], state: state.clone(), ..Setup::of(&[]) };
    let witness = Witness::start(setup).await;
    let first = witness.add(&log.request(0, 0, 5)).await;
    for _ in 0..10 {
        assert_eq!(witness.add(&log.request(0, 5, 5)).await.text(), first.text());
    }
    assert_eq!(state.batches.borrow().len(), 1);
    witness.now.store(NOW + 1, Ordering::SeqCst);
    let next = witness.add(&log.request(0, 5, 5)).await;
    assert_eq!(next.cosigned_at(&log, &log.checkpoint(0, 5)), NOW + 1);
    assert_eq!(state.batches.borrow().len(), 2);
    let mut other = log.checkpoint(0, 5);
    other.extensions.push("another text".into());
    let reply = witness.add(&log.request_with(5, Vec::new(), &other)).await;
    assert_eq!(reply.cosigned_at(&log, &other), NOW + 1, "another text is cosigned anew");
}

/// Also of a text that one of the keys does not cover.
#[tokio::test]
async fn a_refresh_of_extension_lines_costs_no_more() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Well);
    let signers: Vec<Arc<dyn glasslog_core::note::Signer>> =
        vec![Arc::new(Ed25519Signer::new(&witness_key())), Arc::new(PretendMlDsa::new())];
    let witness = Witness::start(Setup { signers, state: state.clone(), ..Setup::of(&[&log]) }).await;
    let mut checkpoint = log.checkpoint(0, 5);
    checkpoint.extensions.push("more".into());
    for old in [0, 5, 5, 5] {
        let reply = witness.add(&log.request_with(old, Vec::new(), &checkpoint)).await;
        assert_eq!(reply.cosigned_at(&log, &checkpoint), NOW);
    }
    assert_eq!(state.batches.borrow().len(), 1);
}

#[tokio::test]
async fn a_log_above_its_budget_waits_and_the_others_do_not() {
    let (tight, free) = (Log::new("log.example/tight"), Log::new("log.example/free"));
    let limited = KnownLog { qpd: NonZeroU32::new(2), ..tight.known() };
    let witness = Witness::start(Setup { logs: vec![limited, free.known()], ..Setup::of(&[]) }).await;
    for size in 1..=2 {
        assert_eq!(witness.add(&tight.request(0, size - 1, size)).await.status, 200);
    }
    let reply = witness.add(&tight.request(0, 2, 3)).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((43_000..=43_200).contains(&wait), "{wait} s of half a day");
    assert_eq!(
        witness.add(&tight.request(0, 1, 3)).await.status,
        409,
        "what is not cosigned costs no budget"
    );
    for second in 1..=2 {
        witness.now.store(NOW + second, Ordering::SeqCst);
        let status = witness.add(&tight.request(0, 2, 2)).await.status;
        assert_eq!(status, 200, "refreshes have a budget of their own");
    }
    // Anybody can use those up. A 429 would let the log wait with its next checkpoint too.
    witness.now.store(NOW + 3, Ordering::SeqCst);
    let held = witness.add(&tight.request(0, 2, 2)).await;
    assert_eq!(held.cosigned_at(&tight, &tight.checkpoint(0, 2)), NOW + 2, "the last one that was made");
    let mut other = tight.checkpoint(0, 2);
    other.extensions.push("another text".into());
    assert_eq!(witness.add(&tight.request_with(2, Vec::new(), &other)).await.status, 429);
    for size in 1..=5 {
        assert_eq!(witness.add(&free.request(0, size - 1, size)).await.status, 200);
    }
    witness.logs.configure(vec![tight.known(), free.known()]).unwrap();
    assert_eq!(witness.add(&tight.request(0, 2, 3)).await.status, 200, "the operator gave it more");
}

#[tokio::test]
async fn the_whole_witness_and_each_client_can_be_limited() {
    let log = Log::new("log.example/one");
    let limits = Limits { global_rate: Rate::new(1, 2), ..Limits::default() };
    let witness = Witness::start(Setup { limits, ..Setup::of(&[&log]) }).await;
    let statuses = [(0, 1), (1, 2), (2, 3), (0, 3)].map(|(old, size)| log.request(0, old, size));
    let mut found = Vec::new();
    for body in statuses {
        found.push(witness.add(&body).await.status);
    }
    assert_eq!(found, [200, 200, 429, 409], "only what would be cosigned counts");

    let other = Log::new("log.example/other");
    let limits = Limits { global_rate: Rate::new(1, 2), ..Limits::default() };
    let witness = Witness::start(Setup { limits, ..Setup::of(&[&log, &other]) }).await;
    assert_eq!(witness.add(&log.request(0, 0, 1)).await.status, 200);
    for second in 1..=9 {
        witness.now.store(NOW + second, Ordering::SeqCst);
        assert_eq!(witness.add(&log.request(0, 1, 1)).await.status, 200);
    }
    assert_eq!(
        witness.add(&other.request(0, 0, 1)).await.status,
        200,
        "strangers cannot use up what logs need"
    );

    let limits = Limits { client_rate: Rate::new(1, 2), ..Limits::default() };
    let witness = Witness::start(Setup { limits, ..Setup::of(&[&log]) }).await;
    for status in [400, 400, 429] {
        assert_eq!(witness.add(b"junk").await.status, status);
    }
}

#[tokio::test]
async fn the_logs_can_be_changed_while_it_runs() {
    let (one, two) = (Log::new("log.example/one"), Log::new("log.example/two"));
    let witness = Witness::of(&[&one]).await;
    assert_eq!(witness.add(&two.request(0, 0, 1)).await.status, 404);
    let listed = ListedLog { keys: two.known().keys, qpd: NonZeroU32::new(100).unwrap(), contact: None };
    assert_eq!(witness.logs.merge_list("a list", vec![listed]).added, 1);
    assert_eq!(witness.add(&two.request(0, 0, 1)).await.status, 200);

    witness.logs.configure(vec![KnownLog { disabled: true, ..two.known() }]).unwrap();
    let reply = witness.add(&two.request(0, 1, 2)).await;
    assert_eq!((reply.status, reply.text().contains("refused")), (403, true), "{}", reply.text());
    assert_eq!(witness.get(&two.path()).await.status, 200, "what was cosigned is shown all the same");
    assert_eq!(witness.add(&one.request(0, 0, 1)).await.status, 404, "the operator took it out");

    witness.logs.configure(Vec::new()).unwrap();
    let reply = witness.add(&two.request(0, 1, 2)).await;
    assert_eq!(reply.status, 403, "it was cosigned, so 404 would clear it: {}", reply.text());
    assert_eq!(witness.get(&two.path()).await.status, 200);
}

#[tokio::test]
async fn extension_lines_are_cosigned_by_keys_that_cover_them() {
    let log = Log::new("log.example/one");
    let both: Vec<Arc<dyn glasslog_core::note::Signer>> =
        vec![Arc::new(Ed25519Signer::new(&witness_key())), Arc::new(PretendMlDsa::new())];
    let witness = Witness::start(Setup { signers: both, ..Setup::of(&[&log]) }).await;
    let plain = witness.add(&log.request(0, 0, 5)).await;
    assert_eq!(Signature::parse_lines(&plain.body).unwrap().len(), 2);
    let mut extended = log.checkpoint(0, 6);
    extended.extensions.push("an extension".into());
    let proof = log.request(0, 5, 6);
    let proof = glasslog_core::witness::AddCheckpoint::parse(&proof).unwrap().proof.0;
    let reply = witness.add(&log.request_with(5, proof, &extended)).await;
    assert_eq!(reply.cosigned_at(&log, &extended), NOW);
    assert_eq!(Signature::parse_lines(&reply.body).unwrap().len(), 1, "only the Ed25519 line");

    let only: Vec<Arc<dyn glasslog_core::note::Signer>> = vec![Arc::new(PretendMlDsa::new())];
    let witness = Witness::start(Setup { signers: only, ..Setup::of(&[&log]) }).await;
    let reply = witness.add(&log.request_with(0, Vec::new(), &extended)).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(witness.get(&log.path()).await.status, 404);
}

/// A line under the witness's own name and key ID beside the log's good one is nobody's, and is not shown.
#[tokio::test]
async fn a_forged_line_of_its_own_does_not_last() {
    let log = Log::new("log.example/one");
    let witness = Witness::of(&[&log]).await;
    let forged = SecretKey::from_seed(NAME, Algorithm::CosignatureV1, &[7; 32]).unwrap();
    let forged = glasslog_core::cosignature::cosign("other text\n", 5, &Ed25519Signer::new(&forged)).unwrap();
    let body = [log.request(0, 0, 5), format!("{forged}\n").into_bytes()].concat();
    assert_eq!(witness.add(&body).await.cosigned_at(&log, &log.checkpoint(0, 5)), NOW);
    assert_eq!(witness.add(&log.request(0, 5, 6)).await.status, 200);
    let shown = witness.get(&log.path()).await;
    assert!(!shown.text().contains(&forged.to_string()));
    let keys = [log.key.verifier_key().clone(), witness_key().verifier_key().clone()];
    assert_eq!(Note::parse(&shown.body).unwrap().verify(&keys).unwrap().signatures().len(), 2);
}

#[tokio::test]
async fn long_bodies_are_read_and_longer_ones_refused() {
    let log = Log::new("log.example/one");
    let witness = Witness::of(&[&log]).await;
    // 25 unknown signatures of 5,000 bytes: some 170 KB.
    let line = format!("— stranger.example {}\n", base64(&[9; 5000]));
    let body = [log.request(0, 0, 5), line.repeat(25).into_bytes()].concat();
    assert!(body.len() > 160 << 10, "{}", body.len());
    assert_eq!(witness.add(&body).await.cosigned_at(&log, &log.checkpoint(0, 5)), NOW);
    for length in [600_u64 << 10, 1 << 40] {
        let mut client = witness.client().await;
        client
            .send(
                format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {length}\r\n\r\nold 5")
                    .as_bytes(),
            )
            .await;
        assert_eq!(client.reply().await.status, 413, "{length}");
    }
    let mut client = witness.client().await;
    client.send(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..9 {
        client.send(&chunk).await;
    }
    assert_eq!(client.reply().await.status, 413, "chunked, without end");
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}

#[tokio::test]
async fn keys_that_make_no_witness() {
    let start = |keys: Vec<SecretKey>| async move {
        let signers =
            keys.iter().map(|key| Arc::new(Ed25519Signer::new(key)) as Arc<dyn glasslog_core::note::Signer>);
        Witness::start(Setup { signers: signers.collect(), ..Setup::of(&[]) })
            .await
            .ended()
            .await
            .unwrap_err()
    };
    assert!(matches!(start(Vec::new()).await, WitnessError::NoSigner));
    let plain = witness_key().rename(NAME, Algorithm::Ed25519).unwrap();
    assert!(matches!(start(vec![plain]).await, WitnessError::NotACosigner { .. }));
    let renamed = witness_key().rename("witness.example/w2", Algorithm::CosignatureV1).unwrap();
    assert!(matches!(start(vec![witness_key(), renamed]).await, WitnessError::SharedKey { .. }));
}
