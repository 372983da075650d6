//! Streams on real sockets: what a reader gets, byte for byte, and what a bad reader costs the others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod busy;
mod detach;
mod drain;
mod fetching;
mod gathering;
mod gzip;
mod heartbeat;
mod held;
mod hub;
mod opening;
mod operator;
mod restart;
mod slow;
