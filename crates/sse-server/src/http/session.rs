//! The sealed cookie of a session: how it is made, and what is believed of one that comes back.
//!
//! `cookie` of actix-web seals it (AES-256-GCM, the name being part of what is sealed), as actix-session does too. That
//! crate's middleware does not fit: a stream leaves actix before any middleware sees its head, whether a cookie is `Secure`
//! depends on the request, and a session must be revocable.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time};

use super::{State, peer};
use crate::auth::{Login, Session};

/// The cookie's name.
const NAME: &str = "sse_session";

/// The session of a request: of its cookies of this name the first that is whole, not over and not ended.
pub(super) fn of(request: &HttpRequest, login: &Login, now_ms: u64) -> Option<Session> {
    let cookies = request.cookies().ok()?;
    let mut jar = CookieJar::new();
    cookies.iter().filter(|cookie| cookie.name() == NAME).find_map(|cookie| {
        jar.add_original(cookie.clone());
        let opened = jar.private(&key(login)).get(NAME)?;
        opened.value().parse().ok().filter(|session| login.admits(session, now_ms))
    })
}

/// The cookie for a session.
pub(super) fn cookie(
    request: &HttpRequest,
    state: &State,
    login: &Login,
    session: &Session,
) -> Cookie<'static> {
    let plain = common(NAME, session.to_string(), request, state);
    let mut jar = CookieJar::new();
    jar.private_mut(&key(login)).add(plain);
    let mut cookie = jar.get(NAME).cloned().unwrap_or_else(|| Cookie::new(NAME, ""));
    let seconds = i64::try_from(login.session_lifetime_ms() / 1000).unwrap_or(i64::MAX);
    cookie.set_max_age(time::Duration::seconds(seconds));
    cookie
}

/// The cookie that takes a session's away.
pub(super) fn removal(request: &HttpRequest, state: &State) -> Cookie<'static> {
    let mut cookie = common(NAME, String::new(), request, state);
    cookie.set_max_age(time::Duration::ZERO);
    cookie
}

/// No script reads it, no other site sends it with a form, and over TLS it never goes without.
pub(super) fn common(
    name: &'static str,
    value: String,
    request: &HttpRequest,
    state: &State,
) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(peer::is_https(request, &state.config.trusted_proxies))
        .finish()
}

fn key(login: &Login) -> Key {
    Key::from(login.sealing_key())
}
