//! The paths beside `/sse` and `/sse/publish`, answered by the real binary: whole answers, real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod assets;
mod behind_nginx;
mod connections;
mod dashboard;
mod events;
mod front;
mod headers;
mod idle;
mod jwt;
mod login;
mod public;
mod server;
mod smuggling;
mod tokens;
