//! Takes the socket of an accepted request out of actix.
//!
//! `on_connect` notes the descriptor of each new connection (`listen_uds` runs that hook, `bind_uds` of
//! actix-web 4.18 does not). A handler duplicates it, hands the duplicate to a reactor and answers with
//! [`Detached`]: actix-http 3.20 polls that body before it writes anything of the response, takes its
//! error for the end of the connection, and closes its own descriptor without a byte on the wire. It logs
//! [`DETACHED`] as an error of `actix_http::h1::dispatcher`, which the logger leaves out.

use std::any::Any;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Extensions;
use actix_web::rt::net::{TcpStream, UnixStream};
use actix_web::web::Bytes;
use nix::sys::socket::{Shutdown, shutdown};

/// What actix-http logs at each detachment, to be left out of the log.
pub const DETACHED: &str = "Response payload stream error: Detached";

/// The plain socket under a connection, noted when it was accepted. `Copy` number, not a handle: valid
/// while actix serves a request of that connection, which is when handlers see it.
#[derive(Debug, Clone, Copy)]
struct Socket(RawFd);

/// For `HttpServer::on_connect`: notes the socket of a plain TCP or unix connection.
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let socket = if let Some(tcp) = connection.downcast_ref::<TcpStream>() {
        // A round is one write, and must not wait for the acknowledgement of the one before.
        let _ = tcp.set_nodelay(true);
        Some(tcp.as_raw_fd())
    } else {
        connection.downcast_ref::<UnixStream>().map(AsRawFd::as_raw_fd)
    };
    if let Some(socket) = socket {
        data.insert(Socket(socket));
    }
}

/// A second descriptor of the socket that this request came in on; `None` if the connection is not a
/// plain socket, and then the stream has to be an ordinary body.
pub fn duplicate(request: &actix_web::HttpRequest) -> Option<io::Result<OwnedFd>> {
    let Socket(socket) = *request.conn_data::<Socket>()?;
    // SAFETY: the request is still being served, so actix holds the connection and its descriptor open;
    // the borrow ends within this call.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    Some(socket.try_clone_to_owned())
}

/// Ends what this request's client sends, without a second descriptor.
pub fn stop_reading(request: &actix_web::HttpRequest) {
    if let Some(Socket(socket)) = request.conn_data::<Socket>() {
        // Whoever has gone meanwhile needs no end.
        let _ = shutdown(*socket, Shutdown::Read);
    }
}

/// The body of a response whose socket was handed to a reactor.
#[derive(Debug, Clone, Copy)]
pub struct Detached;

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the socket was handed to a reactor")
    }
}

impl std::error::Error for Detached {}

impl MessageBody for Detached {
    type Error = Self;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self>>> {
        Poll::Ready(Some(Err(Self)))
    }
}
