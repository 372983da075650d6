//! Who calls: from the request to a grant.

use std::time::{Duration, Instant};

use actix_web::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, ORIGIN};
use actix_web::{HttpMessage, HttpRequest};

use super::accept::media_ranges;
use super::error::Problem;
use super::time::now_ms;
use super::{State, headers, login};
use crate::auth::Session;
use crate::auth::jwt::Granted;
use crate::auth::tokens::Publisher;
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
    fn of_token(publisher: &Publisher) -> Self {
        let grant = publisher.grant();
        let holder = Some(Holder::Token(grant.name.as_str().into()));
        Self { grant, session: None, holder, until: None }
    }
}

/// The cookie that a browser's signed token comes in.
const TOKEN_COOKIE: &str = "sse_token";

/// The grant of a publisher: whoever shows the publish token, or a signed one.
pub(super) fn publisher(request: &HttpRequest, state: &State) -> Result<Grant, Problem> {
    if let Some(found) = signed(request, state) {
        let (caller, is_cookie) = found?;
        if is_cookie
            && !is_same_origin(request)
            && headers::allowed_origin(request.headers(), state).is_none()
        {
            Metrics::count(&state.metrics.rejected_unauthorized);
            let detail = "a publish with the cookie sse_token must come from a page of this server itself, or of SSE_CORS_ORIGINS";
            return Err(Problem::forbidden(detail));
        }
        return Ok(caller.grant);
    }
    token(request, state, "publishing").map(|publisher| publisher.grant())
}

/// Whether it is an operator: whoever shows a publish token that is for no topics alone.
pub(super) fn operator(request: &HttpRequest, state: &State) -> Result<(), Problem> {
    let publisher = token(request, state, "operating")?;
    if publisher.operates() {
        return Ok(());
    }
    Metrics::count(&state.metrics.rejected_unauthorized);
    Err(Problem::forbidden("this token is for its topics alone, and operating needs one without topics"))
}

/// Whoever may come in where somebody is asked who it is: a session, the publish token, or a signed one. A token that is
/// shown on purpose counts before a cookie.
pub(super) fn anybody(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    if let Some(session) = session(request).filter(|_| !shows_bearer(request)) {
        return Ok(of_session(session));
    }
    if let Some(found) = signed(request, state) {
        return found.map(|(caller, _)| caller);
    }
    if shows_bearer(request) {
        return token(request, state, "this").map(|publisher| Caller::of_token(&publisher));
    }
    Err(refused(request, state, "this needs a session, which POST /login begins, or a token"))
}

/// The grant of a reader: that of whoever shows one, else what is public.
pub(super) fn reader(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    let stranger = |grant| Ok(Caller { grant, session: None, holder: None, until: None });
    match &state.config.public_topics {
        // Nobody is asked who it is.
        None if state.login.is_none() && state.jwt.is_none() => stranger(Grant::open()),
        None => anybody(request, state),
        Some(_) if shows_bearer(request) => anybody(request, state),
        // Whoever was logged out meanwhile, or whose cookie is over, is a stranger.
        Some(topics) => {
            match session(request).map(of_session).or_else(|| Some(signed(request, state)?.ok()?.0)) {
                Some(caller) => Ok(caller),
                None => stranger(Grant::anonymous(topics.clone())),
            }
        }
    }
}

/// What a signed token grants, if one is shown, and whether it came as a cookie.
fn signed(request: &HttpRequest, state: &State) -> Option<Result<(Caller, bool), Problem>> {
    let jwt = state.jwt.as_ref()?;
    let (token, is_cookie) = match request.headers().get(AUTHORIZATION).filter(|_| shows_bearer(request)) {
        Some(value) => {
            let token = std::str::from_utf8(bearer(value.as_bytes())).unwrap_or_default();
            // A publish token is none, and has its own words.
            if state.tokens.find(token.as_bytes()).is_some() || token.split('.').count() != 3 {
                return None;
            }
            (token.to_owned(), false)
        }
        None => (request.cookie(TOKEN_COOKIE)?.value().to_owned(), true),
    };
    let granted = jwt.read().verify(&token, now_ms());
    Some(match granted {
        Ok(Granted { grant, until_ms }) => {
            Ok((Caller { grant, session: None, holder: None, until: moment(until_ms) }, is_cookie))
        }
        Err(why) => Err(refused(request, state, &why.to_string())),
    })
}

