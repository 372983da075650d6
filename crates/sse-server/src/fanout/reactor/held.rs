//! Streams whose other end, the proxy on this machine, has not taken their last bytes: they wait for a next round.
//!
//! To write to them at once would have the proxy read, and pass on, each event by itself, the later the more it has to
//! do. Held, they get several events in one write, after `undrained_wait` at the next look; none waits for another.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Reactor, millis};
use crate::fanout::group::Slot;
use crate::fanout::stream::{Place, Sent};
use crate::hub::{Frame, GroupId, Ordinal};

/// How often it is looked whether their other ends have taken something, in milliseconds.
const LOOK_EVERY_MS: u64 = 4;

/// The rounds that some stream waits with, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held {
    rounds: VecDeque<Round>,
    bytes: usize,
    look_ms: u64,
}

#[derive(Debug)]
struct Round {
    first: Ordinal,
    at_ms: u64,
    bytes: usize,
    frames: Vec<Arc<Frame>>,
}

impl Held {
    /// When a stream that waits from this event on has to go on.
    fn due_ms(&self, from: Ordinal, wait_ms: u64) -> u64 {
        let round = self.rounds.iter().find(|round| round.first >= from);
        round.map_or(0, |round| round.at_ms + wait_ms)
    }

    fn let_go(&mut self, before: Ordinal) {
        while let Some(round) = self.rounds.pop_front_if(|round| round.first < before) {
            self.bytes -= round.bytes;
        }
    }
}

impl Reactor {
    /// Before a round is written: who would wait with more than one write may have goes on first.
    pub(super) fn make_room(&mut self, first: Ordinal, frames: &[Arc<Frame>]) {
        if self.held.bytes + bytes_of(frames) > self.config.round_bytes_max {
            self.release_held(true, first);
        }
    }

    /// Keeps a round for the streams that wait.
    pub(super) fn hold(&mut self, first: Ordinal, frames: &[Arc<Frame>]) {
        if self.roster.held.is_empty() {
            return;
        }
        if self.held.rounds.is_empty() {
            self.held.look_ms = self.now_ms + LOOK_EVERY_MS;
        }
        let bytes = bytes_of(frames);
        self.held.bytes += bytes;
        self.held.rounds.push_back(Round { first, at_ms: self.now_ms, bytes, frames: frames.to_vec() });
    }

    /// When it is to be looked whether streams that wait may go on.
    pub(super) fn held_until_ms(&self) -> Option<u64> {
        (!self.roster.held.is_empty()).then_some(self.held.look_ms)
    }

    /// Lets those go on that have waited long enough or whose other ends have taken all; each gets in one write what
    /// it has waited with, which ends before `next`.
    pub(super) fn release_held(&mut self, all: bool, next: Ordinal) {
        if self.roster.held.is_empty() {
            // Those that waited may have ended.
            return self.held.let_go(Ordinal::MAX);
        }
        if !all && self.now_ms < self.held.look_ms {
            return;
        }
        self.held.look_ms = self.now_ms + LOOK_EVERY_MS;
        let wait_ms = millis(self.config.undrained_wait);
        let mut free: Vec<(GroupId, Ordinal, Slot)> = Vec::new();
        let mut oldest = Ordinal::MAX;
        for slot in &self.roster.held {
            let stream = &self.roster[*slot];
            let Place::Held(from) = stream.place else { continue };
            if all || self.now_ms >= self.held.due_ms(from, wait_ms) || stream.has_taken_all() {
                free.push((stream.group, from, *slot));
            } else {
                oldest = oldest.min(from);
            }
        }
        // Those of one group that wait with the same get the same bytes.
        free.sort_unstable();
        for same in free.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            self.release(same, next);
        }
        self.held.let_go(oldest);
    }

    fn release(&mut self, same: &[(GroupId, Ordinal, Slot)], next: Ordinal) {
        let Some((group, from, _)) = same.first().copied() else { return };
        let group = &self.roster.groups[group];
        let (interest, body) = (group.interest(), self.chunk.begin());
        let (mut events, mut accepted) = (0, None);
        let rounds = self.held.rounds.iter().filter(|round| round.first >= from);
        for frame in rounds.flat_map(|round| &round.frames).filter(|frame| interest.reads(frame)) {
            events += 1;
            accepted.get_or_insert(frame.accepted());
            frame.write(interest, body);
        }
        self.chunk.finish(group.encoding());
        let bytes = self.chunk.bytes();
        let mut kept: Option<Arc<[u8]>> = None;
        let mut written = 0;
        for (_, _, slot) in same {
            let stream = &mut self.roster[*slot];
            match stream.send(bytes) {
                Sent::All => {
                    self.tally.bytes += bytes.len() as u64;
                    stream.written_ms = self.now_ms;
                    self.roster.place_live(*slot);
                }
                Sent::Part(sent) => {
                    self.tally.bytes += sent as u64;
                    stream.written_ms = self.now_ms;
                    stream.keep(Arc::clone(kept.get_or_insert_with(|| bytes.into())), sent);
                    self.stalled.push(*slot);
                }
                Sent::Ended(reason) => {
                    self.ended.push((*slot, reason));
                    continue;
                }
            }
            self.roster[*slot].events += events;
            written += 1;
        }
        let passed = self.held.rounds.back().and_then(|round| round.frames.last()).map(|frame| frame.id());
        let passed = passed.expect("a stream waits with a round, and that ends where the next begins");
        while let Some(slot) = self.stalled.pop() {
            self.roster.place_behind(slot, (next, passed));
            self.watch(slot);
        }
        while let Some((slot, reason)) = self.ended.pop() {
            self.end(slot, reason);
        }
        self.tally.delivered += events * written;
        if let Some(accepted) = accepted.filter(|_| written > 0) {
            self.counters.delivery_latency.observe(accepted.elapsed(), events * written);
        }
    }
}

fn bytes_of(frames: &[Arc<Frame>]) -> usize {
    frames.iter().map(|frame| frame.wire().len()).sum()
}
