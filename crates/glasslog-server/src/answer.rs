//! Answers: the plain ones, and refusals in one line of text or as `application/problem+json` (RFC 9457).

use std::{borrow::Cow, time::Duration};

pub(crate) use glasslog_http::answer::Answer;
use glasslog_http::{
    answer::{TEXT, json_with_status, one_line, whole_seconds, with_status},
    body::BodyError,
};
use glasslog_log::{AddError, EntryError, IndexReadError, ReadError};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::readers::Unanswered;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A request that is not done: what was wrong and what to do, in one line.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    /// When to try again, rounded up to whole seconds.
    pub(crate) retry_after: Option<Duration>,
    /// The methods that the path has (405).
    pub(crate) allow: Option<&'static str>,
    /// The entry as it would be accepted, when only its spelling differs (422).
    pub(crate) canonical: Option<Vec<u8>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, message: message.into(), retry_after: None, allow: None, canonical: None }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found() -> Refusal {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "nothing is here; paths are as c2sp.org/tlog-tiles and /openapi.json spell them",
        )
    }

    pub(crate) fn method(allow: &'static str) -> Refusal {
        let message = "this path does not have that method; those it has are named in the header Allow";
        Refusal { allow: Some(allow), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Refusal {
        Refusal { retry_after: Some(retry_after), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// The same, saying which line of a batch it is about, counted from 1.
    pub(crate) fn at_line(mut self, line: usize) -> Refusal {
        self.message = format!("line {line}: {}", self.message).into();
        self
    }

    /// The answer: a line of text, or a problem document.
    pub(crate) fn into_answer(self, as_problem: bool) -> Answer {
        let mut answer = if as_problem {
            let mut answer = json_with_status(self.status, &self.problem());
            answer.headers_mut().insert(CONTENT_TYPE, PROBLEM);
            answer
        } else {
            with_status(self.status, TEXT, self.text())
        };
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }

    fn text(&self) -> String {
        let hint = match self.canonical {
            Some(_) => "; ask with `Accept: application/problem+json` to be told the canonical form",
            None => "",
        };
        format!("{}{hint}\n", one_line(&self.message))
    }

    fn problem(&self) -> Problem {
        Problem {
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: one_line(&self.message),
            canonical: self.canonical.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

/// A refusal as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What was wrong and what to do.
    detail: String,
    /// The entry as it would be accepted, when only its spelling differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical: Option<String>,
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        Refusal::new(error.status(), error.to_string())
    }
}

impl From<EntryError> for Refusal {
    fn from(error: EntryError) -> Refusal {
        let status = match &error {
            EntryError::Empty => StatusCode::BAD_REQUEST,
            EntryError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let message = error.to_string();
        let canonical = match error {
            EntryError::Schema(invalid) => invalid.canonical,
            _ => None,
        };
        Refusal { canonical, ..Refusal::new(status, message) }
    }
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Refusal {
        match error {
            AddError::PushBack { retry_after, .. } => Refusal::unavailable(error.to_string(), retry_after),
            AddError::Changed { latest, .. } => {
                let message = format!(
                    "nothing was added: the entry's identity has a newer entry with other bytes at index {latest}; \
                     fetch the source again"
                );
                Refusal::new(StatusCode::PRECONDITION_FAILED, message)
            }
            AddError::Stopped(_) => Refusal::unavailable(error.to_string(), Duration::from_secs(30)),
        }
    }
}

impl From<Unanswered> for Refusal {
    fn from(_: Unanswered) -> Refusal {
        Refusal::unavailable("the log gave no answer to this; ask again", Duration::from_secs(1))
    }
}

impl From<IndexReadError> for Refusal {
    fn from(error: IndexReadError) -> Refusal {
        match error {
            IndexReadError::Read(error) => error.into(),
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "a lookup failed");
                let message = "the index cannot be read now; the log's operator has been told";
                Refusal::unavailable(message, Duration::from_secs(10))
            }
        }
    }
}

impl From<ReadError> for Refusal {
    /// What is stored cannot be read or contradicts the signed root: the log's trouble, told to the operator in
    /// the log and to the client as "not now".
    fn from(error: ReadError) -> Refusal {
        tracing::error!(error = &error as &dyn std::error::Error, "a read failed");
        Refusal::unavailable(
            "the log cannot read its storage now; its operator has been told",
            Duration::from_secs(10),
        )
    }
}
