//! The control interface as clients meet it: whole, clumsy and hostile ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attacks;
mod calls;
mod daemon;
mod http;
mod limits;
mod server;
mod status;
mod wire;
