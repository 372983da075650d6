//! What every answer says to browsers: what they may not make of it, and which other sites may read it.
//!
//! A stream's head is made before it leaves actix, so it asks here too; actix-cors adds its headers to answers that pass
//! through it, which a stream does not.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};

use super::State;

/// What a page of another site may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE");
const HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, Last-Event-ID, Cache-Control");
/// How long a browser need not ask again, in seconds: what most of them allow.
const AGE: HeaderValue = HeaderValue::from_static("7200");
/// What is not a page loads nothing, and nothing is framed.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The origin of the page that asks, if it may read the answer.
pub(super) fn allowed_origin<'a>(headers: &'a HeaderMap, state: &State) -> Option<&'a HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    state.config.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// The headers by which a browser lets a page of another site read the answer; none if no site is named.
pub(super) fn cors(request: &HeaderMap, state: &State) -> Vec<(HeaderName, HeaderValue)> {
    if state.config.cors_origins.is_empty() {
        return Vec::new();
    }
    let mut headers = vec![(VARY, HeaderValue::from_static("Origin"))];
    if let Some(origin) = allowed_origin(request, state) {
        headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After")));
    }
    headers
}

/// The middleware.
pub(crate) async fn headers(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let cors = cors(request.headers(), &state);
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && allowed_origin(request.headers(), &state).is_some();
    let mut response = if is_preflight {
        let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (ACCESS_CONTROL_MAX_AGE, AGE),
        ] {
            response.headers_mut().insert(name, value);
        }
        request.into_response(response)
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    let answer = response.response_mut().headers_mut();
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in
        [(REFERRER_POLICY, HeaderValue::from_static("same-origin")), (CONTENT_SECURITY_POLICY, POLICY)]
    {
        if !answer.contains_key(&name) {
            answer.insert(name, value);
        }
    }
    for (name, value) in cors {
        answer.append(name, value);
    }
    Ok(response)
}
