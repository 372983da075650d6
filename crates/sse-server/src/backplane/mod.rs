//! Where an accepted event gets its id and its place in the one order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::{EventId, HistoryConfig, NewEvent};
use crate::store::StoreError;

/// What the backplane is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the high-water mark of event ids is kept.
    pub data_dir: PathBuf,
    /// How much history is kept.
    pub history: HistoryConfig,
    /// How long a publish waits for reactors that are behind before it is refused.
    pub publish_wait_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            history: HistoryConfig::default(),
            publish_wait_max: Duration::from_secs(5),
        }
    }
}

/// Events that are accepted together: all or none, one after the other.
pub type Batch = Vec<NewEvent>;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// One id for each event, in order.
    pub ids: Vec<EventId>,
    /// Open streams of this node that match, summed over the events.
    pub receivers: u64,
}

/// Why nothing of a batch was accepted.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store failed.
    #[error("the store does not accept events: {0}")]
    Store(Arc<StoreError>),
    /// The streams' writers are too far behind.
    #[error("the writers of the streams are too far behind")]
    Busy,
}

/// History figures, as health shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryStats {
    /// `memory` or `disk`.
    pub kind: &'static str,
    /// Events kept.
    pub events: usize,
    /// Bytes kept.
    pub bytes: usize,
    /// Id of the oldest event kept.
    pub oldest: Option<EventId>,
    /// Id of the newest event kept.
    pub newest: Option<EventId>,
}

/// The one order of this node; cloned handles share it.
#[derive(Debug, Clone)]
pub struct Backplane(Arc<Node>);

#[derive(Debug)]
struct Node {}

impl Backplane {
    /// Opens the store and starts after the highest id that an earlier run may have issued.
    pub fn open(_config: Config) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Node {})))
    }

    /// Gives the events their ids, commits them, and hands them to every live stream.
    /// On an error nothing was accepted.
    pub async fn publish(&self, _batch: Batch) -> Result<Published, PublishError> {
        Err(PublishError::Busy)
    }

    /// Whether publishes can be accepted; what the store last failed with, if not.
    #[must_use]
    pub fn store_failure(&self) -> Option<Arc<StoreError>> {
        let _ = &self.0;
        None
    }

    /// History figures.
    #[must_use]
    pub fn history(&self) -> HistoryStats {
        HistoryStats { kind: "memory", events: 0, bytes: 0, oldest: None, newest: None }
    }

    /// Publishes nothing more and writes down the exact highest id. Called after the drain.
    pub async fn close(&self) {}
}
