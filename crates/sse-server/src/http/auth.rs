//! Who calls: from the request to a grant.

use std::time::{Duration, Instant};

use actix_web::http::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use actix_web::{HttpMessage, HttpRequest};

use super::accept::media_ranges;
use super::error::Problem;
use super::time::now_ms;
use super::{State, login};
use crate::auth::Session;
use crate::fanout::Holder;
use crate::hub::Topic;
use crate::hub::grant::Grant;
use crate::metrics::Metrics;

/// Who calls.
pub(super) struct Caller {
    /// What may be done.
    pub(super) grant: Grant,
    /// The session, if it is one.
    pub(super) session: Option<Session>,
    /// Whose grant it is, if it can be withdrawn.
    pub(super) holder: Option<Holder>,
    /// When the grant ends.
    pub(super) until: Option<Instant>,
}

impl Caller {
    fn of_token(grant: Grant) -> Self {
        let holder = Some(Holder::Token(grant.name.as_str().into()));
        Self { grant, session: None, holder, until: None }
    }
}

/// The grant of a publisher: whoever shows the publish token.
pub(super) fn publisher(request: &HttpRequest, state: &State) -> Result<Grant, Problem> {
    token(request, state, "publishing").map(|name| Grant::publisher(&name))
}

/// Whether it is an operator: whoever shows the publish token.
pub(super) fn operator(request: &HttpRequest, state: &State) -> Result<(), Problem> {
    token(request, state, "operating").map(drop)
}

/// Whoever may come in where a login is on: a session, or the publish token.
pub(super) fn anybody(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    if let Some(session) = session(request) {
        return Ok(of_session(session));
    }
    if request.headers().contains_key(AUTHORIZATION) {
        return publisher(request, state).map(Caller::of_token);
    }
    Err(refused(request, state, "this needs a session, which POST /login begins, or a token"))
}

/// The grant of a reader: that of whoever shows one, else what is public.
pub(super) fn reader(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    let stranger = |grant| Ok(Caller { grant, session: None, holder: None, until: None });
    let shows_something = session(request).is_some() || request.headers().contains_key(AUTHORIZATION);
    match &state.config.public_topics {
        // Nobody is asked who it is.
        None if state.login.is_none() => stranger(Grant::open()),
        Some(topics) if !shows_something => stranger(Grant::anonymous(topics.clone())),
        _ => anybody(request, state),
    }
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
    Caller {
        grant: Grant::session(topic),
        session: Some(session),
        holder: Some(login::holder(session)),
        until,
    }
}

/// Whether it is anybody: a session, or the publish token.
pub(super) fn is_known(request: &HttpRequest, state: &State) -> bool {
    let is_in = |session: Session| state.login.as_ref().is_some_and(|login| login.admits(&session, now_ms()));
    session(request).is_some_and(is_in) || matches!(shown_token(request, state), Some(Some(_)))
}

/// The name of the token that is shown.
fn token(request: &HttpRequest, state: &State, what: &str) -> Result<String, Problem> {
    match shown_token(request, state) {
        Some(Some(name)) => Ok(name),
        Some(None) => Err(refused(request, state, "the publish token is wrong")),
        None => {
            let detail = format!("{what} needs the header Authorization: Bearer with the publish token");
            Err(refused(request, state, &detail))
        }
    }
}

/// The name of the token that a request shows, or none if it is wrong, if it shows one.
fn shown_token(request: &HttpRequest, state: &State) -> Option<Option<String>> {
    let shown = request.headers().get(AUTHORIZATION)?.as_bytes();
    let is_bearer = shown.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "));
    let token = if is_bearer { shown[7..].trim_ascii() } else { b"" };
    Some(state.tokens.name_of(token))
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
