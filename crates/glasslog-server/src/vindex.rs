//! `/vindex/…`: what the log holds about a name, with proof (docs/spec/vindex.md), and how its index is doing.

mod asked;
pub(crate) mod stats;

use std::{net::IpAddr, sync::Arc, time::Duration};

use glasslog_core::TreeSize;
use glasslog_http::answer::{JSON, accepts, json_body, uncached};
use glasslog_log::{Log, Page, Wanted};
use glasslog_vindex::{Key, Question};
use http::{HeaderValue, StatusCode, header::VARY};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use asked::Asked;
pub(crate) use stats::{IndexSummary, Rebuild, Statistics};

use crate::{
    answer::{Answer, Refusal},
    app::{App, Request, Site},
    proof::TLOG_PROOF,
};
use asked::Wish;

/// What the log holds about a name.
#[derive(Serialize, ToSchema)]
pub(crate) struct Found {
    /// Whether there is anything.
    found: bool,
    /// How many entries there are.
    count: u64,
    /// The index of the newest.
    last: Option<u64>,
    /// The position in the list of the first of `indices`.
    start: u64,
    /// The indices of the entries from there on, ascending.
    indices: Vec<u64>,
    /// Where the next page begins, if there is one.
    next: Option<u64>,
    /// The key, in hexadecimal.
    key: String,
    /// The kind of name; null when a key was asked for, or where there are no kinds.
    kind: Option<String>,
    /// The name; null when a key was asked for.
    name: Option<String>,
    /// The map function of the index.
    map_fn: String,
    /// The size of the tree that this is about.
    tree_size: u64,
    /// What the proof rests on; null in an empty log, and for a hint.
    anchor: Option<Anchor>,
    /// Whether there is a proof. Without one this is a hint.
    verified: bool,
    /// The proof, as `Accept: text/x.tlog.proof` gives it: of the count, the newest index and the list's end.
    proof: Option<String>,
}

/// The entry that the index is anchored in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Anchor {
    /// Its index.
    index: u64,
    /// The root of the index over the entries before it, in hexadecimal.
    root: String,
}

/// Looks a name up by its kind.
#[utoipa::path(
    get,
    path = "/vindex/lookup",
    params(
        ("key" = String, Query, description = "the name"),
        ("kind" = Option<String>, Query, description = "its kind; without it the map function's first one"),
        ("start" = Option<u64>, Query, description = "the position in the list to begin at, from 0"),
        ("limit" = Option<u32>, Query, description = "the most elements of the list, 1 to 1000; the proof shows as many of the last ones as it can without those before"),
        ("entries" = Option<u32>, Query, description = "at most so many of the newest entries that the proof shows are given with it, 0 to 64 and at most 1 MiB"),
        ("unverified" = Option<u32>, Query, description = "1: while there is no proof, a hint"),
    ),
    responses(
        (
            status = 200,
            description = "what there is, or that there is nothing; as a proof (docs/spec/vindex.md §8) when Accept names text/x.tlog.proof",
            content((Found = "application/json"), (String = "text/x.tlog.proof")),
        ),
        (status = 400, description = "a parameter or name that is not understood", body = String, content_type = "text/plain"),
        (status = 404, description = "this log has no index", body = String, content_type = "text/plain"),
        (status = 429, description = "too many, see Retry-After", body = String, content_type = "text/plain"),
        (status = 503, description = "the index is being built, and how far it is", body = String, content_type = "text/plain"),
    ),
)]
pub(crate) async fn lookup(
    app: &App,
    site: &Site,
    peer: IpAddr,
    request: Request,
    asked: Asked<'_>,
) -> Result<Answer, Refusal> {
    let map_fn = site.log.map_fn().ok_or_else(no_index)?;
    let wish = Wish::read(asked, request.uri().query(), map_fn.as_ref())?;
    app.gate.admit_reader(peer, request.headers())?;
    let as_proof = accepts(request.headers(), "text/x.tlog.proof");
    let (log, outgoing) = (site.log.clone(), Arc::clone(&app.outgoing));
    let read = move || body(&log, wish, as_proof).and_then(|body| outgoing.send(body));
    let body = app.in_time(site.readers.run(read)).await???;
    let mut answer = uncached(if as_proof { TLOG_PROOF } else { JSON }, body);
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

#[utoipa::path(
    get,
    path = "/vindex/lookup/{hash}",
    params(
        ("hash" = String, Path, description = "a key: 64 lower-case hexadecimal digits"),
        ("start" = Option<u64>, Query, description = "as for a name by its kind"),
        ("limit" = Option<u32>, Query, description = "as for a name by its kind"),
        ("entries" = Option<u32>, Query, description = "as for a name by its kind"),
        ("unverified" = Option<u32>, Query, description = "as for a name by its kind"),
    ),
    responses((status = 200, description = "as for a name by its kind; other answers too", body = Found)),
)]
#[expect(dead_code, reason = "carries the description; `lookup` answers")]
fn by_key() {}

