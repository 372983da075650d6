//! Topics and the filters that read them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{EventType, Frame, Invalid};

/// The name that events are published under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Topics of one session: no filter with `*` reads them.
const PRIVATE: &str = "session:";

fn is_name(text: &str) -> bool {
    text.len() <= Topic::CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'/' | b'-'))
}

fn cut(text: &str) -> String {
    text.chars().take(Topic::CHARS_MAX + 1).collect()
}

impl Topic {
    /// Longest topic, in characters.
    pub const CHARS_MAX: usize = 128;

    /// Checks the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || !is_name(text) {
            return Err(Invalid::Topic(cut(text)));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the topics of one session.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.starts_with(PRIVATE)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which topics a reader wants, or a grant allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicFilter {
    /// Every topic that begins so; the empty prefix is `*`.
    Prefix(Box<str>),
    /// One topic.
    Exact(Topic),
}

impl TopicFilter {
    /// `*` alone.
    #[must_use]
    pub fn every() -> Self {
        Self::Prefix("".into())
    }

    /// A topic, a prefix followed by `*`, or `*` alone.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.strip_suffix('*') {
            Some(prefix) if is_name(prefix) => Ok(Self::Prefix(prefix.into())),
            None if !text.is_empty() && is_name(text) => Ok(Self::Exact(Topic(text.into()))),
            _ => Err(Invalid::TopicFilter(cut(text))),
        }
    }

    /// Whether a reader with this filter gets what is published under `topic`.
    #[must_use]
    pub fn reads(&self, topic: &Topic) -> bool {
        match self {
            Self::Exact(wanted) => wanted == topic,
            Self::Prefix(prefix) => topic.0.starts_with(&**prefix) && !topic.is_private(),
        }
    }

    /// Whether `topic` is named by this filter, private or not: what a publisher may name.
    #[must_use]
    pub fn names(&self, topic: &Topic) -> bool {
        match self {
            Self::Exact(wanted) => wanted == topic,
            Self::Prefix(prefix) => topic.0.starts_with(&**prefix),
        }
    }

    /// Whether every topic that `other` names is named by this filter too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(prefix), Self::Exact(topic)) => topic.0.starts_with(&**prefix),
            (Self::Prefix(prefix), Self::Prefix(longer)) => longer.starts_with(&**prefix),
        }
    }

    /// Whether whatever `other` reads is read by this filter too.
    fn reads_all_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(_), Self::Exact(topic)) => self.reads(topic),
            _ => self.covers(other),
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(topic) => topic.fmt(f),
        }
    }
}

/// Which event types a reader wants; none named is all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TypeFilter(Box<[EventType]>);

impl TypeFilter {
    /// Only these types; `message` stands for events without type. Empty: all.
    #[must_use]
    pub fn new(mut types: Vec<EventType>) -> Self {
        types.sort_unstable();
        types.dedup();
        Self(types.into())
    }

    /// Whether an event of this type is wanted.
    #[must_use]
    pub fn reads(&self, event: Option<&EventType>) -> bool {
        let name = event.map_or(EventType::MESSAGE, EventType::as_str);
        self.0.is_empty() || self.0.iter().any(|wanted| wanted.as_str() == name)
    }

    /// Whether this type is among those named; a filter for all names none.
    #[must_use]
    pub fn names(&self, event: &EventType) -> bool {
        self.0.contains(event)
    }
}

/// What one stream wants. Equal and hashed by meaning: streams with equal interests get the same bytes.
#[derive(Debug, Clone)]
pub struct Interest {
    topics: Box<[TopicFilter]>,
    types: TypeFilter,
    envelope: bool,
    asked_topics: Box<[TopicFilter]>,
    asked_types: Box<[EventType]>,
}

