//! Who is at the other end of a stream, and how it ended.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Instant, SystemTime};

/// The name of one stream: 16 hexadecimal digits, random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Not 16 hexadecimal digits in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not 16 hexadecimal digits in lower case")]
pub struct NotAnId;

impl FromStr for ConnectionId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = if digits { u64::from_str_radix(text, 16).ok() } else { None };
        id.map(Self).ok_or(NotAnId)
    }
}

/// Whose grant a stream was opened with. The stream ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Who has logged in: the session's id.
    Session(Box<str>),
    /// Who has shown a token: its name.
    Token(Box<str>),
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
    /// Whose grant it was opened with, if the grant can be withdrawn.
    pub holder: Option<Holder>,
    /// When the grant that it was opened with ends, and the stream with it.
    pub granted_until: Option<Instant>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_stream_is_16_digits_and_sorts_as_its_text() {
        let mut ids: Vec<_> = (0..100).map(|_| ConnectionId::random().unwrap()).collect();
        ids.extend([ConnectionId(0), ConnectionId(0xa), ConnectionId(u64::MAX)]);
        ids.sort_unstable();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!((text.parse(), text.len()), (Ok(*id), 16));
        }
        for text in
            ["", "0", "000000000000000A", "+00000000000000a", "00000000000000000", "0x0000000000000a", "ｆ"]
        {
            assert_eq!(text.parse::<ConnectionId>(), Err(NotAnId), "{text:?}");
        }
    }
}
