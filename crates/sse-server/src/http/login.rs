//! `/login`, `/logout`, `/login_status`: a page for people, the older JSON for programs.

use std::sync::LazyLock;
use std::time::Duration;

use actix_web::cookie::{Cookie, time::Duration as CookieAge};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::Problem;
use super::publish::{check_plain, content_type, read};
use super::time::now_ms;
use super::{State, auth, peer, session};
use crate::auth::{Attempt, Session};
use crate::fanout::{Fanout, Holder};
use crate::metrics::Metrics;

/// The largest body of a login: a passcode and a return address.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The longest return address.
const NEXT_BYTES_MAX: usize = 1024;
/// Where people go who came for nothing else.
const HOME: &str = "/";
/// The cookie that keeps the way back while somebody logs in, and for how long.
const NEXT: &str = "sse_login_next";
const NEXT_SECONDS: i64 = 600;
/// How often the reactors are asked to end a session's streams if they are too busy to answer.
const END_TRIES: u32 = 20;
const END_PAUSE: Duration = Duration::from_millis(100);

const PAGE: &str = include_str!("../assets/login.html");

/// Nothing but the page's own style and form; no other page frames it.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = PAGE.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let hash = BASE64_STANDARD.encode(Sha256::digest(style.map_or("", |(style, _)| style)));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

#[derive(Serialize)]
struct Done {
    success: bool,
    message: &'static str,
}

#[derive(Serialize)]
struct Refused {
    success: bool,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until_minutes: Option<u64>,
}

#[derive(Serialize)]
struct Status {
    login_enabled: bool,
    authenticated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
}

/// `GET /login`.
pub(super) async fn page(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    if state.login.is_none() {
        return Err(Problem::not_found());
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(request.query_string()).unwrap_or_default();
    let asked = pairs.into_iter().find(|(name, _)| name == "next").map(|(_, next)| next);
    let kept = request.cookie(NEXT).map(|cookie| cookie.value().to_owned());
    let next = asked.or(kept).filter(|next| is_ours(next));
    Ok(html(StatusCode::OK, None, next.as_deref().unwrap_or(HOME)))
}

/// `POST /login`.
pub(super) async fn enter(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let (_, essence) = content_type(&request);
    let is_form = essence == "application/x-www-form-urlencoded";
    let is_person = is_form && auth::names_html(request.headers());
    if auth::is_cross_site(&request, &state) {
        return Ok(refused(StatusCode::FORBIDDEN, "another site may not log anybody in here"));
    }
    if let Err(problem) = check_plain(&request) {
        return Ok(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &problem.to_string()));
    }
    let body =
        tokio::time::timeout(state.config.request_timeout, read(&request, payload, BODY_BYTES_MAX)).await;
    let body = match body {
        Ok(Ok(body)) => String::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned()),
        Ok(Err(problem)) => Err(problem.to_string()),
        Err(_) => Err("the body did not arrive in time".to_owned()),
    };
    let asked = match body.and_then(|body| Asked::parse(&essence, &body)) {
        Ok(asked) => asked,
        Err(error) => return Ok(refused(StatusCode::BAD_REQUEST, &error)),
    };
    let next = asked.next.filter(|next| is_ours(next)).unwrap_or_else(|| HOME.to_owned());
    if state.login.is_none() {
        return Ok(entered(is_person, &next, "Login is not required"));
    }
    let address = peer::of(&request, &state.config.trusted_proxies);
    // It writes to the disk. Whoever hangs up meanwhile has tried all the same.
    let shared = Data::clone(&state);
    let attempt = actix_web::web::block(move || {
        let login = shared.login.as_ref()?;
        Some(login.attempt(address, &asked.passcode, now_ms()))
    });
    let attempt = attempt.await.map_err(|error| Problem::internal(error.to_string()))?;
    let (Some(attempt), Some(login)) = (attempt, &state.login) else { return Err(Problem::not_found()) };
    if attempt != Attempt::Right {
        Metrics::count(&state.metrics.rejected_unauthorized);
        let minutes = state.config.login.as_ref().map_or(Duration::ZERO, |login| login.lockout);
        return Ok(denied(attempt, minutes, is_person.then_some(&*next)));
    }
    let session = login
        .begin(now_ms())
        .map_err(|error| Problem::internal(format!("no random bytes for a session: {error}")))?;
    let mut response = entered(is_person, &next, "Login successful");
    let _ = response.add_cookie(&session::cookie(&request, &state, login, &session));
    if request.cookie(NEXT).is_some() {
        let _ = response.add_cookie(&way_back(&request, &state, String::new(), 0));
    }
    Ok(response)
}

