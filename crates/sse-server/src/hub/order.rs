//! Publish and subscribe: one order for all events, one lock for both.
//!
//! A stream's place is fixed under the lock that events are added under, so nothing is lost, doubled or
//! reordered between its replay and what comes live. The streams are written elsewhere, by *readers*:
//! each reads on in the order, a portion at a time, and is woken when there is more. Events that a
//! reader has not taken yet are held beyond the history's bounds, up to a backlog that makes publishers
//! wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;

use super::frame::Frame;
use super::history::{History, HistoryConfig, Ordinal, Portion, Recovered, Released, Start, Unread};
use super::index::{GroupId, Index};
use super::{After, EventId, Interest};

/// Told that there is something to do; must neither block nor call back.
pub trait Wake: Send + Sync {
    /// There is.
    fn wake(&self);
}

/// The bounds of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubConfig {
    /// How much history is kept.
    pub history: HistoryConfig,
    /// Events that a reader may be behind; beyond it publishers wait.
    pub backlog_events_max: u64,
    /// Bytes that a reader may be behind; beyond it publishers wait.
    pub backlog_bytes_max: u64,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self { history: HistoryConfig::default(), backlog_events_max: 65_536, backlog_bytes_max: 64 << 20 }
    }
}

/// The number of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderId(usize);

/// A stream's place in the hub.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Streams with the same interest have the same group.
    pub group: GroupId,
    /// The interest that the group shares.
    pub interest: Arc<Interest>,
    /// Where the stream starts.
    pub start: Start,
}

/// What a reader has taken.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Where the next portion begins; everything before has been passed.
    pub next: Ordinal,
    /// The end of the order at this moment.
    pub end: Ordinal,
    /// The oldest event that a stream behind can still read.
    pub first: Ordinal,
    /// The id passed with this portion.
    pub position: EventId,
}

/// What became of events that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Open streams that match, summed over the events.
    pub receivers: u64,
    /// What the store need not have any more.
    pub released: Released,
}

/// History figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Events kept.
    pub events: usize,
    /// Bytes kept.
    pub bytes: usize,
    /// The oldest event kept.
    pub oldest: Option<EventId>,
    /// The newest event kept.
    pub newest: Option<EventId>,
}

struct Group {
    interest: Arc<Interest>,
    streams: u32,
    /// The last event counted, plus one, so that a group with two matching filters counts once.
    counted: Ordinal,
}

struct Reader {
    wake: Arc<dyn Wake>,
    streams: u64,
    next: Ordinal,
    position: EventId,
    /// Streams subscribed that the reader has not seen yet, and the first event that one of them needs:
    /// held for them, or a small history could lose it on their way.
    arriving: usize,
    arriving_from: Ordinal,
}

struct State {
    config: HubConfig,
    history: History,
    groups: Slab<Group>,
    by_interest: HashMap<Arc<Interest>, GroupId>,
    index: Index,
    readers: Vec<Reader>,
    room: Option<Arc<dyn Wake>>,
    waiting: bool,
}

/// The one order of events; cloned handles share it.
#[derive(Clone)]
pub struct Hub(Arc<Mutex<State>>);

impl Hub {
    /// A hub that continues what an earlier run left.
    #[must_use]
    pub fn new(config: HubConfig, recovered: Recovered) -> Self {
        Self(Arc::new(Mutex::new(State {
            config,
            history: History::new(config.history, recovered),
            groups: Slab::new(),
            by_interest: HashMap::new(),
            index: Index::default(),
            readers: Vec::new(),
            room: None,
            waiting: false,
        })))
    }

    /// Adds a reader, which is woken when an event comes while it has streams.
    pub fn reader(&self, wake: Arc<dyn Wake>) -> ReaderId {
        let mut state = self.0.lock();
        let (next, position) = (state.history.next(), state.history.newest());
        let (arriving, arriving_from) = (0, Ordinal::MAX);
        state.readers.push(Reader { wake, streams: 0, next, position, arriving, arriving_from });
        ReaderId(state.readers.len() - 1)
    }

