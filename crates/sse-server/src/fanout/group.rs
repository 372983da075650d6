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
    /// Its place among this round's, if it is touched.
    round: Option<usize>,
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
    /// What this stream gets.
    pub(super) fn bytes_for(&self, stream: &mut Stream) -> &[u8] {
        let is_apart = stream.gzip.as_mut().is_some_and(|given| given.take(&self.packed));
        if is_apart { self.apart.bytes() } else { self.chunk.bytes() }
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
    window: Window,
}

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

/// Chunks kept for the next round, and their size; more is freed.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 256 << 10;

impl Groups {
    pub(super) fn new(window: Window) -> Self {
        let (groups, by_key, index) = (Slab::new(), HashMap::new(), Index::default());
        Self { groups, by_key, index, seen: 0, spare: Vec::new(), window }
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
            round: None,
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

    /// Makes the bytes of a round, once for each group with live streams that wants some of `frames`.
    pub(super) fn compose(&mut self, frames: &[Arc<Frame>], packer: &mut Packer, rounds: &mut Vec<Round>) {
        let Self { groups, index, seen, spare, window, .. } = self;
        for frame in frames {
            *seen += 1;
            for topic in frame.topics() {
                index.groups(topic, |id| {
                    let group = &mut groups[id as usize];
                    if group.seen == *seen || group.live.is_empty() {
                        return;
                    }
                    group.seen = *seen;
                    if !group.interest.admits(frame) {
                        return;
                    }
                    let place = *group.round.get_or_insert_with(|| {
                        let mut chunk = spare.pop().unwrap_or_default();
                        chunk.begin();
                        let apart = Chunk::default();
                        rounds.push(Round {
                            group: id,
                            chunk,
                            apart,
                            packed: Packed::default(),
                            text: 0,
                            events: 0,
                        });
                        rounds.len() - 1
                    });
                    let round = &mut rounds[place];
                    round.events += 1;
                    match &mut group.span {
                        Some(span) if span.is_private => {
                            let mut text = spare.pop().unwrap_or_default();
                            frame.write(&group.interest, text.begin());
                            round.text += text.text().len() as u64;
                            span.pack(packer, text.text(), (0, 0), round.chunk.body());
                            spare.push(text);
                        }
                        _ => frame.write(&group.interest, round.chunk.body()),
                    }
                });
            }
        }
        for round in rounds {
            let group = &mut groups[round.group as usize];
            group.round = None;
            // Each event of a private one is packed already.
            if !group.span.as_ref().is_some_and(|span| span.is_private) {
                group.pack(round, packer, *window, spare);
            }
            round.chunk.finish(group.key.1);
        }
    }

    /// Makes a round of one heartbeat for all live streams of a compressed group, so that it does not part them.
    pub(super) fn compose_heartbeat(&mut self, id: GroupId, position: EventId, packer: &mut Packer) -> Round {
        let mut chunk = self.spare.pop().unwrap_or_default();
        wire::heartbeat(chunk.begin(), position);
        let (apart, packed) = (Chunk::default(), Packed::default());
        let mut round = Round { group: id, chunk, apart, packed, text: 0, events: 0 };
        let group = &mut self.groups[id as usize];
        group.pack(&mut round, packer, self.window, &mut self.spare);
        round.chunk.finish(group.key.1);
        round
    }

    /// Takes the chunks of a round back.
    pub(super) fn recycle(&mut self, rounds: &mut Vec<Round>) {
        for mut round in rounds.drain(..) {
            for chunk in [&mut round.chunk, &mut round.apart] {
                if self.spare.len() < SPARE_MAX && !chunk.is_empty() {
                    chunk.shrink(SPARE_BYTES_MAX);
                    self.spare.push(std::mem::take(chunk));
                }
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
