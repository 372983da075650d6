//! The control interface: supervisord's XML-RPC over HTTP, and its command line client.

mod auth;
pub mod client;
pub mod commands;
pub mod discover;
pub mod fault;
mod follow;
mod guarded;
mod help;
pub mod method;
mod multicall;
mod reply;
mod seats;
pub mod server;
pub mod xmlrpc;

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Bytes;

/// A body, whole or streamed.
type Body = BoxBody<Bytes, std::convert::Infallible>;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}
