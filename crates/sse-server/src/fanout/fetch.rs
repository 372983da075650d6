//! Reads events that have left the memory from the store, for streams that are behind, on a thread that may
//! block.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use super::roster::Handle;
use crate::backplane::Backplane;
use crate::hub::{EventId, Frame, Interest, Ordinal, Portion};
use crate::store::ReadError;

/// Events looked at for one stream before others come; what it does not want is passed over.
const SCAN_MAX: u64 = 4096;

/// How often, and how long, what could not be read is tried again: streams outlive a failure of the store.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);

/// The least time between two such tries, for whatever streams, so that many of them do not keep a core busy.
const RETRY_SPACING: Duration = Duration::from_millis(1);

/// What a stream needs. Each has at most one on its way, so there are never more than streams.
pub(super) struct Fetch {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) stream: Handle,
    /// Gone if nobody waits for it any more.
    pub(super) wanted: Weak<()>,
    pub(super) interest: Arc<Interest>,
    pub(super) from: Ordinal,
    pub(super) until: Ordinal,
    pub(super) portion: Portion,
}

/// What a stream gets.
pub(super) struct Fetched {
    pub(super) stream: Handle,
    /// `None`: the events are gone.
    pub(super) found: Option<Found>,
}

/// What was read for a stream.
pub(super) struct Found {
    /// The events that it wants.
    pub(super) frames: Vec<Arc<Frame>>,
    /// Where it reads on, and the id that it has passed then.
    pub(super) then: (Ordinal, EventId),
}

/// The thread; it ends when the last sender of requests is gone.
pub(super) struct Fetcher {
    pub(super) requests: Sender<Fetch>,
    pub(super) thread: JoinHandle<()>,
}

impl Fetcher {
    pub(super) fn start(backplane: Backplane) -> io::Result<Self> {
        let (requests, incoming) = channel();
        let thread =
            thread::Builder::new().name("replay".to_owned()).spawn(move || run(&backplane, &incoming))?;
        Ok(Self { requests, thread })
    }
}

fn run(backplane: &Backplane, incoming: &Receiver<Fetch>) {
    let mut waiting = VecDeque::new();
    let mut failed = Failed::default();
    loop {
        waiting.extend(incoming.try_iter().map(|fetch| (fetch, None)));
        let now = Instant::now();
        waiting.extend(failed.take_due(now));
        let Some((fetch, since)) = waiting.pop_front() else {
            let received = match failed.next_due() {
                Some(due) => incoming.recv_timeout(due.saturating_duration_since(now)),
                None => incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(fetch) => waiting.push_back((fetch, None)),
                Err(RecvTimeoutError::Timeout) => {}
                // With the reactors their streams have gone.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            continue;
        };
        let found =
            if fetch.wanted.strong_count() == 0 { Err(ReadError::Gone) } else { read(backplane, &fetch) };
        let found = match found {
            Ok(found) => Some(found),
            Err(ReadError::Gone) => None,
            Err(ReadError::Damaged { until }) => {
                // What was discarded meanwhile cannot be read either, and is lost already.
                if backplane.hub().lose(until) {
                    log::error!("events of the history are damaged: those before number {until} are lost");
                }
                None
            }
            Err(ReadError::Store(error)) => {
                let (now, since) = (Instant::now(), since.unwrap_or(now));
                if now < since + RETRY_TIME_MAX {
                    failed.push(fetch, since, now);
                    continue;
                }
                log::error!("a stream that is behind is ended: {}", error.in_full());
                None
            }
        };
        fetch.mailbox.bring(Fetched { stream: fetch.stream, found });
    }
}

/// What could not be read, by when it is tried again: nobody waits for another's failure.
#[derive(Default)]
struct Failed(VecDeque<(Instant, Fetch, Instant)>);

impl Failed {
    /// `since`: when it could not be read for the first time.
    fn push(&mut self, fetch: Fetch, since: Instant, now: Instant) {
        let soonest = now + RETRY_INTERVAL;
        let due = self.0.back().map_or(soonest, |(last, ..)| soonest.max(*last + RETRY_SPACING));
        self.0.push_back((due, fetch, since));
    }

    fn take_due(&mut self, now: Instant) -> impl Iterator<Item = (Fetch, Option<Instant>)> {
        let due = self.0.partition_point(|(due, ..)| *due <= now);
        self.0.drain(..due).map(|(_, fetch, since)| (fetch, Some(since)))
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.front().map(|(due, ..)| *due)
    }
}

fn read(backplane: &Backplane, fetch: &Fetch) -> Result<Found, ReadError> {
    let (mut wanted, mut bytes, mut next, mut passed) = (Vec::new(), 0, fetch.from, EventId::ZERO);
    let until = fetch.until.min(fetch.from + SCAN_MAX);
    while next < until && bytes < fetch.portion.bytes_max {
        let events_max = usize::try_from(until - next).unwrap_or(usize::MAX);
        let bytes_max = fetch.portion.bytes_max - bytes;
        let events_max = events_max.min(fetch.portion.events_max);
        let read = backplane.read(next, Portion { events_max, bytes_max })?;
        passed = read.last().ok_or(ReadError::Gone)?.id();
        next += read.len() as u64;
        for frame in read {
            if fetch.interest.reads(&frame) {
                bytes += frame.wire().len();
                wanted.push(frame);
            }
        }
    }
    Ok(Found { frames: wanted, then: (next, passed) })
}
