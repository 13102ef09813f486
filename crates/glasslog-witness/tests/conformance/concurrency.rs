//! Checks 66–69, 72 and 75: many at once. Few rounds each time, all of them with `GLASSLOG_TORTURE=1`.

use std::{io::Write, sync::Barrier};

use crate::{
    check::{Check, Must, Robust, count, lacks},
    http::Answer,
    session::{Ask, Session, conflict, patiently},
    target::witness,
    tree::Hash,
};

/// Sends them all at one moment, each on a connection of its own.
fn at_once(bodies: &[Vec<u8>]) -> Vec<Answer> {
    let barrier = Barrier::new(bodies.len());
    let send = |body: &Vec<u8>| {
        barrier.wait();
        let answer = witness().url.post("/add-checkpoint", body);
        // Pushed back: nothing happened, so a later try is another place in the same history.
        if answer.status == 429 { patiently(|| witness().url.post("/add-checkpoint", body)) } else { answer }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = bodies.iter().map(|body| scope.spawn(|| send(body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A request as a model of a witness sees it: it is valid from `old`, where the root is `from`.
#[derive(Clone, Copy)]
struct Step {
    old: u64,
    from: Hash,
    size: u64,
    to: Hash,
}

/// What one request does to the state, and what is answered: 200, or 409 with a size, or 422.
fn model(state: (u64, Hash), step: Step) -> ((u64, Hash), (u16, u64)) {
    if state.0 != step.old {
        (state, (409, state.0))
    } else if state.1 == step.from && (step.size > step.old || step.to == state.1) {
        ((step.size, step.to), (200, 0))
    } else {
        (state, (422, 0))
    }
}

/// Whether some order of the requests explains all answers and the state afterwards.
fn explained(state: (u64, Hash), steps: &[(Step, (u16, u64))], end: u64) -> bool {
    if steps.is_empty() {
        return state.0 == end;
    }
    (0..steps.len()).any(|first| {
        let mut rest = steps.to_vec();
        let (step, told) = rest.remove(first);
        let (next, answer) = model(state, step);
        answer == told && explained(next, &rest, end)
    })
}

fn told(answer: &Answer) -> (u16, u64) {
    (answer.status, conflict(answer).unwrap_or(0))
}

#[test]
fn check_66_two_roots_at_one_size() {
    let mut check = Check::new("66", "two roots race for one size: exactly one is cosigned");
    let mut session = Session::at(&mut check, "66", 1);
    let rounds = count(20, 1000);
    for round in 0..rounds {
        let (old, size) = (session.st, session.st + 1);
        let honest = session.tree.clone();
        let mut forks = [honest.clone().fork(old, "left"), honest.clone().fork(old, "right")];
        let asks: Vec<Ask> = forks
            .iter_mut()
            .map(|fork| {
                std::mem::swap(&mut session.tree, fork);
                let ask = session.ask(old, size);
                std::mem::swap(&mut session.tree, fork);
                ask
            })
            .collect();
        let answers = at_once(&asks.iter().map(Ask::bytes).collect::<Vec<_>>());
        let winners: Vec<usize> = (0..2).filter(|which| answers[*which].status == 200).collect();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        let [winner] = winners[..] else {
            check.row(Must, format!("round {round}"), Err(format!("answers {statuses:?}")));
            break;
        };
        let loser = 1 - winner;
        let won = session.accepted(&asks[winner], &answers[winner]).map(drop);
        check.row(Must, format!("round {round}, the one that is cosigned"), won);
        let lost = conflict(&answers[loser]);
        let found = if lost == Ok(size) { Ok(()) } else { Err(format!("{lost:?}, expected {size}")) };
        check.row(Must, format!("round {round}, the other"), found);
        // The other comes back with what it was told.
        let (_, root) = asks[loser].tree_head().unwrap();
        let text = session.log.text(size, &root);
        let line = session.log.a().line(text.as_bytes());
        let again = session.ask(size, size).with_text(text).with_signatures(&[line]);
        session.refuse(&mut check, Must, format!("round {round}, the other again"), &[422], &again.bytes());
        session.tree = forks[winner].clone();
    }
    println!("check 66: {rounds} rounds");
    check.finish();
}

#[test]
fn check_67_growths_that_cross() {
    let mut check = Check::new("67", "N and N+K race: the answers have an order, and nothing is rolled back");
    let mut session = Session::at(&mut check, "67", 1);
    for round in 0..count(20, 1000) {
        let st = session.st;
        let (n, more) = (st + 1, st + 3);
        let pairs = [(st, n), (st, more), (n, more), (n, n), (more, more)];
        let bodies: Vec<_> = pairs.iter().map(|(old, size)| session.ask(*old, *size).bytes()).collect();
        let answers = at_once(&bodies);
        let end = session.state();
        let steps: Vec<_> = pairs
            .iter()
            .zip(&answers)
            .map(|((old, size), answer)| {
                let (from, to) = (session.tree.root(*old), session.tree.root(*size));
                (Step { old: *old, from, size: *size, to }, told(answer))
            })
            .collect();
        let answered: Vec<_> = steps.iter().map(|(_, told)| *told).collect();
        let begin = (st, session.tree.root(st));
        let found = match &end {
            Ok(end) if explained(begin, &steps, *end) => Ok(()),
            _ => Err(format!("{pairs:?} got {answered:?} and left {end:?}: no order explains it")),
        };
        check.row(Must, format!("round {round}"), found);
        session.st = end.unwrap_or(st);
        let next = session.st.max(more);
        session.grow(&mut check, next);
    }
    check.finish();
}

#[test]
fn check_68_one_request_many_times() {
    let mut check = Check::new("68", "the same growth many times at once: exactly one 200");
    let mut session = Session::at(&mut check, "68", 5);
    for round in 0..count(3, 20) {
        let ask = session.next(3);
        let size = session.st + 3;
        let answers = at_once(&vec![ask.bytes(); usize::try_from(count(20, 100)).unwrap()]);
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        let found = if won.len() == 1 { Ok(()) } else { Err(format!("{} were cosigned", won.len())) };
        check.row(Must, format!("round {round}"), found);
        let other = lost.iter().map(|answer| conflict(answer)).find(|told| *told != Ok(size));
        check.row(
            Must,
            format!("round {round}, the others"),
            other.map_or(Ok(()), |told| Err(format!("{told:?}"))),
        );
        if let Some(answer) = won.first() {
            let found = session.accepted(&ask, answer).map(drop);
            check.row(Must, format!("round {round}, the one"), found);
        }
    }
    check.finish();
}

#[test]
fn check_69_refreshes_do_not_disturb_each_other() {
    let mut check = Check::new("69", "the same refresh many times at once: all 200");
    let mut session = Session::at(&mut check, "69", 5);
    let ask = session.ask(5, 5);
    let answers = at_once(&vec![ask.bytes(); usize::try_from(count(20, 100)).unwrap()]);
    for answer in answers {
        let found = session.accepted(&ask, &answer).map(drop);
        check.row(Must, "a refresh", found);
    }
    check.finish();
}

#[test]
fn check_72_clients_that_leave() {
    let mut check = Check::new("72", "clients that leave in the middle lock and lose nothing");
    let mut session = Session::at(&mut check, "72", 5);
    let url = &witness().url;
    for round in 0..count(30, 1000) {
        let ask = session.next(1);
        let body = ask.bytes();
        let head = url.head("POST", "/add-checkpoint", &[]);
        let whole = [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
        // The whole request every other time, else a part of it.
        let length = if round % 2 == 0 {
            whole.len()
        } else {
            whole.len() * usize::try_from(round % 10).unwrap() / 10
        };
        let mut stream = url.connect();
        let _sent = stream.write_all(&whole[..length]);
        drop(stream);
        // It was taken or it was not, and a half of it never is. It may still be on its way.
        let before = session.st;
        let state = session.state();
        let taken = state == Ok(before + 1) && length == whole.len();
        let found =
            if taken || state == Ok(before) { Ok(()) } else { Err(format!("{before}, then {state:?}")) };
        check.row(Robust, format!("round {round}, {length} of {} bytes", whole.len()), found);
        let answer = session.send(&body);
        let found = match answer.status {
            200 => session.accepted(&ask, &answer).map(drop),
            _ => conflict(&answer).and_then(|told| {
                session.st = told;
                if told == before + 1 { Ok(()) } else { Err(format!("at {told} after {before}")) }
            }),
        };
        check.row(Robust, format!("round {round}, the same request by a patient client"), found);
    }
    session.grow(&mut check, session.st + 1);
    check.finish();
}

#[test]
fn check_75_a_log_above_its_rate() {
    let mut check = Check::new("75", "a log above its rate gets 429, and others are not touched");
    if lacks("qpd") {
        return check.skip("logs have no rates of their own here");
    }
    let mut limited = Session::new("75-limited");
    let mut other = Session::new("75");
    let mut pushed_back = None;
    for size in 1..=200 {
        let ask = limited.ask(limited.st, size);
        let answer = witness().url.post("/add-checkpoint", &ask.bytes());
        if answer.status == 429 {
            pushed_back = Some(answer);
            break;
        }
        let found = limited.accepted(&ask, &answer).map(drop);
        check.row(Robust, format!("size {size}, within the rate"), found);
    }
    match pushed_back {
        None => check.row(Robust, "24 a day", Err("200 requests in a moment are cosigned".to_owned())),
        Some(answer) => {
            let after = answer.header("retry-after").and_then(|after| after.parse::<u64>().ok());
            let found =
                if after.is_some_and(|after| after > 0) { Ok(()) } else { Err(format!("is {after:?}")) };
            check.row(Robust, "Retry-After", found);
            let cosigned = answer.text().lines().any(|line| limited.witness.is_own_line(line));
            check.row(
                Robust,
                "the 429",
                if cosigned { Err("holds a cosignature".to_owned()) } else { Ok(()) },
            );
        }
    }
    for size in 1..=50 {
        other.grow(&mut check, size);
    }
    check.finish();
}
