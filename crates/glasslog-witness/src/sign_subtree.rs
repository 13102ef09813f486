//! `POST /sign-subtree` (c2sp.org/tlog-witness): cosigns part of a tree that this witness has cosigned as a whole.
//!
//! Nothing is remembered and nothing is looked up but the log: the witness's own cosignature, which the client brings
//! back, is what it believes. The wire format is moving (C2SP pull request 346), so all that belongs to it is here and in
//! [`glasslog_core::subtree`].

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use glasslog_core::{
    cosignature::cosign_subtree,
    note::{Algorithm, Signer},
    subtree::{RequestError, SignSubtreeRequest, SubtreeError},
};
use glasslog_http::answer::{Answer, TEXT, uncached};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use crate::{app::App, logs::Use, metrics::Outcome, refusal::Refusal, submit::receive};

/// Whether this witness has a key that can: "The cosignature format MUST support subtree cosigning."
pub(crate) fn is_supported(app: &App) -> bool {
    app.keys.iter().any(|key| key.algorithm() == Algorithm::MlDsa44)
}

/// Answers `sign-subtree`, and counts it.
pub(crate) async fn sign_subtree(
    app: &Arc<App>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let outcome = answer(app, peer, request).await;
    app.metrics
        .subtree_answered(outcome.as_ref().map_or_else(|refusal| refusal.outcome, |_| Outcome::Cosigned));
    outcome.map(|lines| uncached(TEXT, lines))
}

async fn answer(app: &Arc<App>, peer: IpAddr, request: Request<Incoming>) -> Result<String, Refusal> {
    let (body, _large) = receive(app, peer, request).await?;
    let work = app.clone();
    app.beside(move || sign(&work, &body)).await?
}

/// The signature lines for the request in `body`.
fn sign(app: &App, body: &Bytes) -> Result<String, Refusal> {
    let request = SignSubtreeRequest::parse(body)?;
    let origin = &request.checkpoint().origin;
    let entry = app.log(origin)?;
    if entry.log.disabled {
        return Err(Refusal::disabled(origin));
    }
    let signers = cosigners(app, &request)?;
    request.verify_proof()?;
    app.admit_log(&entry, Use::Subtree)?;
    let mut lines = String::new();
    for signer in &signers {
        let line = cosign_subtree(origin, request.subtree().range(), request.hash(), &***signer);
        lines += &format!("{}\n", line.map_err(|error| Refusal::cannot_cosign(&error))?);
    }
    app.metrics.cosignatures.inc_by(u64::try_from(signers.len()).unwrap_or(0));
    Ok(lines)
}

/// The keys to sign with: "one or more of the same witness key(s) that signed the checkpoint".
///
/// Of those only ML-DSA-44 keys sign subtrees, so an Ed25519 cosignature alone is not enough: what the stronger kind of
/// signature says must not rest on the weaker one. A wrong signature of any own key makes the note malformed.
fn cosigners<'a>(app: &'a App, request: &SignSubtreeRequest) -> Result<Vec<&'a Arc<dyn Signer>>, Refusal> {
    let not_signed = |message| Refusal::new(StatusCode::FORBIDDEN, Outcome::NotSigned, message);
    let verified = request.note().verify(&app.keys);
    let verified = verified
        .map_err(|why| not_signed(format!("the checkpoint is not cosigned by this witness: {why}")))?;
    let signed = |signer: &&Arc<dyn Signer>| {
        let key = signer.verifier_key();
        key.algorithm() == Algorithm::MlDsa44 && verified.signatures().iter().any(|by| by.key == key)
    };
    let signers: Vec<_> = app.signers.iter().filter(signed).collect();
    if signers.is_empty() {
        let message = "the checkpoint has no ML-DSA-44 cosignature of this witness, on which one of a subtree could rest";
        return Err(not_signed(message.to_owned()));
    }
    Ok(signers)
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, Outcome::Malformed, error.to_string())
    }
}

/// Of a proof; what is no subtree is no request.
impl From<SubtreeError> for Refusal {
    fn from(error: SubtreeError) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, Outcome::Inconsistent, error.to_string())
    }
}