    /// Who is woken when there is room again after [`Hub::has_room`] said no.
    pub fn wake_on_room(&self, wake: Arc<dyn Wake>) {
        self.0.lock().room = Some(wake);
    }

    /// Whether every reader is near enough for more events.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let mut state = self.0.lock();
        let room = state.has_room();
        state.waiting |= !room;
        room
    }

    /// Adds committed events, all at once and in order, and wakes the readers.
    pub fn append(&self, frames: &[Arc<Frame>], now_ms: u64) -> Appended {
        let mut state = self.0.lock();
        let mut receivers = 0;
        for frame in frames {
            receivers += state.receivers(frame);
            state.history.append(Arc::clone(frame));
        }
        state.trim(now_ms);
        for reader in state.readers.iter().filter(|reader| reader.streams > 0) {
            reader.wake.wake();
        }
        Appended { receivers, released: state.history.released() }
    }

    /// Forgets what is too old, also when nothing is published.
    pub fn trim(&self, now_ms: u64) -> Released {
        let mut state = self.0.lock();
        state.trim(now_ms);
        state.history.released()
    }

    /// Forgets everything before `before`: the store cannot read it any more. Whoever asks for it is told that
    /// the history is truncated. Returns whether it was not forgotten before.
    pub fn lose(&self, before: Ordinal) -> bool {
        self.0.lock().history.lose(before)
    }

    /// Subscribes a stream of this reader from just after `after`. The start and the registration
    /// happen under the lock that events are added under.
    pub fn subscribe(&self, reader: ReaderId, interest: Interest, after: After, now_ms: u64) -> Subscription {
        let mut state = self.0.lock();
        state.trim(now_ms);
        let State { history, readers, .. } = &mut *state;
        let reader = &mut readers[reader.0];
        if reader.streams == 0 {
            (reader.next, reader.position) = (history.next(), history.newest());
        }
        let start = history.start(after);
        reader.streams += 1;
        reader.arriving += 1;
        reader.arriving_from = reader.arriving_from.min(start.next);
        let (group, interest) = state.join(interest);
        Subscription { group, interest, start }
    }

    /// So many subscribed streams are in the reader's hands now: what they need has been read, or they
    /// are as slow as any other.
    pub fn arrived(&self, reader: ReaderId, streams: usize) {
        let reader = &mut self.0.lock().readers[reader.0];
        reader.arriving -= streams;
        if reader.arriving == 0 {
            reader.arriving_from = Ordinal::MAX;
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, reader: ReaderId, group: GroupId) {
        let mut state = self.0.lock();
        state.readers[reader.0].streams -= 1;
        state.leave(group);
        state.tell_room();
    }

    /// The reader's next portion of events, into `out`.
    pub fn take(&self, reader: ReaderId, portion: Portion, out: &mut Vec<Arc<Frame>>) -> Taken {
        let mut state = self.0.lock();
        let State { history, readers, .. } = &mut *state;
        let reader = &mut readers[reader.0];
        if reader.streams == 0 {
            (reader.next, reader.position) = (history.next(), history.newest());
        }
        reader.next = history
            .read(reader.next, Ordinal::MAX, portion, out)
            .expect("events that a reader with streams has not taken are held in memory");
        if let Some(frame) = out.last() {
            reader.position = frame.id();
        }
        let (next, position) = (reader.next, reader.position);
        state.tell_room();
        let history = &state.history;
        Taken { next, end: history.next(), first: history.first(), position }
    }

    /// Whether as many events as a portion holds, or as many bytes, wait for the reader; `None` if nothing does.
    #[must_use]
    pub fn is_full(&self, reader: ReaderId, portion: Portion) -> Option<bool> {
        let State { history, readers, .. } = &*self.0.lock();
        let (next, end) = (readers[reader.0].next, history.next());
        let is_full = || {
            end - next >= portion.events_max as u64 || history.bytes_from(next) >= portion.bytes_max as u64
        };
        (next < end).then(is_full)
    }

    /// Events for a stream that is behind, from `from` but not to `until`, into `out`; returns where
    /// to read next. What is in the store has to be read there.
    pub fn replay(
        &self,
        from: Ordinal,
        until: Ordinal,
        portion: Portion,
        out: &mut Vec<Arc<Frame>>,
    ) -> Result<Ordinal, Unread> {
        self.0.lock().history.read(from, until, portion, out)
    }

    /// The highest id ever issued that a stream may have seen.
    #[must_use]
    pub fn newest(&self) -> EventId {
        self.0.lock().history.newest()
    }

    /// History figures.
    #[must_use]
    pub fn stats(&self, now_ms: u64) -> Stats {
        let mut state = self.0.lock();
        state.trim(now_ms);
        let history = &state.history;
        let (oldest, newest) = (history.oldest(), history.newest_kept());
        Stats { events: history.events(), bytes: history.bytes(), oldest, newest }
    }
}

