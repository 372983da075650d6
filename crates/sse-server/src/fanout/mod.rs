//! The streams' sockets: handed over once, written by reactor threads ever after.

mod command;
mod connection;
mod counters;
pub mod detach;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod group;
mod gzip;
mod mailbox;
mod reactor;
mod roster;
mod stream;
mod wheel;
mod wire;

use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{setsockopt, sockopt};

use crate::backplane::Backplane;
use crate::hub::limits::Permit;
use crate::hub::{After, Interest, ReaderId};
pub use command::{ANSWER_WITHIN, NoAnswer, StreamInfo};
pub use connection::{ConnectionId, ConnectionInfo, EndReason, Holder, NotAnId, StreamEnd};
pub use counters::{Closed, Counters, Histogram};
use fetch::Fetcher;
use gzip::Checksum;
use mailbox::{Arrival, Mailbox};
use reactor::Reactor;
use stream::Owner;
use wire::Chunk;
pub use wire::Encoding;

/// How streams are written; each bound says what happens at it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Reactor threads; 0: one for each core.
    pub reactors: usize,
    /// Silence after which a stream gets a heartbeat.
    pub heartbeat_interval: Duration,
    /// A stream that has taken no byte for so long is closed; zero: never.
    pub idle_timeout: Duration,
    /// Spread of the reconnect times that a drain hands out, in milliseconds above 1000.
    pub reconnect_spread_ms: u64,
    /// How long a drain waits for slow readers before it closes them. In the first half of it streams still get what
    /// was published before.
    pub drain_timeout: Duration,
    /// How long after a round the next one waits for more events, so that they go out together; zero: not at all.
    pub flush_interval: Duration,
    /// How long a stream over a unix socket whose other end has not taken its last bytes waits for the next round, so
    /// that it gets several events in one write; zero: not at all. What it waits with is bounded by `round_bytes_max`.
    pub undrained_wait: Duration,
    /// Bytes of events that one stream gets in one write; a stream keeps at most that, and one event
    /// more, of an unfinished write.
    pub round_bytes_max: usize,
    /// Events taken from the history at once.
    pub round_events_max: usize,
    /// Bytes that the kernel takes for one TCP client and cannot send yet; beyond it the stream waits, and
    /// is carried from the history. (A unix socket has its own bound, `net.core.wmem_default`.)
    pub unsent_bytes_max: u32,
    /// Bytes a client may send after its request; beyond it the stream is closed.
    pub input_bytes_max: usize,
    /// How hard compression tries, 1 to 9.
    pub gzip_level: u32,
    /// A round of fewer bytes is not compressed.
    pub gzip_threshold: usize,
    /// Text that a group of compressed streams keeps, so that the next is told in fewer bytes.
    pub gzip_window_bytes: usize,
    /// What of it a single stream may cost; a group has as many as it has streams.
    pub gzip_window_bytes_per_stream: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reactors: 0,
            heartbeat_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            reconnect_spread_ms: 5000,
            drain_timeout: Duration::from_secs(5),
            flush_interval: Duration::ZERO,
            undrained_wait: Duration::from_millis(20),
            round_bytes_max: 64 << 10,
            round_events_max: 512,
            unsent_bytes_max: 256 << 10,
            input_bytes_max: 64 << 10,
            gzip_level: 6,
            gzip_threshold: 0,
            gzip_window_bytes: 4 << 10,
            gzip_window_bytes_per_stream: 1 << 10,
        }
    }
}

/// A stream that is about to begin.
pub struct NewStream {
    /// The complete response head, up to and with its empty line.
    pub head: Vec<u8>,
    /// What the head promised.
    pub encoding: Encoding,
    /// What the stream wants.
    pub interest: Interest,
    /// Where it starts.
    pub after: After,
    /// Its place among the limited ones, freed when the stream ends.
    pub permit: Permit,
    /// Who it is.
    pub connection: ConnectionInfo,
    /// Told once, on a reactor thread, when the stream has ended: must not block.
    pub on_end: Arc<dyn Fn(StreamEnd) + Send + Sync>,
}

/// Why a socket was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Streams are being ended.
    #[error("draining")]
    Draining,
    /// The socket cannot be watched.
    #[error("cannot watch the socket of a stream")]
    Watch(#[from] io::Error),
}

/// The reactors; cloned handles share them. When the last handle goes, the threads end.
#[derive(Clone)]
pub struct Fanout(Arc<Shared>);

struct Shared {
    config: Config,
    backplane: Backplane,
    counters: Arc<Counters>,
    reactors: Vec<Handle>,
    fetcher: Option<JoinHandle<()>>,
    draining: AtomicBool,
}

