//! Who calls: from the request to a grant.

use std::time::{Duration, Instant};

use actix_web::http::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use actix_web::{HttpMessage, HttpRequest};
use subtle::ConstantTimeEq;

use super::accept::media_ranges;
use super::error::Problem;
use super::time::now_ms;
use super::{State, login};
use crate::auth::Session;
use crate::hub::Topic;
use crate::hub::grant::Grant;
use crate::metrics::Metrics;

/// Who calls.
pub(super) struct Caller {
    /// What may be done.
    pub(super) grant: Grant,
    /// The session, if it is one.
    pub(super) session: Option<Session>,
    /// When the grant ends.
    pub(super) until: Option<Instant>,
}

impl Caller {
    fn unlimited(grant: Grant) -> Self {
        Self { grant, session: None, until: None }
    }
}

/// The grant of a publisher: whoever shows the publish token.
pub(super) fn publisher(request: &HttpRequest, state: &State) -> Result<Grant, Problem> {
    token(request, state, "publishing")?;
    Ok(Grant::publisher("token"))
}

/// Whether it is an operator: whoever shows the publish token.
pub(super) fn operator(request: &HttpRequest, state: &State) -> Result<(), Problem> {
    token(request, state, "operating")
}

/// Whoever may come in where a login is on: a session, or the publish token.
pub(super) fn anybody(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    if let Some(session) = session(request) {
        return Ok(of_session(session));
    }
    if request.headers().contains_key(AUTHORIZATION) {
        return publisher(request, state).map(Caller::unlimited);
    }
    Err(refused(request, state, "this needs a session, which POST /login begins, or a token"))
}

/// The grant of a reader: where nobody has to log in, anybody may read every topic.
pub(super) fn reader(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    if state.login.is_none() { Ok(Caller::unlimited(Grant::open())) } else { anybody(request, state) }
}

/// The session that the gate has found.
pub(super) fn session(request: &HttpRequest) -> Option<Session> {
    request.extensions().get::<Session>().copied()
}

fn of_session(session: Session) -> Caller {
    let topic = Topic::parse(&session.id.topic()).expect("digits are a topic");
    let left = Duration::from_millis(session.until_ms.saturating_sub(now_ms()));
    // Beyond what the clock can count it does not end.
    let until = Instant::now().checked_add(left);
    Caller { grant: Grant::session(topic), session: Some(session), until }
}

/// Whether it is anybody: a session, or the publish token.
pub(super) fn is_known(request: &HttpRequest, state: &State) -> bool {
    session(request).is_some() || shows_token(request, state) == Some(true)
}

fn token(request: &HttpRequest, state: &State, what: &str) -> Result<(), Problem> {
    match shows_token(request, state) {
        Some(true) => Ok(()),
        Some(false) => Err(refused(request, state, "the publish token is wrong")),
        None => {
            let detail = format!("{what} needs the header Authorization: Bearer with the publish token");
            Err(refused(request, state, &detail))
        }
    }
}

/// Whether the token that a request shows is right, if it shows one.
fn shows_token(request: &HttpRequest, state: &State) -> Option<bool> {
    let shown = request.headers().get(AUTHORIZATION)?.as_bytes();
    let is_bearer = shown.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "));
    let token = if is_bearer { shown[7..].trim_ascii() } else { b"" };
    // The time it takes says nothing about where they differ.
    Some(bool::from(token.ct_eq(state.publish_token.as_bytes())))
}

/// A person at a browser who may log in is shown where; everybody else is told.
fn refused(request: &HttpRequest, state: &State, detail: &str) -> Problem {
    if state.login.is_some() && session(request).is_none() && names_html(request.headers()) {
        return Problem::login_first(login::way_back_from(request, state).map(|cookie| cookie.to_string()));
    }
    Metrics::count(&state.metrics.rejected_unauthorized);
    Problem::unauthorized(detail)
}

/// Whether the Accept header names `text/html` itself, as every browser does when a person follows a link.
pub(super) fn names_html(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(ACCEPT).filter_map(media_ranges).flatten();
    ranges.any(|(range, quality)| range == "text/html" && quality > 0.0)
}
