//! An event before it is sent: its id, type and data, checked when made and trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use super::{IdempotencyKey, Invalid, Topic};

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
    pub(super) audience: Option<EventType>,
    pub(super) data: Data,
    idempotency_key: Option<IdempotencyKey>,
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
        Ok(Self { topics: distinct.into(), event, audience: None, data, idempotency_key: None })
    }

    /// The same event, published at most once under this key.
    #[must_use]
    pub fn with_key(self, key: Option<IdempotencyKey>) -> Self {
        Self { idempotency_key: key, ..self }
    }

    /// The key that it is published once under.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency_key.as_ref()
    }

    /// The same event, but only for streams whose type filter names `audience`; `None`: for all.
    #[must_use]
    pub fn only_for(self, audience: Option<EventType>) -> Self {
        Self { audience, ..self }
    }

    /// The topics, as published.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The type that a stream's filter must name for the stream to get it.
    #[must_use]
    pub fn audience(&self) -> Option<&EventType> {
        self.audience.as_ref()
    }

    /// What it carries.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64, seq: u64) -> EventId {
        EventId { ms, seq }
    }

    #[test]
    fn next_id_is_above_whatever_the_clock_says() {
        let cases = [
            (EventId::ZERO, 1000, id(1000, 0)),
            (id(1000, 0), 1000, id(1000, 1)),
            (id(1000, 7), 999, id(1000, 8)),
            (id(1000, 7), 1001, id(1001, 0)),
            (id(1000, u64::MAX), 1000, id(1001, 0)),
            (EventId::ZERO, 0, id(0, 1)),
        ];
        for (last, now_ms, expected) in cases {
            assert_eq!(last.next(now_ms), expected, "after {last} at {now_ms}");
        }
    }

    #[test]
    fn nothing_lies_between_an_id_and_the_one_before() {
        let cases = [
            (id(5, 3), id(5, 2)),
            (id(5, 0), id(4, u64::MAX)),
            (id(0, 1), EventId::ZERO),
            (EventId::ZERO, EventId::ZERO),
        ];
        for (at, before) in cases {
            assert_eq!(at.before(), before);
        }
    }

    #[test]
    fn ids_are_two_decimal_numbers_and_nothing_else() {
        for good in ["0-0", "1700000000000-5", "18446744073709551615-18446744073709551615"] {
            assert_eq!(good.parse::<EventId>().unwrap().to_string(), good);
        }
        let bad = [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-0",
            "1-+0",
            "1-0-0",
            "a-0",
            "1-0 ",
            " 1-0",
            "18446744073709551616-0",
            "1-٣",
        ];
        for text in bad {
            assert_eq!(text.parse::<EventId>(), Err(Invalid::EventId(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn types_are_checked_and_the_servers_own_are_not_published() {
        assert!(EventType::parse_published(&"ü".repeat(64)).is_ok(), "characters are counted, not bytes");
        for bad in ["", "a\rb", "a\nb", "a\0b", &"x".repeat(65)] {
            assert!(matches!(EventType::parse_published(bad), Err(Invalid::EventType(_))), "{bad:?}");
        }
        for own in ["connected", "heartbeat", "reset", "shutdown"] {
            let error = EventType::parse_published(own).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("event type {own:?} is the server's own and cannot be published")
            );
            assert!(EventType::parse(own).is_ok(), "but may be asked for");
        }
    }

    #[test]
    fn json_becomes_compact_and_a_string_becomes_text() {
        let cases = [
            ("\"two\\nlines\"", Data::Text("two\nlines".into())),
            (" \"\" ", Data::Text(String::new())),
            (
                "{ \"b\" : 1.50, \"a\" :\n[ 1e2 , \" x \\\" y \" ] }",
                Data::Json("{\"b\":1.50,\"a\":[1e2,\" x \\\" y \"]}".into()),
            ),
            ("\"\\\\\"", Data::Text("\\".into())),
            ("[\"\\\\\" , 1]", Data::Json("[\"\\\\\",1]".into())),
            ("null", Data::Json("null".into())),
            ("12345678901234567890123", Data::Json("12345678901234567890123".into())),
        ];
        for (json, expected) in cases {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            assert_eq!(Data::from_raw(&raw).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn topic_named_twice_counts_once_and_message_is_no_type() {
        let topic = |name| Topic::parse(name).unwrap();
        let message = EventType::parse("message").unwrap();
        let event =
            NewEvent::new(vec![topic("a"), topic("b"), topic("a")], Some(message), Data::Text("".into()));
        let event = event.unwrap();
        assert_eq!((event.topics(), &event.event), (&[topic("a"), topic("b")][..], &None));
        assert_eq!(NewEvent::new(vec![], None, Data::Text("".into())), Err(Invalid::NoTopic));
    }

    proptest! {
        #[test]
        fn ids_sort_as_their_order_and_survive_text(a: (u64, u64), b: (u64, u64), clock: u64) {
            let (a, b) = (id(a.0, a.1), id(b.0, b.1));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a < b, (a.ms, a.seq) < (b.ms, b.seq));
            prop_assume!(a.ms < u64::MAX);
            prop_assert!(a.next(clock) > a);
        }

        #[test]
        fn compacting_changes_no_value(value in json()) {
            let pretty: Box<RawValue> = serde_json::from_str(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
            let expected = match &value {
                serde_json::Value::String(text) => Data::Text(text.clone()),
                value => Data::Json(value.to_string()),
            };
            prop_assert_eq!(Data::from_raw(&pretty).unwrap(), expected);
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Into::into),
            "\\PC*".prop_map(Into::into),
            any::<bool>().prop_map(Into::into)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                prop::collection::btree_map("[ a\"\\\\:]{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
