//! Waiting for more events after a round, so that what comes meanwhile goes out together: `flush_interval`.
//!
//! ```text
//! idle ── a round ──▶ pause ── an event ──▶ gathering ── the time is over, a round is full, ──▶ a round
//!   ▲                   │                              a newcomer waits, or a drain begins
//!   └─ the time is over ┘
//! ```

use super::Reactor;

/// When the next round may be, and whether events wait for it.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    until_ms: u64,
    is_on: bool,
}

impl Gathering {
    /// Begins after a round.
    pub(super) fn begin(&mut self, until_ms: u64) {
        self.until_ms = until_ms;
    }

    /// When the events that wait have to go.
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.is_on.then_some(self.until_ms)
    }
}

impl Reactor {
    /// Whether what has come is to wait for more. A drain, a newcomer whose place lies behind what waits, and events
    /// that fill a round wait for nothing.
    pub(super) fn gathers(&mut self, is_draining: bool) -> bool {
        // Without a stream the place in the order jumps, and has to be asked for.
        let is_early = self.now_ms < self.gathering.until_ms && !is_draining && !self.roster.is_empty();
        let may =
            is_early && !self.arrivals.iter().any(|arrival| arrival.subscription.start.next > self.next);
        let is_full = if may { self.hub.is_full(self.reader, self.portion()) } else { None };
        self.gathering.is_on = is_full == Some(false);
        may && is_full != Some(true)
    }
}