/// Whether a page of this server has made the request: browsers say so, and no page can have them say otherwise.
fn is_same_origin(request: &HttpRequest) -> bool {
    if let Some(site) = request.headers().get("sec-fetch-site") {
        return site.as_bytes() == b"same-origin";
    }
    names_own_host(request)
}

/// Whether the origin of the page that asks has the host that is asked.
fn names_own_host(request: &HttpRequest) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let origin = text("origin").and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    origin.zip(text("host")).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// Whether a page of another site has made the request. Over plain HTTP browsers tell its origin alone.
pub(super) fn is_cross_site(request: &HttpRequest, state: &State) -> bool {
    match request.headers().get("sec-fetch-site") {
        Some(site) => site.as_bytes() == b"cross-site",
        None => {
            request.headers().contains_key(ORIGIN)
                && !names_own_host(request)
                && headers::allowed_origin(request.headers(), state).is_none()
        }
    }
}

/// The session that the gate has found.
pub(super) fn session(request: &HttpRequest) -> Option<Session> {
    request.extensions().get::<Session>().copied()
}

fn of_session(session: Session) -> Caller {
    let topic = Topic::parse(&session.id.topic()).expect("digits are a topic");
    let until = moment(session.until_ms);
    Caller {
        grant: Grant::session(topic),
        session: Some(session),
        holder: Some(login::holder(session)),
        until,
    }
}

/// A time on the clock that never goes back; `None` beyond what it can count.
fn moment(until_ms: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(until_ms.saturating_sub(now_ms())))
}

/// Whether the grant that a caller was given can still be had, if it can be withdrawn.
pub(super) fn still_holds(request: &HttpRequest, state: &State, caller: &Caller) -> bool {
    match (&caller.holder, caller.session, &state.login) {
        (Some(Holder::Session(_)), Some(session), Some(login)) => login.admits(&session, now_ms()),
        (Some(Holder::Token(_)), ..) => {
            shown_token(request, state).flatten().is_some_and(|publisher| publisher.grant() == caller.grant)
        }
        _ => true,
    }
}

/// Whether it is anybody: a session, or a token.
pub(super) fn is_known(request: &HttpRequest, state: &State) -> bool {
    session(request).is_some()
        || matches!(shown_token(request, state), Some(Some(_)))
        || matches!(signed(request, state), Some(Ok(_)))
}

/// Whose token is shown.
fn token(request: &HttpRequest, state: &State, what: &str) -> Result<Publisher, Problem> {
    match shown_token(request, state) {
        Some(Some(publisher)) => Ok(publisher),
        Some(None) => Err(refused(request, state, "the publish token is wrong")),
        None => {
            let detail = format!("{what} needs the header Authorization: Bearer with the publish token");
            Err(refused(request, state, &detail))
        }
    }
}

/// Whose token a request shows, or nobody's if it is wrong, if it shows one.
fn shown_token(request: &HttpRequest, state: &State) -> Option<Option<Publisher>> {
    Some(state.tokens.find(bearer(request.headers().get(AUTHORIZATION)?.as_bytes())))
}

/// Whether a token is shown on purpose. What else a browser sends along, such as the password of a proxy in front, is
/// not for this server.
fn shows_bearer(request: &HttpRequest) -> bool {
    let value = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes().to_ascii_lowercase());
    value.is_some_and(|value| value.starts_with(b"bearer "))
}

/// What a header says after `Bearer`; nothing if it says something else.
fn bearer(value: &[u8]) -> &[u8] {
    let is_bearer = value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Bearer "));
    if is_bearer { value[7..].trim_ascii() } else { b"" }
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
