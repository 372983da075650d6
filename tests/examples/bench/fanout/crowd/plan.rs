//! Which streams one process of readers opens, as its command line tells it.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::fanout::event;

/// Streams that are all alike but for their number.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the server listens.
    pub(crate) port: u16,
    /// How many.
    pub(crate) count: usize,
    /// The number of the first.
    pub(crate) first: usize,
    /// The topics, with `#` in the place of the stream's number.
    pub(crate) topic: String,
    /// The number begins again at zero after so many.
    pub(crate) topics: usize,
    /// How long an event's data is.
    pub(crate) event_bytes: usize,
    /// Whether compression is asked for.
    pub(crate) wants_gzip: bool,
    /// Whether nothing is read after the greeting.
    pub(crate) is_slow: bool,
    /// How many are opened at one time.
    pub(crate) at_a_time: usize,
}

impl Plan {
    /// So many streams of one topic.
    pub(crate) fn new(port: u16, count: usize, topic: &str) -> Self {
        let topic = topic.to_owned();
        Self {
            port,
            count,
            first: 0,
            topic,
            topics: usize::MAX,
            event_bytes: event::BYTES,
            wants_gzip: false,
            is_slow: false,
            at_a_time: 128,
        }
    }

    /// The request of a stream.
    pub(crate) fn request(&self, number: usize) -> String {
        let topic = self.topic.replace('#', &(number % self.topics).to_string());
        let gzip = if self.wants_gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        format!(
            "GET /sse?topic={topic} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{gzip}\r\n"
        )
    }

    pub(crate) fn to_json(&self) -> String {
        json!({
            "port": self.port, "count": self.count, "first": self.first, "topic": self.topic, "topics": self.topics,
            "event_bytes": self.event_bytes, "gzip": self.wants_gzip, "slow": self.is_slow, "at_a_time": self.at_a_time,
        })
        .to_string()
    }

    pub(crate) fn from_json(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text).context("the plan is not JSON")?;
        let number = |name: &str| {
            value[name]
                .as_u64()
                .map(|number| number as usize)
                .with_context(|| format!("the plan has no {name}"))
        };
        Ok(Self {
            port: number("port")?.try_into()?,
            count: number("count")?,
            first: number("first")?,
            topic: value["topic"].as_str().context("the plan has no topic")?.to_owned(),
            topics: number("topics")?.max(1),
            event_bytes: number("event_bytes")?,
            wants_gzip: value["gzip"] == true,
            is_slow: value["slow"] == true,
            at_a_time: number("at_a_time")?,
        })
    }
}
