//! Which request goes where: one `match`, no middleware. What is not spelled exactly so is 404.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use glasslog_http::{
    UnreadBody,
    answer::{TEXT, uncached, wants_problem, with_status},
    serve::Handler,
};
use glasslog_log::Log;
use http::{
    HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE,
    },
};
use hyper::body::{Body, Incoming};
use tokio::sync::watch;

use crate::{
    add::add,
    answer::{Answer, Refusal},
    batch::add_batch,
    checkpoint::PublicCheckpoint,
    config::{Limits, Mount, ServerConfig},
    gate::Gate,
    metrics::{Metrics, Route, SiteMetrics},
    object::ObjectReader,
    openapi,
    outgoing::Outgoing,
    page,
    proof::proof,
    readers::Readers,
    status,
    vindex::{self, Asked},
};

pub(crate) type Request = http::Request<Incoming>;

/// The methods of everything that is read, and of everything that is written.
const READS: &str = "GET, HEAD, OPTIONS";
const WRITES: &str = "POST";

/// What a listener gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The logs.
    Public,
    /// `/metrics` and `/health` alone.
    Metrics,
}

/// A listener's view of the server.
pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    pub(crate) access: Access,
}

impl Handler for Door {
    async fn answer(&self, peer: IpAddr, request: Request, unread_body: &UnreadBody) -> Answer {
        self.app.answer(self.access, peer, request, unread_body).await
    }

    fn connection(&self, open: bool) {
        self.app.metrics.connections.inc_by(if open { 1 } else { -1 });
    }
}

/// Everything that answering a request needs.
pub(crate) struct App {
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    pub(crate) metrics: Metrics,
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) config: ServerConfig,
    /// Longest prefix first.
    sites: Vec<Site>,
    /// Counts what belongs to no log.
    elsewhere: SiteMetrics,
    /// Whether `/metrics` is answered on the public listener.
    public_metrics: bool,
    stop: watch::Receiver<bool>,
}

/// A mounted log.
pub(crate) struct Site {
    pub(crate) log: Log,
    pub(crate) mount: Mount,
    pub(crate) checkpoint: PublicCheckpoint,
    pub(crate) objects: ObjectReader,
    pub(crate) readers: Arc<Readers>,
    pub(crate) metrics: SiteMetrics,
}

impl App {
    pub(crate) fn new(
        config: ServerConfig,
        mut mounts: Vec<Mount>,
        listening: SocketAddr,
        public_metrics: bool,
        stop: watch::Receiver<bool>,
    ) -> App {
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.prefix.len()));
        let metrics =
            Metrics::new(mounts.iter().map(|mount| (mount.label.clone(), mount.log.clone())).collect());
        let sites = mounts
            .into_iter()
            .map(|mount| Site {
                log: mount.log.clone(),
                checkpoint: PublicCheckpoint::of(&mount.log),
                objects: ObjectReader::new(mount.log.clone(), config.limits.cache_bytes),
                readers: Arc::default(),
                metrics: metrics.site(&mount.label),
                mount,
            })
            .collect();
        App {
            limits: config.limits.clone(),
            gate: Gate::new(&config, listening),
            outgoing: Outgoing::new(config.limits.outgoing_bytes),
            elsewhere: metrics.site(""),
            metrics,
            config,
            sites,
            public_metrics,
            stop,
        }
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(
        &self,
        access: Access,
        peer: IpAddr,
        request: Request,
        unread_body: &UnreadBody,
    ) -> Answer {
        let started = Instant::now();
        let has_body = !request.body().is_end_stream();
        let wants_problem = wants_problem(request.headers());
        // A handler takes the whole request; its URI is shared, not copied.
        let uri = request.uri().clone();
        let found = self.find(access, uri.path());
        let route = found.as_ref().map_or(Route::Other, |(_, target)| target.route());
        let site = found.as_ref().and_then(|(site, _)| *site);
        let outcome = match found {
            Some((site, target)) => self.dispatch(site, target, peer, request).await,
            None => Err(Refusal::not_found()),
        };
        let mut answer = outcome.unwrap_or_else(|refusal| {
            if has_body {
                unread_body.note();
            }
            tracing::debug!(%peer, message = %refusal.message, "refused");
            refusal.into_answer(wants_problem)
        });
        // What can be read, pages of every site may read.
        if !route.is_write() {
            answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        site.map_or(&self.elsewhere, |site| &site.metrics).answered(
            route,
            answer.status(),
            started.elapsed(),
        );
        answer
    }

    /// Waits for `work`, for as long as an answer may take.
    ///
    /// # Errors
    ///
    /// 503 when it takes longer.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::time::timeout(self.limits.answer_timeout, work).await.map_err(|_| {
            let message = "the log took too long; ask again. Entries that were sent may have been added: equal bytes \
                           get the same index";
            Refusal::unavailable(message, Duration::from_secs(5))
        })
    }

    /// Returns when the server has been asked to stop.
    pub(crate) async fn stopping(&self) {
        // An error means that the server is gone, which is as good.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Where the world reaches a log, if the server was told its own place.
    pub(crate) fn url_of(&self, site: &Site) -> Option<String> {
        let base = self.config.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{base}{}", site.mount.prefix))
    }

    /// What stands at `path`: things of the whole process first, then those of the log whose prefix is longest.
    fn find<'a>(&'a self, access: Access, path: &'a str) -> Option<(Option<&'a Site>, Target<'a>)> {
        match path {
            "/health" => return Some((None, Target::Health)),
            "/metrics" if access == Access::Metrics || self.public_metrics => {
                return Some((None, Target::Metrics));
            }
            _ if access == Access::Metrics => return None,
            "/openapi.json" => return Some((None, Target::OpenApi)),
            _ => {}
        }
        let below = |site: &'a Site| Some((site, path.strip_prefix(&*site.mount.prefix)?.strip_prefix('/')?));
        match self.sites.iter().find_map(below) {
            Some((site, path)) => Some((Some(site), Target::of(path)?)),
            // Without a log at the root, the root speaks of them all.
            None if path == "/" => Some((None, Target::Page)),
            None if path == "/ready" => Some((None, Target::Ready)),
            None => None,
        }
    }

    async fn dispatch(
        &self,
        site: Option<&Site>,
        target: Target<'_>,
        peer: IpAddr,
        request: Request,
    ) -> Result<Answer, Refusal> {
        let writes = target.route().is_write();
        match *request.method() {
            Method::POST if writes => {}
            Method::GET | Method::HEAD if !writes => {}
            Method::OPTIONS if !writes => return Ok(preflight()),
            _ => return Err(Refusal::method(if writes { WRITES } else { READS })),
        }
        match (target, site) {
            (Target::Add, Some(site)) => add(self, site, peer, request).await,
            (Target::AddBatch, Some(site)) => add_batch(self, site, peer, request).await,
            (Target::Checkpoint, Some(site)) => site.checkpoint.answer(request.headers()),
            (Target::Object(path), Some(site)) => {
                self.in_time(site.objects.answer(path, request.headers())).await?
            }
            (Target::Proof(index), Some(site)) => proof(self, site, peer, request.headers(), index).await,
            (Target::Lookup(asked), Some(site)) => vindex::lookup(self, site, peer, request, asked).await,
            (Target::IndexStats, Some(site)) => vindex::stats::stats(site),
            (Target::LogJson, Some(site)) => Ok(status::log_json(self, site)),
            (Target::Ready, Some(site)) => Ok(status::ready(site)),
            (Target::Ready, None) => Ok(status::all_ready(&self.sites)),
            (Target::Page, Some(site)) => Ok(page::log_page(self, site)),
            (Target::Page, None) => Ok(page::index_page(&self.sites)),
            (Target::Health, _) => Ok(uncached(TEXT, "ok\n")),
            (Target::Metrics, _) => Ok(self.metrics.answer()),
            (Target::OpenApi, _) => Ok(openapi::answer()),
            (_, None) => Err(Refusal::not_found()),
        }
    }
}

