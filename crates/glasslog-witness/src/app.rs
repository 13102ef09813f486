//! Which request goes where: one `match`, no middleware. What is not spelled exactly so is 404.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use glasslog_core::{
    note::{Signer, VerifierKey},
    witness::origin_hash,
};
use glasslog_http::{
    UnreadBody,
    answer::{Answer, TEXT, json_with_status, uncached, with_status},
    etag::{self, etag_matches},
    rate::{Client, Limited, Limiter},
    serve::Handler,
};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    },
};
use hyper::body::{Body, Incoming};
use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    about,
    commit::Committer,
    config::{About, Clock, Limits},
    decide::Refused,
    logs::{Budget, Entry, LogTable, Use},
    metrics::{Metrics, Outcome},
    refusal::Refusal,
    sign_subtree::{self, sign_subtree},
    slots::Slots,
    submit::add_checkpoint,
};

/// The methods of everything that is read, and of what is written.
const READS: &str = "GET, HEAD, OPTIONS";
const WRITES: &str = "POST";

/// Long bodies that are read at once: 64 of half a megabyte.
const LARGE_BODIES: usize = 64;

/// What others cause, and is logged: so many at once, and as many in a day.
const REPORTS_PER_DAY: u32 = 1000;

/// Everything that answering a request needs.
pub(crate) struct App {
    pub(crate) signers: Arc<[Arc<dyn Signer>]>,
    pub(crate) keys: Vec<VerifierKey>,
    pub(crate) logs: LogTable,
    pub(crate) slots: Slots,
    pub(crate) committer: Committer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) about: About,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) clock: Clock,
    /// Decisions that are being made.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) large_bodies: Semaphore,
    /// Why the state takes no changes, while it does not.
    refusing: ArcSwapOption<String>,
    /// Bounds what is computed at once beside the async threads.
    processors: Arc<Semaphore>,
    clients: Option<Limiter>,
    /// Of all logs together: what only the logs can cause, and what anybody can who has seen a checkpoint of theirs.
    growth: Option<Limiter>,
    repeats: Option<Limiter>,
    reports: Budget,
    started: Instant,
    /// Whether `/metrics` is answered on the public listener.
    public_metrics: bool,
}

/// What an [`App`] is made of besides its [`Limits`].
pub(crate) struct Parts {
    pub(crate) signers: Vec<Arc<dyn Signer>>,
    pub(crate) keys: Vec<VerifierKey>,
    pub(crate) logs: LogTable,
    pub(crate) slots: Slots,
    pub(crate) committer: Committer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) about: About,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) clock: Clock,
    pub(crate) public_metrics: bool,
}

/// What a listener gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The witness.
    Public,
    /// The same, through a bastion.
    Bastion,
    /// `/metrics` and `/health` alone.
    Metrics,
}

/// A listener's view of the witness.
pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    pub(crate) access: Access,
}

impl Handler for Door {
    async fn answer(&self, peer: IpAddr, request: Request<Incoming>, unread_body: &UnreadBody) -> Answer {
        let has_body = !request.body().is_end_stream();
        let outcome = match Target::of(request.uri().path(), self.access, self.app.public_metrics) {
            Some(target) => self.app.dispatch(target, peer, request).await,
            None => Err(Refusal::not_found()),
        };
        outcome.unwrap_or_else(|refusal| {
            if has_body {
                unread_body.note();
            }
            tracing::debug!(%peer, status = %refusal.status, message = %refusal.message, "refused");
            refusal.into_answer()
        })
    }

    fn connection(&self, open: bool) {
        let metrics = &self.app.metrics;
        let gauge = if self.access == Access::Bastion { &metrics.bastions } else { &metrics.connections };
        gauge.inc_by(if open { 1 } else { -1 });
    }
}

/// What a path names. Paths are compared as they were sent.
enum Target {
    AddCheckpoint,
    SignSubtree,
    /// The hash of an origin, as text.
    Checkpoint(String),
    Page,
    Description,
    Health,
    Ready,
    Metrics,
}