#[utoipa::path(
    get,
    path = "/vindex/lookup/key/{name}",
    params(
        ("name" = String, Path, description = "a name of the default kind, percent-encoded; slashes need not be"),
        ("start" = Option<u64>, Query, description = "as for a name by its kind"),
        ("limit" = Option<u32>, Query, description = "as for a name by its kind"),
        ("entries" = Option<u32>, Query, description = "as for a name by its kind"),
        ("unverified" = Option<u32>, Query, description = "as for a name by its kind"),
    ),
    responses((status = 200, description = "as for a name by its kind; other answers too", body = Found)),
)]
#[expect(dead_code, reason = "carries the description; `lookup` answers")]
fn by_name() {}

/// Reads storage.
fn body(log: &Log, wish: Wish, as_proof: bool) -> Result<Vec<u8>, Refusal> {
    let Some(pair) = log.served() else { return hint(log, wish, as_proof) };
    let Wish { question, key, start, limit, entries, .. } = wish;
    let found = log.lookup(&pair, question, &key, &Wanted { list: limit, entries })?;
    if as_proof {
        return Ok(found.to_text().into_bytes());
    }
    let page = log.page(&pair, &key, &found, start, limit)?;
    let proof = Some(found.to_text());
    let anchor = pair.anchor().map(|(index, root)| Anchor { index: index.0, root: root.to_string() });
    let hint = Found::hint(log, &key, found.question, page, pair.size());
    Ok(json_body(&Found { anchor, verified: true, proof, ..hint }))
}

/// Where nothing is anchored: what the index holds so far, if that is wanted.
fn hint(log: &Log, wish: Wish, as_proof: bool) -> Result<Vec<u8>, Refusal> {
    let wanted = wish.unverified && !as_proof;
    let hints = log.hints().filter(|_| wanted).ok_or_else(|| stats::unserved(log, wanted))?;
    let page = log.hinted_page(&hints, &wish.key, wish.start, wish.limit)?;
    Ok(json_body(&Found::hint(log, &wish.key, wish.question, page, hints.size())))
}

impl Found {
    /// What there is to say without a proof.
    fn hint(log: &Log, key: &Key, question: Question, page: Page, size: TreeSize) -> Found {
        let (kind, name) = match question {
            Question::Key(_) => (None, None),
            Question::Name { kind, name } => (Some(kind).filter(|kind| !kind.is_empty()), Some(name)),
        };
        Found {
            found: page.count > 0,
            count: page.count,
            last: page.last.map(|last| last.0),
            start: page.start,
            next: page.next(),
            indices: page.indices.into_iter().map(|index| index.0).collect(),
            key: key.to_string(),
            kind,
            name,
            map_fn: log.map_fn().map(|map_fn| map_fn.name().to_owned()).unwrap_or_default(),
            tree_size: size.0,
            anchor: None,
            verified: false,
            proof: None,
        }
    }
}

fn no_index() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "this log has no verifiable index")
}

/// How long to wait for an index that is being built.
const BUILDING: Duration = Duration::from_secs(5);