impl State {
    fn receivers(&mut self, frame: &Frame) -> u64 {
        let counted = self.history.next() + 1;
        let (groups, mut receivers) = (&mut self.groups, 0);
        for topic in frame.topics() {
            self.index.groups(topic, |group| {
                let group = &mut groups[group as usize];
                if group.counted != counted && group.interest.admits(frame) {
                    group.counted = counted;
                    receivers += u64::from(group.streams);
                }
            });
        }
        receivers
    }

    fn join(&mut self, interest: Interest) -> (GroupId, Arc<Interest>) {
        if let Some(id) = self.by_interest.get(&interest) {
            let group = &mut self.groups[*id as usize];
            group.streams += 1;
            return (*id, Arc::clone(&group.interest));
        }
        let interest = Arc::new(interest);
        let id = self.groups.insert(Group { interest: Arc::clone(&interest), streams: 1, counted: 0 });
        let id = GroupId::try_from(id).expect("there are fewer groups than descriptors");
        self.index.insert(id, interest.topics());
        self.by_interest.insert(Arc::clone(&interest), id);
        (id, interest)
    }

    fn leave(&mut self, id: GroupId) {
        let group = &mut self.groups[id as usize];
        group.streams -= 1;
        if group.streams == 0 {
            let group = self.groups.remove(id as usize);
            self.index.remove(id, group.interest.topics());
            self.by_interest.remove(&group.interest);
        }
    }

    /// The first event that some reader with streams has not taken.
    fn behind(&self) -> Ordinal {
        let active = self.readers.iter().filter(|reader| reader.streams > 0);
        active.map(|reader| reader.next).min().unwrap_or(Ordinal::MAX)
    }

    /// What newcomers on their way need is held for them, as far as that is no more than a reader's backlog
    /// beyond the history's own bounds.
    fn trim(&mut self, now_ms: u64) {
        self.history.forget(now_ms);
        let HubConfig { backlog_events_max, backlog_bytes_max, .. } = self.config;
        let (history, kept) = (&self.history, self.history.kept());
        let bytes_kept = history.bytes_from(kept);
        let is_near = |from: &Ordinal| {
            *from >= kept
                || (kept - *from < backlog_events_max
                    && history.bytes_from((*from).max(history.first())) - bytes_kept < backlog_bytes_max)
        };
        let arriving = self.readers.iter().map(|reader| reader.arriving_from).filter(is_near).min();
        let taken = self.behind();
        let held = taken.min(arriving.unwrap_or(Ordinal::MAX));
        self.history.free(held, taken);
    }

    fn has_room(&self) -> bool {
        let behind = self.behind().min(self.history.next());
        self.history.next() - behind < self.config.backlog_events_max
            && self.history.bytes_from(behind) < self.config.backlog_bytes_max
    }