impl Target {
    fn of(path: &str, access: Access, public_metrics: bool) -> Option<Target> {
        match path {
            "/health" => Some(Target::Health),
            "/metrics" if access == Access::Metrics || public_metrics => Some(Target::Metrics),
            _ if access == Access::Metrics => None,
            "/add-checkpoint" => Some(Target::AddCheckpoint),
            "/sign-subtree" => Some(Target::SignSubtree),
            "/" => Some(Target::Page),
            "/witness.v0.json" => Some(Target::Description),
            "/ready" => Some(Target::Ready),
            _ => path
                .strip_prefix('/')?
                .strip_suffix("/checkpoint")
                .map(|hash| Target::Checkpoint(hash.into())),
        }
    }
}

impl App {
    pub(crate) fn new(parts: Parts, limits: Limits) -> App {
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        let Parts {
            signers,
            keys,
            logs,
            slots,
            committer,
            metrics,
            about,
            trusted_proxies,
            clock,
            public_metrics,
        } = parts;
        App {
            signers: signers.into(),
            keys,
            logs,
            slots,
            committer,
            metrics,
            about,
            trusted_proxies,
            clock,
            public_metrics,
            in_flight: Arc::new(Semaphore::new(limits.in_flight)),
            large_bodies: Semaphore::new(LARGE_BODIES),
            refusing: ArcSwapOption::empty(),
            processors: Arc::new(Semaphore::new(processors)),
            clients: limits.client_rate.map(|rate| Limiter::new(rate, limits.rate_buckets)),
            growth: limits.global_rate.map(|rate| Limiter::new(rate, 1)),
            repeats: limits.global_rate.map(|rate| Limiter::new(rate, 1)),
            reports: Budget::new(std::num::NonZeroU32::new(REPORTS_PER_DAY)),
            started: Instant::now(),
            limits,
        }
    }

    async fn dispatch(
        self: &Arc<App>,
        target: Target,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        match (&target, request.method()) {
            (Target::AddCheckpoint, &Method::POST) => return add_checkpoint(self, peer, request).await,
            (Target::SignSubtree, _) if !sign_subtree::is_supported(self) => return Err(Refusal::not_found()),
            (Target::SignSubtree, &Method::POST) => return sign_subtree(self, peer, request).await,
            (Target::AddCheckpoint | Target::SignSubtree, _) => return Err(Refusal::method(WRITES)),
            (_, &Method::GET | &Method::HEAD) => {}
            (_, &Method::OPTIONS) => return Ok(preflight()),
            _ => return Err(Refusal::method(READS)),
        }
        let answer = match target {
            Target::Checkpoint(origin_hash) => self.checkpoint(&origin_hash, request.headers()),
            Target::Page => Ok(about::page(self)),
            Target::Description => Ok(about::description(self)),
            Target::Health => Ok(uncached(TEXT, "ok\n")),
            Target::Ready => Ok(self.ready()),
            Target::Metrics => Ok(self.metrics.answer(
                self.logs.len(),
                self.logs.disabled(),
                self.slots.cosigned(),
                self.logs.key_changes(),
            )),
            Target::AddCheckpoint | Target::SignSubtree => Err(Refusal::not_found()),
        };
        // What can be read, pages of every site may read; also that there is nothing.
        let mut answer = answer.unwrap_or_else(Refusal::into_answer);
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        Ok(answer)
    }

    /// `GET /<origin hash>/checkpoint`: the latest cosigned checkpoint, as it was returned.
    fn checkpoint(&self, origin_hash: &str, request: &HeaderMap) -> Result<Answer, Refusal> {
        let record = self.slots.get(origin_hash).and_then(|slot| slot.record()).ok_or_else(|| {
            let message = "this witness has cosigned no checkpoint of such a log";
            Refusal::new(StatusCode::NOT_FOUND, Outcome::UnknownLog, message)
        })?;
        let tag = etag::of_bytes(&record.note, "");
        let mut answer = uncached(TEXT, record.note.clone());
        let headers = answer.headers_mut();
        // It may be kept, but not shown again unasked: what a witness holds is what it last cosigned.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ETAG, tag.clone());
        Ok(if etag_matches(request, Some(&tag)) { etag::not_modified(answer.headers()) } else { answer })
    }

