//! Notes each request in the access log, streams when they end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Version;
use actix_web::http::header::USER_AGENT;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest};

use super::{State, peer};
use crate::access_log::{AccessLog, Line};
use crate::fanout::StreamEnd;
use crate::fanout::detach::Detached;

/// The longest part of a request line that is kept.
const REQUEST_CHARS_MAX: usize = 512;

/// Method, target and version of a request.
pub(super) fn request_line(request: &HttpRequest) -> String {
    let version = if request.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut target = request.uri().to_string();
    if let Some((cut, _)) = target.char_indices().nth(REQUEST_CHARS_MAX) {
        target.truncate(cut);
        target.push('…');
    }
    format!("{} {target} {version}", request.method())
}

/// The middleware.
pub(crate) async fn write_access_log(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let began = Instant::now();
    let response = next.call(request).await?;
    let http = response.request();
    let is_stream = response.response().extensions().get::<Detached>().is_some();
    if let Some(state) = http.app_data::<Data<State>>().filter(|_| !is_stream) {
        let bytes = match response.response().body().size() {
            BodySize::Sized(bytes) => bytes,
            _ => 0,
        };
        state.access_log.write(&Line {
            address: peer::of(http, &state.config.trusted_proxies),
            request: &request_line(http),
            status: response.status().as_u16(),
            bytes,
            took: began.elapsed(),
            user_agent: http.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()),
            stream: None,
        });
    }
    Ok(response)
}

/// Notes a stream when it has ended.
#[must_use]
pub fn on_stream_end(access_log: AccessLog) -> Arc<dyn Fn(StreamEnd) + Send + Sync> {
    Arc::new(move |end| {
        let StreamEnd { connection, reason, events, bytes } = end;
        access_log.write(&Line {
            address: connection.address,
            request: &connection.request,
            status: 200,
            bytes,
            took: SystemTime::now().duration_since(connection.connected_at).unwrap_or(Duration::ZERO),
            user_agent: connection.user_agent.as_deref(),
            stream: Some((reason.as_str(), events)),
        });
    })
}