impl Site {
    /// # Errors
    ///
    /// 410 when the log is closed for ever.
    pub(crate) fn refuse_if_frozen(&self) -> Result<(), Refusal> {
        match self.mount.frozen {
            true => Err(Refusal::new(
                StatusCode::GONE,
                "this log is closed for ever; its last entry says where it goes on",
            )),
            false => Ok(()),
        }
    }
}

/// What a path names. Paths are compared as they were sent: nothing is decoded, collapsed or trimmed first.
#[derive(Clone, Copy, Debug)]
enum Target<'a> {
    Add,
    AddBatch,
    Checkpoint,
    /// A tile or entry bundle; the path below the log.
    Object(&'a str),
    /// A proof; the index as text.
    Proof(&'a str),
    /// A lookup in the verifiable index, and how the path asks for a key.
    Lookup(Asked<'a>),
    IndexStats,
    LogJson,
    Ready,
    Page,
    Health,
    Metrics,
    OpenApi,
}

impl<'a> Target<'a> {
    /// The target at a path below a log, without the leading slash.
    fn of(path: &'a str) -> Option<Target<'a>> {
        match path {
            "add" => Some(Target::Add),
            "add-batch" => Some(Target::AddBatch),
            "checkpoint" => Some(Target::Checkpoint),
            "log.json" => Some(Target::LogJson),
            "ready" => Some(Target::Ready),
            "vindex/stats" => Some(Target::IndexStats),
            "" => Some(Target::Page),
            _ if path.starts_with("tile/") => Some(Target::Object(path)),
            _ if path.starts_with("vindex/") => Asked::of(path).map(Target::Lookup),
            _ => path.strip_prefix("proof/").map(Target::Proof),
        }
    }

    fn route(self) -> Route {
        match self {
            Target::Add => Route::Add,
            Target::AddBatch => Route::AddBatch,
            Target::Checkpoint => Route::Checkpoint,
            Target::Object(_) => Route::Object,
            Target::Proof(_) => Route::Proof,
            Target::Lookup(_) => Route::Lookup,
            _ => Route::Other,
        }
    }
}

/// What a browser asks before it lets a page of another site read with unusual headers: reads are open to all. There
/// is no such answer for writes, so no page of another site gets to write.
fn preflight() -> Answer {
    let mut answer = with_status(StatusCode::NO_CONTENT, TEXT, "");
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(ALLOW, HeaderValue::from_static(READS));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("If-None-Match, Range"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}
