//! What must hold for every name and id, whoever made it.

use super::grant::Grant;
use super::{EventId, EventType, IdempotencyKey, Invalid, Topic, TopicFilter};

/// Three lines: what is granted, what is asked for, and a topic; each is also tried as an id, a type and a key.
pub fn names(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut lines = text.split('\n');
    let (granted, asked, topic) = (lines.next(), lines.next(), lines.next());
    let (granted, asked) = (granted.unwrap_or_default(), asked.unwrap_or_default());
    let topic = topic.unwrap_or_default();
    let any = [text, granted, asked, topic].map(one).contains(&true);
    if let (Ok(granted), Ok(asked), Ok(topic)) =
        (TopicFilter::parse(granted), TopicFilter::parse(asked), Topic::parse(topic))
    {
        assert_laws(&granted, &asked, &topic);
    }
    any
}

/// Whatever is accepted prints as it was written, or as what reads the same.
fn one(text: &str) -> bool {
    let mut any = false;
    match text.parse::<EventId>() {
        Ok(id) => {
            any = true;
            let printed = id.to_string();
            assert_eq!(printed.parse(), Ok(id));
            assert!(printed.len() <= EventId::TEXT_MAX);
            assert!(id.before() < id || id == EventId::ZERO);
        }
        Err(error) => assert!(matches!(error, Invalid::EventId(_)) && error.to_string().len() < 1024),
    }
    if let Ok(topic) = Topic::parse(text) {
        any = true;
        assert_eq!(topic.as_str(), text);
        assert!(TopicFilter::parse(text) == Ok(TopicFilter::Exact(topic)));
    }
    if let Ok(filter) = TopicFilter::parse(text) {
        any = true;
        assert_eq!(filter.to_string(), text);
        assert!(filter.covers(&filter) && TopicFilter::every().covers(&filter));
    }
    if let Ok(event) = EventType::parse(text) {
        any = true;
        assert!(event.as_str() == text && !text.contains(['\r', '\n', '\0']));
    }
    if let Ok(key) = IdempotencyKey::parse(text) {
        assert_eq!(key.as_str(), text);
    }
    any
}

/// Nobody reads by a filter what the grant does not name, and no session's topic by one with `*`.
fn assert_laws(granted: &TopicFilter, asked: &TopicFilter, topic: &Topic) {
    if granted.covers(asked) && asked.names(topic) {
        assert!(granted.names(topic), "{granted} covers {asked}, which names {topic}");
    }
    assert!(!asked.reads(topic) || asked.names(topic));
    let grant = Grant::anonymous(vec![granted.clone()]);
    let Ok(narrowed) = grant.narrow(std::slice::from_ref(asked)) else { return };
    for filter in narrowed.iter().filter(|filter| filter.reads(topic)) {
        assert!(granted.names(topic), "{granted} lets {filter} read {topic}");
        let is_named = *granted == TopicFilter::Exact(topic.clone());
        assert!(!topic.is_private() || is_named, "{granted} lets {filter} read {topic}");
    }
}
