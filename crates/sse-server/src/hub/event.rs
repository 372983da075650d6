//! An event before it is sent: its id, type and data, checked when made and trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use super::{Invalid, Topic};

/// The place of an event in the one order of the hub, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Position within that millisecond.
    pub seq: u64,
}

impl EventId {
    /// Before every event; the highest id of a hub that never issued one.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// The longest text of an id.
    pub const TEXT_MAX: usize = 41;

    /// The id of an event accepted at `now_ms` after the event `self`: always above `self`,
    /// whatever the clock says.
    #[must_use]
    pub fn next(self, now_ms: u64) -> Self {
        if now_ms > self.ms {
            Self { ms: now_ms, seq: 0 }
        } else {
            match self.seq.checked_add(1) {
                Some(seq) => Self { ms: self.ms, seq },
                None => Self { ms: self.ms + 1, seq: 0 },
            }
        }
    }

    /// The highest id below this one.
    #[must_use]
    pub fn before(self) -> Self {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Self { ms: self.ms, seq },
            (None, Some(ms)) => Self { ms, seq: u64::MAX },
            (None, None) => Self::ZERO,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EventId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = |digits: &str| -> Option<u64> {
            // `u64::from_str` takes a leading `+`, an id does not.
            if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
        };
        text.split_once('-')
            .and_then(|(ms, seq)| Some(Self { ms: number(ms)?, seq: number(seq)? }))
            .ok_or_else(|| Invalid::EventId(text.chars().take(64).collect()))
    }
}

/// Where a new stream starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// With the next event.
    Live,
    /// With the oldest event kept.
    Earliest,
    /// Just after this event.
    Id(EventId),
    /// The client sent an id that is none: it is told to start afresh.
    Malformed,
}

/// The name that a browser dispatches an event under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Box<str>);

impl EventType {
    /// What an event without type is called.
    pub const MESSAGE: &'static str = "message";

    /// Longest type, in characters.
    pub const CHARS_MAX: usize = 64;

    const RESERVED: [&'static str; 4] = ["connected", "heartbeat", "reset", "shutdown"];

    /// A type that a client may ask for.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let chars = text.chars().count();
        if chars == 0 || chars > Self::CHARS_MAX || text.contains(['\r', '\n', '\0']) {
            return Err(Invalid::EventType(text.chars().take(Self::CHARS_MAX + 1).collect()));
        }
        Ok(Self(text.into()))
    }

    /// A type that may be published: none of the server's own.
    pub fn parse_published(text: &str) -> Result<Self, Invalid> {
        let parsed = Self::parse(text)?;
        if Self::RESERVED.contains(&text) {
            return Err(Invalid::ReservedType(text.to_owned()));
        }
        Ok(parsed)
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an event carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Sent as it is, line by line.
    Text(String),
    /// Compact JSON on one line, never a string.
    Json(String),
}

impl Data {
    /// Takes a JSON string as its text, and any other JSON without the white space between its
    /// tokens; key order and number text stay.
    pub fn from_raw(raw: &RawValue) -> Result<Self, Invalid> {
        let json = raw.get().trim_start();
        if json.starts_with('"') {
            return serde_json::from_str(json).map(Self::Text).map_err(|e| Invalid::Data(e.to_string()));
        }
        Ok(Self::Json(compact(json)))
    }

    /// Bytes as serialised, before lines are split: what the size limit counts.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "empty data is ordinary data")]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
        }
    }
}

fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        if in_string {
            out.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else if !matches!(c, ' ' | '\t' | '\r' | '\n') {
            in_string = c == '"';
            out.push(c);
        }
    }
    out
}

/// An event that was accepted and has no id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub(super) topics: Box<[Topic]>,
    pub(super) event: Option<EventType>,
    pub(super) data: Data,
}

impl NewEvent {
    /// An event for every stream that reads at least one of `topics`. A topic named twice counts
    /// once; the type `message` is the same as none.
    pub fn new(topics: Vec<Topic>, event: Option<EventType>, data: Data) -> Result<Self, Invalid> {
        let mut distinct: Vec<Topic> = Vec::with_capacity(topics.len());
        for topic in topics {
            if !distinct.contains(&topic) {
                distinct.push(topic);
            }
        }
        if distinct.is_empty() {
            return Err(Invalid::NoTopic);
        }
        let event = event.filter(|event| event.as_str() != EventType::MESSAGE);
        Ok(Self { topics: distinct.into(), event, data })
    }

    /// The topics, as published.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }
}
