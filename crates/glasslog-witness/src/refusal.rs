//! What is answered when nothing is: the one place where a verdict becomes a status.

use std::{borrow::Cow, time::Duration};

use glasslog_core::{
    TreeSize,
    note::SignError,
    witness::{AddCheckpointError, SIZE_CONTENT_TYPE, size_body},
};
use glasslog_http::{
    answer::{Answer, TEXT, one_line, whole_seconds, with_status},
    body::BodyError,
};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};

use crate::{decide::Refused, metrics::Outcome};

/// A request that is not done: what was wrong and what to do, in one line.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) outcome: Outcome,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    /// Of a 409, the size that is the whole answer.
    held: Option<TreeSize>,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        outcome: Outcome,
        message: impl Into<Cow<'static, str>>,
    ) -> Refusal {
        Refusal { status, message: message.into(), outcome, retry_after: None, allow: None, held: None }
    }

    pub(crate) fn not_found() -> Refusal {
        let message = "nothing is here; paths are as c2sp.org/tlog-witness spells them";
        Refusal::new(StatusCode::NOT_FOUND, Outcome::Malformed, message)
    }

    pub(crate) fn method(allow: &'static str) -> Refusal {
        let message = "this path does not have that method; those it has are named in the header Allow";
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Outcome::Malformed, message);
        Refusal { allow: Some(allow), ..refusal }
    }

    pub(crate) fn disabled(origin: &str) -> Refusal {
        let message = format!("the operator of this witness has refused the log {origin:?}");
        Refusal::new(StatusCode::FORBIDDEN, Outcome::Disabled, message)
    }

    pub(crate) fn forgotten(origin: &str) -> Refusal {
        let message = format!("this witness has cosigned the log {origin:?}, and knows no key of it now");
        Refusal::new(StatusCode::FORBIDDEN, Outcome::UnknownLog, message)
    }

    pub(crate) fn limited(message: &'static str, retry_after: Duration) -> Refusal {
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Outcome::Limited, message);
        Refusal { retry_after: Some(retry_after), ..refusal }
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Refusal {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Outcome::Unavailable, message);
        Refusal { retry_after: Some(retry_after), ..refusal }
    }

    /// A key that cannot be used; the operator is told why.
    pub(crate) fn cannot_cosign(error: &SignError) -> Refusal {
        tracing::error!(%error, "cannot cosign");
        let message = "a key of this witness cannot be used now; its operator has been told";
        Refusal::unavailable(message, Duration::from_secs(10))
    }

    pub(crate) fn stopping() -> Refusal {
        Refusal::unavailable(
            "this witness is stopping; nothing that was sent has been cosigned",
            Duration::from_secs(5),
        )
    }

    pub(crate) fn into_answer(self) -> Answer {
        if let Some(held) = self.held {
            // "The response MUST have a `Content-Type` of `text/x.tlog.size`."
            return with_status(self.status, HeaderValue::from_static(SIZE_CONTENT_TYPE), size_body(held));
        }
        let mut answer = with_status(self.status, TEXT, format!("{}\n", one_line(&self.message)));
        let headers = answer.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let status = match &refused {
            Refused::Malformed(_) | Refused::OldAboveNew { .. } => StatusCode::BAD_REQUEST,
            Refused::UnknownLog(_) => StatusCode::NOT_FOUND,
            Refused::NotSigned(_) => StatusCode::FORBIDDEN,
            Refused::Conflict { .. } => StatusCode::CONFLICT,
            Refused::EmptyRoot | Refused::Inconsistent { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let held = match &refused {
            Refused::Conflict { held, .. } => Some(*held),
            _ => None,
        };
        Refusal { held, ..Refusal::new(status, Outcome::from(&refused), refused.to_string()) }
    }
}

impl From<AddCheckpointError> for Refusal {
    fn from(error: AddCheckpointError) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, Outcome::Malformed, error.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        Refusal::new(error.status(), Outcome::Malformed, error.to_string())
    }
}
