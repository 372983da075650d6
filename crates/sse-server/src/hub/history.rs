//! The last events of the hub, bounded by count, bytes and age.
//!
//! Events are numbered as they come (`Ordinal`), so whoever reads on finds its place without a search;
//! only a newcomer with an id is looked up, by binary search. With a durable store the newest events are
//! held here as well, in the ring; of the older ones only ids and sizes, and their frames are read from the
//! store.
//!
//! ```text
//!         gone      │ held for readers that │        kept: what a replay may use
//!                   │ are still behind      │
//!   ────────────────┼───────────────────────┼──────────────────────────────▶ next
//!                 first                   kept         │
//!                                                      └ ring: in memory (without a store: all)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::Frame;
use super::idempotency::KeyUse;
use super::{After, EventId};

/// The number of an event: since this process started, or with a durable store since the store was made.
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
    /// Bytes of the newest events that stay in memory while a store has them all; older ones are read from
    /// it. `None`: there is no store to read from, and everything kept is in memory.
    pub ring_bytes_max: Option<usize>,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { events_max: 100_000, bytes_max: 64 << 20, age_max_ms: 86_400_000, ring_bytes_max: None }
    }
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The highest id that a client may have seen.
    pub newest: EventId,
    /// No id up to this one, and to `newest`, is issued again.
    pub issued: EventId,
    /// The highest id whose event may be gone.
    pub floor: EventId,
    /// The number of the oldest event that is left.
    pub first: Ordinal,
    /// Events left, oldest first.
    pub events: Vec<RecoveredEvent>,
    /// The frames of the newest of them, oldest first.
    pub frames: Vec<Arc<Frame>>,
    /// Idempotency keys that are still in force, oldest first.
    pub keys: Vec<KeyUse>,
}

/// An event that an earlier run left in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredEvent {
    /// Its id.
    pub id: EventId,
    /// What it counts against the bound of bytes ([`Frame::cost`]).
    pub cost: usize,
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

/// Why a reader does not find its event in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is not held any more.
    Gone,
    /// It is in the store.
    Stored,
}

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
    id: EventId,
    /// Bytes of all events up to this one.
    bytes_end: u64,
}

/// What has left the history since the beginning, the store's part of it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Events before this one are needed by nobody.
    pub before: Ordinal,
    /// Their bytes.
    pub bytes: u64,
}

/// The last events.
#[derive(Debug)]
pub struct History {
    config: HistoryConfig,
    /// Every event from `first` on.
    index: VecDeque<Entry>,
    /// The frames of the newest of them.
    ring: VecDeque<Arc<Frame>>,
    first: Ordinal,
    kept: Ordinal,
    bytes_end: u64,
    /// Bytes of the events before `kept`, and before `first`.
    bytes_gone: u64,
    bytes_released: u64,
    floor: EventId,
    newest: EventId,
}

impl History {
    /// Continues what an earlier run left.
    #[must_use]
    pub fn new(config: HistoryConfig, recovered: Recovered) -> Self {
        let Recovered { newest, floor, first, events, frames, .. } = recovered;
        let mut bytes_end = 0;
        let index = events.iter().map(|event| {
            bytes_end += event.cost as u64;
            Entry { id: event.id, bytes_end }
        });
        let index: VecDeque<Entry> = index.collect();
        let last = index.back().map_or(floor, |entry| entry.id);
        Self {
            config,
            index,
            ring: frames.into(),
            first,
            kept: first,
            bytes_end,
            bytes_gone: 0,
            bytes_released: 0,
            floor,
            newest: newest.max(floor).max(last),
        }
    }

    /// Adds an event; its id is above all before.
    pub fn append(&mut self, frame: Arc<Frame>) {
        debug_assert!(frame.id() > self.newest);
        self.newest = frame.id();
        self.bytes_end += frame.cost() as u64;
        self.index.push_back(Entry { id: frame.id(), bytes_end: self.bytes_end });
        self.ring.push_back(frame);
    }

    /// Forgets what the bounds do not allow: no newcomer gets it.
    pub fn forget(&mut self, now_ms: u64) {
        let HistoryConfig { events_max, bytes_max, age_max_ms, .. } = self.config;
        while let Some(entry) = self.entry(self.kept) {
            let above = |limit: u64, value: u64| limit != 0 && value > limit;
            let aged = above(age_max_ms, now_ms.saturating_sub(entry.id.ms));
            let crowded = above(events_max as u64, self.next() - self.kept);
            if !aged && !crowded && !above(bytes_max as u64, self.bytes_end - self.bytes_gone) {
                break;
            }
            (self.floor, self.bytes_gone) = (self.floor.max(entry.id), entry.bytes_end);
            self.kept += 1;
        }
    }

