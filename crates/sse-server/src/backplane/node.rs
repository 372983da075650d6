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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::{Backplane, Config};
    use crate::hub::{After, Data, Interest, NewEvent, Recovered, Topic, TopicFilter};
    use crate::store::{Done, MemoryStore};
    use std::io;
    use std::sync::atomic::AtomicU64;
    use tempfile::TempDir;

    fn event(data: &str) -> NewEvent {
        NewEvent::new(vec![Topic::parse("t").unwrap()], None, Data::Text(data.to_owned())).unwrap()
    }

    fn everything() -> Interest {
        Interest::new(vec![TopicFilter::every()], vec![], false)
    }

    struct Deaf;

    impl Wake for Deaf {
        fn wake(&self) {}
    }

    /// A store whose commits and marks wait for, or fail at, the word of the test.
    #[derive(Default)]
    struct Held {
        waiting: Mutex<Vec<Done>>,
        fail: AtomicBool,
    }

    fn broken() -> StoreError {
        StoreError::WriteMark { path: "mark".into(), source: io::ErrorKind::StorageFull.into() }
    }

    impl Store for Held {
        fn kind(&self) -> &'static str {
            "held"
        }

        fn recover(&self) -> Result<Recovered, StoreError> {
            Ok(Recovered::default())
        }

        fn reserve(&self, _: EventId) -> Result<(), StoreError> {
            if self.fail.load(Ordering::Relaxed) { Err(broken()) } else { Ok(()) }
        }

        fn commit(&self, _: Arc<[Arc<Frame>]>, done: Done) {
            self.waiting.lock().push(done);
        }

        fn close(&self, _: EventId) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn held() -> (Arc<Held>, Backplane) {
        let store = Arc::new(Held::default());
        let opened =
            Backplane::with(Arc::clone(&store) as Arc<dyn Store>, &Config::default(), Arc::new(|| 1000));
        (store, opened.unwrap())
    }

    #[tokio::test]
    async fn ids_rise_across_crashes_closes_and_backward_clocks() {
        let data = TempDir::new().unwrap();
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let open = || {
            let (store, clock) = (Arc::new(MemoryStore::open(data.path()).unwrap()), Arc::clone(&clock));
            Backplane::with(store, &Config::default(), Arc::new(move || clock.load(Ordering::Relaxed)))
                .unwrap()
        };
        let mut last = EventId::ZERO;
        for (now_ms, close) in [
            (1_000_000, false),
            (1_000_001, true),
            (500_000, false),
            (500_000, true),
            (1_050_000, true),
            (0, true),
        ] {
            clock.store(now_ms, Ordering::Relaxed);
            let backplane = open();
            for _ in 0..3 {
                let ids = backplane.publish(vec![event("1"), event("2")]).await.unwrap().ids;
                assert!(last < ids[0] && ids[0] < ids[1], "{last} {ids:?} at {now_ms}");
                last = ids[1];
            }
            if close {
                backplane.close().await.unwrap();
                assert!(matches!(backplane.publish(vec![event("3")]).await, Err(PublishError::Closed)));
                assert_eq!(open().hub().newest(), last, "exact after a close");
            } else {
                assert!(open().hub().newest() > last, "an upper bound after a crash");
            }
        }
    }

    #[tokio::test]
    async fn event_is_seen_only_when_it_is_committed() {
        let (store, backplane) = held();
        let hub = backplane.hub().clone();
        let reader = hub.reader(Arc::new(Deaf));
        hub.subscribe(reader, everything(), After::Live, 0);
        let publish = |data: &'static str| {
            let backplane = backplane.clone();
            tokio::spawn(async move { backplane.publish(vec![event(data)]).await })
        };
        let (first, second) = (publish("1"), publish("2"));
        while store.waiting.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!((backplane.history().events, backplane.hub().newest()), (0, EventId::ZERO));
        second.abort();
        let waiting = std::mem::take(&mut *store.waiting.lock());
        waiting.into_iter().for_each(|done| done(Ok(())));
        assert_eq!(first.await.unwrap().unwrap().receivers, 1);
        assert_eq!(backplane.history().events, 2, "accepted, though its publisher has gone");
    }

    #[tokio::test]
    async fn failing_store_accepts_nothing_until_it_works_again() {
        let (store, backplane) = held();
        store.fail.store(true, Ordering::Relaxed);
        let error = backplane.publish(vec![event("1")]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store does not accept events: cannot write the event id mark mark"
        );
        assert!(backplane.store_failure().is_some());
        store.fail.store(false, Ordering::Relaxed);
        let publish = tokio::spawn({
            let backplane = backplane.clone();
            async move { backplane.publish(vec![event("2")]).await }
        });
        while store.waiting.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(backplane.store_failure().is_none());
        let done = store.waiting.lock().pop().unwrap();
        done(Err(Arc::new(broken())));
        assert!(matches!(publish.await.unwrap(), Err(PublishError::Store(_))));
        assert_eq!(backplane.history().events, 0);
        assert!(backplane.store_failure().is_some());
    }

    #[tokio::test]
    async fn publish_waits_for_readers_that_are_behind_but_not_for_ever() {
        let data = TempDir::new().unwrap();
        let mut config = Config { data_dir: data.path().to_owned(), ..Config::default() };
        config.hub.backlog_events_max = 2;
        config.publish_wait_max = Duration::from_millis(50);
        let backplane = Backplane::open(config).unwrap();
        let hub = backplane.hub().clone();
        let reader = hub.reader(Arc::new(Deaf));
        hub.subscribe(reader, everything(), After::Live, 0);
        backplane.publish(vec![event("1"), event("2")]).await.unwrap();
        assert!(matches!(backplane.publish(vec![event("3")]).await, Err(PublishError::Busy)));
        let waiting = tokio::spawn({
            let backplane = backplane.clone();
            async move { backplane.publish(vec![event("3")]).await }
        });
        tokio::task::yield_now().await;
        let portion = crate::hub::Portion { events_max: 10, bytes_max: 1 << 20 };
        hub.take(reader, portion, &mut Vec::new());
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(backplane.history().events, 3);
    }

    #[tokio::test]
    async fn mark_is_written_rarely() {
        let data = TempDir::new().unwrap();
        let store = Arc::new(MemoryStore::open(data.path()).unwrap());
        let backplane = Backplane::with(store, &Config::default(), Arc::new(|| 1000)).unwrap();
        backplane.publish(vec![event("1")]).await.unwrap();
        let path = data.path().join("event-id.mark");
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        for _ in 0..1000 {
            backplane.publish(vec![event("1")]).await.unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "11000-0\n");
    }
}
