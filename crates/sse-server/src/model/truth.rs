//! What has happened, all of it kept: what each client must see is looked up here, by going through everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::case::NewEvent;
use crate::hub::{After, EventId, Frame, HistoryConfig, Ordinal, ResetReason};

/// Topics, types and keys are few, so that they meet often.
pub(super) const TOPICS: [&str; 4] = ["a", "ab", "b", "session:x"];

/// What streams ask for: filters and types.
pub(super) const INTERESTS: [(&[&str], &[&str]); 6] = [
    (&["*"], &[]),
    (&["a"], &[]),
    (&["a*", "b"], &[]),
    (&["*"], &["x"]),
    (&["session:x"], &[]),
    (&["*", "session:x"], &["message"]),
];

/// One event as its publisher asked for it; its number is its data.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) event: NewEvent,
    /// The publish that it belongs to.
    pub(super) publish: usize,
    /// Whether it was given to the store.
    pub(super) submitted: bool,
    /// Whether the publisher was told that it is not accepted.
    pub(super) refused: bool,
    /// Its id, once it is committed.
    pub(super) id: Option<EventId>,
}

/// A key that an event was published under.
#[derive(Debug)]
struct Used {
    key: u8,
    number: usize,
    id: EventId,
    at_ms: u64,
    life: u32,
    is_committed: bool,
    /// Whether the window was over at some time, by the clock.
    is_over: bool,
}

/// What happened, and how often.
pub(super) type Met = BTreeMap<&'static str, u64>;

/// Where a stream has to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) position: EventId,
    pub(super) reset: Option<(ResetReason, Option<EventId>)>,
    /// What matches after this id has to come.
    pub(super) cursor: EventId,
}

/// All events ever committed, and which of them the bounds still allow.
pub(super) struct Truth {
    bounds: HistoryConfig,
    window_ms: u64,
    /// Whether events outlive their process.
    pub(super) is_durable: bool,
    pub(super) asked: Vec<Asked>,
    pub(super) events: Vec<Arc<Frame>>,
    /// Events before this one are discarded: the bounds did not allow them.
    pub(super) kept: usize,
    /// The event that this life's numbers begin with is at this place.
    base: usize,
    /// The highest id that a stream may have been given.
    pub(super) newest: EventId,
    /// Without a durable store: whatever id below may have belonged to an event that a crash took.
    lost_below: EventId,
    used: Vec<Used>,
    pub(super) life: u32,
    /// How often what is worth trying has happened.
    pub(super) met: Met,
    /// The first promise that was found broken where nobody could be told.
    pub(super) broken: Option<String>,
}

impl Truth {
    pub(super) fn new(bounds: HistoryConfig, window_ms: u64, is_durable: bool) -> Self {
        Self {
            bounds,
            window_ms,
            is_durable,
            asked: Vec::new(),
            events: Vec::new(),
            kept: 0,
            base: 0,
            newest: EventId::ZERO,
            lost_below: EventId::ZERO,
            used: Vec::new(),
            life: 0,
            met: Met::new(),
            broken: None,
        }
    }

    /// Notes what happened.
    pub(super) fn meet(&mut self, what: &'static str, times: usize) {
        *self.met.entry(what).or_default() += times as u64;
    }

    /// Notes a broken promise.
    pub(super) fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// A process begins; `first` is the oldest event that its store has, `newest` the highest id that somebody
    /// may have seen.
    pub(super) fn open(&mut self, first: usize, newest: EventId, crashed: bool, now_ms: u64) {
        self.life += 1;
        self.newest = newest;
        if self.is_durable {
            self.kept = first;
        } else {
            (self.kept, self.base) = (self.events.len(), self.events.len());
            if crashed {
                self.lost_below = newest;
            }
        }
        self.meet("events found at a start", self.events.len() - self.kept);
        self.trim(now_ms);
    }

    /// An event is given to the store.
    pub(super) fn submit(&mut self, number: usize, id: EventId, at_ms: u64) {
        self.asked[number].submitted = true;
        if let Some(key) = self.asked[number].event.key {
            let life = self.life;
            self.used.push(Used { key, number, id, at_ms, life, is_committed: false, is_over: false });
        }
    }

    /// Events that one publish gave to the store are committed.
    pub(super) fn append(&mut self, frames: &[Arc<Frame>]) {
        for frame in frames {
            let number = number(frame);
            let Asked { refused, id: before, .. } = self.asked[number];
            let key = self.asked[number].event.key;
            self.must(!refused, || format!("event {number} was refused and is committed as {}", frame.id()));
            self.must(before.is_none(), || format!("event {number} is committed twice, as {}", frame.id()));
            self.asked[number].id = Some(frame.id());
            if let Some(key) = key {
                let twin = self
                    .used
                    .iter()
                    .find(|used| used.key == key && self.is_in_force(used))
                    .map(|used| used.id);
                self.must(twin.is_none(), || format!("key {key} of event {number} is in force for {twin:?}"));
                let mut submitted = self.used.iter_mut().filter(|used| used.number == number);
                submitted.next().expect("what is committed was submitted").is_committed = true;
            }
            self.newest = self.newest.max(frame.id());
            self.events.push(Arc::clone(frame));
        }
    }

