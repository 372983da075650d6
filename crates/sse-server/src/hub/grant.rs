//! What a caller may publish and read.

use super::{Topic, TopicFilter};

/// What a caller may do; made once at the door and trusted afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, for logs and rate limits; never a secret.
    pub name: String,
    /// Topics that may be published to.
    pub publish: Vec<TopicFilter>,
    /// Topics that may be read.
    pub subscribe: Vec<TopicFilter>,
}

impl Grant {
    /// The holder of the publish token: everything.
    #[must_use]
    pub fn publisher(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            publish: vec![TopicFilter::every()],
            subscribe: vec![TopicFilter::every()],
        }
    }

    /// Somebody unknown: reads `subscribe`, publishes nothing.
    #[must_use]
    pub fn anonymous(subscribe: Vec<TopicFilter>) -> Self {
        Self { name: "anonymous".to_owned(), publish: Vec::new(), subscribe }
    }

    /// Whether an event may be published under `topic`.
    #[must_use]
    pub fn may_publish(&self, topic: &Topic) -> bool {
        self.publish.iter().any(|filter| filter.names(topic))
    }

    /// The filters a stream of this caller gets for those it asked for: `*` becomes every topic
    /// that the caller may read. Fails with the first filter that asks for more than that.
    pub fn narrow(&self, asked: &[TopicFilter]) -> Result<Vec<TopicFilter>, TopicFilter> {
        let mut allowed = Vec::with_capacity(asked.len());
        for filter in asked {
            if *filter == TopicFilter::every() {
                allowed.extend(self.subscribe.iter().cloned());
            } else if self.subscribe.iter().any(|granted| granted.covers(filter)) {
                allowed.push(filter.clone());
            } else {
                return Err(filter.clone());
            }
        }
        Ok(allowed)
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

    #[test]
    fn publisher_names_every_topic_and_a_stranger_none() {
        let topic = Topic::parse("session:abc").unwrap();
        assert!(Grant::publisher("token").may_publish(&topic));
        assert!(!Grant::anonymous(filters(&["*"])).may_publish(&topic));
    }
}
