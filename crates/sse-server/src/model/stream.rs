//! A stream: on its way to a reader, in its hands, and ended.

use std::sync::Arc;

use super::socket::{Item, Socket};
use crate::hub::{EventId, GroupId, Interest, Ordinal, Subscription};

/// Streams are numbered over all lives.
pub(super) type Handle = usize;

/// Where a stream is in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It has passed whatever its reader has.
    Live,
    /// It reads on by itself from this event.
    Behind(Ordinal),
}

/// A stream on its way.
pub(super) struct Arrival {
    pub(super) handle: Handle,
    pub(super) socket: Socket,
    pub(super) subscription: Subscription,
    /// What the model calls its interest.
    pub(super) interest: usize,
}

/// A stream in its reader's hands.
pub(super) struct Stream {
    pub(super) socket: Socket,
    pub(super) group: GroupId,
    pub(super) interest: Arc<Interest>,
    /// What the model calls it.
    pub(super) interest_number: usize,
    pub(super) place: Place,
    /// The id that it has passed, unless it is live.
    pub(super) passed: EventId,
    /// What a write did not get rid of.
    pub(super) rest: Vec<Item>,
    pub(super) is_fetching: bool,
    /// Where it starts, while that is read from the store.
    pub(super) is_arriving: Option<Ordinal>,
}

/// Why the reader ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client has gone.
    Client,
    /// The event that it needs next is not held.
    Beyond(Ordinal),
    /// The store failed.
    Store,
}
