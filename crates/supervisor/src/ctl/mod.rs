//! The control interface: supervisord's XML-RPC over HTTP, and its command line client.

mod auth;
pub mod client;
pub mod commands;
mod complete;
pub mod discover;
pub mod fault;
mod follow;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guarded;
mod help;
mod input;
mod interrupt;
mod line;
pub mod method;
mod multicall;
pub mod options;
mod reply;
mod seats;
mod section;
pub mod server;
pub mod shell;
mod status;
pub mod style;
mod topics;
mod trouble;
mod value;
pub mod xmlrpc;

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Bytes;

/// A body, whole or streamed.
type Body = BoxBody<Bytes, std::convert::Infallible>;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}