impl Interest {
    /// The interest of a stream that asked for `topics` (none: nothing is read) and `types` (none: all).
    #[must_use]
    pub fn new(topics: Vec<TopicFilter>, types: Vec<EventType>, envelope: bool) -> Self {
        let mut narrowed: Vec<TopicFilter> = Vec::with_capacity(topics.len());
        for filter in &topics {
            if !narrowed.iter().any(|kept| kept.reads_all_of(filter)) {
                narrowed.retain(|kept| !filter.reads_all_of(kept));
                narrowed.push(filter.clone());
            }
        }
        narrowed.sort_unstable();
        Self {
            topics: narrowed.into(),
            types: TypeFilter::new(types.clone()),
            envelope,
            asked_topics: topics.into(),
            asked_types: types.into(),
        }
    }

    /// Whether this event is wanted: by its topics, its type and its audience.
    #[must_use]
    pub fn reads(&self, frame: &Frame) -> bool {
        self.admits(frame) && frame.topics().iter().any(|topic| self.reads_topic(topic))
    }

    /// The same for an event with a topic that is known to be read.
    #[must_use]
    pub fn admits(&self, frame: &Frame) -> bool {
        self.types.reads(frame.event()) && frame.audience().is_none_or(|audience| self.types.names(audience))
    }

    /// Whether one of the filters reads this topic.
    #[must_use]
    pub fn reads_topic(&self, topic: &Topic) -> bool {
        self.topics.iter().any(|filter| filter.reads(topic))
    }

    /// The filters, without those that others contain.
    #[must_use]
    pub fn topics(&self) -> &[TopicFilter] {
        &self.topics
    }

    /// Whether a private topic is among them.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.topics.iter().any(|filter| matches!(filter, TopicFilter::Exact(topic) if topic.is_private()))
    }

    /// The types wanted.
    #[must_use]
    pub fn types(&self) -> &TypeFilter {
        &self.types
    }

    /// Whether events come in an envelope that names their topics.
    #[must_use]
    pub fn envelope(&self) -> bool {
        self.envelope
    }

    /// The filters as the client named them.
    #[must_use]
    pub fn asked_topics(&self) -> &[TopicFilter] {
        &self.asked_topics
    }

    /// The types as the client named them.
    #[must_use]
    pub fn asked_types(&self) -> &[EventType] {
        &self.asked_types
    }
}

impl PartialEq for Interest {
    fn eq(&self, other: &Self) -> bool {
        self.envelope == other.envelope && self.topics == other.topics && self.types == other.types
    }
}

impl Eq for Interest {}

