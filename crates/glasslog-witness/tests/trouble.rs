//! Races, clients that leave, disks that are full or fail, and a witness that is asked to stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod support;

use std::{
    num::NonZeroU32,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use glasslog_core::TreeSize;
use glasslog_witness::{
    Limits, Rate, WitnessError,
    logs::KnownLog,
    state::{MemoryWitnessState, SqliteOptions, SqliteWitnessState, StateError, WitnessState},
};
use support::{Double, Log, Mood, NOW, Reply, Setup, Witness, rounds};

fn sqlite(dir: &Path) -> Arc<dyn WitnessState> {
    Arc::new(SqliteWitnessState::open(&dir.join("state.db"), SqliteOptions::default()).unwrap())
}

/// Two histories of one size, at once: one of them is cosigned, and the other gets 409, then 422.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_roots_at_one_size_one_is_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::start(Setup { state: sqlite(dir.path()), ..Setup::of(&[]) }).await;
    let (mut one, mut two) = (witness.client().await, witness.client().await);
    for round in 0..rounds(20, 1000) {
        // A log of its own for each round, so that both histories are possible.
        let log = Log::new(&format!("log.example/{round}"));
        witness.logs.configure(vec![log.known()]).unwrap();
        let (first, second) = (log.request(1, 0, 3), log.request(2, 0, 3));
        let (first, second) = tokio::join!(one.add(&first), two.add(&second));
        let (winner, loser) = if first.status == 200 { (1, second) } else { (2, first) };
        assert_eq!((loser.status, loser.text()), (409, "3\n"), "round {round}");
        let late = one.add(&log.request(3 - winner, 3, 3)).await;
        assert_eq!(late.status, 422, "round {round}");
        let refreshed = two.add(&log.request(winner, 3, 3)).await;
        assert_eq!(refreshed.cosigned_at(&log, &log.checkpoint(winner, 3)), NOW, "round {round}");
    }
    witness.stop().await.unwrap();
}

/// Clients that promise long bodies and send a byte of them keep no place from others, chunked or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promised_bodies_are_in_nobodys_way() {
    let log = Log::new("log.example/promised");
    let witness = Witness::of(&[&log]).await;
    let mut promising = Vec::new();
    for n in 0..80 {
        let mut client = witness.client().await;
        let length = if n % 2 == 0 { "Transfer-Encoding: chunked" } else { "Content-Length: 400000" };
        let head = format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n{length}\r\n\r\n");
        client.send(head.as_bytes()).await;
        client.send(if n % 2 == 0 { b"1\r\no\r\n" } else { b"o" }).await;
        promising.push(client);
    }
    let body = log.request(1, 0, 3);
    let mut chunked =
        b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut client = witness.client().await;
    client.send(&chunked).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    drop(promising);
    witness.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_equal_requests_one_grows_and_all_may_refresh() {
    let log = Log::new("log.example/one");
    let witness = Arc::new(Witness::of(&[&log]).await);
    let at_once = |body: Vec<u8>| {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (witness, body) = (witness.clone(), body.clone());
                tokio::spawn(async move { witness.add(&body).await.status })
            })
            .collect();
        async move {
            let mut statuses = Vec::new();
            for task in tasks {
                statuses.push(task.await.unwrap());
            }
            statuses.sort_unstable();
            statuses
        }
    };
    let grown = at_once(log.request(0, 0, 5)).await;
    assert_eq!((grown[0], &grown[1..]), (200, &[409; 49][..]));
    assert_eq!(at_once(log.request(0, 5, 5)).await, [200; 50]);
}

/// Anybody can send what a log has published, many times at once: only what is cosigned is taken from its budget.
#[tokio::test]
async fn of_many_equal_requests_one_counts() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Slow);
    let limited = KnownLog { qpd: NonZeroU32::new(3), ..log.known() };
    let setup = Setup { logs: vec![limited], state: state.clone(), ..Setup::of(&[]) };
    let witness = Witness::start(setup).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = witness.client().await;
        client.send_add(&log.request(0, 0, 5)).await;
        clients.push(client);
    }
    state.called(1).await;
    // Whoever has been answered by now was answered too early.
    assert_eq!(witness.get("/health").await.status, 200);
    state.feel(Mood::Well);
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.push(client.reply().await.status);
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[409; 19][..]));
    for size in 6..=7 {
        assert_eq!(witness.add(&log.request(0, size - 1, size)).await.status, 200, "{size}");
    }
    assert_eq!(witness.add(&log.request(0, 7, 8)).await.status, 429);
}

/// The same of refreshes: those that waited for each other are one commit.
#[tokio::test]
async fn of_many_refreshes_that_wait_one_is_committed() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Well);
    let limited = KnownLog { qpd: NonZeroU32::new(1), ..log.known() };
    let setup = Setup { logs: vec![limited], state: state.clone(), ..Setup::of(&[]) };
    let witness = Witness::start(setup).await;
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 200);
    witness.now.store(NOW + 1, Ordering::SeqCst);
    state.feel(Mood::Slow);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = witness.client().await;
        client.send_add(&log.request(0, 5, 5)).await;
        clients.push(client);
    }
    state.called(2).await;
    assert_eq!(witness.get("/health").await.status, 200);
    state.feel(Mood::Well);
    for client in &mut clients {
        assert_eq!(client.reply().await.cosigned_at(&log, &log.checkpoint(0, 5)), NOW + 1);
    }
    assert_eq!(state.batches.borrow().len(), 2);
}

