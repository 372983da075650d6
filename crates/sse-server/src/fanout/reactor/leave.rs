//! Streams that are sent away one by one: by an operator, with whoever opened them, or when their grant ends.

use super::{Reactor, finish_last};
use crate::fanout::group::Slot;
use crate::fanout::stream::{Place, Sent};
use crate::fanout::{ConnectionId, ConnectionInfo, EndReason, Holder};

impl Reactor {
    /// Ends a stream. Returns whether it was there.
    pub(super) fn kick(&mut self, id: ConnectionId) -> bool {
        self.send_away(|connection| connection.id == id, EndReason::Kicked) > 0
    }

    /// Ends the streams of a holder. Returns how many there were.
    pub(super) fn withdraw(&mut self, holder: &Holder) -> usize {
        self.send_away(|connection| connection.holder.as_ref() == Some(holder), EndReason::Expired)
    }

    /// Ends the streams whose grant is over.
    pub(super) fn expire(&mut self) {
        while let Some((until_ms, slot)) = self.granted_until.first().copied()
            && until_ms <= self.now_ms
        {
            // Its end takes it off the list.
            self.dismiss(slot, EndReason::Expired);
        }
    }

    /// Ends the streams that are so, those on their way to this reactor included.
    fn send_away(&mut self, are: impl Fn(&ConnectionInfo) -> bool, reason: EndReason) -> usize {
        while let Some(n) = self.arrivals.iter().position(|arrival| are(&arrival.owner.connection)) {
            let arrival = self.arrivals.remove(n);
            self.adopt(arrival);
        }
        let found = self.roster.slots(|stream| are(stream.connection()));
        for slot in &found {
            self.dismiss(*slot, reason);
        }
        found.len()
    }

    /// Ends a stream in between two events if its client takes what it was given, else at once.
    fn dismiss(&mut self, slot: Slot, reason: EndReason) {
        let stream = &mut self.roster[slot];
        let before = stream.bytes;
        let flushed = stream.flush(self.now_ms);
        let reason = match flushed {
            // What says goodbye has its end already.
            Sent::All if stream.place != Place::Leaving => {
                self.roster.unseat(slot);
                let (stream, group) = self.roster.with_group(slot);
                self.chunk.begin();
                finish_last(stream, group.encoding(), &mut self.chunk);
                stream.send(self.chunk.bytes());
                reason
            }
            Sent::All | Sent::Part(_) => reason,
            Sent::Ended(reason) => reason,
        };
        self.tally.bytes += self.roster[slot].bytes - before;
        self.end(slot, reason);
    }
}
