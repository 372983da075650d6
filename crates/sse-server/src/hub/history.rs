//! The last events of the hub, bounded by count, bytes and age.
//!
//! Events are numbered as they come (`Ordinal`), so whoever reads on finds its place without a search;
//! only a newcomer with an id is looked up, by binary search.
//!
//! ```text
//!         gone      │ held for readers that │        kept: what a replay may use
//!                   │ are still behind      │
//!   ────────────────┼───────────────────────┼──────────────────────────────▶ next
//!                 first                   kept
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::Frame;
use super::{After, EventId};

/// The number of an event since this process started.
pub type Ordinal = u64;

/// How much history is kept; 0 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Events kept; beyond it the oldest go.
    pub events_max: usize,
    /// Bytes kept; beyond it the oldest go.
    pub bytes_max: usize,
    /// Age of the oldest event kept, in milliseconds.
    pub age_max_ms: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { events_max: 100_000, bytes_max: 64 << 20, age_max_ms: 86_400_000 }
    }
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The highest id that may have been issued.
    pub newest: EventId,
    /// The highest id whose event may be gone; every event above it is in `frames`.
    pub floor: EventId,
    /// Events kept, oldest first.
    pub frames: Vec<Arc<Frame>>,
}

/// Where a stream starts, and what it must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The id that the stream starts after.
    pub position: EventId,
    /// The first event it may get.
    pub next: Ordinal,
    /// Why its own state cannot be trusted, if so.
    pub reset: Option<Reset>,
}

/// Why a client must start afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// The reason.
    pub reason: ResetReason,
    /// The oldest event kept.
    pub oldest: Option<EventId>,
}

/// The reasons for a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// Events after the client's id may have been discarded.
    HistoryTruncated,
    /// This hub never reached the client's id.
    UnknownId,
}

/// A reader asked for an event that is not held any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    /// Events.
    pub events_max: usize,
    /// Bytes; one event is always read, however large.
    pub bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    frame: Arc<Frame>,
    /// Bytes of all events up to this one.
    bytes_end: u64,
}

/// The ring of events.
#[derive(Debug)]
pub struct History {
    config: HistoryConfig,
    ring: VecDeque<Entry>,
    first: Ordinal,
    kept: Ordinal,
    bytes_end: u64,
    bytes_gone: u64,
    floor: EventId,
    newest: EventId,
}

impl History {
    /// Continues what an earlier run left.
    #[must_use]
    pub fn new(config: HistoryConfig, recovered: Recovered) -> Self {
        let Recovered { newest, floor, frames } = recovered;
        let mut history = Self {
            config,
            ring: VecDeque::new(),
            first: 0,
            kept: 0,
            bytes_end: 0,
            bytes_gone: 0,
            floor,
            newest: newest.max(floor),
        };
        for frame in frames {
            history.append(frame);
        }
        history.newest = history.newest.max(newest);
        history
    }

    /// Adds an event; its id is above all before.
    pub fn append(&mut self, frame: Arc<Frame>) {
        debug_assert!(frame.id() > self.floor);
        self.newest = frame.id();
        self.bytes_end += frame.cost() as u64;
        self.ring.push_back(Entry { frame, bytes_end: self.bytes_end });
    }

    /// Forgets what the bounds do not allow, and frees what also every reader below `behind` has read.
    pub fn trim(&mut self, now_ms: u64, behind: Ordinal) {
        let HistoryConfig { events_max, bytes_max, age_max_ms } = self.config;
        while let Some(entry) = self.entry(self.kept) {
            let above = |limit: u64, value: u64| limit != 0 && value > limit;
            let aged = above(age_max_ms, now_ms.saturating_sub(entry.frame.id().ms));
            let crowded = above(events_max as u64, self.next() - self.kept);
            if !aged && !crowded && !above(bytes_max as u64, self.bytes_end - self.bytes_gone) {
                break;
            }
            (self.floor, self.bytes_gone) = (entry.frame.id(), entry.bytes_end);
            self.kept += 1;
        }
        while self.first < self.kept.min(behind) {
            self.ring.pop_front();
            self.first += 1;
        }
        if self.ring.capacity() > 1024 && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(self.ring.capacity() / 2);
        }
    }

    /// Where a stream starts that asks for `after`.
    #[must_use]
    pub fn start(&self, after: After) -> Start {
        let live = Start { position: self.newest, next: self.next(), reset: None };
        let reset = |reason| Some(Reset { reason, oldest: self.oldest() });
        match after {
            After::Live => live,
            After::Earliest => {
                let position = self.oldest().map_or(self.newest, EventId::before);
                Start { position, next: self.kept, reset: None }
            }
            After::Id(id) if id > self.newest => Start { reset: reset(ResetReason::UnknownId), ..live },
            After::Malformed => Start { reset: reset(ResetReason::UnknownId), ..live },
            After::Id(id) if id < self.floor => {
                Start { position: id, next: self.kept, reset: reset(ResetReason::HistoryTruncated) }
            }
            After::Id(id) => {
                let seen = self.ring.partition_point(|entry| entry.frame.id() <= id);
                Start { position: id, next: self.first + seen as u64, reset: None }
            }
        }
    }

    /// Reads on from `from`, but not to `until`, into `out`; returns where to read next.
    pub fn read(
        &self,
        from: Ordinal,
        until: Ordinal,
        portion: Portion,
        out: &mut Vec<Arc<Frame>>,
    ) -> Result<Ordinal, Gone> {
        if from < self.first {
            return Err(Gone);
        }
        let until = until.min(self.next()).min(from.saturating_add(portion.events_max.max(1) as u64));
        let (mut next, mut bytes) = (from, 0);
        while next < until {
            let Some(entry) = self.entry(next) else { break };
            bytes += entry.frame.wire().len();
            if next > from && bytes > portion.bytes_max {
                break;
            }
            out.push(Arc::clone(&entry.frame));
            next += 1;
        }
        Ok(next)
    }

    /// The number that the next event gets.
    #[must_use]
    pub fn next(&self) -> Ordinal {
        self.first + self.ring.len() as u64
    }

    /// The oldest event that a reader can still have.
    #[must_use]
    pub fn first(&self) -> Ordinal {
        self.first
    }

    /// The highest id ever issued.
    #[must_use]
    pub fn newest(&self) -> EventId {
        self.newest
    }

    /// The oldest event kept.
    #[must_use]
    pub fn oldest(&self) -> Option<EventId> {
        self.entry(self.kept).map(|entry| entry.frame.id())
    }

    /// Events kept.
    #[must_use]
    pub fn events(&self) -> usize {
        usize::try_from(self.next() - self.kept).unwrap_or(usize::MAX)
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes_end - self.bytes_gone).unwrap_or(usize::MAX)
    }

    /// Bytes from this event on.
    #[must_use]
    pub fn bytes_from(&self, from: Ordinal) -> u64 {
        let before = from.checked_sub(1).and_then(|n| self.entry(n));
        self.bytes_end - before.map_or_else(|| self.ring_bytes_start(), |entry| entry.bytes_end)
    }

    fn ring_bytes_start(&self) -> u64 {
        self.ring.front().map_or(self.bytes_end, |entry| entry.bytes_end - entry.frame.cost() as u64)
    }

    fn entry(&self, ordinal: Ordinal) -> Option<&Entry> {
        usize::try_from(ordinal.checked_sub(self.first)?).ok().and_then(|n| self.ring.get(n))
    }
}
