//! How streams are sent away when the server goes: with all that was published, then a goodbye, in a bounded time.
//!
//! ```text
//! carrying ── nothing more is to be taken ──▶ goodbye to who is level, and to each that becomes so
//!    │                                                        │
//!    └────────────── half of `drain_timeout` ─────────────────┴──▶ goodbye to all ── `drain_timeout` ──▶ end
//! ```
//!
//! With the history in memory a stream has nothing to come back for, so it gets what publishers were told is
//! delivered. One with an unfinished write gets its goodbye behind that, if there is time.

use super::{Reactor, finish_last, millis};
use crate::fanout::EndReason;
use crate::fanout::group::Slot;
use crate::fanout::gzip;
use crate::fanout::stream::{Place, Sent};
use crate::fanout::wire;

/// The part of `drain_timeout` in which streams still get events; the rest is for goodbyes.
const CARRYING_PART: u64 = 2;

/// Who is told goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nobody,
    /// Those that have all events.
    Level,
    Everybody,
}

/// The end of all streams, from when it was asked for.
#[derive(Debug)]
pub(super) struct Drain {
    told: Told,
    carry_until_ms: u64,
    until_ms: u64,
}

impl Drain {
    /// When something is to be done if nothing happens.
    pub(super) fn due_ms(&self) -> u64 {
        if self.told == Told::Everybody { self.until_ms } else { self.carry_until_ms }
    }
}

impl Reactor {
    /// Sends streams away that have got what they can get. `more`: events wait to be taken.
    pub(super) fn drain(&mut self, more: bool) {
        let (now_ms, timeout_ms) = (self.now_ms, millis(self.config.drain_timeout));
        let drain = self.drain.get_or_insert_with(|| Drain {
            told: Told::Nobody,
            carry_until_ms: now_ms + timeout_ms / CARRYING_PART,
            until_ms: now_ms + timeout_ms,
        });
        if now_ms >= drain.until_ms {
            self.end_all();
        } else if now_ms >= drain.carry_until_ms && drain.told != Told::Everybody {
            drain.told = Told::Everybody;
            let free = self.roster.slots(|stream| !stream.is_stuck());
            free.into_iter().for_each(|slot| self.say_goodbye(slot));
        } else if !more && drain.told == Told::Nobody {
            drain.told = Told::Level;
            let level = self.roster.slots(|stream| stream.place == Place::Live);
            level.into_iter().for_each(|slot| self.say_goodbye(slot));
        }
    }

    /// Whether a stream that is behind is told goodbye now; `is_level`: it has all that its reactor has.
    pub(super) fn parts(&self, is_level: bool) -> bool {
        self.drain.as_ref().is_some_and(|drain| match drain.told {
            Told::Nobody => false,
            Told::Level => is_level,
            Told::Everybody => true,
        })
    }

    pub(super) fn end_all(&mut self) {
        let all = self.roster.slots(|_| true);
        all.into_iter().for_each(|slot| self.end(slot, EndReason::Drain));
    }

    pub(super) fn say_goodbye(&mut self, slot: Slot) {
        self.roster.unseat(slot);
        self.roster[slot].fetching = None;
        let (stream, group) = self.roster.with_group(slot);
        let retry_ms = wire::random_between(1000, self.config.reconnect_spread_ms);
        let body = self.chunk.begin();
        if let Some(given) = &mut stream.gzip {
            wire::goodbye(&mut self.text, retry_ms);
            given.add(&self.text);
            gzip::store(&self.text, body);
            self.text.clear();
        } else {
            wire::goodbye(body, retry_ms);
        }
        finish_last(stream, group.encoding(), &mut self.chunk);
        let bytes = self.chunk.bytes();
        match stream.send(bytes) {
            Sent::All => {
                self.tally.bytes += bytes.len() as u64;
                self.end(slot, EndReason::Drain);
            }
            Sent::Part(sent) => {
                self.tally.bytes += sent as u64;
                stream.keep(bytes[sent..].into(), 0);
                self.watch(slot);
            }
            Sent::Ended(reason) => self.end(slot, reason),
        }
    }
}
