//! Every status code that is an error, as `application/problem+json`.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

/// Why a request is not answered as it asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    /// The cookie that a redirection sets.
    cookie: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None, allow: None, cookie: None }
    }

    /// 400: the request is malformed.
    pub(in crate::http) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: no token, or a wrong one.
    pub(in crate::http) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 303: a person may log in, and come back by this cookie.
    pub(in crate::http) fn login_first(cookie: Option<String>) -> Self {
        Self { cookie, ..Self::new(StatusCode::SEE_OTHER, "this needs a session: log in first") }
    }

    /// 403: known, but not allowed.
    pub(in crate::http) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is nothing.
    pub(in crate::http) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    /// 404: there may be something like it, but not this.
    pub(in crate::http) fn no_such(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405: there is something, but not for this method.
    pub(in crate::http) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("only {allow} is allowed here");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// 406: the client takes no event stream.
    pub(in crate::http) fn not_acceptable() -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "the answer is text/event-stream, which the Accept header excludes",
        )
    }

    /// 408: the body did not come in time.
    pub(in crate::http) fn timeout(limit: Duration) -> Self {
        let detail = format!("the request did not arrive within {} s", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// 413: too much.
    pub(in crate::http) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415: not a format that is read.
    pub(in crate::http) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 429: too often, or too many of one address.
    pub(in crate::http) fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(seconds(retry_after)), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// 500: our own mistake.
    pub(in crate::http) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// 503: not now.
    pub(in crate::http) fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(seconds(retry_after)), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }
}

/// Whole seconds, at least one: a client that comes back too early is refused again.
fn seconds(time: Duration) -> u64 {
    (time.as_millis().div_ceil(1000) as u64).max(1)
}

/// The title of a status (RFC 9110).
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        status => status.canonical_reason().unwrap_or("Error"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let body = Body {
            r#type: "about:blank",
            title: title(self.status),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let mut response = HttpResponse::build(self.status);
        response
            .insert_header((CONTENT_TYPE, "application/problem+json"))
            .insert_header((CACHE_CONTROL, "no-store"));
        if self.status == StatusCode::SEE_OTHER {
            response.insert_header((LOCATION, "/login"));
        }
        if let Some(cookie) = &self.cookie {
            response.insert_header((SET_COOKIE, cookie.as_str()));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"publish\""));
        }
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}
