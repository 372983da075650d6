//! What a stream begins with, for whatever it asked.

use std::time::Duration;

use super::{ConnectionId, wire};
use crate::hub::{EventId, Interest, Start};

/// The greeting of a stream with this interest.
pub(crate) fn greeting(interest: &Interest) -> Vec<u8> {
    let mut out = Vec::new();
    let start = Start { position: EventId { ms: 1, seq: 2 }, next: 0, reset: None };
    let connection: ConnectionId = "0123456789abcdef".parse().expect("16 digits");
    wire::greet(&mut out, 3000, connection, interest, Duration::from_secs(30), &start);
    out
}