    fn tell_room(&mut self) {
        if self.waiting && self.has_room() {
            self.waiting = false;
            if let Some(room) = &self.room {
                room.wake();
            }
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Data, Draft, EventType, NewEvent, Topic, TopicFilter};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn interest(filters: &[&str], types: &[&str]) -> Interest {
        let types = types.iter().map(|event| EventType::parse(event).unwrap()).collect();
        Interest::new(filters.iter().map(|text| TopicFilter::parse(text).unwrap()).collect(), types, false)
    }

    fn frames(ms: std::ops::RangeInclusive<u64>, topics: &[&str]) -> Vec<Arc<Frame>> {
        let topics: Vec<_> = topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
        let draft = || {
            Draft::new(NewEvent::new(topics.clone(), None, Data::Text("x".into())).unwrap(), Instant::now())
        };
        ms.map(|ms| Arc::new(draft().seal(EventId { ms, seq: 0 }))).collect()
    }

    const PORTION: Portion = Portion { events_max: 100, bytes_max: 1 << 20 };

    fn take(hub: &Hub, reader: ReaderId) -> (Vec<u64>, Taken) {
        let mut out = Vec::new();
        let taken = hub.take(reader, PORTION, &mut out);
        (out.iter().map(|frame| frame.id().ms).collect(), taken)
    }

    #[test]
    fn receivers_are_the_open_streams_that_match_each_once() {
        let hub = Hub::new(HubConfig::default(), Recovered::default());
        let readers = [hub.reader(Arc::new(Bell::default())), hub.reader(Arc::new(Bell::default()))];
        let mut open = Vec::new();
        for (reader, filters, types) in [
            (0, &["a"][..], &[][..]),
            (1, &["a"], &[]),
            (0, &["a", "b"], &[]),
            (0, &["*"], &["message"]),
            (1, &["*"], &["other"]),
            (1, &["c"], &[]),
        ] {
            let subscription = hub.subscribe(readers[reader], interest(filters, types), After::Live, 0);
            open.push((readers[reader], subscription.group));
        }
        assert_eq!(open[0].1, open[1].1, "equal interests are one group");
        assert_eq!(hub.append(&frames(1..=1, &["a", "b"]), 1).receivers, 4);
        assert_eq!(hub.append(&frames(2..=3, &["b"]), 1).receivers, 4, "summed over the events");
        for (reader, group) in open {
            hub.unsubscribe(reader, group);
        }
        assert_eq!(hub.append(&frames(4..=4, &["a"]), 1).receivers, 0);
    }

    #[test]
    fn reader_without_streams_is_not_woken_and_holds_nothing() {
        let config = HistoryConfig { events_max: 1, ..HistoryConfig::default() };
        let hub = Hub::new(HubConfig { history: config, ..HubConfig::default() }, Recovered::default());
        let bell = Arc::new(Bell::default());
        let reader = hub.reader(Arc::clone(&bell) as Arc<dyn Wake>);
        hub.append(&frames(1..=5, &["a"]), 0);
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
        assert_eq!(hub.0.lock().history.first(), 4);
        let group = hub.subscribe(reader, interest(&["a"], &[]), After::Live, 0).group;
        hub.append(&frames(6..=9, &["a"]), 0);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        let (taken, at) = take(&hub, reader);
        assert_eq!(
            (taken, at.next, at.position.ms),
            (vec![6, 7, 8, 9], 9, 9),
            "held for it, beyond the bound"
        );
        hub.unsubscribe(reader, group);
        hub.append(&frames(10..=20, &["a"]), 0);
        let (taken, at) = take(&hub, reader);
        assert_eq!((taken, at.next, at.position.ms), (vec![], 20, 20));
    }

    #[test]
    fn replay_that_has_begun_is_not_overtaken_by_a_small_history() {
        let config = HistoryConfig { events_max: 2, ..HistoryConfig::default() };
        let hub = Hub::new(HubConfig { history: config, ..HubConfig::default() }, Recovered::default());
        let reader = hub.reader(Arc::new(Bell::default()));
        hub.append(&frames(1..=4, &["a"]), 0);
        let start = hub.subscribe(reader, interest(&["a"], &[]), After::Earliest, 0).start;
        hub.append(&frames(5..=20, &["a"]), 0);
        let (_, taken) = take(&hub, reader);
        hub.append(&frames(21..=30, &["a"]), 0);
        let mut out = Vec::new();
        assert_eq!(hub.replay(start.next, taken.next, PORTION, &mut out), Ok(taken.next));
        assert_eq!(out.len(), 18, "3 and 4 were kept, 5 to 20 came since");
        hub.arrived(reader, 1);
        take(&hub, reader);
        hub.append(&frames(31..=31, &["a"]), 0);
        assert_eq!(hub.replay(start.next, taken.next, PORTION, &mut out), Err(Unread::Gone));
    }

    #[test]
    fn what_newcomers_need_is_held_whatever_those_of_another_reader_need() {
        let config = HistoryConfig { events_max: 1, ..HistoryConfig::default() };
        let config = HubConfig { history: config, backlog_events_max: 5, ..HubConfig::default() };
        let hub = Hub::new(config, Recovered::default());
        let readers = [hub.reader(Arc::new(Bell::default())), hub.reader(Arc::new(Bell::default()))];
        hub.subscribe(readers[0], interest(&["a"], &[]), After::Live, 0);
        hub.append(&frames(1..=4, &["a"]), 0);
        let start = hub.subscribe(readers[1], interest(&["a"], &[]), After::Live, 0).start;
        hub.append(&frames(5..=6, &["a"]), 0);
        for reader in readers {
            take(&hub, reader);
        }
        hub.append(&frames(7..=7, &["a"]), 0);
        let mut out = Vec::new();
        assert_eq!(hub.replay(0, 7, PORTION, &mut out), Err(Unread::Gone), "too far behind to be held for");
        assert_eq!(hub.replay(start.next, 7, PORTION, &mut out), Ok(7));
    }

    /// However long the history is: what counts is how much more than its bounds is held.
    #[test]
    fn replay_of_a_history_longer_than_the_backlog_is_held_for() {
        let config = HistoryConfig { events_max: 100, ..HistoryConfig::default() };
        let hub = Hub::new(
            HubConfig { history: config, backlog_events_max: 10, ..HubConfig::default() },
            Recovered::default(),
        );
        let reader = hub.reader(Arc::new(Bell::default()));
        hub.append(&frames(1..=100, &["a"]), 0);
        let start = hub.subscribe(reader, interest(&["a"], &[]), After::Earliest, 0).start;
        for (more, held) in [(101..=109, true), (110..=110, false)] {
            hub.append(&frames(more, &["a"]), 0);
            let (_, taken) = take(&hub, reader);
            let replayed = hub.replay(start.next, taken.next, PORTION, &mut Vec::new());
            assert_eq!(replayed.is_ok(), held, "{replayed:?}");
        }
    }

    #[test]
    fn publishers_wait_for_a_reader_that_is_far_behind() {
        let hub =
            Hub::new(HubConfig { backlog_events_max: 10, ..HubConfig::default() }, Recovered::default());
        let room = Arc::new(Bell::default());
        hub.wake_on_room(Arc::clone(&room) as Arc<dyn Wake>);
        let reader = hub.reader(Arc::new(Bell::default()));
        hub.append(&frames(1..=20, &["a"]), 0);
        assert!(hub.has_room(), "nobody is behind");
        hub.subscribe(reader, interest(&["a"], &[]), After::Live, 0);
        hub.append(&frames(21..=30, &["a"]), 0);
        assert!(!hub.has_room());
        take(&hub, reader);
        assert!(hub.has_room());
        assert_eq!(room.0.load(Ordering::Relaxed), 1);
    }
}
