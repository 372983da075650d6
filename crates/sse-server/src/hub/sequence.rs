//! The next event id: above every one before, across restarts and backwards clocks.
//!
//! A mark that no id reaches is kept in the store, ahead of the ids, and moved in steps. A hub that was
//! killed starts after its mark, so it skips at most one step of time and never repeats an id.

use super::EventId;

/// Issues ids below a reserved mark.
#[derive(Debug)]
pub struct Sequence {
    last: EventId,
    reserved_ms: u64,
    step_ms: u64,
    closed: bool,
}

/// Why no id was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIssued {
    /// The mark has to be moved up to this one first.
    Reserve(EventId),
    /// The hub is closed.
    Closed,
}

impl Sequence {
    /// Starts after `last`, the highest id that may have been issued. `step_ms`: how far ahead of the
    /// clock the mark is put, so one write of the mark serves for that long.
    #[must_use]
    pub fn new(last: EventId, step_ms: u64) -> Self {
        Self { last, reserved_ms: 0, step_ms: step_ms.max(1), closed: false }
    }

    /// Issues `count` ids, or says up to where the mark has to be moved before.
    pub fn issue(&mut self, count: usize, now_ms: u64) -> Result<Vec<EventId>, NotIssued> {
        if self.closed {
            return Err(NotIssued::Closed);
        }
        let mut ids = Vec::with_capacity(count);
        let mut last = self.last;
        for _ in 0..count {
            last = last.next(now_ms);
            ids.push(last);
        }
        if last.ms >= self.reserved_ms {
            return Err(NotIssued::Reserve(self.ahead_of(last.ms)));
        }
        self.last = last;
        Ok(ids)
    }

    /// The mark was moved.
    pub fn reserved(&mut self, mark: EventId) {
        self.reserved_ms = self.reserved_ms.max(mark.ms);
    }

    /// Where the mark should be moved soon, so that no publish has to wait for it.
    #[must_use]
    pub fn refill(&self) -> Option<EventId> {
        (self.last.ms + self.step_ms / 2 >= self.reserved_ms).then(|| self.ahead_of(self.last.ms))
    }

    /// The highest id issued, or the mark of the run before.
    #[must_use]
    pub fn last(&self) -> EventId {
        self.last
    }

    /// Issues nothing any more; returns the highest id issued.
    pub fn close(&mut self) -> EventId {
        self.closed = true;
        self.last
    }

    fn ahead_of(&self, ms: u64) -> EventId {
        EventId { ms: ms.saturating_add(self.step_ms), seq: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64, seq: u64) -> EventId {
        EventId { ms, seq }
    }

    #[test]
    fn ids_wait_for_the_mark_and_the_mark_is_moved_early() {
        let mut sequence = Sequence::new(id(500, 3), 100);
        assert_eq!(sequence.issue(2, 1000), Err(NotIssued::Reserve(id(1100, 0))));
        assert_eq!(sequence.last(), id(500, 3), "nothing was issued");
        sequence.reserved(id(1100, 0));
        assert_eq!(sequence.issue(2, 1000), Ok(vec![id(1000, 0), id(1000, 1)]));
        assert_eq!(sequence.refill(), None);
        assert_eq!(sequence.issue(1, 1050), Ok(vec![id(1050, 0)]));
        assert_eq!(sequence.refill(), Some(id(1150, 0)));
        assert_eq!(sequence.issue(1, 900), Ok(vec![id(1050, 1)]), "the clock went back");
        assert_eq!(sequence.close(), id(1050, 1));
        assert_eq!(sequence.issue(1, 1060), Err(NotIssued::Closed));
    }

    proptest! {
        /// Whatever the clock does and whenever it is killed: the mark is above every id issued.
        #[test]
        fn ids_rise_for_ever_across_clocks_and_restarts(
            steps in prop::collection::vec((0_u64..5000, 1_usize..20, prop::bool::weighted(0.1), any::<bool>()), 1..200)
        ) {
            let (mut mark, mut last) = (EventId::ZERO, EventId::ZERO);
            let mut sequence = Sequence::new(mark, 100);
            for (clock, count, restart, clean) in steps {
                if restart {
                    if clean {
                        mark = sequence.close();
                    }
                    sequence = Sequence::new(mark, 100);
                }
                let ids = loop {
                    match sequence.issue(count, clock) {
                        Ok(ids) => break ids,
                        Err(NotIssued::Reserve(to)) => {
                            mark = mark.max(to);
                            sequence.reserved(to);
                        }
                        Err(NotIssued::Closed) => unreachable!("a new sequence is open"),
                    }
                };
                prop_assert_eq!(ids.len(), count);
                for id in ids {
                    prop_assert!(id > last && id < mark, "{} < {} < {}", last, id, mark);
                    last = id;
                }
            }
        }
    }
}
