//! `/openapi.json`: the API described, generated from the annotations on the handlers.

use std::sync::LazyLock;

use bytes::Bytes;
use glasslog_http::answer::{JSON, uncached};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{
    answer::{Answer, Problem},
    status::{DescribedLimits, Description, Readiness},
    vindex::{Anchor, Found, IndexSummary, Rebuild, Statistics},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Glasslog",
        description = "A transparency log: reads are c2sp.org/tlog-tiles exactly. Paths are below the log's own prefix. \
            Refusals are one line of text, or application/problem+json when Accept asks for it.",
        license(name = "Apache-2.0 OR MIT"),
    ),
    paths(
        crate::add::add,
        crate::batch::add_batch,
        crate::checkpoint::checkpoint,
        crate::object::tile,
        crate::object::entries,
        crate::proof::proof,
        crate::vindex::lookup,
        crate::vindex::by_key,
        crate::vindex::by_name,
        crate::vindex::stats::stats,
        crate::status::ready,
        crate::status::log_json,
        health,
        metrics,
        openapi,
        crate::page::log_page,
    ),
    components(schemas(Anchor, Found, IndexSummary, Problem, Rebuild, Statistics, Readiness, Description, DescribedLimits)),
    modifiers(&BearerScheme),
)]
struct Api;

struct BearerScheme;

impl Modify for BearerScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// The description as JSON, with a line feed at its end.
#[must_use]
pub fn openapi_json() -> String {
    // Structures of strings always serialise.
    let mut json = Api::openapi().to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

pub(crate) fn answer() -> Answer {
    static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(openapi_json()));
    uncached(JSON, DESCRIPTION.clone())
}

#[utoipa::path(
    get,
    path = "/health",
    responses((status = 200, description = "the process is alive", body = String, content_type = "text/plain")),
)]
#[expect(dead_code, reason = "carries the description; `App::dispatch` answers")]
fn health() {}

#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text")),
)]
#[expect(dead_code, reason = "carries the description; `Metrics::answer` answers")]
fn metrics() {}

#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "this description", body = Object)),
)]
#[expect(dead_code, reason = "carries the description; `answer` answers")]
fn openapi() {}
