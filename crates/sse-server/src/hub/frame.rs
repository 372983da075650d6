//! An event as wire bytes, encoded once and shared by all who read it.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

use super::{Data, EventId, EventType, Interest, NewEvent, Topic};

/// Room for the longest `id:` line, which is written when the id is known.
const ID_ROOM: usize = "id: ".len() + EventId::TEXT_MAX + "\n".len();

/// What a frame costs beside its bytes: itself, its slot in the ring, its topics' handles.
const OVERHEAD: usize = 256;

/// An event encoded, but without id: made before the order is locked.
#[derive(Debug)]
pub struct Draft {
    topics: Box<[Topic]>,
    event: Option<EventType>,
    audience: Option<EventType>,
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
    audience: Option<EventType>,
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
        let NewEvent { topics, event, audience, data, .. } = event;
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
        Self { topics, event, audience, data, wire: wire.into(), accepted }
    }

    /// Puts the id in front.
    #[must_use]
    pub fn seal(self, id: EventId) -> Frame {
        let Self { topics, event, audience, data, mut wire, accepted } = self;
        let line = id_line(id);
        let start = ID_ROOM - line.len();
        wire[start..ID_ROOM].copy_from_slice(&line);
        Frame { id, accepted, topics, event, audience, data, wire, start, envelope: OnceLock::new() }
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

    /// The type that a stream's filter must name for the stream to get it; `None`: any stream may.
    #[must_use]
    pub fn audience(&self) -> Option<&EventType> {
        self.audience.as_ref()
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
        let audience = self.audience.as_ref().map_or(0, |audience| audience.as_str().len());
        OVERHEAD + self.wire.len() + lines + topics + audience
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::event_stream::{Dispatched, parse, with_line_feeds};
    use crate::hub::TopicFilter;
    use proptest::prelude::*;

    fn frame(topics: &[&str], event: &str, data: Data) -> Frame {
        let topics = topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
        let event = (!event.is_empty()).then(|| EventType::parse(event).unwrap());
        Draft::new(NewEvent::new(topics, event, data).unwrap(), Instant::now())
            .seal(EventId { ms: 7, seq: 1 })
    }

    fn text(data: &str) -> Data {
        Data::Text(data.to_owned())
    }

    fn enveloped(frame: &Frame, filters: &[&str]) -> String {
        let filters = filters.iter().map(|filter| TopicFilter::parse(filter).unwrap()).collect();
        let mut out = Vec::new();
        frame.write(&Interest::new(filters, vec![], true), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_end_starts_a_data_line() {
        let cases = [
            ("", "data: \n"),
            ("x", "data: x\n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\rb", "data: a\ndata: b\n"),
            ("a\r\nb", "data: a\ndata: b\n"),
            ("a\n\rb", "data: a\ndata: \ndata: b\n"),
            ("a\n", "data: a\ndata: \n"),
            ("\r\n", "data: \ndata: \n"),
            (" x:y", "data:  x:y\n"),
        ];
        for (data, lines) in cases {
            let frame = frame(&["a"], "", text(data));
            assert_eq!(String::from_utf8_lossy(frame.wire()), format!("id: 7-1\n{lines}\n"), "{data:?}");
            assert_eq!(frame.data(), (data, false));
        }
    }

    /// The attack: data or type that forges a field of its own.
    #[test]
    fn data_cannot_forge_a_field() {
        let frame = frame(&["a"], "note", text("x\rid: 9-9\r\revent: shutdown"));
        let expected = "id: 7-1\nevent: note\ndata: x\ndata: id: 9-9\ndata: \ndata: event: shutdown\n\n";
        assert_eq!(String::from_utf8_lossy(frame.wire()), expected);
        assert!(EventType::parse("x\rid: 9-9").is_err());
    }

    #[test]
    fn envelope_names_the_topics_and_carries_json() {
        let cases = [
            (
                frame(&["a"], "", text("1\r\n\"2\"")),
                "id: 7-1\ndata: {\"topics\":[\"a\"],\"data\":\"1\\r\\n\\\"2\\\"\"}\n\n",
            ),
            (
                frame(&["a", "b:1"], "note", Data::Json("{\"x\":1}".into())),
                "id: 7-1\nevent: note\ndata: {\"topics\":[\"a\",\"b:1\"],\"data\":{\"x\":1}}\n\n",
            ),
        ];
        for (frame, expected) in cases {
            assert_eq!(enveloped(&frame, &["*"]), expected);
            assert_eq!(enveloped(&frame, &["a"]), expected, "the same for everybody");
        }
    }

    /// The attack: a reader of everything learns session names from the envelopes of public events.
    #[test]
    fn envelope_shows_private_topics_to_their_own_readers_only() {
        let frame = frame(&["a", "session:x", "session:y"], "", text(""));
        let topics = |filters: &[&str]| {
            let out = enveloped(&frame, filters);
            out.split(['[', ']']).nth(1).unwrap().to_owned()
        };
        assert_eq!(topics(&["*"]), "\"a\"");
        assert_eq!(topics(&["session:x"]), "\"a\",\"session:x\"");
    }

    #[test]
    fn longest_id_has_room() {
        let id = EventId { ms: u64::MAX, seq: u64::MAX };
        let event = NewEvent::new(vec![Topic::parse("a").unwrap()], None, text("x")).unwrap();
        let frame = Draft::new(event, Instant::now()).seal(id);
        assert_eq!(String::from_utf8_lossy(frame.wire()), format!("id: {id}\ndata: x\n\n"));
    }

    proptest! {
        #[test]
        fn browser_reads_back_what_was_published(data in "([a-z :\r\n]|\\PC){0,40}", event in "[^\r\n\0]{1,64}") {
            let frame = frame(&["a"], &event, text(&data));
            let seen = Dispatched { id: "7-1".to_owned(), event, data: with_line_feeds(&data) };
            prop_assert_eq!(parse(frame.wire()), [seen]);
            prop_assert_eq!(frame.data(), (&*data, false));
        }
    }
}
