//! What the thread does that reads the store for streams: the same steps as in `fanout/fetch.rs`.

use std::sync::Arc;

use super::stream::Handle;
use crate::backplane::Backplane;
use crate::hub::{EventId, Frame, Interest, Ordinal, Portion};
use crate::store::ReadError;

/// What a stream needs.
pub(super) struct Fetch {
    pub(super) handle: Handle,
    pub(super) interest: Arc<Interest>,
    pub(super) from: Ordinal,
    pub(super) until: Ordinal,
}

/// The events that it wants, where it reads on, and the id that it has passed then.
pub(super) type Found = Result<(Vec<Arc<Frame>>, (Ordinal, EventId)), ReadError>;

impl Fetch {
    pub(super) fn read(&self, backplane: &Backplane, portion: Portion, scan_max: u64) -> Found {
        let (mut wanted, mut bytes, mut next, mut passed) = (Vec::new(), 0, self.from, EventId::ZERO);
        let until = self.until.min(self.from + scan_max);
        while next < until && bytes < portion.bytes_max {
            let events_max = usize::try_from(until - next).expect("few events").min(portion.events_max);
            let read = backplane.read(next, Portion { events_max, bytes_max: portion.bytes_max - bytes })?;
            passed = read.last().ok_or(ReadError::Gone)?.id();
            next += read.len() as u64;
            for frame in read {
                if self.interest.reads(&frame) {
                    bytes += frame.wire().len();
                    wanted.push(frame);
                }
            }
        }
        Ok((wanted, (next, passed)))
    }
}
