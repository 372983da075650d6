//! Who is at the other end of a stream, and how it ended.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

/// The name of one stream: 16 hexadecimal digits, random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// A new name.
    pub fn random() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(Self)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is known about the client of a stream.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The stream's name.
    pub id: ConnectionId,
    /// The client's real address.
    pub address: IpAddr,
    /// What the client calls itself; cut by the caller to what it wants to keep.
    pub user_agent: Option<Box<str>>,
    /// When the request came.
    pub connected_at: SystemTime,
    /// The request line, for the access log.
    pub request: Box<str>,
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client closed it, or its network did.
    Client,
    /// It fell behind what the history keeps.
    Slow,
    /// It took no byte for the idle timeout.
    Idle,
    /// The server said goodbye.
    Drain,
    /// An operator ended it.
    Kicked,
    /// Its grant ran out.
    Expired,
}

impl EndReason {
    /// Every reason, in the order of the figures.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::Slow, Self::Idle, Self::Drain, Self::Kicked, Self::Expired];

    /// The word in logs and figures.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Slow => "slow",
            Self::Idle => "idle",
            Self::Drain => "drain",
            Self::Kicked => "kicked",
            Self::Expired => "expired",
        }
    }
}

/// The end of a stream.
#[derive(Debug)]
pub struct StreamEnd {
    /// Whose stream.
    pub connection: ConnectionInfo,
    /// Why it ended.
    pub reason: EndReason,
    /// Events handed to the kernel, replayed ones included.
    pub events: u64,
    /// Bytes handed to the kernel, response head and framing included.
    pub bytes: u64,
}