    /// The clock shows this.
    pub(super) fn tick(&mut self, now_ms: u64) {
        for used in &mut self.used {
            used.is_over |= now_ms.saturating_sub(used.at_ms) >= self.window_ms;
        }
    }

    /// Whether the same key again must be the same event.
    fn is_in_force(&self, used: &Used) -> bool {
        used.is_committed && (used.life == self.life || (self.is_durable && !used.is_over))
    }

    /// Whether this event was published under the key, and the key may still be known.
    pub(super) fn is_known(&self, key: u8, id: EventId) -> bool {
        let mut committed = self.used.iter().filter(|used| used.is_committed);
        committed.any(|used| (used.key, used.id) == (key, id) && (self.is_durable || used.life == self.life))
    }

    /// Keys that the store must have, if those used before `before_ms` are to go.
    pub(super) fn needs_key_before(&self, before_ms: u64) -> bool {
        self.used.iter().any(|used| used.is_committed && used.at_ms < before_ms && !used.is_over)
    }

    /// What the bounds do not allow is discarded: by looking at all of it.
    pub(super) fn trim(&mut self, now_ms: u64) {
        let HistoryConfig { events_max, bytes_max, age_max_ms, .. } = self.bounds;
        let allowed = |kept: &[Arc<Frame>]| {
            let bytes: usize = kept.iter().map(|frame| frame.cost()).sum();
            let aged =
                |frame: &Arc<Frame>| age_max_ms != 0 && now_ms.saturating_sub(frame.id().ms) > age_max_ms;
            (events_max == 0 || kept.len() <= events_max)
                && (bytes_max == 0 || bytes <= bytes_max)
                && !kept.iter().any(aged)
        };
        while !allowed(&self.events[self.kept..]) {
            self.kept += 1;
        }
    }

    pub(super) fn oldest(&self) -> Option<EventId> {
        self.events.get(self.kept).map(|frame| frame.id())
    }

    /// The hub's number of the event at this place.
    pub(super) fn ordinal(&self, place: usize) -> Ordinal {
        (place.saturating_sub(if self.is_durable { 0 } else { self.base })) as Ordinal
    }

    /// The number that the next event gets.
    pub(super) fn end(&self) -> Ordinal {
        self.ordinal(self.events.len())
    }

    /// The contract's rules for a new stream.
    pub(super) fn start(&self, after: After) -> Expected {
        let oldest = self.oldest();
        let discarded = self.events[..self.kept].last().map_or(EventId::ZERO, |frame| frame.id());
        let live = |reset| Expected { position: self.newest, reset, cursor: self.newest };
        match after {
            After::Live => live(None),
            After::Earliest => {
                let position = oldest.map_or(self.newest, EventId::before);
                Expected { position, reset: None, cursor: discarded }
            }
            After::Malformed => live(Some((ResetReason::UnknownId, oldest))),
            After::Id(id) if id > self.newest => live(Some((ResetReason::UnknownId, oldest))),
            After::Id(id) => {
                let truncated = id < discarded || id < self.lost_below;
                let reset = truncated.then_some((ResetReason::HistoryTruncated, oldest));
                Expected { position: id, reset, cursor: id.max(discarded) }
            }
        }
    }

    /// The next event after `cursor` that somebody with this interest must see.
    pub(super) fn next(&self, cursor: EventId, interest: usize) -> Option<&Arc<Frame>> {
        let from = self.events.partition_point(|frame| frame.id() <= cursor);
        self.events[from..].iter().find(|frame| self.wants(interest, frame))
    }

    /// Whether there ever was an event after `after` and up to `until`.
    pub(super) fn has_between(&self, after: EventId, until: EventId) -> bool {
        self.events.iter().any(|frame| after < frame.id() && frame.id() <= until)
    }

    /// Whether somebody with this interest must see the event: by the words of the contract.
    pub(super) fn wants(&self, interest: usize, frame: &Frame) -> bool {
        let NewEvent { topics, event, audience, .. } = &self.asked[number(frame)].event;
        let (filters, types) = INTERESTS[interest];
        let reads = |filter: &str, topic: &str| match filter.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix) && !topic.starts_with("session:"),
            None => topic == filter,
        };
        (types.is_empty() || types.contains(&event.unwrap_or("message")))
            && audience.is_none_or(|audience| types.contains(&audience))
            && topics.iter().any(|topic| filters.iter().any(|filter| reads(filter, topic)))
    }

    /// Whether each publish is there whole, or not at all.
    pub(super) fn has_whole_batches_only(&self) -> bool {
        let mut submitted = self.asked.iter().filter(|asked| asked.submitted);
        submitted.all(|asked| {
            let others = self.asked.iter().filter(|other| other.submitted && other.publish == asked.publish);
            others.into_iter().all(|other| other.id.is_some() == asked.id.is_some())
        })
    }
}

/// The number of a committed event, which its data begins with.
pub(super) fn number(frame: &Frame) -> usize {
    let (data, _) = frame.data();
    data.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .expect("the data begins with the event's number")
}
