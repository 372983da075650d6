//! What becomes of streams on which nothing happens: heartbeats, and the end of those that take nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Reactor, millis};
use crate::fanout::EndReason;
use crate::fanout::group::Slot;
use crate::fanout::gzip;
use crate::fanout::stream::{Place, Sent};
use crate::fanout::wire::{self, Encoding};

impl Reactor {
    /// Heartbeats for the streams that were silent for an interval.
    pub(super) fn beat(&mut self) {
        let interval_ms = millis(self.config.heartbeat_interval);
        let mut due = std::mem::take(&mut self.due);
        self.heartbeats.take_due(self.now_ms, &mut due);
        let mut beats: [Option<Arc<[u8]>>; 2] = [None, None];
        let mut sent = 0;
        for handle in due.drain(..) {
            if !self.roster.holds(handle) {
                continue;
            }
            let slot = handle.0;
            let (stream, group) = self.roster.with_group(slot);
            let written_ms = match stream.place {
                Place::Live => stream.written_ms.max(group.written_ms),
                Place::Behind(_) if !stream.is_stuck() => stream.written_ms,
                // It has something to take, or will have within `undrained_wait`.
                Place::Behind(_) | Place::Held(_) | Place::Leaving => self.now_ms,
            };
            if written_ms + interval_ms > self.now_ms {
                self.heartbeats.insert(self.now_ms, written_ms + interval_ms, handle);
                continue;
            }
            self.heartbeats.insert(self.now_ms, self.now_ms + interval_ms, handle);
            if stream.place != Place::Live {
                sent += self.beat_behind(slot);
                continue;
            }
            let (encoding, position) = (group.encoding(), self.position);
            if encoding == Encoding::Gzip {
                // Bytes of its own would part the stream from its group's.
                let group = stream.group;
                let round = self.roster.groups.compose_heartbeat(group, position, &mut self.packer);
                let all = self.roster.groups[group].live.len() as u64;
                let written = self.write_round(&round, self.next);
                sent += written;
                self.counters.heartbeat_failures.fetch_add(all - written, Ordering::Relaxed);
                self.roster.groups.recycle(round);
                continue;
            }
            let beat = beats[encoding as usize].get_or_insert_with(|| {
                wire::heartbeat(self.chunk.begin(), position);
                self.chunk.finish(encoding);
                self.chunk.bytes().into()
            });
            stream.written_ms = self.now_ms;
            match stream.send(beat) {
                Sent::All => {
                    sent += 1;
                    self.tally.bytes += beat.len() as u64;
                }
                Sent::Part(part) => {
                    sent += 1;
                    self.tally.bytes += part as u64;
                    stream.keep(Arc::clone(beat), part);
                    self.roster.place_behind(slot, (self.next, self.position));
                    self.watch(slot);
                }
                Sent::Ended(reason) => {
                    self.counters.heartbeat_failures.fetch_add(1, Ordering::Relaxed);
                    self.end(slot, reason);
                }
            }
        }
        self.due = due;
        if sent > 0 {
            self.counters.heartbeats.fetch_add(sent, Ordering::Relaxed);
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.counters.heartbeat_last_ms.store(millis(now_ms), Ordering::Relaxed);
        }
    }

    /// A heartbeat for a stream that is behind and waits for the store: its client hears that somebody is there, and
    /// comes back, if it does, where it has come to. Returns how many were sent.
    fn beat_behind(&mut self, slot: Slot) -> u64 {
        let (stream, group) = self.roster.with_group(slot);
        let body = self.chunk.begin();
        if let Some(given) = &mut stream.gzip {
            wire::heartbeat(&mut self.text, stream.passed);
            given.add(&self.text);
            gzip::store(&self.text, body);
            self.text.clear();
        } else {
            wire::heartbeat(body, stream.passed);
        }
        self.chunk.finish(group.encoding());
        stream.written_ms = self.now_ms;
        let bytes = self.chunk.bytes();
        match stream.send(bytes) {
            Sent::All => self.tally.bytes += bytes.len() as u64,
            Sent::Part(part) => {
                self.tally.bytes += part as u64;
                stream.keep(bytes[part..].into(), 0);
                self.watch(slot);
            }
            Sent::Ended(reason) => {
                self.counters.heartbeat_failures.fetch_add(1, Ordering::Relaxed);
                self.end(slot, reason);
                return 0;
            }
        }
        1
    }

    /// Closes the streams that have taken nothing for too long.
    pub(super) fn look_for_idle(&mut self) {
        let timeout_ms = millis(self.config.idle_timeout);
        if timeout_ms == 0 || self.now_ms < self.idle_look_ms {
            return;
        }
        self.idle_look_ms = self.now_ms + (timeout_ms / 8).max(1);
        for (slot, stream) in self.roster.iter_mut() {
            if stream.idle_ms(self.now_ms) >= timeout_ms {
                self.ended.push((slot, EndReason::Idle));
            } else if stream.is_stuck() {
                // A kernel out of memory does not report when it has some again.
                self.due.push((slot, stream.generation));
            }
        }
        while let Some((slot, _)) = self.due.pop() {
            self.make_ready(slot);
        }
        while let Some((slot, reason)) = self.ended.pop() {
            self.end(slot, reason);
        }
    }
}