/// While the state takes no changes, a log's attempts cost nothing of what it needs afterwards; nor do those that the
/// limit of the whole witness refuses.
#[tokio::test]
async fn what_is_not_cosigned_after_all_is_given_back() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Full);
    let limited = || vec![KnownLog { qpd: NonZeroU32::new(1), ..log.known() }];
    let setup = Setup { logs: limited(), state: state.clone(), ..Setup::of(&[]) };
    let witness = Witness::start(setup).await;
    for _ in 0..3 {
        assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 503);
    }
    state.feel(Mood::Well);
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 200);
    assert_eq!(witness.add(&log.request(0, 5, 6)).await.status, 429);

    let other = Log::new("log.example/other");
    let limits = Limits { global_rate: Rate::new(10, 1), ..Limits::default() };
    let logs = limited().into_iter().chain([other.known()]).collect();
    let witness = Witness::start(Setup { logs, limits, ..Setup::of(&[]) }).await;
    assert_eq!(witness.add(&other.request(0, 0, 1)).await.status, 200);
    let status = loop {
        let reply = witness.add(&log.request(0, 0, 5)).await;
        match reply.status {
            429 => {
                let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
                assert!(wait <= 1, "{wait} s: the log's budget was taken");
            }
            status => break status,
        }
    };
    assert_eq!(status, 200);
}

/// Waiting for room is waiting for an answer.
#[tokio::test]
async fn whoever_waits_for_room_is_told_in_time() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Slow);
    let limits = Limits { in_flight: 1, answer_timeout: Duration::from_millis(20), ..Limits::default() };
    let witness = Witness::start(Setup { state: state.clone(), limits, ..Setup::of(&[&log]) }).await;
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 503, "the disk is slow");
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 503, "and the only place is taken");
    state.feel(Mood::Well);
    witness.stop().await.unwrap();
}

/// Two processes on one state: whoever loses the swap learns what was held, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_witnesses_on_one_state_never_cosign_two_histories() {
    let log = Log::new("log.example/one");
    let state: Arc<dyn WitnessState> = Arc::new(MemoryWitnessState::default());
    let setup = || Setup { state: state.clone(), ..Setup::of(&[&log]) };
    let (one, two) = (Witness::start(setup()).await, Witness::start(setup()).await);
    assert_eq!(one.add(&log.request(0, 0, 2)).await.status, 200);
    // Both knew of nothing when they started; now the second is asked on the strength of that.
    assert_eq!(two.add(&log.request(1, 0, 3)).await.text(), "2\n");
    let mut fork = None;
    for size in 3..23 {
        let (left, right) = (log.request(1, size - 1, size), log.request(2, size - 1, size));
        let (left, right) = tokio::join!(one.add(&left), two.add(&right));
        let cosigned: Vec<u8> = [(1, left), (2, right)]
            .into_iter()
            .filter(|(_, reply)| reply.status == 200)
            .map(|(fork, _)| fork)
            .collect();
        // The histories part at the third entry; from then on only one of them goes on. Its witness may have to learn
        // from the state that the other one was faster, so a round may pass without a cosignature of either.
        let held = state.load(&log.origin).unwrap().unwrap().held;
        assert!(
            cosigned.len() <= 1
                && cosigned.first().is_none_or(|cosigned| *cosigned == *fork.get_or_insert(*cosigned))
        );
        assert_eq!(held.root, log.checkpoint(fork.unwrap(), held.size.0).root, "{held:?}");
        assert_eq!(held.size, TreeSize(size));
    }
    // A client that follows the sizes it is told arrives, wherever it asks.
    for witness in [&one, &two] {
        let (mut old, mut asked) = (22, 0);
        while let Some(held) = conflict(&witness.add(&log.request(fork.unwrap(), old, 22)).await) {
            (old, asked) = (held, asked + 1);
            assert!(asked < 4, "told {held} again and again");
        }
    }
}

/// The size that a 409 names; `None` for 200.
fn conflict(reply: &Reply) -> Option<u64> {
    assert!(matches!(reply.status, 200 | 409), "{}", reply.text());
    (reply.status == 409).then(|| reply.text().trim_end().parse().unwrap())
}

/// Who is not ready may get no requests to find out with that it is.
#[tokio::test]
async fn a_witness_that_is_not_ready_finds_out_by_itself_when_it_is() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Full);
    let limits = Limits { sweep_period: Duration::from_millis(5), ..Limits::default() };
    let witness = Witness::start(Setup { state: state.clone(), limits, ..Setup::of(&[&log]) }).await;
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 503);
    let refused = state.batches.borrow().len();
    state.called(refused + 2).await;
    assert_eq!(witness.get("/ready").await.status, 503, "it asked, and is still refused");
    state.feel(Mood::Well);
    while witness.get("/ready").await.status != 200 {}
    assert_eq!(witness.get(&log.path()).await.status, 404, "asking changes nothing");
    witness.stop().await.unwrap();
}