/// `POST /logout`.
pub(super) async fn leave(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    if state.login.is_none() {
        return Err(Problem::not_found());
    }
    if auth::is_cross_site(&request, &state) {
        return Ok(refused(StatusCode::FORBIDDEN, "another site may not log anybody out here"));
    }
    if let Some(session) = auth::session(&request) {
        end(&state, session).await?;
    }
    let is_person = auth::names_html(request.headers());
    let mut response = if is_person {
        see("/login")
    } else {
        fresh(StatusCode::OK).json(Done { success: true, message: "Logged out" })
    };
    let _ = response.add_cookie(&session::removal(&request, &state));
    Ok(response)
}

/// Nobody comes in with it any more, and the streams that it opened end.
async fn end(state: &Data<State>, session: Session) -> Result<(), Problem> {
    let shared = Data::clone(state);
    let ended = actix_web::web::block(move || {
        shared.login.as_ref().map(|login| login.end(&session, now_ms())).unwrap_or_default();
    });
    ended.await.map_err(|error| Problem::internal(error.to_string()))?;
    end_streams(&state.fanout, &holder(session)).await;
    Ok(())
}

/// Who a session is for the streams that it opens.
pub(super) fn holder(session: Session) -> Holder {
    Holder::Session(session.id.to_string().into())
}

/// Ends the streams of somebody whose grant was withdrawn.
pub(crate) async fn end_streams(fanout: &Fanout, holder: &Holder) {
    for _ in 0..END_TRIES {
        if fanout.withdraw(holder).await.is_ok() {
            return;
        }
        tokio::time::sleep(END_PAUSE).await;
    }
    log::error!("the streams of somebody whose grant was withdrawn could not all be closed");
}

/// `GET /login_status`.
pub(super) async fn status(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let session = auth::session(&request);
    let status = Status {
        login_enabled: state.login.is_some(),
        authenticated: state.login.is_none() || auth::is_known(&request, &state),
        session_id: session.map(|session| session.id.to_string()),
    };
    fresh(StatusCode::OK).json(status)
}

/// Another method than these paths have, in the words of these paths.
pub(super) fn only(allow: &'static str) -> HttpResponse {
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allow} is allowed here"));
    response.headers_mut().insert(ALLOW, actix_web::http::header::HeaderValue::from_static(allow));
    response
}

/// The cookie that keeps the way back to what a person asked for without a session.
pub(super) fn way_back_from(request: &HttpRequest, state: &State) -> Option<Cookie<'static>> {
    let next = request.uri().path_and_query().map_or(HOME, |target| target.as_str());
    let encoded = || utf8_percent_encode(next, NON_ALPHANUMERIC).to_string();
    (is_ours(next) && next != HOME).then(|| way_back(request, state, encoded(), NEXT_SECONDS))
}

fn way_back(request: &HttpRequest, state: &State, next: String, seconds: i64) -> Cookie<'static> {
    let mut cookie = session::common(NEXT, next, request, state);
    cookie.set_path("/login");
    cookie.set_max_age(CookieAge::seconds(seconds));
    cookie
}

/// What somebody who logs in says.
#[derive(Debug, PartialEq, Deserialize)]
struct Asked {
    passcode: String,
    next: Option<String>,
}

impl Asked {
    fn parse(essence: &str, body: &str) -> Result<Self, String> {
        match essence {
            "application/json" => serde_json::from_str(body).map_err(|error| error.to_string()),
            "application/x-www-form-urlencoded" => {
                serde_urlencoded::from_str(body).map_err(|error| error.to_string())
            }
            _ => {
                Err("the content type must be application/json or application/x-www-form-urlencoded"
                    .to_owned())
            }
        }
    }
}

/// Whether a return address is a path of this server: no other site, no scheme, nothing that a browser would read as
/// another host.
fn is_ours(next: &str) -> bool {
    let is_plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let path = next.split(['?', '#']).next().unwrap_or_default();
    next.starts_with('/')
        && !next.starts_with("//")
        && is_plain
        && next.len() <= NEXT_BYTES_MAX
        && !matches!(path, "/login" | "/logout")
}

fn fresh(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}

fn see(place: &str) -> HttpResponse {
    fresh(StatusCode::SEE_OTHER).insert_header((LOCATION, place)).finish()
}

