//! Streams with the same interest and encoding: their bytes are made once for each round.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::gzip::{Packed, Packer, Span};
use super::stream::Stream;
use super::wire;
use super::wire::{Chunk, Encoding};
use crate::hub::{EventId, Frame, GroupId, Index, Interest};

/// The slot of a stream in its reactor.
pub(super) type Slot = u32;

/// The streams of one reactor that get the same bytes.
#[derive(Debug)]
pub(super) struct Group {
    key: (GroupId, Encoding),
    interest: Arc<Interest>,
    /// Streams, those behind included.
    streams: u32,
    /// Streams that have passed whatever the reactor has.
    pub(super) live: Vec<Slot>,
    /// When the live streams were last written to together.
    pub(super) written_ms: u64,
    /// The last event looked at, so that one with two matching topics comes once.
    seen: u64,
    /// If its streams are compressed.
    pub(super) span: Option<Box<Span>>,
}

impl Group {
    /// How its bytes are framed.
    pub(super) fn encoding(&self) -> Encoding {
        self.key.1
    }

    /// What its streams want.
    pub(super) fn interest(&self) -> &Arc<Interest> {
        &self.interest
    }

    /// If its streams are compressed, so is the round's text from now on.
    fn pack(&mut self, round: &mut Round, packer: &mut Packer, window: Window, spare: &mut Vec<Chunk>) {
        let Some(span) = &mut self.span else { return };
        let text = std::mem::replace(&mut round.chunk, spare.pop().unwrap_or_default());
        round.text = text.text().len() as u64;
        let live = self.live.len();
        round.packed = span.pack(packer, text.text(), (live, window.of(live)), round.chunk.begin());
        if round.packed.is_apart {
            round.apart = spare.pop().unwrap_or_default();
            packer.pack(&[], text.text(), round.apart.begin());
            round.apart.finish(self.key.1);
        }
        spare.push(text);
    }
}

/// What the live streams of one group get in one round.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) group: GroupId,
    /// The bytes, framed.
    pub(super) chunk: Chunk,
    /// Those for streams that cannot read these, framed.
    apart: Chunk,
    packed: Packed,
    /// Bytes of text in them, if they are compressed.
    pub(super) text: u64,
    /// The events in them.
    pub(super) events: u64,
}

impl Round {
    fn new(group: GroupId, chunk: Chunk) -> Self {
        Self { group, chunk, apart: Chunk::default(), packed: Packed::default(), text: 0, events: 0 }
    }

    /// What this stream gets.
    pub(super) fn bytes_for(&self, stream: &mut Stream) -> &[u8] {
        let is_apart = stream.gzip.as_mut().is_some_and(|given| given.take(&self.packed));
        if is_apart { self.apart.bytes() } else { self.chunk.bytes() }
    }

    /// Whatever some stream gets.
    pub(super) fn all_bytes(&self) -> [&[u8]; 2] {
        [self.chunk.bytes(), self.apart.bytes()]
    }
}

/// All groups of one reactor.
#[derive(Debug)]
pub(super) struct Groups {
    groups: Slab<Group>,
    by_key: HashMap<(GroupId, Encoding), GroupId>,
    index: Index,
    /// Frames looked at.
    seen: u64,
    spare: Vec<Chunk>,
    /// What private groups get of this round's events, each packed by itself: the same, unless in an envelope.
    alike: HashMap<usize, Vec<u8>>,
    window: Window,
}

/// A group, and the place of an event that it wants in its round.
pub(super) type Wanted = (GroupId, usize);

/// Text that groups keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) bytes_max: usize,
    pub(super) bytes_per_stream: usize,
}

impl Window {
    fn of(self, streams: usize) -> usize {
        self.bytes_max.min(self.bytes_per_stream.saturating_mul(streams))
    }
}

/// Chunks kept for the next group, and their size; more is freed. One has the text, two the bytes.
const SPARE_MAX: usize = 3;
const SPARE_BYTES_MAX: usize = 256 << 10;

impl Groups {
    pub(super) fn new(window: Window) -> Self {
        let (groups, by_key, index) = (Slab::new(), HashMap::new(), Index::default());
        Self { groups, by_key, index, seen: 0, spare: Vec::new(), alike: HashMap::new(), window }
    }

