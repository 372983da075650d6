//! Where a login is on, nothing is answered but to a session or a token; whatever is not named here needs one.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, ResponseError};

use super::{Scope, State, auth, session, time};
use crate::fanout::detach::Detached;

/// Open to everybody: probes, and the way in and out.
const OPEN: [&str; 6] =
    ["/sse/health", "/sse/health/live", "/sse/health/ready", "/login", "/logout", "/login_status"];

/// These ask by themselves, because a draining server answers before it asks who it is, and some topics may be public.
const ASK_THEMSELVES: [&str; 4] = ["/sse", "/events", "/sse/publish", "/events/broadcast"];

/// The middleware. A session that it finds is in the request's extensions.
pub(crate) async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = request.app_data::<Data<State>>().cloned();
    let is_here = request.app_data::<Scope>() == Some(&Scope::All);
    let Some((state, login)) = state.as_ref().filter(|_| is_here).and_then(|s| Some((s, s.login.as_ref()?)))
    else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let now_ms = time::now_ms();
    let found = session::of(request.request(), login, now_ms);
    if let Some(session) = found {
        request.extensions_mut().insert(session);
    }
    let path = request.path();
    if !OPEN.contains(&path)
        && !ASK_THEMSELVES.contains(&path)
        && let Err(problem) = auth::anybody(request.request(), state)
    {
        return Ok(request.into_response(problem.error_response()));
    }
    let is_logout = path == "/logout";
    let mut response = next.call(request).await?.map_into_boxed_body();
    // A stream's head is made already, with its cookie in it.
    let is_stream = response.response().extensions().get::<Detached>().is_some();
    if let Some(renewed) = found.filter(|_| !is_logout && !is_stream).and_then(|s| login.renew(&s, now_ms)) {
        let cookie = session::cookie(response.request(), state, login, &renewed);
        let _ = response.response_mut().add_cookie(&cookie);
    }
    Ok(response)
}
