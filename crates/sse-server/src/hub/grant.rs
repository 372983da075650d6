//! What a caller may publish and read.

use super::{Topic, TopicFilter};

/// What a caller may do; made once at the door and trusted afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, for logs and rate limits; never a secret.
    pub name: String,
    /// Topics that may be published to.
    pub publish: Vec<TopicFilter>,
    /// Topics that may be read; those of sessions only if they are named whole.
    pub subscribe: Vec<TopicFilter>,
    /// Whether `*` lets a session's topic be read by its whole name, where nobody can log in and so no session exists.
    pub is_open: bool,
    /// Whether others have signed it, who may sign any number.
    pub is_signed: bool,
}

impl Grant {
    /// The holder of the publish token: everything, but what is for one session alone is not read.
    #[must_use]
    pub fn publisher(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            publish: vec![TopicFilter::every()],
            subscribe: vec![TopicFilter::every()],
            is_open: false,
            is_signed: false,
        }
    }

    /// The holder of a token for some topics: publishes to them and reads them, but for those of sessions.
    #[must_use]
    pub fn publisher_of(name: &str, topics: &[TopicFilter]) -> Self {
        let is_public =
            |filter: &&TopicFilter| !matches!(filter, TopicFilter::Exact(topic) if topic.is_private());
        Self {
            name: name.to_owned(),
            publish: topics.to_vec(),
            subscribe: topics.iter().filter(is_public).cloned().collect(),
            is_open: false,
            is_signed: false,
        }
    }

    /// Somebody unknown: reads `subscribe`, publishes nothing.
    #[must_use]
    pub fn anonymous(subscribe: Vec<TopicFilter>) -> Self {
        Self {
            name: "anonymous".to_owned(),
            publish: Vec::new(),
            subscribe,
            is_open: false,
            is_signed: false,
        }
    }

    /// Anybody, where everything may be read by whoever can name it.
    #[must_use]
    pub fn open() -> Self {
        Self { is_open: true, ..Self::anonymous(vec![TopicFilter::every()]) }
    }

    /// Whoever has logged in: reads everything, and `own`, the topic of the session.
    #[must_use]
    pub fn session(own: Topic) -> Self {
        Self::anonymous(vec![TopicFilter::every(), TopicFilter::Exact(own)])
    }

    /// Whether an event may be published under `topic`.
    #[must_use]
    pub fn may_publish(&self, topic: &Topic) -> bool {
        self.publish.iter().any(|filter| filter.names(topic))
    }

    /// Whether there is no topic that may not be published to.
    #[must_use]
    pub fn publishes_everything(&self) -> bool {
        self.publish.contains(&TopicFilter::every())
    }

    /// The filters a stream of this caller gets for those it asked for: `*` becomes every topic
    /// that the caller may read. Fails with the first filter that asks for more than that.
    pub fn narrow(&self, asked: &[TopicFilter]) -> Result<Vec<TopicFilter>, TopicFilter> {
        let mut allowed = Vec::with_capacity(asked.len());
        for filter in asked {
            if *filter == TopicFilter::every() {
                allowed.extend(self.subscribe.iter().cloned());
            } else if self.subscribe.iter().any(|granted| self.lets_read(granted, filter)) {
                allowed.push(filter.clone());
            } else {
                return Err(filter.clone());
            }
        }
        Ok(allowed)
    }

    fn lets_read(&self, granted: &TopicFilter, asked: &TopicFilter) -> bool {
        let is_private = matches!(asked, TopicFilter::Exact(topic) if topic.is_private());
        let names_it = matches!(granted, TopicFilter::Exact(_)) || self.is_open;
        granted.covers(asked) && (names_it || !is_private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(names: &[&str]) -> Vec<TopicFilter> {
        names.iter().map(|name| TopicFilter::parse(name).unwrap()).collect()
    }

    #[test]
    fn star_asks_for_whatever_the_caller_may_read() {
        type Case =
            (&'static [&'static str], &'static [&'static str], Result<&'static [&'static str], &'static str>);
        let cases: [Case; 7] = [
            (&["*"], &["*"], Ok(&["*"])),
            (&["*"], &["job:*", "a"], Ok(&["job:*", "a"])),
            (&["job:*", "a"], &["*"], Ok(&["job:*", "a"])),
            (&["job:*"], &["job:4*", "job:7"], Ok(&["job:4*", "job:7"])),
            (&["job:*"], &["job:7", "b"], Err("b")),
            (&["job:4*"], &["job:*"], Err("job:*")),
            (&[], &["*"], Ok(&[])),
        ];
        for (granted, asked, expected) in cases {
            let narrowed = Grant::anonymous(filters(granted)).narrow(&filters(asked));
            let expected = expected.map(filters).map_err(|filter| TopicFilter::parse(filter).unwrap());
            assert_eq!(narrowed, expected, "{granted:?} {asked:?}");
        }
    }

    /// The attack: whoever has logged in names the topic of another session.
    #[test]
    fn session_reads_its_own_topic_and_no_other() {
        let topic = |name: &str| Topic::parse(name).unwrap();
        let grant = Grant::session(topic("session:mine"));
        let own = Ok(filters(&["session:mine"]));
        assert_eq!(grant.narrow(&filters(&["session:mine"])), own);
        assert_eq!(grant.narrow(&filters(&["*"])), Ok(filters(&["*", "session:mine"])));
        assert_eq!(grant.narrow(&filters(&["session:*", "job:1"])), Ok(filters(&["session:*", "job:1"])));
        let others = TopicFilter::parse("session:other").unwrap();
        for grant in [grant, Grant::publisher("token"), Grant::anonymous(filters(&["*", "session:*"]))] {
            assert_eq!(grant.narrow(&filters(&["a", "session:other"])), Err(others.clone()));
        }
        assert_eq!(Grant::open().narrow(std::slice::from_ref(&others)), Ok(vec![others]));
    }

    #[test]
    fn publisher_names_every_topic_and_a_stranger_none() {
        let topic = Topic::parse("session:abc").unwrap();
        assert!(Grant::publisher("token").may_publish(&topic));
        assert!(!Grant::anonymous(filters(&["*"])).may_publish(&topic));
    }
}