    fn ready(&self) -> Answer {
        #[derive(Serialize)]
        struct Readiness<'a> {
            ready: bool,
            reason: Option<&'a str>,
            logs: usize,
            cosigned: usize,
        }
        let refusing = self.refusing.load();
        let reason = refusing.as_ref().map(|reason| reason.as_str());
        let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let (logs, cosigned) = (self.logs.len(), self.slots.cosigned());
        json_with_status(status, &Readiness { ready: reason.is_none(), reason, logs, cosigned })
    }

    /// Computes something beside the async threads, a few such things at once.
    ///
    /// # Errors
    ///
    /// 503 when it failed, or the witness stops.
    pub(crate) async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _processor = self.processors.acquire().await.map_err(|_| Refusal::stopping())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::stopping())
    }

    /// The state takes changes.
    pub(crate) fn taken(&self) {
        if self.refusing.load().is_some() {
            tracing::info!("the witness state takes changes again");
            self.refusing.store(None);
            self.metrics.refusing.set(0);
        }
    }

    /// Asks a state that took no changes whether it takes them again: nobody else may ask a witness that is not ready.
    pub(crate) async fn ask_again(&self) {
        if self.refusing.load().is_some() && self.committer.probe().await.is_ok() {
            self.taken();
        }
    }

    /// The state took no change, for this reason.
    pub(crate) fn refused(&self, why: &str) {
        self.refusing.store(Some(Arc::new(why.to_owned())));
        self.metrics.refusing.set(1);
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    ///
    /// 429.
    pub(crate) fn admit_client(&self, client: IpAddr) -> Result<(), Refusal> {
        let message = "too many requests from this address; wait as long as the header Retry-After says";
        self.take(self.clients.as_ref(), Client::from(client), message)
    }

    /// Counts a checkpoint that is about to be cosigned. If it is not after all, the budget it was taken from gets it back.
    ///
    /// # Errors
    ///
    /// 429.
    pub(crate) fn admit_log<'a>(&self, entry: &'a Entry, of: Use) -> Result<&'a Budget, Refusal> {
        let budget = entry.budget(of);
        budget.take(self.started.elapsed()).map_err(|wait| {
            let message = "this log has used up its queries; wait as long as the header Retry-After says";
            Refusal::limited(message, wait)
        })?;
        let message =
            "this witness is asked for more than it gives; wait as long as the header Retry-After says";
        let everyone = if of == Use::Growth { &self.growth } else { &self.repeats };
        match self.take(everyone.as_ref(), Client::Crowd, message) {
            Ok(()) => Ok(budget),
            Err(limited) => {
                budget.give_back();
                Err(limited)
            }
        }
    }

    /// The log `origin`, if it is known.
    ///
    /// # Errors
    ///
    /// 404, or 403 for one that was known: 404 says that nothing was ever cosigned that could contradict the log.
    pub(crate) fn log(&self, origin: &str) -> Result<Arc<Entry>, Refusal> {
        self.logs.get(origin).ok_or_else(|| match self.slots.get(&origin_hash(origin)) {
            Some(slot) if slot.record().is_some() => Refusal::forgotten(origin),
            _ => Refused::UnknownLog(origin.to_owned()).into(),
        })
    }

    /// Whether what others cause, and the operator should know, is to be logged.
    pub(crate) fn admit_report(&self) -> bool {
        self.reports.take(self.started.elapsed()).is_ok()
    }

    /// The same of a log's contradictions.
    pub(crate) fn admit_evidence(&self, entry: &Entry) -> bool {
        entry.reports.take(self.started.elapsed()).is_ok()
    }

    /// Forgets clients that have been idle long enough.
    pub(crate) fn forget_idle(&self) {
        if let Some(clients) = &self.clients {
            clients.forget_idle(self.started.elapsed());
        }
    }

    fn take(&self, limiter: Option<&Limiter>, client: Client, message: &'static str) -> Result<(), Refusal> {
        let Some(limiter) = limiter else { return Ok(()) };
        limiter.take(client, 1, self.started.elapsed()).map_err(|limited| match limited {
            Limited::After(wait) => Refusal::limited(message, wait),
            Limited::Never => Refusal::limited(message, Duration::from_secs(1)),
        })
    }
}

/// What a browser asks before it lets a page of another site read with unusual headers: reads are open to all.
fn preflight() -> Answer {
    let mut answer = with_status(StatusCode::NO_CONTENT, TEXT, "");
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(ALLOW, HeaderValue::from_static(READS));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("If-None-Match"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}
