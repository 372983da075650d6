//! Ends the connection of a request whose body was not wanted, though it has no length and so perhaps no end.
//!
//! actix-http 3.20 closes a connection on which more of a body is to come that nobody reads, but not if the body is in
//! chunks: then it reads on for as long as chunks come, or do not come.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest};
use nix::sys::socket::{Shutdown, shutdown};

use crate::fanout::detach::{self, Detached};

/// How long a client has to take its answer while it still sends, as long as actix gives it for a body with a length.
const LINGER: Duration = Duration::from_secs(1);

/// Connections that are given this time at once, for each takes a second descriptor meanwhile; one more is ended without it.
const LINGERING_MAX: usize = 256;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// The place of a connection that is given time.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        (LINGERING.fetch_add(1, Ordering::Relaxed) < LINGERING_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of this request was read to its end.
#[derive(Debug, Clone, Copy)]
struct Read;

/// Notes that the body was read to its end, so that the connection may be used again.
pub(super) fn was_read(request: &HttpRequest) {
    request.extensions_mut().insert(Read);
}

/// The middleware.
pub(crate) async fn end_unread(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let asked = response.request();
    let has_no_length = asked.headers().contains_key(TRANSFER_ENCODING);
    let is_read = asked.extensions().get::<Read>().is_some();
    let is_stream = response.response().extensions().get::<Detached>().is_some();
    if !has_no_length || is_read || is_stream {
        return Ok(response);
    }
    // At once where the descriptors are gone: who holds them shall not do so for ever.
    match Place::take().map(|place| (place, detach::duplicate(asked))) {
        Some((place, Some(Ok(socket)))) => drop(actix_web::rt::spawn(async move {
            tokio::time::sleep(LINGER).await;
            // Whoever has gone meanwhile needs no end.
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Read);
            drop(place);
        })),
        _ => detach::stop_reading(asked),
    }
    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    Ok(response)
}
