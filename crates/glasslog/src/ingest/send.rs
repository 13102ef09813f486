//! Batches to the log: several in flight, each tried until the log has answered for good.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use glasslog_core::{TreeSize, entry_bundle};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{connect::Log, read::Batch};
use crate::exit::{Exit, Failed};

/// How long a batch is tried while the log cannot be reached.
const UNREACHABLE_FOR: Duration = Duration::from_secs(45);

/// How long a batch is tried while the log pushes back.
const PUSHED_BACK_FOR: Duration = Duration::from_secs(15 * 60);

/// The longest pause between two tries, whatever `Retry-After` says.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How many entries of one batch may be refused one by one before the log is believed not to want any.
const MAX_REFUSED: usize = 16;

/// How much of the log's own words is shown, in characters.
const MAX_SHOWN: usize = 300;

/// How much of an answer is read: one line an entry.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What the log did.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) new: u64,
    pub(super) already_logged: u64,
    /// Path and reason of each entry that it refused.
    pub(super) refused: Vec<(String, String)>,
    /// The largest index that was acknowledged.
    pub(super) last_index: Option<u64>,
}

/// Why sending stopped.
#[derive(Debug)]
pub(super) enum SendError {
    /// 412: somebody else has logged a newer record of a file.
    Changed(String),
    /// Anything else that ends the command.
    Failed(Failed),
}

/// What was settled, and why sending stopped before its end, if it did: what was refused until then stays known.
pub(super) type Sending = (Sent, Result<(), SendError>);

/// Sends every batch that comes, up to `in_flight` at once, all conditional on `published`.
///
/// They may be committed in any order: no two records are of the same file.
pub(super) async fn send_all(
    log: &Log,
    mut incoming: mpsc::Receiver<Batch>,
    published: TreeSize,
    in_flight: usize,
) -> Sending {
    let mut sent = Sent::default();
    let mut flying = FuturesUnordered::new();
    while let Some(batch) = incoming.recv().await {
        while flying.len() >= in_flight {
            if let Some(done) = flying.next().await
                && let Err(stopped) = sent.absorb(done)
            {
                return (sent, Err(stopped));
            }
        }
        flying.push(send(log, batch, published));
    }
    while let Some(done) = flying.next().await {
        if let Err(stopped) = sent.absorb(done) {
            return (sent, Err(stopped));
        }
    }
    (sent, Ok(()))
}

/// Takes batches and sends nothing (`--dry-run`).
pub(super) async fn discard(mut incoming: mpsc::Receiver<Batch>) -> Sending {
    while incoming.recv().await.is_some() {}
    (Sent::default(), Ok(()))
}

impl Sent {
    /// Adds what one batch came to, and gives how it ended.
    fn absorb(&mut self, (other, ended): Sending) -> Result<(), SendError> {
        self.new += other.new;
        self.already_logged += other.already_logged;
        self.refused.extend(other.refused);
        self.last_index = self.last_index.max(other.last_index);
        ended
    }
}

/// Sends one batch until the log has taken or refused every entry of it.
async fn send(log: &Log, batch: Batch, since: TreeSize) -> Sending {
    let mut refused = Vec::new();
    let ended = settle(log, batch, since, &mut refused).await;
    match ended {
        Ok(sent) => (Sent { refused, ..sent }, Ok(())),
        Err(stopped) => (Sent { refused, ..Sent::default() }, Err(stopped)),
    }
}

async fn settle(
    log: &Log,
    mut batch: Batch,
    since: TreeSize,
    refused: &mut Vec<(String, String)>,
) -> Result<Sent, SendError> {
    loop {
        match deliver(log, &batch, since).await? {
            Delivered::Taken(sent) => return Ok(sent),
            Delivered::Refused { line, why } => {
                let (path, rest) =
                    without(&batch, line).ok_or_else(|| failed(Exit::LogFailure, why.clone()))?;
                refused.push((path, why.clone()));
                if rest.entries == 0 {
                    return Ok(Sent::default());
                }
                if refused.len() > MAX_REFUSED {
                    return Err(failed(Exit::Mismatch, format!("the log refuses these entries: {why}")));
                }
                batch = rest;
            }
        }
    }
}

/// How the log answered for good.
enum Delivered {
    Taken(Sent),
    /// It does not want the entry on this line, counted from 1; nothing was added.
    Refused {
        line: usize,
        why: String,
    },
}

