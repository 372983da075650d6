//! The listeners that share one queue of events.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use log::Level;

use super::event::Event;
use super::kind::Kinds;
use super::text::Line;

/// The numbers of events, from 0; after the last it begins anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serial(u64);

impl Serial {
    /// The last number (Python's `sys.maxsize`, which a listener may expect to fit).
    const MAX: u64 = i64::MAX as u64;

    /// The next number.
    pub fn take(&mut self) -> u64 {
        let serial = self.0;
        self.0 = if serial == Self::MAX { 0 } else { serial + 1 };
        serial
    }
}

/// An event that at least one pool wants: numbered, and with its payload written once for all.
#[derive(Debug, PartialEq, Eq)]
pub struct Published {
    serial: u64,
    name: &'static str,
    payload: String,
    /// As Python's `len` counts, see [`Pool::next_for`].
    characters: usize,
}

impl Published {
    fn new(event: &Event, serial: u64) -> Self {
        let payload = event.payload();
        Self { serial, name: event.name(), characters: payload.chars().count(), payload }
    }

    /// Its number in the daemon.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

/// Puts the event into every pool that wants it; it takes a number only if there is one. What is to be logged comes out.
pub fn publish<'a>(
    event: &Event,
    serial: &mut Serial,
    pools: impl IntoIterator<Item = &'a mut Pool>,
) -> Vec<Line> {
    let mut published = None;
    let mut lines = Vec::new();
    for pool in pools.into_iter().filter(|pool| pool.wants(event)) {
        let published = published.get_or_insert_with(|| Rc::new(Published::new(event, serial.take())));
        lines.extend(pool.offer(published));
    }
    lines
}

/// What is to be written to the stdin of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The envelope and the payload.
    pub bytes: Vec<u8>,
    /// To be logged once it is written.
    pub line: Line,
}

/// An event in this pool.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Queued {
    event: Rc<Published>,
    serial: u64,
}

/// A group of listeners and the events that wait for them.
#[derive(Debug)]
pub struct Pool {
    name: String,
    identifier: String,
    kinds: Kinds,
    buffer_size: usize,
    serial: Serial,
    buffer: VecDeque<Queued>,
    /// What each listener, by its process' name, is busy with: at most one each.
    busy: BTreeMap<String, Queued>,
}

impl Pool {
    /// A pool called `name` in the daemon `identifier`, in which `buffer_size` events may wait; one more drops the oldest.
    #[must_use]
    pub fn new(name: &str, identifier: &str, kinds: Kinds, buffer_size: usize) -> Self {
        Self {
            name: name.to_owned(),
            identifier: identifier.to_owned(),
            kinds,
            buffer_size: buffer_size.max(1),
            serial: Serial::default(),
            buffer: VecDeque::new(),
            busy: BTreeMap::new(),
        }
    }

    /// Its name, which is its group's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its listeners asked for such an event.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.kinds.matches(event)
    }

    /// The number of events that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Whether every event was told and answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.busy.is_empty()
    }

    /// Puts an event behind the others; [`publish`] does it for all pools.
    pub fn offer(&mut self, event: &Rc<Published>) -> Vec<Line> {
        let queued = Queued { event: Rc::clone(event), serial: self.serial.take() };
        let lines = self.make_room();
        self.buffer.push_back(queued);
        lines
    }

    /// What to write to a listener that is ready: the oldest event, which it is busy with from now on.
    ///
    /// `len` counts characters, as supervisord's does. Its own description says bytes, but listeners in Python, like
    /// superlance, read so many characters, and would wait for ever for what bytes beyond them promise.
    pub fn next_for(&mut self, listener: &str) -> Option<Delivery> {
        if self.busy.contains_key(listener) {
            return None;
        }
        let queued = self.buffer.pop_front()?;
        let Published { serial, name, payload, characters } = &*queued.event;
        let envelope = format!(
            "ver:3.0 server:{} serial:{serial} pool:{} poolserial:{} eventname:{name} len:{characters}\n{payload}",
            self.identifier, self.name, queued.serial
        );
        let text = format!("event {serial} sent to listener {listener}");
        self.busy.insert(listener.to_owned(), queued);
        Some(Delivery { bytes: envelope.into_bytes(), line: Line::new(Level::Debug, text) })
    }

    /// The listener's stdin was closed: the event stays the next one, for another listener.
    pub fn unsent(&mut self, listener: &str) -> Vec<Line> {
        let Some(queued) = self.busy.get(listener) else { return Vec::new() };
        let text = format!(
            "epipe occurred while sending event {} to listener {listener}, listener state unchanged",
            queued.event.serial
        );
        let mut lines = vec![Line::new(Level::Debug, text)];
        lines.extend(self.rejected(listener));
        lines
    }

    /// The listener answered OK.
    pub fn processed(&mut self, listener: &str) {
        self.busy.remove(listener);
    }

    /// The listener answered something else, broke the protocol or died: what it was busy with, if anything, comes
    /// before all others again. In a full buffer that drops the oldest of those.
    pub fn rejected(&mut self, listener: &str) -> Vec<Line> {
        let Some(queued) = self.busy.remove(listener) else { return Vec::new() };
        let text = format!(
            "rebuffering event {} for pool {} (buf size={}, max={})",
            queued.event.serial,
            self.name,
            self.buffer.len(),
            self.buffer_size
        );
        let mut lines = vec![Line::new(Level::Debug, text)];
        lines.extend(self.make_room());
        self.buffer.push_front(queued);
        lines
    }

    fn make_room(&mut self) -> Vec<Line> {
        let full = self.buffer.len() >= self.buffer_size;
        let discarded = full.then(|| self.buffer.pop_front()).flatten();
        let text = |queued: Queued| {
            format!("pool {} event buffer overflowed, discarding event {}", self.name, queued.event.serial)
        };
        discarded.map(|queued| Line::new(Level::Error, text(queued))).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