    /// Forgets everything before `before`, which cannot be read any more. Returns whether some of it was kept.
    pub fn lose(&mut self, before: Ordinal) -> bool {
        let before = before.min(self.next());
        let Some(last) = before.checked_sub(1).filter(|_| before > self.kept).and_then(|n| self.entry(n))
        else {
            return false;
        };
        (self.floor, self.bytes_gone) = (self.floor.max(last.id), last.bytes_end);
        self.kept = before;
        true
    }

    /// Frees what was forgotten and is below `held`, which somebody may still read. Readers that write rounds
    /// have taken everything below `taken`: only that may leave the memory for the store.
    pub fn free(&mut self, held: Ordinal, taken: Ordinal) {
        while self.first < self.kept.min(held) {
            if self.ring.len() == self.index.len() {
                self.ring.pop_front();
            }
            if let Some(entry) = self.index.pop_front() {
                self.bytes_released = entry.bytes_end;
            }
            self.first += 1;
        }
        if let Some(ring_bytes_max) = self.config.ring_bytes_max {
            while self.ring_first() < taken && self.bytes_from(self.ring_first()) > ring_bytes_max as u64 {
                self.ring.pop_front();
            }
        }
        shrink(&mut self.index);
        shrink(&mut self.ring);
    }

    /// What the store need not have any more.
    #[must_use]
    pub fn released(&self) -> Released {
        Released { before: self.first, bytes: self.bytes_released }
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
            After::Id(id) => {
                let seen = self.index.partition_point(|entry| entry.id <= id);
                let next = self.kept.max(self.first + seen as u64);
                let reset = if id < self.floor { reset(ResetReason::HistoryTruncated) } else { None };
                Start { position: id, next, reset }
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
    ) -> Result<Ordinal, Unread> {
        if from < self.first {
            return Err(Unread::Gone);
        }
        let until = until.min(self.next()).min(from.saturating_add(portion.events_max.max(1) as u64));
        if from >= until {
            return Ok(from);
        }
        let skip = from.checked_sub(self.ring_first()).ok_or(Unread::Stored)?;
        let skip = usize::try_from(skip).expect("the ring is in memory");
        let (mut next, mut bytes) = (from, 0);
        for frame in self.ring.range(skip..).take(portion.events_max.max(1)) {
            bytes += frame.wire().len();
            if next >= until || (next > from && bytes > portion.bytes_max) {
                break;
            }
            out.push(Arc::clone(frame));
            next += 1;
        }
        Ok(next)
    }

    /// The number that the next event gets.
    #[must_use]
    pub fn next(&self) -> Ordinal {
        self.first + self.index.len() as u64
    }

    /// The oldest event that a reader can still have.
    #[must_use]
    pub fn first(&self) -> Ordinal {
        self.first
    }

    /// The oldest event that a newcomer can have.
    #[must_use]
    pub fn kept(&self) -> Ordinal {
        self.kept
    }

    /// The highest id ever issued.
    #[must_use]
    pub fn newest(&self) -> EventId {
        self.newest
    }

    /// The oldest event kept.
    #[must_use]
    pub fn oldest(&self) -> Option<EventId> {
        self.entry(self.kept).map(|entry| entry.id)
    }

    /// The newest event kept; [`History::newest`] may be an id above it that no event has.
    #[must_use]
    pub fn newest_kept(&self) -> Option<EventId> {
        self.index.back().filter(|_| self.kept < self.next()).map(|entry| entry.id)
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
        self.bytes_end - before.map_or(self.bytes_released, |entry| entry.bytes_end)
    }

    /// The oldest event in memory.
    fn ring_first(&self) -> Ordinal {
        self.next() - self.ring.len() as u64
    }

    fn entry(&self, ordinal: Ordinal) -> Option<&Entry> {
        usize::try_from(ordinal.checked_sub(self.first)?).ok().and_then(|n| self.index.get(n))
    }
}

/// Gives memory back after a flood.
fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > 1024 && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.capacity() / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Data, Draft, NewEvent, Topic};
    use proptest::prelude::*;
    use std::time::Instant;

    fn trim(history: &mut History, now_ms: u64, held: Ordinal, taken: Ordinal) {
        history.forget(now_ms);
        history.free(held, taken);
    }

    fn frame(id: EventId, bytes: usize) -> Arc<Frame> {
        let topic = Topic::parse("t").unwrap();
        let event = NewEvent::new(vec![topic], None, Data::Text("x".repeat(bytes))).unwrap();
        Arc::new(Draft::new(event, Instant::now()).seal(id))
    }

    fn id(ms: u64) -> EventId {
        EventId { ms, seq: 0 }
    }

    fn read(
        history: &History,
        from: Ordinal,
        until: Ordinal,
        portion: Portion,
    ) -> Result<(Vec<u64>, Ordinal), Unread> {
        let mut out = Vec::new();
        let next = history.read(from, until, portion, &mut out)?;
        Ok((out.iter().map(|frame| frame.id().ms).collect(), next))
    }

    const ALL: Portion = Portion { events_max: usize::MAX, bytes_max: usize::MAX };

    #[test]
    fn each_bound_lets_the_oldest_go() {
        let cost = frame(id(1), 100).cost();
        let unlimited = HistoryConfig { events_max: 0, bytes_max: 0, age_max_ms: 0, ring_bytes_max: None };
        let cases = [
            (unlimited, 10),
            (HistoryConfig { events_max: 3, ..unlimited }, 3),
            (HistoryConfig { bytes_max: cost * 4, ..unlimited }, 4),
            (HistoryConfig { bytes_max: cost * 4 - 1, ..unlimited }, 3),
            (HistoryConfig { bytes_max: 1, ..unlimited }, 0),
            (HistoryConfig { age_max_ms: 5, ..unlimited }, 6),
        ];
        for (config, kept) in cases {
            let mut history = History::new(config, Recovered::default());
            (1..=10).for_each(|ms| history.append(frame(id(ms), 100)));
            trim(&mut history, 10, Ordinal::MAX, Ordinal::MAX);
            assert_eq!((history.events(), history.bytes()), (kept, kept * cost), "{config:?}");
            let oldest = (kept > 0).then(|| id(11 - kept as u64));
            assert_eq!((history.oldest(), history.newest()), (oldest, id(10)), "{config:?}");
            assert_eq!(history.newest_kept(), oldest.map(|_| id(10)), "{config:?}");
        }
    }

    #[test]
    fn reader_behind_holds_what_replays_may_not_use_any_more() {
        let config = HistoryConfig { events_max: 2, ..HistoryConfig::default() };
        let mut history = History::new(config, Recovered::default());
        (1..=10).for_each(|ms| history.append(frame(id(ms), 1)));
        trim(&mut history, 10, 3, 3);
        assert_eq!((history.first(), history.events()), (3, 2));
        assert_eq!(read(&history, 3, 6, ALL), Ok((vec![4, 5, 6], 6)));
        assert_eq!(read(&history, 2, 6, ALL), Err(Unread::Gone));
        assert_eq!(history.start(After::Earliest).next, 8);
        assert_eq!(history.start(After::Id(id(5))).reset.unwrap().reason, ResetReason::HistoryTruncated);
        assert_eq!(history.bytes_from(3), 7 * frame(id(1), 1).cost() as u64);
        trim(&mut history, 10, Ordinal::MAX, Ordinal::MAX);
        assert_eq!(history.first(), 8);
        assert_eq!(history.bytes_from(8), 2 * frame(id(1), 1).cost() as u64);
    }

    #[test]
    fn portions_are_bounded_but_never_empty() {
        let mut history = History::new(HistoryConfig::default(), Recovered::default());
        (1..=4).for_each(|ms| history.append(frame(id(ms), 100)));
        let bytes = frame(id(1), 100).wire().len();
        let cases = [
            ((1, 1), 1),
            ((2, usize::MAX), 2),
            ((9, 1), 1),
            ((9, bytes * 3), 3),
            ((9, bytes * 3 - 1), 2),
            ((0, 0), 1),
        ];
        for ((events_max, bytes_max), next) in cases {
            let portion = Portion { events_max, bytes_max };
            assert_eq!(read(&history, 0, Ordinal::MAX, portion).unwrap().1, next, "{portion:?}");
        }
        assert_eq!(read(&history, 4, Ordinal::MAX, ALL), Ok((vec![], 4)));
    }

    /// A memory history after a restart knows only the mark: everything up to it may have been there.
    #[test]
    fn restarted_history_trusts_no_older_position() {
        let mark = id(100);
        let recovered = Recovered { newest: mark, floor: mark, ..Recovered::default() };
        let mut history = History::new(HistoryConfig::default(), recovered);
        let reason = |history: &History, after| history.start(after).reset.map(|reset| reset.reason);
        let cases = [
            (After::Live, mark, None),
            (After::Earliest, mark, None),
            (After::Id(id(99)), id(99), Some(ResetReason::HistoryTruncated)),
            (After::Id(EventId::ZERO), EventId::ZERO, Some(ResetReason::HistoryTruncated)),
            (After::Id(mark), mark, None),
            (After::Id(id(101)), mark, Some(ResetReason::UnknownId)),
            (After::Malformed, mark, Some(ResetReason::UnknownId)),
        ];
        for (after, position, reset) in cases {
            assert_eq!(history.start(after).position, position, "{after:?}");
            assert_eq!(reason(&history, after), reset, "{after:?}");
        }
        history.append(frame(id(101), 1));
        assert_eq!(history.start(After::Id(mark)), Start { position: mark, next: 0, reset: None });
        assert_eq!(reason(&history, After::Id(id(99))), Some(ResetReason::HistoryTruncated));
        assert_eq!(history.start(After::Earliest).position, id(101).before());
    }

    #[test]
    fn history_that_was_recovered_goes_on() {
        let frames = vec![frame(id(5), 1), frame(id(6), 1)];
        let history = History::new(HistoryConfig::default(), recovered(9, 4, 0, &[5, 6], frames));
        assert_eq!((history.newest(), history.oldest(), history.events()), (id(9), Some(id(5)), 2));
        assert_eq!(history.newest_kept(), Some(id(6)));
        assert_eq!(history.start(After::Id(id(5))).next, 1);
        assert_eq!(history.start(After::Id(id(8))), Start { position: id(8), next: 2, reset: None });
        assert_eq!(history.start(After::Id(id(3))).reset.unwrap().reason, ResetReason::HistoryTruncated);
    }

    fn recovered(newest: u64, floor: u64, first: Ordinal, ids: &[u64], frames: Vec<Arc<Frame>>) -> Recovered {
        let cost = frame(id(1), 1).cost();
        let events = ids.iter().map(|ms| RecoveredEvent { id: id(*ms), cost }).collect();
        Recovered {
            newest: id(newest),
            issued: id(newest),
            floor: id(floor),
            first,
            events,
            frames,
            keys: Vec::new(),
        }
    }

    #[test]
    fn what_has_left_the_memory_is_read_from_the_store_unless_it_is_gone() {
        let cost = frame(id(1), 1).cost();
        let config = HistoryConfig { events_max: 6, ring_bytes_max: Some(2 * cost), ..Default::default() };
        let frames = vec![frame(id(4), 1)];
        let mut history = History::new(config, recovered(4, 1, 40, &[2, 3, 4], frames));
        assert_eq!(history.start(After::Earliest).next, 40);
        assert_eq!(read(&history, 40, 43, ALL), Err(Unread::Stored));
        assert_eq!(read(&history, 42, 43, ALL), Ok((vec![4], 43)));
        (5..=9).for_each(|ms| history.append(frame(id(ms), 1)));
        trim(&mut history, 9, Ordinal::MAX, 44);
        assert_eq!((history.first(), history.next(), history.events()), (42, 48, 6));
        assert_eq!(history.released(), Released { before: 42, bytes: 2 * cost as u64 });
        assert_eq!(read(&history, 41, 48, ALL), Err(Unread::Gone));
        assert_eq!(read(&history, 43, 48, ALL), Err(Unread::Stored));
        assert_eq!(read(&history, 44, 48, ALL), Ok((vec![6, 7, 8, 9], 48)), "not taken by every reader");
        trim(&mut history, 9, Ordinal::MAX, Ordinal::MAX);
        assert_eq!(read(&history, 45, 48, ALL), Err(Unread::Stored));
        assert_eq!(read(&history, 46, 48, ALL), Ok((vec![8, 9], 48)));
        assert_eq!(history.start(After::Id(id(6))), Start { position: id(6), next: 45, reset: None });
        assert_eq!(read(&history, 48, 48, ALL), Ok((vec![], 48)));
    }

    #[test]
    fn what_cannot_be_read_any_more_is_lost_and_told() {
        let mut history =
            History::new(HistoryConfig::default(), recovered(6, 1, 40, &[2, 3, 4, 5, 6], vec![]));
        history.lose(43);
        history.lose(41);
        let start = history.start(After::Id(id(2)));
        assert_eq!((start.reset.unwrap().reason, start.next), (ResetReason::HistoryTruncated, 43));
        assert_eq!(history.start(After::Id(id(4))), Start { position: id(4), next: 43, reset: None });
        assert_eq!((history.events(), history.oldest()), (2, Some(id(5))));
        history.lose(99);
        assert_eq!((history.events(), history.bytes(), history.next()), (0, 0, 45));
        assert_eq!(history.start(After::Id(id(6))).reset, None);
    }

    /// The end of a damaged store is lost: whoever may have missed something of it is told so, and still gets
    /// nothing that it has had.
    #[test]
    fn loss_at_the_end_of_what_was_recovered_is_told() {
        let history = History::new(HistoryConfig::default(), recovered(9, 9, 0, &[5, 6], vec![]));
        let start = history.start(After::Id(id(5)));
        assert_eq!((start.reset.unwrap().reason, start.next), (ResetReason::HistoryTruncated, 1));
        assert_eq!(history.start(After::Id(id(9))), Start { position: id(9), next: 2, reset: None });
        assert_eq!(history.start(After::Earliest).next, 0);
        assert_eq!(history.newest(), id(9));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append { later_ms: u64, bytes: usize },
        Trim { later_ms: u64 },
        Start(u64),
    }

    proptest! {
        /// Against a model that keeps everything and cuts by looking at all of it.
        #[test]
        fn replay_gives_exactly_what_the_bounds_kept_after_the_id(
            (events_max, bytes_max, age_max_ms) in (0_usize..8, prop_oneof![Just(0), 200_usize..3000], 0_u64..50),
            steps in prop::collection::vec(prop_oneof![
                4 => (1_u64..10, 0_usize..300).prop_map(|(later_ms, bytes)| Step::Append { later_ms, bytes }),
                1 => (0_u64..30).prop_map(|later_ms| Step::Trim { later_ms }),
                2 => (0_u64..300).prop_map(Step::Start),
            ], 1..80),
        ) {
            let config = HistoryConfig { events_max, bytes_max, age_max_ms, ring_bytes_max: None };
            let mut history = History::new(config, Recovered::default());
            let mut now_ms = 0;
            let (mut all, mut gone): (Vec<Arc<Frame>>, usize) = (vec![], 0);
            for step in steps {
                match step {
                    Step::Append { later_ms, bytes } => {
                        now_ms += later_ms;
                        all.push(frame(id(now_ms), bytes));
                        history.append(Arc::clone(&all[all.len() - 1]));
                    }
                    Step::Trim { later_ms } => now_ms += later_ms,
                    Step::Start(ms) => {
                        let start = history.start(After::Id(id(ms)));
                        let newest = all.last().map_or(0, |frame| frame.id().ms);
                        let lost = all[..gone].iter().any(|frame| frame.id().ms > ms);
                        let (reason, expected) = match () {
                            () if ms > newest => (Some(ResetReason::UnknownId), vec![]),
                            () => (
                                lost.then_some(ResetReason::HistoryTruncated),
                                all[gone..].iter().map(|frame| frame.id().ms).filter(|at| *at > ms).collect(),
                            ),
                        };
                        prop_assert_eq!(start.reset.map(|reset| reset.reason), reason);
                        prop_assert_eq!(read(&history, start.next, Ordinal::MAX, ALL), Ok((expected, all.len() as u64)));
                    }
                }
                trim(&mut history, now_ms, Ordinal::MAX, Ordinal::MAX);
                let allowed = |gone: usize| {
                    let kept = &all[gone..];
                    let bytes: usize = kept.iter().map(|frame| frame.cost()).sum();
                    (events_max == 0 || kept.len() <= events_max)
                        && (bytes_max == 0 || bytes <= bytes_max)
                        && kept.iter().all(|frame| age_max_ms == 0 || now_ms - frame.id().ms <= age_max_ms)
                };
                gone = (gone..=all.len()).find(|gone| allowed(*gone)).unwrap();
                prop_assert_eq!(history.events(), all.len() - gone);
                prop_assert_eq!(history.oldest(), all.get(gone).map(|frame| frame.id()));
            }
        }
    }
}
