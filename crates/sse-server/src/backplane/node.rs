//! One node is the whole hub: ids are issued here, in the order that the store commits them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;

use super::{Batch, HistoryStats, PublishError, Published};
use crate::hub::{Draft, EventId, Frame, Hub, HubConfig, NotIssued, Sequence, Wake};
use crate::store::{Store, StoreError};

/// The clock: milliseconds since 1970.
pub(super) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of this machine.
pub(super) fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) struct Node {
    pub(super) hub: Hub,
    pub(super) clock: Clock,
    store: Arc<dyn Store>,
    /// Ids are issued and frames given to the store under one lock, so both have the same order.
    sequence: Arc<Mutex<Sequence>>,
    refilling: Arc<AtomicBool>,
    room: Arc<Room>,
    wait_max: Duration,
    failure: Arc<Mutex<Option<Arc<StoreError>>>>,
}

#[derive(Default)]
struct Room(Notify);

impl Wake for Room {
    fn wake(&self) {
        self.0.notify_waiters();
    }
}

/// The answer to one commit: how many streams matched.
type Answer = oneshot::Receiver<Result<u64, Arc<StoreError>>>;

impl Node {
    pub(super) fn open(
        store: Arc<dyn Store>,
        hub: HubConfig,
        step: Duration,
        wait_max: Duration,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let recovered = store.recover()?;
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let sequence = Sequence::new(recovered.newest, step_ms);
        let hub = Hub::new(hub, recovered);
        let room = Arc::new(Room::default());
        hub.wake_on_room(Arc::clone(&room) as Arc<dyn Wake>);
        Ok(Self {
            hub,
            clock,
            store,
            sequence: Arc::new(Mutex::new(sequence)),
            refilling: Arc::default(),
            room,
            wait_max,
            failure: Arc::default(),
        })
    }

    pub(super) async fn publish(&self, batch: Batch) -> Result<Published, PublishError> {
        if batch.is_empty() {
            return Ok(Published { ids: Vec::new(), receivers: 0 });
        }
        let accepted = Instant::now();
        let wait = tokio::time::timeout(self.wait_max, self.wait_for_room());
        wait.await.map_err(|_| PublishError::Busy)?;
        let mut drafts: Vec<Draft> = batch.into_iter().map(|event| Draft::new(event, accepted)).collect();
        let (ids, answer) = loop {
            match self.submit(drafts) {
                Ok(submitted) => break submitted,
                Err((_, NotIssued::Closed)) => return Err(PublishError::Closed),
                Err((back, NotIssued::Reserve(mark))) => {
                    drafts = back;
                    self.reserve(mark)
                        .await
                        .map_err(|_| PublishError::Closed)?
                        .map_err(PublishError::Store)?;
                }
            }
        };
        let receivers = answer.await.map_err(|_| PublishError::Closed)?.map_err(PublishError::Store)?;
        Ok(Published { ids, receivers })
    }

    /// Issues the ids and gives the frames to the store, which answers when they are committed and in
    /// the hub; or gives the drafts back and says what has to be reserved first.
    fn submit(&self, drafts: Vec<Draft>) -> Result<(Vec<EventId>, Answer), (Vec<Draft>, NotIssued)> {
        let now_ms = (self.clock)();
        let (answer, answered) = oneshot::channel();
        let mut sequence = self.sequence.lock();
        let ids = match sequence.issue(drafts.len(), now_ms) {
            Ok(ids) => ids,
            Err(reason) => return Err((drafts, reason)),
        };
        let frames: Arc<[Arc<Frame>]> =
            drafts.into_iter().zip(&ids).map(|(draft, id)| Arc::new(draft.seal(*id))).collect();
        let (hub, failure, committed) = (self.hub.clone(), Arc::clone(&self.failure), Arc::clone(&frames));
        let done = move |result: Result<(), Arc<StoreError>>| {
            failure.lock().clone_from(&result.as_ref().err().cloned());
            // The publisher may have gone; its events are accepted all the same.
            let _ = answer.send(result.map(|()| hub.append(&committed, now_ms)));
        };
        self.store.commit(frames, Box::new(done));
        let refill = sequence.refill();
        drop(sequence);
        if let Some(mark) = refill
            && !self.refilling.swap(true, Ordering::AcqRel)
        {
            drop(self.reserve(mark));
        }
        Ok((ids, answered))
    }

    /// Moves the mark on a thread that may block; goes on when nobody waits for it.
    fn reserve(&self, mark: EventId) -> tokio::task::JoinHandle<Result<(), Arc<StoreError>>> {
        let (store, sequence) = (Arc::clone(&self.store), Arc::clone(&self.sequence));
        let (failure, refilling) = (Arc::clone(&self.failure), Arc::clone(&self.refilling));
        spawn_blocking(move || {
            let result = store.reserve(mark).map_err(Arc::new);
            if result.is_ok() {
                sequence.lock().reserved(mark);
            }
            failure.lock().clone_from(&result.as_ref().err().cloned());
            refilling.store(false, Ordering::Release);
            result
        })
    }

    async fn wait_for_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.0.notified());
            room.as_mut().enable();
            if self.hub.has_room() {
                return;
            }
            room.await;
        }
    }

    pub(super) fn failure(&self) -> Option<Arc<StoreError>> {
        self.failure.lock().clone()
    }

    pub(super) fn history(&self) -> HistoryStats {
        let stats = self.hub.stats((self.clock)());
        HistoryStats {
            kind: self.store.kind(),
            events: stats.events,
            bytes: stats.bytes,
            oldest: stats.oldest,
            newest: stats.newest,
        }
    }

    /// Issues nothing more, and writes down what was issued.
    pub(super) async fn close(&self) -> Result<(), Arc<StoreError>> {
        let last = self.sequence.lock().close();
        let store = Arc::clone(&self.store);
        let closed = spawn_blocking(move || store.close(last).map_err(Arc::new));
        closed.await.unwrap_or(Ok(()))
    }
}