    /// Counts a stream in; makes its group if it is the first.
    pub(super) fn join(&mut self, group: GroupId, interest: &Arc<Interest>, encoding: Encoding) -> GroupId {
        let key = (group, encoding);
        if let Some(id) = self.by_key.get(&key) {
            self.groups[*id as usize].streams += 1;
            return *id;
        }
        let is_private = interest.is_private();
        let interest = Arc::clone(interest);
        let entry = self.groups.vacant_entry();
        let id = GroupId::try_from(entry.key()).expect("there are fewer groups than descriptors");
        self.index.insert(id, interest.topics());
        entry.insert(Group {
            key,
            interest,
            streams: 1,
            live: Vec::new(),
            written_ms: 0,
            seen: 0,
            span: (encoding == Encoding::Gzip).then(|| Box::new(Span::new(is_private))),
        });
        self.by_key.insert(key, id);
        id
    }

    /// Counts a stream out that is not live; returns the hub's number of its group.
    pub(super) fn leave(&mut self, id: GroupId) -> GroupId {
        let group = &mut self.groups[id as usize];
        group.streams -= 1;
        let key = group.key;
        if group.streams == 0 {
            let group = self.groups.remove(id as usize);
            self.index.remove(id, group.interest.topics());
            self.by_key.remove(&key);
        }
        key.0
    }

    /// Which groups with live streams want which of `frames`: by group, each group's in order.
    pub(super) fn wanted(&mut self, frames: &[Arc<Frame>], wanted: &mut Vec<Wanted>) {
        let Self { groups, index, seen, alike, .. } = self;
        alike.clear();
        for (n, frame) in frames.iter().enumerate() {
            *seen += 1;
            for topic in frame.topics() {
                index.groups(topic, |id| {
                    let group = &mut groups[id as usize];
                    if group.seen == *seen || group.live.is_empty() {
                        return;
                    }
                    group.seen = *seen;
                    if group.interest.admits(frame) {
                        wanted.push((id, n));
                    }
                });
            }
        }
        wanted.sort_unstable();
    }

    /// Makes the bytes of a round for one group; `wanted` are what it wants of `frames`.
    pub(super) fn compose(&mut self, wanted: &[Wanted], frames: &[Arc<Frame>], packer: &mut Packer) -> Round {
        let Self { groups, spare, window, alike, .. } = self;
        let id = wanted.first().expect("who wants nothing has no round").0;
        let group = &mut groups[id as usize];
        let mut round = Round::new(id, spare.pop().unwrap_or_default());
        round.events = wanted.len() as u64;
        let body = round.chunk.begin();
        let wanted = wanted.iter().map(|(_, n)| (*n, &frames[*n]));
        match &mut group.span {
            // No private event may be read off the length of another, so each is packed by itself.
            Some(span) if span.is_private => {
                for (n, frame) in wanted {
                    let mut text = spare.pop().unwrap_or_default();
                    frame.write(&group.interest, text.begin());
                    round.text += text.text().len() as u64;
                    if group.interest.envelope() {
                        span.pack(packer, text.text(), (0, 0), body);
                    } else {
                        span.give(text.text());
                        let packed = alike.entry(n).or_insert_with(|| {
                            let mut packed = Vec::new();
                            packer.pack(&[], text.text(), &mut packed);
                            packed
                        });
                        body.extend_from_slice(packed);
                    }
                    spare.push(text);
                }
            }
            _ => {
                wanted.for_each(|(_, frame)| frame.write(&group.interest, body));
                group.pack(&mut round, packer, *window, spare);
            }
        }
        round.chunk.finish(group.key.1);
        round
    }

    /// Makes a round of one heartbeat for all live streams of a compressed group, so that it does not part them.
    pub(super) fn compose_heartbeat(&mut self, id: GroupId, position: EventId, packer: &mut Packer) -> Round {
        let mut chunk = self.spare.pop().unwrap_or_default();
        wire::heartbeat(chunk.begin(), position);
        let mut round = Round::new(id, chunk);
        let group = &mut self.groups[id as usize];
        group.pack(&mut round, packer, self.window, &mut self.spare);
        round.chunk.finish(group.key.1);
        round
    }

    /// Takes the chunks of a round back.
    pub(super) fn recycle(&mut self, round: Round) {
        for mut chunk in [round.chunk, round.apart] {
            if self.spare.len() < SPARE_MAX && !chunk.is_empty() {
                chunk.shrink(SPARE_BYTES_MAX);
                self.spare.push(chunk);
            }
        }
    }
}

impl std::ops::Index<GroupId> for Groups {
    type Output = Group;

    fn index(&self, id: GroupId) -> &Group {
        &self.groups[id as usize]
    }
}

impl std::ops::IndexMut<GroupId> for Groups {
    fn index_mut(&mut self, id: GroupId) -> &mut Group {
        &mut self.groups[id as usize]
    }
}
