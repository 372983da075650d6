//! The server's own events and the framing of chunks, as bytes.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::ConnectionId;
use crate::hub::{EventId, Interest, Reset, ResetReason, Start};

/// How the bytes of a stream are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As they are, for HTTP/1.0.
    Plain,
    /// In HTTP/1.1 chunks.
    Chunked,
    /// One gzip member in HTTP/1.1 chunks.
    Gzip,
}

impl Encoding {
    /// The content coding of the bytes within.
    pub(super) fn content_coding(self) -> &'static str {
        match self {
            Self::Plain | Self::Chunked => "identity",
            Self::Gzip => "gzip",
        }
    }

    /// What ends a body.
    pub(super) fn last_chunk(self) -> &'static [u8] {
        match self {
            Self::Plain => b"",
            Self::Chunked | Self::Gzip => b"0\r\n\r\n",
        }
    }
}

/// Room for the size line of a chunk.
const SIZE_ROOM: usize = "ffffffff\r\n".len();

/// Bytes that go out in one write, framed in place. An empty body is no chunk: that would be the end.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    buffer: Vec<u8>,
    from: usize,
}

impl Chunk {
    /// Begins anew and gives the body to be written to, by appending.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.buffer.clear();
        self.buffer.resize(SIZE_ROOM, 0);
        self.from = SIZE_ROOM;
        &mut self.buffer
    }

    /// The body so far, to be appended to.
    pub(super) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Whether nothing was written since the beginning.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.len() <= SIZE_ROOM
    }

    /// The body.
    pub(super) fn text(&self) -> &[u8] {
        self.buffer.get(SIZE_ROOM..).unwrap_or_default()
    }

    /// Frames the body.
    pub(super) fn finish(&mut self, encoding: Encoding) {
        if encoding != Encoding::Plain && !self.is_empty() {
            let mut line = [0; SIZE_ROOM];
            let mut rest = &mut line[..];
            let _ = write!(rest, "{:x}\r\n", self.buffer.len() - SIZE_ROOM);
            let length = SIZE_ROOM - rest.len();
            self.from = SIZE_ROOM - length;
            self.buffer[self.from..SIZE_ROOM].copy_from_slice(&line[..length]);
            self.buffer.extend_from_slice(b"\r\n");
        }
    }

    /// The framed bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..]
    }

    /// Gives memory back that one large round took.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        if self.buffer.capacity() > bytes_max {
            *self = Self::default();
        }
    }
}

#[derive(Serialize)]
struct Connected<'a> {
    connection_id: String,
    topics: Vec<String>,
    types: Vec<&'a str>,
    heartbeat_seconds: serde_json::Value,
    last_event_id: String,
}

/// The first event of a stream, and the reset that may follow.
pub(super) fn greet(
    out: &mut Vec<u8>,
    retry_ms: u64,
    connection: ConnectionId,
    interest: &Interest,
    heartbeat: Duration,
    start: &Start,
) {
    let position = start.position;
    let connected = Connected {
        connection_id: connection.to_string(),
        topics: interest.asked_topics().iter().map(ToString::to_string).collect(),
        types: interest.asked_types().iter().map(|event| event.as_str()).collect(),
        heartbeat_seconds: seconds(heartbeat),
        last_event_id: position.to_string(),
    };
    let _ = write!(out, "retry: {retry_ms}\nid: {position}\nevent: connected\ndata: ");
    serde_json::to_writer(&mut *out, &connected).expect("names and numbers are JSON");
    out.extend_from_slice(b"\n\n");
    if let Some(Reset { reason, oldest }) = start.reset {
        let reason = match reason {
            ResetReason::HistoryTruncated => "history_truncated",
            ResetReason::UnknownId => "unknown_id",
        };
        let oldest = oldest.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
        let _ = write!(out, "event: reset\ndata: {{\"reason\":\"{reason}\",\"oldest\":{oldest}}}\n\n");
    }
}

/// Whole seconds as a whole number.
fn seconds(duration: Duration) -> serde_json::Value {
    if duration.subsec_nanos() == 0 { duration.as_secs().into() } else { duration.as_secs_f64().into() }
}

/// What a silent stream gets.
pub(super) fn heartbeat(out: &mut Vec<u8>, position: EventId) {
    let _ = write!(out, "id: {position}\nevent: heartbeat\ndata: {{}}\n\n");
}

/// The last event of a stream.
pub(super) fn goodbye(out: &mut Vec<u8>, retry_ms: u64) {
    let _ = write!(out, "retry: {retry_ms}\nevent: shutdown\ndata: {{\"retry_ms\":{retry_ms}}}\n\n");
}

/// A number from `least` to `least + spread`, both included. Without randomness: the middle.
pub(super) fn random_between(least: u64, spread: u64) -> u64 {
    let random = getrandom::u64().unwrap_or(spread / 2);
    least + spread.checked_add(1).map_or(random, |n| random % n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(encoding: Encoding, body: &str) -> String {
        let mut chunk = Chunk::default();
        chunk.begin().extend_from_slice(body.as_bytes());
        chunk.finish(encoding);
        String::from_utf8(chunk.bytes().to_vec()).unwrap()
    }

    #[test]
    fn body_is_framed_in_place_and_an_empty_one_is_no_chunk() {
        assert_eq!(framed(Encoding::Plain, "abc"), "abc");
        assert_eq!(framed(Encoding::Chunked, "abc"), "3\r\nabc\r\n");
        assert_eq!(framed(Encoding::Chunked, ""), "");
        let long = "x".repeat(0x12345);
        assert_eq!(framed(Encoding::Chunked, &long), format!("12345\r\n{long}\r\n"));
    }

    #[test]
    fn longest_heartbeat_fits_in_100_bytes() {
        let id = EventId { ms: 9_999_999_999_999, seq: u64::MAX };
        let mut chunk = Chunk::default();
        heartbeat(chunk.begin(), id);
        chunk.finish(Encoding::Chunked);
        let (beat, expected) =
            (chunk.bytes(), format!("42\r\nid: {id}\nevent: heartbeat\ndata: {{}}\n\n\r\n"));
        assert_eq!(std::str::from_utf8(beat).unwrap(), expected);
        assert!(beat.len() <= 100, "{} bytes", beat.len());
    }

    #[test]
    fn goodbye_names_its_time_twice() {
        let mut text = Vec::new();
        goodbye(&mut text, 1234);
        let expected = "retry: 1234\nevent: shutdown\ndata: {\"retry_ms\":1234}\n\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn random_numbers_stay_in_their_range_and_use_it() {
        let numbers: Vec<_> = (0..1000).map(|_| random_between(10, 4)).collect();
        for n in 10..=14 {
            assert!(numbers.contains(&n), "{n} never came");
        }
        assert!(numbers.iter().all(|n| (10..=14).contains(n)));
        assert_eq!(random_between(10, 0), 10);
    }
}
