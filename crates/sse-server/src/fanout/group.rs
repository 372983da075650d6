//! Streams with the same interest and encoding: their bytes are made once for each round.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::wire::{Chunk, Encoding};
use crate::hub::{Frame, GroupId, Index, Interest};

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
}

/// What the live streams of one group get in one round.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) group: GroupId,
    /// The bytes, framed.
    pub(super) chunk: Chunk,
    /// The events in them.
    pub(super) events: u64,
}

/// All groups of one reactor.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Slab<Group>,
    by_key: HashMap<(GroupId, Encoding), GroupId>,
    index: Index,
    /// Frames looked at.
    seen: u64,
    spare: Vec<Chunk>,
}

/// Chunks kept for the next round, and their size; more is freed.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 256 << 10;

impl Groups {
    /// Counts a stream in; makes its group if it is the first.
    pub(super) fn join(&mut self, group: GroupId, interest: &Arc<Interest>, encoding: Encoding) -> GroupId {
        let key = (group, encoding);
        if let Some(id) = self.by_key.get(&key) {
            self.groups[*id as usize].streams += 1;
            return *id;
        }
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
    pub(super) fn compose(&mut self, frames: &[Arc<Frame>], rounds: &mut Vec<Round>) {
        let Self { groups, index, seen, spare, .. } = self;
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
                        rounds.push(Round { group: id, chunk, events: 0 });
                        rounds.len() - 1
                    });
                    let round = &mut rounds[place];
                    frame.write(&group.interest, round.chunk.body());
                    round.events += 1;
                });
            }
        }
        for round in rounds {
            let group = &mut groups[round.group as usize];
            group.round = None;
            round.chunk.finish(group.key.1);
        }
    }

    /// Takes the chunks of a round back.
    pub(super) fn recycle(&mut self, rounds: &mut Vec<Round>) {
        for mut round in rounds.drain(..) {
            if self.spare.len() < SPARE_MAX {
                round.chunk.shrink(SPARE_BYTES_MAX);
                self.spare.push(round.chunk);
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
