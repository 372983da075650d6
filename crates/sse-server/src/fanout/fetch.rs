//! Reads events that have left the memory from the store, for streams that are behind, on a thread that may
//! block.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mailbox::Mailbox;
use super::roster::Handle;
use crate::backplane::Backplane;
use crate::hub::{Frame, Interest, Ordinal, Portion};
use crate::store::ReadError;

/// Events looked at for one stream before others come; what it does not want is passed over.
const SCAN_MAX: u64 = 4096;

/// How often, and how long, a store that fails is asked again: streams outlive its failure.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const RETRIES_MAX: u32 = 300;

/// What a stream needs. Each has at most one on its way, so there are never more than streams.
pub(super) struct Fetch {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) stream: Handle,
    pub(super) interest: Arc<Interest>,
    pub(super) from: Ordinal,
    pub(super) until: Ordinal,
    pub(super) portion: Portion,
}

/// What a stream gets.
pub(super) struct Fetched {
    pub(super) stream: Handle,
    /// The events that it wants, and where it reads on. `None`: they are gone.
    pub(super) found: Option<(Vec<Arc<Frame>>, Ordinal)>,
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
    for fetch in incoming {
        let mut retries = 0;
        let found = loop {
            match read(backplane, &fetch) {
                Ok(found) => break Some(found),
                Err(ReadError::Gone) => break None,
                Err(ReadError::Damaged { until }) => {
                    // What was discarded meanwhile cannot be read either, and is lost already.
                    if backplane.hub().lose(until) {
                        log::error!(
                            "events of the history are damaged: those before number {until} are lost"
                        );
                    }
                    break None;
                }
                Err(ReadError::Store(_)) if retries < RETRIES_MAX && !fetch.mailbox.is_stopping() => {
                    retries += 1;
                    thread::park_timeout(RETRY_INTERVAL);
                }
                Err(ReadError::Store(error)) => {
                    log::error!("a stream that is behind is ended: {}", error.in_full());
                    break None;
                }
            }
        };
        fetch.mailbox.bring(Fetched { stream: fetch.stream, found });
    }
}

fn read(backplane: &Backplane, fetch: &Fetch) -> Result<(Vec<Arc<Frame>>, Ordinal), ReadError> {
    let (mut wanted, mut bytes, mut next) = (Vec::new(), 0, fetch.from);
    let until = fetch.until.min(fetch.from + SCAN_MAX);
    while next < until && bytes < fetch.portion.bytes_max {
        let events_max = usize::try_from(until - next).unwrap_or(usize::MAX);
        let bytes_max = fetch.portion.bytes_max - bytes;
        let events_max = events_max.min(fetch.portion.events_max);
        let read = backplane.read(next, Portion { events_max, bytes_max })?;
        if read.is_empty() {
            return Err(ReadError::Gone);
        }
        next += read.len() as u64;
        for frame in read {
            if fetch.interest.reads(&frame) {
                bytes += frame.wire().len();
                wanted.push(frame);
            }
        }
    }
    Ok((wanted, next))
}