fn entered(is_person: bool, next: &str, message: &'static str) -> HttpResponse {
    if is_person { see(next) } else { fresh(StatusCode::OK).json(Done { success: true, message }) }
}

fn refused(status: StatusCode, error: &str) -> HttpResponse {
    let body = Refused {
        success: false,
        error: error.to_owned(),
        remaining_attempts: None,
        locked_until_minutes: None,
    };
    fresh(status).json(body)
}

/// The answer to an attempt that failed; `next`: where a person wanted to go.
fn denied(attempt: Attempt, lockout: Duration, next: Option<&str>) -> HttpResponse {
    let (status, error, remaining_attempts, wait) = match attempt {
        Attempt::Wrong { remaining } => {
            let left = remaining.map_or_else(String::new, |n| match n {
                0 => format!(", and this address has to wait {} minutes now", lockout.as_secs().div_ceil(60)),
                1 => ", 1 attempt is left".to_owned(),
                n => format!(", {n} attempts are left"),
            });
            (StatusCode::UNAUTHORIZED, format!("the passcode is wrong{left}"), remaining, None)
        }
        Attempt::Locked { for_ms } => {
            let minutes = for_ms.div_ceil(60_000);
            let error =
                format!("too many wrong passcodes came from this address: try again in {minutes} minutes");
            (StatusCode::TOO_MANY_REQUESTS, error, None, Some(Duration::from_millis(for_ms)))
        }
        Attempt::Full | Attempt::Right => {
            let error = "wrong passcodes came from too many addresses: try again later".to_owned();
            (StatusCode::TOO_MANY_REQUESTS, error, None, Some(lockout))
        }
    };
    let mut response = match next {
        Some(next) => html(status, Some(&error), next),
        None => fresh(status).json(Refused {
            success: false,
            error,
            remaining_attempts,
            locked_until_minutes: wait.map(|wait| wait.as_secs().div_ceil(60).max(1)),
        }),
    };
    if let Some(wait) = wait {
        let seconds = wait.as_millis().div_ceil(1000).to_string();
        if let Ok(value) = seconds.parse() {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
    }
    response
}

fn html(status: StatusCode, error: Option<&str>, next: &str) -> HttpResponse {
    let message =
        error.map_or_else(String::new, |error| format!("<p role=\"alert\">{}</p>\n", escaped(error)));
    fresh(status)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .content_type("text/html; charset=utf-8")
        .body(PAGE.replace("{next}", &escaped(next)).replace("{message}", &message))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attack: a link to the login sends whoever follows it to another site afterwards.
    #[test]
    fn return_address_is_a_path_of_this_server_or_nothing() {
        for next in ["/", "/sse/dashboard", "/sse/test?topic=a&b=//x", "/a/https://b", "/a#b"] {
            assert!(is_ours(next), "{next}");
        }
        let long = format!("/{}", "x".repeat(NEXT_BYTES_MAX));
        for next in [
            "",
            "x",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "///evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a b",
            " //evil.example",
            "/ü",
            "javascript:alert(1)",
            "/a\r\nb: c",
            "/login",
            "/logout",
            "/login?next=/a",
            "/logout#x",
            &long,
        ] {
            assert!(!is_ours(next), "{next:?}");
        }
    }

    /// The attack: the return address, which anybody can put into a link, writes into the page.
    #[test]
    fn page_holds_the_return_address_as_text() {
        assert_eq!(escaped("/\"><script>'&"), "/&quot;&gt;&lt;script&gt;&#39;&amp;");
        assert_eq!(PAGE.matches("{next}").count(), 1);
        assert_eq!(PAGE.matches("{message}").count(), 1);
        assert!(POLICY.starts_with("default-src 'none'; style-src 'sha256-"), "{}", *POLICY);
    }

    #[test]
    fn login_is_json_or_a_form_and_anything_else_is_told() {
        let asked =
            |next: Option<&str>| Asked { passcode: "x".to_owned(), next: next.map(ToOwned::to_owned) };
        assert_eq!(Asked::parse("application/json", r#"{"passcode":"x"}"#), Ok(asked(None)));
        let form = "application/x-www-form-urlencoded";
        assert_eq!(Asked::parse(form, "passcode=x&next=%2Fa"), Ok(asked(Some("/a"))));
        assert_eq!(Asked::parse(form, "next=%2Fa"), Err("missing field `passcode`".to_owned()));
        assert_eq!(
            Asked::parse("text/plain", "x"),
            Err("the content type must be application/json or application/x-www-form-urlencoded".to_owned())
        );
    }
}
