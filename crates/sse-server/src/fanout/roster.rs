//! The streams of one reactor, and where each of them stands.

use mio::Token;
use slab::Slab;

use super::group::{Group, Groups, Slot, Window};
use super::mailbox::WAKER;
use super::stream::{Place, Stream};
use crate::hub::{EventId, GroupId, Ordinal};

/// A stream that may have ended meanwhile, and its slot been given to another.
pub(super) type Handle = (Slot, u32);

/// Streams in slots; those that are live in their groups' lists, those behind in a list of their own.
pub(super) struct Roster {
    streams: Slab<Stream>,
    pub(super) groups: Groups,
    behind: Vec<Slot>,
    /// Those that wait for their other end.
    pub(super) held: Vec<Slot>,
    /// No stream behind needs an event before this one.
    behind_from: Ordinal,
    generation: u32,
}

impl Roster {
    pub(super) fn new(window: Window) -> Self {
        Self {
            streams: Slab::new(),
            groups: Groups::new(window),
            behind: Vec::new(),
            held: Vec::new(),
            behind_from: Ordinal::MAX,
            generation: 0,
        }
    }

    /// Takes a stream in that stands nowhere yet.
    pub(super) fn insert(&mut self, mut stream: Stream) -> Handle {
        self.generation = self.generation.wrapping_add(1);
        stream.generation = self.generation;
        (slot_of(self.streams.insert(stream)), self.generation)
    }

    /// Whether the stream is still there.
    pub(super) fn holds(&self, (slot, generation): Handle) -> bool {
        self.streams.get(slot as usize).is_some_and(|stream| stream.generation == generation)
    }

    pub(super) fn handle(&self, slot: Slot) -> Handle {
        (slot, self[slot].generation)
    }

    /// A stream and its group.
    pub(super) fn with_group(&mut self, slot: Slot) -> (&mut Stream, &Group) {
        let stream = &mut self.streams[slot as usize];
        let group = &self.groups[stream.group];
        (stream, group)
    }

    /// The same, to be looked at.
    pub(super) fn stream_and_group(&self, slot: Slot) -> (&Stream, &Group) {
        let stream = &self[slot];
        (stream, &self.groups[stream.group])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Stream)> {
        self.streams.iter().map(|(slot, stream)| (slot_of(slot), stream))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Stream)> {
        self.streams.iter_mut().map(|(slot, stream)| (slot_of(slot), stream))
    }

    /// The slots of the streams that are so.
    pub(super) fn slots(&self, are: impl Fn(&Stream) -> bool) -> Vec<Slot> {
        self.iter().filter(|(_, stream)| are(stream)).map(|(slot, _)| slot).collect()
    }

    /// From now on the stream reads on by itself, from this event; `passed` is the id of the one before.
    pub(super) fn place_behind(&mut self, slot: Slot, (next, passed): (Ordinal, EventId)) {
        self.unseat(slot);
        let stream = &mut self.streams[slot as usize];
        (stream.place, stream.seat) = (Place::Behind(next), slot_of(self.behind.len()));
        stream.passed = passed;
        self.behind.push(slot);
        self.behind_from = self.behind_from.min(next);
    }

    /// From now on the stream waits, with the rounds from this event on.
    pub(super) fn place_held(&mut self, slot: Slot, from: Ordinal) {
        self.unseat(slot);
        let stream = &mut self.streams[slot as usize];
        (stream.place, stream.seat) = (Place::Held(from), slot_of(self.held.len()));
        self.held.push(slot);
    }

    /// From now on the stream gets what its group gets.
    pub(super) fn place_live(&mut self, slot: Slot) {
        self.unseat(slot);
        let stream = &mut self.streams[slot as usize];
        let group = &mut self.groups[stream.group];
        (stream.place, stream.seat) = (Place::Live, slot_of(group.live.len()));
        group.live.push(slot);
        if let (Some(span), Some(given)) = (&mut group.span, &mut stream.gzip) {
            span.enter(given);
        }
    }

    /// Takes a stream out of the list that its place put it in; it gets nothing more.
    pub(super) fn unseat(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot as usize];
        let list = match stream.place {
            Place::Live => {
                let group = &mut self.groups[stream.group];
                if let (Some(span), Some(given)) = (&mut group.span, &mut stream.gzip) {
                    span.leave(given);
                }
                &mut group.live
            }
            Place::Behind(_) => &mut self.behind,
            Place::Held(_) => &mut self.held,
            Place::Leaving => return,
        };
        let seat = stream.seat;
        stream.place = Place::Leaving;
        list.swap_remove(seat as usize);
        if let Some(moved) = list.get(seat as usize) {
            self.streams[*moved as usize].seat = seat;
        }
    }

    /// Lets a stream go; returns it and the hub's number of its group.
    pub(super) fn remove(&mut self, slot: Slot) -> (Stream, GroupId) {
        self.unseat(slot);
        let stream = self.streams.remove(slot as usize);
        let group = self.groups.leave(stream.group);
        if self.streams.is_empty() {
            self.streams.shrink_to_fit();
        }
        (stream, group)
    }

    /// The streams behind whose next event is before `first`, the oldest that is held.
    pub(super) fn beyond_reach(&mut self, first: Ordinal) -> Vec<Slot> {
        let mut lost = Vec::new();
        if first > self.behind_from {
            self.behind_from = Ordinal::MAX;
            for slot in &self.behind {
                match self.streams[*slot as usize].place {
                    Place::Behind(next) if next < first => lost.push(*slot),
                    Place::Behind(next) => self.behind_from = self.behind_from.min(next),
                    Place::Live | Place::Held(_) | Place::Leaving => {}
                }
            }
        }
        lost
    }
}

impl std::ops::Index<Slot> for Roster {
    type Output = Stream;

    fn index(&self, slot: Slot) -> &Stream {
        &self.streams[slot as usize]
    }
}

impl std::ops::IndexMut<Slot> for Roster {
    fn index_mut(&mut self, slot: Slot) -> &mut Stream {
        &mut self.streams[slot as usize]
    }
}

fn slot_of(n: usize) -> Slot {
    Slot::try_from(n).expect("there are fewer streams than descriptors")
}

/// What a socket's reports carry.
pub(super) fn to_token((slot, generation): Handle) -> Token {
    Token((generation as usize) << 32 | slot as usize)
}

/// Whose report it is; `None` is the waker's.
pub(super) fn from_token(token: Token) -> Option<Handle> {
    let slot = Slot::try_from(token.0 & 0xffff_ffff).ok()?;
    (token != WAKER).then_some((slot, u32::try_from(token.0 >> 32).ok()?))
}