/// Tries until there is an answer for good.
async fn deliver(log: &Log, batch: &Batch, since: TreeSize) -> Result<Delivered, SendError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        let (why, patience) = match post(log, batch, since).await {
            Ok(answer) => match judge(answer, batch).await {
                Judged::Final(delivered) => return delivered,
                Judged::Later { after, why } => {
                    pause = after.unwrap_or(pause);
                    (why, PUSHED_BACK_FOR)
                }
            },
            Err(error) => (format!("cannot reach the log: {error:#}"), UNREACHABLE_FOR),
        };
        if begun.elapsed() + pause > patience {
            return Err(failed(Exit::LogFailure, why));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn post(log: &Log, batch: &Batch, since: TreeSize) -> anyhow::Result<Response> {
    let request = log
        .client
        .post(log.add_batch.clone())
        .header(CONTENT_TYPE, "application/vnd.glasslog.entries")
        .header("If-Unchanged-Since", since.to_string())
        .body(batch.framed.clone());
    let request = match &log.api_key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    Ok(request.send().await?)
}

enum Judged {
    Final(Result<Delivered, SendError>),
    Later { after: Option<Duration>, why: String },
}

async fn judge(answer: Response, batch: &Batch) -> Judged {
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let after =
        after.map(|seconds| Duration::from_secs(seconds).clamp(Duration::from_millis(100), MAX_PAUSE));
    let Some(text) = body(answer).await else {
        return Judged::Later { after, why: "the log's answer was cut off".into() };
    };
    let line: String = text.lines().next().unwrap_or_default().chars().take(MAX_SHOWN).collect();
    let told = format!("the log answered {status}: {line}");
    Judged::Final(match status {
        StatusCode::OK => acknowledged(&text, batch.entries).map(Delivered::Taken).ok_or_else(|| {
            failed(Exit::LogFailure, "the log's answer does not have one index for each entry".to_owned())
        }),
        StatusCode::PRECONDITION_FAILED => Err(SendError::Changed(line)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(failed(Exit::Usage, format!("{told} (give --api-key)")))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            return Judged::Later { after, why: told };
        }
        _ if status.is_server_error() => return Judged::Later { after, why: told },
        _ => match number_after(&line, "line ").and_then(|line| usize::try_from(line).ok()) {
            Some(number) => Ok(Delivered::Refused { line: number, why: line }),
            None => Err(failed(Exit::LogFailure, told)),
        },
    })
}

async fn body(mut answer: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return None;
        }
    }
    String::from_utf8(body).ok()
}

/// `<index>` or `<index> dup` a line, one for each entry.
fn acknowledged(text: &str, entries: usize) -> Option<Sent> {
    let mut sent = Sent::default();
    let mut lines = 0;
    for line in text.lines() {
        let (index, duplicate) = line.strip_suffix(" dup").map_or((line, false), |index| (index, true));
        let index: u64 = index.parse().ok()?;
        if duplicate {
            sent.already_logged += 1;
        } else {
            sent.new += 1;
        }
        sent.last_index = sent.last_index.max(Some(index));
        lines += 1;
    }
    (lines == entries).then_some(sent)
}

/// The path of the entry on `line` (from 1), and the batch without it.
fn without(batch: &Batch, line: usize) -> Option<(String, Batch)> {
    #[derive(Deserialize)]
    struct Named {
        path: String,
    }
    let bundle = entry_bundle::EntryBundle::parse_any(&batch.framed).ok()?;
    let refused = bundle.iter().nth(line.checked_sub(1)?)?;
    let path =
        serde_json::from_slice::<Named>(refused).map_or_else(|_| format!("entry {line}"), |named| named.path);
    let kept = bundle.iter().enumerate().filter(|(position, _)| position + 1 != line).map(|(_, entry)| entry);
    let framed = entry_bundle::encode(kept).ok()?.into();
    Some((path, Batch { framed, entries: batch.entries - 1 }))
}

/// The number that follows `words` in a message of the log.
fn number_after(message: &str, words: &str) -> Option<u64> {
    let (_, rest) = message.split_once(words)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn failed(exit: Exit, message: String) -> SendError {
    SendError::Failed(Failed::new(exit, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_counted_and_complete() {
        let sent = acknowledged("7\n3 dup\n8\n", 3).unwrap();
        assert_eq!((sent.new, sent.already_logged, sent.last_index), (2, 1, Some(8)));
        for (text, entries, why) in [
            ("7\n", 2, "one is missing"),
            ("7\n8\n", 1, "one too many"),
            ("x\n", 1, "no number"),
            ("7 new\n", 1, "no word"),
        ] {
            assert!(acknowledged(text, entries).is_none(), "{why}");
        }
    }

    #[test]
    fn a_refused_entry_is_named_and_taken_out() {
        let framed =
            entry_bundle::encode([br#"{"path":"noarch/a"}"#.as_slice(), br#"{"path":"noarch/b"}"#, b"{}"])
                .unwrap();
        let batch = Batch { framed: framed.into(), entries: 3 };
        let (path, rest) = without(&batch, 2).unwrap();
        assert_eq!((path.as_str(), rest.entries), ("noarch/b", 2));
        let left = entry_bundle::encode([br#"{"path":"noarch/a"}"#.as_slice(), b"{}"]).unwrap();
        assert_eq!(rest.framed, left);
        assert!(without(&batch, 0).is_none() && without(&batch, 4).is_none());
    }

    #[test]
    fn numbers_in_messages() {
        assert_eq!(number_after("line 12: wrong", "line "), Some(12));
        assert_eq!(number_after("at line 7", "line "), Some(7));
        assert_eq!(number_after("nothing", "line "), None);
    }
}
