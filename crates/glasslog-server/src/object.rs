//! `GET /tile/…`: immutable tiles and entry bundles, exactly as c2sp.org/tlog-tiles has them.
//!
//! A path that is in the cache was canonical when it was put there, so a hit is one look-up by the request's own path
//! and a clone of prepared headers. Only a miss parses the path and touches storage, on the blocking pool.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use glasslog_core::tile::ResourcePath;
use glasslog_http::{
    answer::NOSNIFF,
    etag::{self, etag_matches},
};
use glasslog_log::Log;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
        IF_RANGE, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use quick_cache::{Equivalent, Weighter, sync::Cache};

use crate::{
    add::unanswered,
    answer::{Answer, Refusal},
    encoding::Encoding,
    range::{ByteRange, byte_range},
};

/// A year, the longest that caches honour. A public path has one content for ever (invariant 4).
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The tiles and bundles of one log, those asked for lately in memory.
pub(crate) struct ObjectReader {
    log: Log,
    cache: Cache<Key, Arc<Object>, ByBytes>,
}

/// An object as it is sent: its (encoded) bytes and all headers.
struct Object {
    bytes: Bytes,
    headers: HeaderMap,
}

impl ObjectReader {
    /// Keeps about `cache_bytes` in memory.
    pub(crate) fn new(log: Log, cache_bytes: usize) -> ObjectReader {
        const TYPICAL_OBJECT: usize = 16 << 10;
        let capacity = u64::try_from(cache_bytes).unwrap_or(u64::MAX);
        let cache = Cache::with_weighter((cache_bytes / TYPICAL_OBJECT).max(16), capacity, ByBytes);
        ObjectReader { log, cache }
    }

    /// The answer to a request for `path`, which is as it was sent, without the leading slash.
    ///
    /// # Errors
    ///
    /// 404 when the spelling is not canonical or no checkpoint implied the object, 416 for a range beyond its end,
    /// 503 when storage fails.
    pub(crate) async fn answer(&self, path: &str, request: &HeaderMap) -> Result<Answer, Refusal> {
        let wants_range = request.contains_key(RANGE);
        let encoding = match is_bundle(path) && !wants_range {
            true => Encoding::asked_for(request),
            false => Encoding::Identity,
        };
        let object = match self.cache.get(&LookUp { encoding, path }) {
            Some(object) => object,
            None => self.load(encoding, path).await?,
        };
        if request.contains_key(IF_NONE_MATCH) && etag_matches(request, object.headers.get(ETAG)) {
            return Ok(etag::not_modified(&object.headers));
        }
        if wants_range && if_range_holds(request, &object) {
            return ranged(&object, request);
        }
        Ok(whole(&object))
    }

    /// Reads the object, or waits for the request that is reading it.
    async fn load(&self, encoding: Encoding, path: &str) -> Result<Arc<Object>, Refusal> {
        let resource = ResourcePath::parse(path).map_err(|_| Refusal::not_found())?;
        let key = Key { encoding, path: path.into() };
        let guard = match self.cache.get_value_or_guard_async(&key).await {
            Ok(object) => return Ok(object),
            Err(guard) => guard,
        };
        let log = self.log.clone();
        let fetch = move || -> Result<Object, Refusal> {
            let bytes = log.object(&resource)?.ok_or_else(no_object)?;
            let encoded = key.encoding.compress(&bytes).map_err(|_| unanswered())?;
            Ok(Object::new(&key, encoded))
        };
        let object = Arc::new(tokio::task::spawn_blocking(fetch).await.map_err(|_| unanswered())??);
        // It may have been evicted meanwhile; the answer is as good.
        let _ = guard.insert(object.clone());
        Ok(object)
    }
}

impl Object {
    fn new(key: &Key, bytes: Bytes) -> Object {
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CACHE_CONTROL, IMMUTABLE);
        headers.insert(ETAG, etag::of_bytes(&bytes, key.encoding.tag()));
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if is_bundle(&key.path) {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if let Some(encoding) = key.encoding.header() {
            headers.insert(CONTENT_ENCODING, encoding);
        }
        Object { bytes, headers }
    }
}

/// Hashes do not compress, entries do.
fn is_bundle(path: &str) -> bool {
    path.starts_with("tile/entries/")
}

fn no_object() -> Refusal {
    let message =
        "no checkpoint has implied this tile, or its partial form is gone because the full one exists";
    Refusal::new(StatusCode::NOT_FOUND, message)
}

fn whole(object: &Object) -> Answer {
    let mut answer = Response::new(Full::new(object.bytes.clone()));
    *answer.headers_mut() = object.headers.clone();
    answer
}

fn if_range_holds(request: &HeaderMap, object: &Object) -> bool {
    // Dates never match: objects carry no Last-Modified.
    request.get(IF_RANGE).is_none_or(|condition| Some(condition) == object.headers.get(ETAG))
}

fn ranged(object: &Object, request: &HeaderMap) -> Result<Answer, Refusal> {
    let length = object.bytes.len();
    match byte_range(request, length) {
        ByteRange::Whole => Ok(whole(object)),
        ByteRange::Part { start, end } => {
            let mut answer = whole(object);
            *answer.body_mut() = Full::new(object.bytes.slice(start..end));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{length}", end - 1);
            answer
                .headers_mut()
                .extend(HeaderValue::try_from(range).ok().map(|range| (CONTENT_RANGE, range)));
            Ok(answer)
        }
        ByteRange::Unsatisfiable => {
            let message = format!("the range begins beyond the object's {length} bytes");
            Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message))
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    encoding: Encoding,
    path: Box<str>,
}

/// A [`Key`] that borrows the request's path.
struct LookUp<'a> {
    encoding: Encoding,
    path: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        LookUp { encoding: self.encoding, path: &self.path }.hash(state);
    }
}

impl Hash for LookUp<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.encoding.hash(state);
        self.path.hash(state);
    }
}

impl Equivalent<Key> for LookUp<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.encoding == key.encoding && *self.path == *key.path
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Object>> for ByBytes {
    fn weight(&self, key: &Key, object: &Arc<Object>) -> u64 {
        const HEADERS_AND_TABLES: usize = 1024;
        u64::try_from(object.bytes.len() + key.path.len() + HEADERS_AND_TABLES).unwrap_or(u64::MAX)
    }
}

#[utoipa::path(
    get,
    path = "/tile/{level}/{index}",
    params(
        ("level" = u8, Path, description = "0 to 63"),
        ("index" = String, Path, description = "`000`, `x001/234`, or of a partial tile `x001/234.p/7`"),
    ),
    responses(
        (status = 200, description = "a c2sp.org/tlog-tiles tile: 256 hashes, or as many as a partial tile is wide", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "another spelling, or no checkpoint has implied it", body = String, content_type = "text/plain"),
    ),
)]
#[expect(dead_code, reason = "carries the description; `ObjectReader::answer` answers")]
fn tile() {}

#[utoipa::path(
    get,
    path = "/tile/entries/{index}",
    params(("index" = String, Path, description = "`000`, `x001/234`, or of a partial bundle `x001/234.p/7`")),
    responses(
        (status = 200, description = "a c2sp.org/tlog-tiles entry bundle; gzip or zstd when asked for", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, description = "another spelling, or no checkpoint has implied it", body = String, content_type = "text/plain"),
    ),
)]
#[expect(dead_code, reason = "carries the description; `ObjectReader::answer` answers")]
fn entries() {}
