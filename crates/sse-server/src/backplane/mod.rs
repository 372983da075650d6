//! Where an accepted event gets its id and its place in the one order.

mod node;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::{EventId, Hub, HubConfig, NewEvent};
use crate::store::{MemoryStore, Store, StoreError};
use node::Node;

/// What the backplane is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the high-water mark of event ids is kept.
    pub data_dir: PathBuf,
    /// The bounds of the history, and of what the writers of the streams may be behind.
    pub hub: HubConfig,
    /// How far ahead of the clock event ids are reserved: the mark is written that rarely, and after a
    /// crash ids go on at most that far in the future.
    pub reserve_step: Duration,
    /// How long a publish waits for reactors that are behind before it is refused.
    pub publish_wait_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            hub: HubConfig::default(),
            reserve_step: Duration::from_secs(10),
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
    /// The hub is closed.
    #[error("the hub is closed")]
    Closed,
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
#[derive(Clone)]
pub struct Backplane(Arc<Node>);

impl Backplane {
    /// Opens the memory store and starts after the highest id that an earlier run may have issued.
    pub fn open(config: Config) -> Result<Self, StoreError> {
        let store = Arc::new(MemoryStore::open(&config.data_dir)?);
        Self::with(store, &config, Arc::new(node::system_clock))
    }

    /// The same with another store and another clock (milliseconds since 1970).
    pub fn with(
        store: Arc<dyn Store>,
        config: &Config,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Self, StoreError> {
        let node = Node::open(store, config.hub, config.reserve_step, config.publish_wait_max, clock)?;
        Ok(Self(Arc::new(node)))
    }

    /// Gives the events their ids, commits them, and hands them to every live stream: when this
    /// returns, every reactor with streams has them before it and is awake. On an error nothing was
    /// accepted. Once begun, a publish is finished even if nobody waits for it. Needs a tokio runtime.
    pub async fn publish(&self, batch: Batch) -> Result<Published, PublishError> {
        self.0.publish(batch).await
    }

    /// What the store last failed with, if it has not worked since.
    #[must_use]
    pub fn store_failure(&self) -> Option<Arc<StoreError>> {
        self.0.failure()
    }

    /// History figures.
    #[must_use]
    pub fn history(&self) -> HistoryStats {
        self.0.history()
    }

    /// Accepts nothing more and writes down the exact highest id. To be called after the drain.
    pub async fn close(&self) -> Result<(), Arc<StoreError>> {
        self.0.close().await
    }

    /// The order that streams are written from.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// The time, as the order sees it.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.0.clock)()
    }
}

impl fmt::Debug for Backplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backplane").finish_non_exhaustive()
    }
}
