//! `GET /proof/{index}`: one entry, provably in a public checkpoint (c2sp.org/tlog-proof).

use std::{net::IpAddr, time::Duration};

use glasslog_core::LeafIndex;
use glasslog_http::answer::uncached;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    add::canonical_number,
    answer::{Answer, Refusal},
    app::{App, Site},
};

pub(crate) const TLOG_PROOF: HeaderValue = HeaderValue::from_static("text/x.tlog.proof; charset=utf-8");

/// Proves that an entry is in the log.
#[utoipa::path(
    get,
    path = "/proof/{index}",
    params(("index" = u64, Path, description = "the entry's index, in decimal without leading zeros")),
    responses(
        (status = 200, description = "a c2sp.org/tlog-proof under the newest public checkpoint", body = String, content_type = "text/x.tlog.proof"),
        (status = 404, description = "no such entry; with Retry-After when it is acknowledged and not public yet", body = String, content_type = "text/plain"),
        (status = 429, description = "too many, see Retry-After", body = String, content_type = "text/plain"),
    ),
)]
pub(crate) async fn proof(
    app: &App,
    site: &Site,
    peer: IpAddr,
    headers: &HeaderMap,
    index: &str,
) -> Result<Answer, Refusal> {
    let index = LeafIndex(canonical_number(index).ok_or_else(Refusal::not_found)?);
    app.gate.admit_reader(peer, headers)?;
    match app.in_time(proof_answer(site, index)).await?? {
        Some(answer) => Ok(answer),
        None => Err(not_covered(site, index)),
    }
}

/// The proof of the entry at `index`, or `None` while no public checkpoint covers it.
pub(crate) async fn proof_answer(site: &Site, index: LeafIndex) -> Result<Option<Answer>, Refusal> {
    let log = site.log.clone();
    let proof = site.readers.run(move || log.prove(index)).await??;
    Ok(proof.map(|proof| uncached(TLOG_PROOF, proof)))
}

fn not_covered(site: &Site, index: LeafIndex) -> Refusal {
    if site.log.progress().sequenced.contains(index) {
        let message = "this entry is in the log and no public checkpoint covers it yet; ask again soon";
        Refusal { retry_after: Some(Duration::from_secs(1)), ..Refusal::new(StatusCode::NOT_FOUND, message) }
    } else {
        Refusal::new(StatusCode::NOT_FOUND, "the log has no entry at this index yet")
    }
}
