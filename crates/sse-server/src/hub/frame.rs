//! An event as wire bytes, encoded once and shared by all who read it.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

use super::{Data, EventId, EventType, Interest, NewEvent, Topic};

/// Room for the longest `id:` line, which is written when the id is known.
const ID_ROOM: usize = "id: ".len() + EventId::TEXT_MAX + "\n".len();

/// What a frame costs beside its bytes: itself, its slot in the ring, its topics' handles.
const OVERHEAD: usize = 240;

/// An event encoded, but without id: made before the order is locked.
#[derive(Debug)]
pub struct Draft {
    topics: Box<[Topic]>,
    event: Option<EventType>,
    data: Kept,
    wire: Box<[u8]>,
    accepted: Instant,
}

/// An event with its id, as it goes over the wire.
#[derive(Debug)]
pub struct Frame {
    id: EventId,
    accepted: Instant,
    topics: Box<[Topic]>,
    event: Option<EventType>,
    data: Kept,
    /// `ID_ROOM` bytes that end with the `id:` line, then the rest of the event.
    wire: Box<[u8]>,
    start: usize,
    envelope: OnceLock<Box<[u8]>>,
}

/// What is needed to have the data back: the wire splits lines, and so forgets which end they had.
#[derive(Debug)]
enum Kept {
    /// The data is the one line on the wire; `true`: it is JSON.
    OnWire { json: bool, at: usize },
    /// Text of several lines.
    Lines(Box<str>),
}

impl Draft {
    /// Encodes everything but the id. `accepted`: when the event came, for measuring.
    #[must_use]
    pub fn new(event: NewEvent, accepted: Instant) -> Self {
        let NewEvent { topics, event, data } = event;
        let name = event.as_ref().map_or("", EventType::as_str);
        let mut wire = Vec::with_capacity(ID_ROOM + name.len() + data.len() + 32);
        wire.resize(ID_ROOM, 0);
        push_type(&mut wire, event.as_ref());
        match &data {
            Data::Json(json) => push_line(&mut wire, json),
            Data::Text(text) => lines(text).for_each(|line| push_line(&mut wire, line)),
        }
        wire.push(b'\n');
        let at = |text: &str| wire.len() - "\n\n".len() - text.len();
        let data = match data {
            Data::Text(text) if text.contains(['\r', '\n']) => Kept::Lines(text.into()),
            Data::Text(text) => Kept::OnWire { json: false, at: at(&text) },
            Data::Json(json) => Kept::OnWire { json: true, at: at(&json) },
        };
        Self { topics, event, data, wire: wire.into(), accepted }
    }

    /// Puts the id in front.
    #[must_use]
    pub fn seal(self, id: EventId) -> Frame {
        let Self { topics, event, data, mut wire, accepted } = self;
        let line = id_line(id);
        let start = ID_ROOM - line.len();
        wire[start..ID_ROOM].copy_from_slice(&line);
        Frame { id, accepted, topics, event, data, wire, start, envelope: OnceLock::new() }
    }
}

impl Frame {
    /// The event's place in the order.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// When it came.
    #[must_use]
    pub fn accepted(&self) -> Instant {
        self.accepted
    }

    /// The topics it was published under.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Its type; `None` is `message`.
    #[must_use]
    pub fn event(&self) -> Option<&EventType> {
        self.event.as_ref()
    }

    /// The data as published, and whether it is JSON.
    #[must_use]
    pub fn data(&self) -> (&str, bool) {
        match &self.data {
            Kept::Lines(text) => (text, false),
            Kept::OnWire { json, at } => {
                let bytes = &self.wire[*at..self.wire.len() - "\n\n".len()];
                (std::str::from_utf8(bytes).expect("data was text when it was encoded"), *json)
            }
        }
    }

    /// What the frame costs in memory, counted against the history's bound. The envelope is not in it:
    /// an event that somebody reads in one costs about as much again.
    #[must_use]
    pub fn cost(&self) -> usize {
        let lines = if let Kept::Lines(text) = &self.data { text.len() } else { 0 };
        let topics: usize = self.topics.iter().map(|topic| topic.as_str().len()).sum();
        OVERHEAD + self.wire.len() + lines + topics
    }

    /// The event on the wire, blank line included.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.wire[self.start..]
    }

    /// Appends the event in the form that a reader with this interest asked for.
    pub fn write(&self, interest: &Interest, out: &mut Vec<u8>) {
        if !interest.envelope() {
            out.extend_from_slice(self.wire());
        } else if self.topics.iter().any(Topic::is_private) {
            // Each reader sees only the private topics that it reads itself.
            let visible = |topic: &&Topic| !topic.is_private() || interest.reads_topic(topic);
            out.extend_from_slice(&self.envelope(self.topics.iter().filter(visible)));
        } else {
            let shared = self.envelope.get_or_init(|| self.envelope(self.topics.iter()).into());
            out.extend_from_slice(shared);
        }
    }

    fn envelope<'a>(&self, topics: impl Iterator<Item = &'a Topic>) -> Vec<u8> {
        let (data, json) = self.data();
        let mut out = id_line(self.id);
        push_type(&mut out, self.event.as_ref());
        out.extend_from_slice(b"data: {\"topics\":[");
        for (n, topic) in topics.enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{topic}\"");
        }
        out.extend_from_slice(b"],\"data\":");
        if json {
            out.extend_from_slice(data.as_bytes());
        } else {
            serde_json::to_writer(&mut out, data).expect("text is always JSON, and a vector takes it all");
        }
        out.extend_from_slice(b"}\n\n");
        out
    }
}

fn id_line(id: EventId) -> Vec<u8> {
    format!("id: {id}\n").into_bytes()
}

fn push_type(out: &mut Vec<u8>, event: Option<&EventType>) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_str().as_bytes());
        out.push(b'\n');
    }
}

fn push_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

/// The lines of a text as a browser splits them (WHATWG HTML 9.2.6): at CRLF, LF and CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let after = if text[end..].starts_with("\r\n") { end + 2 } else { end + 1 };
        rest = Some(&text[after..]);
        Some(&text[..end])
    })
}