struct Handle {
    reader: ReaderId,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Fanout {
    /// Starts the reactor threads.
    pub fn start(config: Config, backplane: Backplane) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let count = if config.reactors == 0 { cores } else { config.reactors };
        let counters = Arc::new(Counters::default());
        let fetcher = Fetcher::start(backplane.clone())?;
        let mut reactors = Vec::with_capacity(count);
        for n in 0..count {
            let hub = backplane.hub().clone();
            let (reactor, reader, mailbox) =
                Reactor::new(config.clone(), hub, fetcher.requests.clone(), Arc::clone(&counters))?;
            let thread = thread::Builder::new().name(format!("reactor-{n}")).spawn(move || reactor.run())?;
            reactors.push(Handle { reader, mailbox, thread: Some(thread) });
        }
        let draining = AtomicBool::new(false);
        let fetcher = Some(fetcher.thread);
        Ok(Self(Arc::new(Shared { config, backplane, counters, reactors, fetcher, draining })))
    }

    /// Hands a socket over to the reactor with the fewest streams, which writes the head, the greeting, the
    /// replay and everything after. The position in the order of events is fixed before this returns.
    pub fn attach(&self, socket: OwnedFd, stream: NewStream) -> Result<(), AttachError> {
        let NewStream { head, encoding, interest, after, permit, connection, on_end } = stream;
        let Shared { config, backplane, counters, reactors, draining, .. } = &*self.0;
        prepare(&socket, config)?;
        let retry_ms = wire::random_between(RETRY_MS_LEAST, RETRY_MS_SPREAD);
        let load = |handle: &&Handle| handle.mailbox.streams.load(Ordering::Relaxed);
        let Handle { reader, mailbox, .. } = reactors.iter().min_by_key(load).expect("at least one runs");
        mailbox.streams.fetch_add(1, Ordering::SeqCst);
        if draining.load(Ordering::SeqCst) {
            mailbox.leave();
            return Err(AttachError::Draining);
        }
        let asked = interest.clone();
        let subscription = backplane.hub().subscribe(*reader, interest, after, backplane.now_ms());
        let mut greeting = Chunk::default();
        let (heartbeat, start) = (config.heartbeat_interval, &subscription.start);
        wire::greet(greeting.begin(), retry_ms, connection.id, &asked, heartbeat, start);
        let mut greeted = Checksum::default();
        if encoding == Encoding::Gzip {
            greeted.add(greeting.text());
            let mut packed = Chunk::default();
            packed.begin().extend_from_slice(&gzip::HEADER);
            gzip::store(greeting.text(), packed.body());
            greeting = packed;
        }
        greeting.finish(encoding);
        let opening = [&head, greeting.bytes()].concat();
        let owner = Box::new(Owner { permit, connection, on_end });
        counters.opened.fetch_add(1, Ordering::Relaxed);
        mailbox.send(Arrival { socket, opening, greeted, encoding, subscription, owner });
        Ok(())
    }

    /// Gives every stream what was published, says goodbye to it, and waits until all have ended, at most the configured time (and the
    /// moment that closing the last ones takes). From its beginning on, nothing is attached. Needs a tokio
    /// runtime.
    pub async fn drain(&self) {
        let grace = self.0.config.drain_timeout + Duration::from_secs(2);
        if tokio::time::timeout(grace, self.drained()).await.is_err() {
            log::error!("{} streams did not end in {grace:?} of draining", self.streams());
        }
    }

    async fn drained(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        for handle in &self.0.reactors {
            handle.mailbox.drain();
        }
        for Handle { mailbox, .. } in &self.0.reactors {
            loop {
                let mut empty = std::pin::pin!(mailbox.empty.notified());
                empty.as_mut().enable();
                if mailbox.streams.load(Ordering::SeqCst) == 0 {
                    break;
                }
                empty.await;
            }
        }
    }

    /// Streams open now.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.0.reactors.iter().map(|handle| handle.mailbox.streams.load(Ordering::Relaxed)).sum()
    }

    /// What the reactors have done.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for handle in &self.reactors {
            handle.mailbox.stop();
        }
        for handle in &mut self.reactors {
            // The last handle may go with a stream's `on_end`, on a reactor's own thread.
            if let Some(thread) = handle.thread.take()
                && thread.thread().id() != thread::current().id()
            {
                // A reactor that panicked has said so.
                let _ = thread.join();
            }
        }
        // With the reactors the last requests have gone.
        let own_thread = self.reactors.iter().any(|handle| handle.thread.is_some());
        if let Some(fetcher) = self.fetcher.take().filter(|_| !own_thread) {
            let _ = fetcher.join();
        }
    }
}

/// The reconnect time that a greeting names: 2000 to 4000 ms, so that not all come back at once.
const RETRY_MS_LEAST: u64 = 2000;
const RETRY_MS_SPREAD: u64 = 2000;

/// Sets what a reactor relies on: no call may block, no round may wait for the acknowledgement of the one
/// before, the kernel may not hoard what a slow client does not take, and a peer that acknowledges nothing
/// is given up in time.
fn prepare(socket: &OwnedFd, config: &Config) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // These are refused by unix sockets, which need none of them.
    let _ = setsockopt(socket, sockopt::TcpNoDelay, &true);
    let timeout_ms = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let _ = setsockopt(socket, sockopt::TcpUserTimeout, &timeout_ms);
    stream::bound_unsent(socket, config.unsent_bytes_max);
    Ok(())
}