impl Hash for Interest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.topics.hash(state);
        self.types.hash(state);
        self.envelope.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Data, Draft, EventId, NewEvent};
    use std::time::Instant;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    fn topic(text: &str) -> Topic {
        Topic::parse(text).unwrap()
    }

    fn interest(topics: &[&str], types: &[&str]) -> Interest {
        let types = types.iter().map(|event| EventType::parse(event).unwrap()).collect();
        Interest::new(topics.iter().map(|text| filter(text)).collect(), types, false)
    }

    fn frame(topics: &[&str], event: Option<&str>, audience: Option<&str>) -> Frame {
        let kind = |text: Option<&str>| text.map(|text| EventType::parse(text).unwrap());
        let topics = topics.iter().map(|text| topic(text)).collect();
        let event = NewEvent::new(topics, kind(event), Data::Text(String::new())).unwrap();
        Draft::new(event.only_for(kind(audience)), Instant::now()).seal(EventId::ZERO)
    }

    #[test]
    fn topics_have_1_to_128_plain_characters() {
        for good in ["a", "job:42", "A-Z_a.z/0-9:", &"x".repeat(128)] {
            assert_eq!(Topic::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a*", "*", "ü", "a,b", "a\n", "a\"", &"x".repeat(129)] {
            assert!(Topic::parse(bad).is_err(), "{bad:?}");
        }
        let error = Topic::parse("a b").unwrap_err().to_string();
        assert_eq!(error, "topic \"a b\" is not 1 to 128 characters of A-Z a-z 0-9 _ . : / -");
    }

    #[test]
    fn filters_are_topics_prefixes_or_everything() {
        for good in ["*", "a*", "job:*", "job:42"] {
            assert_eq!(filter(good).to_string(), good);
        }
        for bad in ["", "**", "a*b", "*a", "a b*", "ü*"] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// The attack: a stranger reads everybody's session topics with a wide filter.
    #[test]
    fn no_filter_with_a_star_reads_a_session_topic() {
        let private = topic("session:abc");
        for wide in ["*", "s*", "session:*", "session:a*", "session:abc*"] {
            assert!(!filter(wide).reads(&private), "{wide}");
            assert!(!interest(&[wide], &[]).reads(&frame(&["session:abc"], None, None)), "{wide}");
        }
        assert!(filter("session:abc").reads(&private));
        assert!(filter("*").names(&private), "but it can be published to");
        assert!(filter("*").reads(&topic("sessions")));
        let both = frame(&["session:abc", "open"], None, None);
        assert!(interest(&["*"], &[]).reads(&both), "an event that is public too is read as that");
    }

    #[test]
    fn filters_read_what_begins_like_them() {
        let cases = [
            ("*", "a", true),
            ("job:*", "job:42", true),
            ("job:*", "job:", true),
            ("job:*", "job", false),
            ("job:4*", "job:42", true),
            ("job:42", "job:42", true),
            ("job:42", "job:421", false),
        ];
        for (wide, name, reads) in cases {
            assert_eq!(filter(wide).reads(&topic(name)), reads, "{wide} {name}");
        }
    }

    #[test]
    fn type_filter_knows_untyped_events_as_message() {
        let cases = [
            (&[][..], None, true),
            (&[], Some("progress"), true),
            (&["message"], None, true),
            (&["message"], Some("progress"), false),
            (&["progress"], None, false),
            (&["other", "progress"], Some("progress"), true),
        ];
        for (types, event, reads) in cases {
            let frame = frame(&["a"], event, None);
            assert_eq!(interest(&["*"], types).reads(&frame), reads, "{types:?} {event:?}");
        }
    }

    #[test]
    fn audience_is_whoever_names_its_type_and_wants_the_event_too() {
        let cases = [
            (&[][..], Some("progress"), "progress", false),
            (&["progress"], Some("progress"), "progress", true),
            (&["progress"], Some("progress"), "other", false),
            (&["other"], Some("progress"), "other", false),
            (&["other", "progress"], Some("progress"), "other", true),
            (&["message"], None, "message", true),
            (&[], None, "message", false),
        ];
        for (types, event, audience, reads) in cases {
            let (mine, frame) = (interest(&["a"], types), frame(&["a"], event, Some(audience)));
            assert_eq!(mine.reads(&frame), reads, "{types:?} {event:?} {audience}");
            assert_eq!(mine.admits(&frame), reads, "{types:?} {event:?} {audience}");
            assert!(!interest(&["b"], types).reads(&frame), "another topic");
        }
    }

    #[test]
    fn interests_that_mean_the_same_are_equal() {
        let hash = |interest: &Interest| {
            use std::hash::BuildHasher;
            std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(interest)
        };
        let cases: [(&[&str], &[&str], bool); 6] = [
            (&["a", "b"], &["b", "a", "a"], true),
            (&["job:*", "job:42"], &["job:*"], true),
            (&["job:42", "*"], &["*"], true),
            (&["*", "session:x"], &["*"], false),
            (&["session:*", "*"], &["*"], true),
            (&["a"], &["b"], false),
        ];
        for (left, right, equal) in cases {
            let (left, right) = (interest(left, &["x", "y"]), interest(right, &["y", "x", "y"]));
            assert_eq!(left == right, equal, "{left:?} {right:?}");
            assert_eq!(hash(&left) == hash(&right), equal);
        }
        assert_ne!(interest(&["a"], &[]), interest(&["a"], &["x"]));
        assert_eq!(interest(&["b", "a", "*"], &[]).asked_topics(), [filter("b"), filter("a"), filter("*")]);
    }
}
