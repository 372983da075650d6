//! Where an accepted event gets its id and its place in the one order.

mod claims;
mod failure;
mod node;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::{EventId, Frame, Hub, HubConfig, NewEvent, Ordinal, Portion};
use crate::store::{DiskStore, MemoryStore, ReadError, Store, StoreError};
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
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
    /// Idempotency keys remembered at one time; beyond it, publishes with new ones are refused. 0 is unlimited.
    pub idempotency_keys_max: usize,
    /// How long a commit may take. Beyond it the store counts as failing, and publishes that come are refused until
    /// it ends; those that wait for it are answered as it ends.
    pub commit_wait_max: Duration,
    /// How often a store that failed is tried again.
    pub probe_interval: Duration,
    /// What the store may keep beyond the history's bounds before it discards: it does so in portions, a 16th of
    /// the bounds, but at most so many events.
    pub discard_events_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            hub: HubConfig::default(),
            reserve_step: Duration::from_secs(10),
            publish_wait_max: Duration::from_secs(5),
            idempotency_window: Duration::from_secs(300),
            idempotency_keys_max: 1_000_000,
            commit_wait_max: Duration::from_secs(10),
            probe_interval: Duration::from_secs(1),
            discard_events_max: 4096,
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
    /// Events that are new; the others were published before under the same idempotency key.
    pub accepted: usize,
}

/// Why nothing of a batch was accepted.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store failed.
    #[error("the store does not accept events: {}", .0.in_full())]
    Store(Arc<StoreError>),
    /// As many idempotency keys are remembered as may be.
    #[error("{max} idempotency keys are remembered, as many as may be")]
    KeysFull {
        /// The limit.
        max: usize,
    },
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
    /// Opens the store, on disk if the hub is to read from one and else in memory, and goes on after what an
    /// earlier run left.
    pub fn open(config: Config) -> Result<Self, StoreError> {
        let store: Arc<dyn Store> = match config.hub.history.ring_bytes_max {
            Some(ring_bytes_max) => Arc::new(DiskStore::open(&config.data_dir, ring_bytes_max)?),
            None => Arc::new(MemoryStore::open(&config.data_dir)?),
        };
        Self::with(store, &config, Arc::new(node::system_clock))
    }

    /// The same with another store and another clock (milliseconds since 1970).
    pub fn with(
        store: Arc<dyn Store>,
        config: &Config,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Node::open(store, config, clock)?)))
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

    /// Lets what is too old go, also when nothing is published. To be called now and then; blocks on nothing.
    pub fn tend(&self) {
        self.0.tend();
    }

    /// Accepts nothing more and writes down the exact highest id. To be called after the drain.
    pub async fn close(&self) -> Result<(), Arc<StoreError>> {
        self.0.close().await
    }

    /// The order that streams are written from.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Committed events from `from` on that are not in memory any more. Blocks.
    pub(crate) fn read(&self, from: Ordinal, portion: Portion) -> Result<Vec<Arc<Frame>>, ReadError> {
        self.0.store.read(from, portion)
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