/// The client is gone before the commit: the decision stands all the same, and holds nothing up.
#[tokio::test]
async fn a_client_that_leaves_stops_nothing() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Slow);
    let witness = Witness::start(Setup { state: state.clone(), ..Setup::of(&[&log]) }).await;
    let mut leaving = witness.client().await;
    leaving.send_add(&log.request(0, 0, 5)).await;
    state.called(1).await;
    drop(leaving);
    let mut next = witness.client().await;
    next.send_add(&log.request(1, 0, 5)).await;
    state.feel(Mood::Well);
    let reply = next.reply().await;
    assert_eq!((reply.status, reply.text()), (409, "5\n"));
    let refreshed = witness.add(&log.request(0, 5, 5)).await;
    assert_eq!(refreshed.cosigned_at(&log, &log.checkpoint(0, 5)), NOW);
    witness.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_at_any_moment_lose_nothing() {
    let log = Log::new("log.example/one");
    let witness = Witness::of(&[&log]).await;
    let mut size = 0;
    for round in 0..rounds(30, 1000) {
        let mut client = witness.client().await;
        client.send_add(&log.request(0, size, size + 1)).await;
        // Given up before, while or after it is decided.
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        drop(client);
        let held = witness.add(&log.request(0, size, size + 1)).await;
        assert!(matches!(held.status, 200 | 409), "{}", held.text());
        size += 1;
        assert_eq!(witness.add(&log.request(0, size, size)).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_committed_together() {
    let logs: Vec<Log> = (0..9).map(|n| Log::new(&format!("log.example/{n}"))).collect();
    let state = Double::new(Mood::Slow);
    let setup = Setup { state: state.clone(), ..Setup::of(&logs.iter().collect::<Vec<_>>()) };
    let witness = Witness::start(setup).await;
    let mut clients = Vec::new();
    for log in &logs {
        let mut client = witness.client().await;
        client.send_add(&log.request(0, 0, 1)).await;
        clients.push(client);
        state.called(1).await;
    }
    // All but the first now wait, or are about to: none has been answered.
    state.feel(Mood::Well);
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    let batches = state.batches.borrow().clone();
    assert_eq!((batches[0], batches.iter().sum::<usize>()), (1, 9), "{batches:?}");
}

#[tokio::test]
async fn a_full_disk_pushes_back_and_recovers() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Full);
    let witness = Witness::start(Setup { state: state.clone(), ..Setup::of(&[&log]) }).await;
    for _ in 0..2 {
        let reply = witness.add(&log.request(0, 0, 5)).await;
        assert_eq!(reply.status, 503);
        assert!(reply.header("retry-after").is_some() && !reply.text().contains('—'), "{}", reply.text());
    }
    assert_eq!(witness.get("/ready").await.status, 503);
    assert_eq!(witness.get(&log.path()).await.status, 404);
    assert_eq!(witness.metric("glasslog_witness_refusing").await, 1);
    state.feel(Mood::Well);
    assert_eq!(witness.add(&log.request(0, 0, 5)).await.status, 200);
    assert_eq!(witness.get("/ready").await.status, 200);
    witness.stop().await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_lets_nothing_out_and_ends_the_witness() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::SyncFails);
    let witness = Witness::start(Setup { state, ..Setup::of(&[&log]) }).await;
    let mut client = witness.client().await;
    client.send_add(&log.request(0, 0, 5)).await;
    if let Some(reply) = client.try_reply(false).await {
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(!reply.text().contains('—'));
    }
    let ended = witness.ended().await;
    assert!(matches!(ended, Err(WitnessError::State(StateError::Durability(_)))), "{ended:?}");
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_answered() {
    let log = Log::new("log.example/one");
    let state = Double::new(Mood::Slow);
    let mut witness = Witness::start(Setup { state: state.clone(), ..Setup::of(&[&log]) }).await;
    let mut client = witness.client().await;
    client.send_add(&log.request(0, 0, 5)).await;
    state.called(1).await;
    witness.ask_to_stop();
    state.feel(Mood::Well);
    assert_eq!(client.reply().await.cosigned_at(&log, &log.checkpoint(0, 5)), NOW);
    witness.ended().await.unwrap();
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new("log.example/one");
    for start in 0..3 {
        let witness = Witness::start(Setup { state: sqlite(dir.path()), ..Setup::of(&[&log]) }).await;
        let shown = witness.get(&log.path()).await;
        assert_eq!(shown.status, if start == 0 { 404 } else { 200 });
        for size in 4 * start + 1..=4 * start + 4 {
            assert_eq!(witness.add(&log.request(0, size - 1, size)).await.status, 200, "{size}");
        }
        assert_eq!(witness.add(&log.request(1, 0, 3)).await.text(), format!("{}\n", 4 * start + 4));
        assert_eq!(witness.add(&log.request(1, 4 * start + 4, 4 * start + 4)).await.status, 422);
        witness.stop().await.unwrap();
    }
}
