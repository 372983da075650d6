//! One node is the whole hub: ids are issued here, in the order that the store commits them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;

use super::claims::{Claimed, Claims};
use super::failure::{Failure, What};
use super::{Batch, Config, HistoryStats, PublishError, Published};
use crate::hub::{Claim, Draft, EventId, Frame, Hub, NotIssued, Ordinal, Released, Sequence, Wake};
use crate::store::{Commit, Discard, Store, StoreError};

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
    pub(super) store: Arc<dyn Store>,
    /// Ids are issued and frames given to the store under one lock, so both have the same order.
    sequence: Arc<Mutex<Sequence>>,
    refilling: Arc<AtomicBool>,
    room: Arc<Room>,
    wait_max: Duration,
    claims: Claims,
    keys_max: usize,
    failure: Failure,
    discards: Arc<Discards>,
}

#[derive(Default)]
struct Room(Notify);

impl Wake for Room {
    fn wake(&self) {
        self.0.notify_waiters();
    }
}

/// Events on their way to the store, and the keys that they are published under.
struct New {
    drafts: Vec<Draft>,
    claimed: Claimed,
}

/// The answer to one commit: how many streams matched.
type Answer = oneshot::Receiver<Result<u64, Arc<StoreError>>>;

impl Node {
    pub(super) fn open(store: Arc<dyn Store>, config: &Config, clock: Clock) -> Result<Self, StoreError> {
        let mut recovered = store.recover()?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4);
        let sequence = Sequence::new(recovered.issued.max(recovered.newest), millis(config.reserve_step));
        let keys = std::mem::take(&mut recovered.keys);
        let window_ms = millis(config.idempotency_window);
        let claims = Claims::new(window_ms, config.idempotency_keys_max, keys, clock());
        let told = Released { before: recovered.first, bytes: 0 };
        let hub = Hub::new(config.hub, recovered);
        let room = Arc::new(Room::default());
        hub.wake_on_room(Arc::clone(&room) as Arc<dyn Wake>);
        let node = Self {
            discards: Arc::new(Discards::new(config, told)),
            hub,
            clock,
            failure: Failure::new(Arc::clone(&store), config.probe_interval, config.commit_wait_max),
            store,
            sequence: Arc::new(Mutex::new(sequence)),
            refilling: Arc::default(),
            room,
            wait_max: config.publish_wait_max,
            claims,
            keys_max: config.idempotency_keys_max,
        };
        // The bounds may be others than those of the earlier run.
        node.tend();
        Ok(node)
    }

    pub(super) async fn publish(&self, batch: Batch) -> Result<Published, PublishError> {
        if batch.is_empty() {
            return Ok(Published { ids: Vec::new(), receivers: 0, accepted: 0 });
        }
        if let Some(why) = self.failure.stuck() {
            return Err(PublishError::Store(why));
        }
        let accepted = Instant::now();
        let wait = tokio::time::timeout(self.wait_max, self.wait_for_room());
        wait.await.map_err(|_| PublishError::Busy)?;
        let keys: Vec<_> = batch.iter().map(|event| event.idempotency_key().cloned()).collect();
        let full = |_| PublishError::KeysFull { max: self.keys_max };
        let (claims, claimed) = self.claims.claim(&keys).await.map_err(full)?;
        let new = batch.into_iter().zip(&claims).filter(|(_, claim)| **claim == Claim::New);
        let drafts: Vec<Draft> = new.map(|(event, _)| Draft::new(event, accepted)).collect();
        let count = drafts.len();
        let (issued, receivers) =
            if count == 0 { (Vec::new(), 0) } else { self.accept(New { drafts, claimed }).await? };
        let mut issued = issued.into_iter();
        let mut ids: Vec<EventId> = Vec::with_capacity(claims.len());
        for claim in claims {
            ids.push(match claim {
                Claim::New => issued.next().expect("every new event got an id"),
                Claim::Known(id) => id,
                Claim::Twin(place) => ids[place],
            });
        }
        Ok(Published { ids, receivers, accepted: count })
    }

    /// Has new events committed and delivered.
    async fn accept(&self, mut new: New) -> Result<(Vec<EventId>, u64), PublishError> {
        let (ids, answer) = loop {
            match self.submit(new) {
                Ok(submitted) => break submitted,
                Err((_, NotIssued::Closed)) => return Err(PublishError::Closed),
                Err((back, NotIssued::Reserve(mark))) => {
                    new = back;
                    self.reserve(mark)
                        .await
                        .map_err(|_| PublishError::Closed)?
                        .map_err(PublishError::Store)?;
                }
            }
        };
        let receivers = answer.await.map_err(|_| PublishError::Closed)?.map_err(PublishError::Store)?;
        Ok((ids, receivers))
    }

    /// Issues the ids and gives the frames to the store, which answers when they are committed and in
    /// the hub; or gives everything back and says what has to be reserved first.
    fn submit(&self, new: New) -> Result<(Vec<EventId>, Answer), (New, NotIssued)> {
        let now_ms = (self.clock)();
        let (answer, answered) = oneshot::channel();
        let runtime = Handle::current();
        let mut sequence = self.sequence.lock();
        let ids = match sequence.issue(new.drafts.len(), now_ms) {
            Ok(ids) => ids,
            Err(reason) => return Err((new, reason)),
        };
        let New { drafts, claimed } = new;
        let frames: Arc<[Arc<Frame>]> =
            drafts.into_iter().zip(&ids).map(|(draft, id)| Arc::new(draft.seal(*id))).collect();
        let commit = Commit { frames: Arc::clone(&frames), keys: claimed.uses(&ids, now_ms) };
        let (hub, failure, store) = (self.hub.clone(), self.failure.clone(), Arc::clone(&self.store));
        let (discards, clock, cutoff) =
            (Arc::clone(&self.discards), Arc::clone(&self.clock), self.claims.cutoff());
        let done = move |result: Result<(), Arc<StoreError>>| {
            failure.note(What::Commit, &result, &runtime);
            let result = result.map(|()| {
                let appended = hub.append(&frames, now_ms);
                let ids: Vec<EventId> = frames.iter().map(|frame| frame.id()).collect();
                claimed.settle(&ids);
                if let Some(events_before) = discards.due(appended.released, false) {
                    // The clock may have been put back meanwhile, and younger keys have earlier times.
                    let keys_before_ms = cutoff(clock());
                    store.discard(Discard { events_before, keys_before_ms });
                }
                appended.receivers
            });
            // The publisher may have gone; its events are accepted all the same.
            let _ = answer.send(result);
        };
        self.failure.begin(Instant::now());
        self.store.commit(commit, Box::new(done));
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
        let (failure, refilling) = (self.failure.clone(), Arc::clone(&self.refilling));
        let runtime = Handle::current();
        spawn_blocking(move || {
            let result = store.reserve(mark);
            if result.is_ok() {
                sequence.lock().reserved(mark);
            }
            // Success says nothing about commits.
            if result.is_err() {
                failure.note(What::Mark, &result, &runtime);
            }
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
        self.failure.get()
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

    pub(super) fn tend(&self) {
        let now_ms = (self.clock)();
        if let Some(events_before) = self.discards.due(self.hub.trim(now_ms), true) {
            let keys_before_ms = self.claims.cutoff()(now_ms);
            self.store.discard(Discard { events_before, keys_before_ms });
        }
    }

    /// Issues nothing more, and writes down what was issued.
    pub(super) async fn close(&self) -> Result<(), Arc<StoreError>> {
        let last = self.sequence.lock().close();
        let store = Arc::clone(&self.store);
        let closed = spawn_blocking(move || store.close(last));
        closed.await.unwrap_or(Ok(()))
    }
}

/// When the store is told to let go: in portions, for each costs it some work.
struct Discards {
    told: Mutex<Released>,
    events_min: u64,
    bytes_min: u64,
}

impl Discards {
    fn new(config: &Config, released: Released) -> Self {
        let history = config.hub.history;
        let part = |bound: usize| if bound == 0 { u64::MAX } else { (bound as u64 / 16).max(1) };
        let events_min = part(history.events_max).min(config.discard_events_max);
        Self { told: Mutex::new(released), events_min, bytes_min: part(history.bytes_max) }
    }

    /// Up to where the store is to let go now, if it is worth it, or `anyway`.
    fn due(&self, released: Released, anyway: bool) -> Option<Ordinal> {
        let mut told = self.told.lock();
        let events = released.before.saturating_sub(told.before);
        let bytes = released.bytes.saturating_sub(told.bytes);
        let worth = events >= self.events_min || bytes >= self.bytes_min || (anyway && events > 0);
        worth.then(|| {
            *told = released;
            released.before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Backplane;
    use crate::hub::{
        After, Data, IdempotencyKey, Interest, NewEvent, Portion, Recovered, Topic, TopicFilter,
    };
    use crate::store::{Done, MemoryStore, ReadError};
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
        waiting: Mutex<Vec<(Commit, Done)>>,
        discards: Mutex<Vec<Discard>>,
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

        fn reserve(&self, _: EventId) -> Result<(), Arc<StoreError>> {
            if self.fail.load(Ordering::Relaxed) { Err(Arc::new(broken())) } else { Ok(()) }
        }

        fn commit(&self, commit: Commit, done: Done) {
            self.waiting.lock().push((commit, done));
        }

        fn read(&self, _: Ordinal, _: Portion) -> Result<Vec<Arc<Frame>>, ReadError> {
            Err(ReadError::Gone)
        }

        fn discard(&self, what: Discard) {
            self.discards.lock().push(what);
        }

        fn probe(&self) -> Result<(), Arc<StoreError>> {
            self.reserve(EventId::ZERO)
        }

        fn close(&self, _: EventId) -> Result<(), Arc<StoreError>> {
            Ok(())
        }
    }

    fn held() -> (Arc<Held>, Backplane) {
        let store = Arc::new(Held::default());
        let config = Config { probe_interval: Duration::from_millis(1), ..Config::default() };
        let opened = Backplane::with(Arc::clone(&store) as Arc<dyn Store>, &config, Arc::new(|| 1000));
        (store, opened.unwrap())
    }

    #[tokio::test]
    async fn ids_rise_across_crashes_closes_and_backward_clocks() {
        let data = TempDir::new().unwrap();
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let open = || {
            let store = loop {
                match MemoryStore::open(data.path()) {
                    // Its mark is just being moved.
                    Err(StoreError::Locked { .. }) => std::thread::yield_now(),
                    opened => break opened.unwrap(),
                }
            };
            let clock = Arc::clone(&clock);
            let now = Arc::new(move || clock.load(Ordering::Relaxed));
            Backplane::with(Arc::new(store), &Config::default(), now).unwrap()
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
                drop(backplane);
                assert_eq!(open().hub().newest(), last, "exact after a close");
            } else {
                drop(backplane);
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
        waiting.into_iter().for_each(|(_, done)| done(Ok(())));
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
            "the store does not accept events: cannot write the event id mark mark: no storage space"
        );
        assert!(backplane.store_failure().is_some());
        store.fail.store(false, Ordering::Relaxed);
        while backplane.store_failure().is_some() {
            tokio::task::yield_now().await;
        }
        let publish = start(&backplane, vec![event("2")]);
        let (_, done) = next(&store).await;
        store.fail.store(true, Ordering::Relaxed);
        done(Err(Arc::new(broken())));
        assert!(matches!(publish.await.unwrap(), Err(PublishError::Store(_))));
        assert_eq!(backplane.history().events, 0);
        assert!(backplane.store_failure().is_some());
    }

    fn start(
        backplane: &Backplane,
        batch: Vec<NewEvent>,
    ) -> tokio::task::JoinHandle<Result<Published, PublishError>> {
        let backplane = backplane.clone();
        tokio::spawn(async move { backplane.publish(batch).await })
    }

    /// What the store is asked to commit next.
    async fn next(store: &Held) -> (Commit, Done) {
        loop {
            if let Some(waiting) = store.waiting.lock().pop() {
                return waiting;
            }
            tokio::task::yield_now().await;
        }
    }

    fn keyed(data: &str, key: &str) -> NewEvent {
        event(data).with_key(Some(IdempotencyKey::parse(key).unwrap()))
    }

    #[tokio::test]
    async fn twins_are_one_event_and_wait_for_each_other() {
        let (store, backplane) = held();
        let (first, twin) =
            (start(&backplane, vec![keyed("1", "k")]), start(&backplane, vec![keyed("1", "k")]));
        let (commit, done) = next(&store).await;
        assert_eq!(commit.keys.len(), 1);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(store.waiting.lock().is_empty() && !first.is_finished() && !twin.is_finished());
        done(Ok(()));
        let (first, twin) = (first.await.unwrap().unwrap(), twin.await.unwrap().unwrap());
        assert_eq!((first.ids.clone(), first.accepted + twin.accepted), (twin.ids, 1));
        let batch = vec![event("2"), keyed("1", "k"), keyed("3", "l"), keyed("3", "l")];
        let publish = tokio::spawn({
            let backplane = backplane.clone();
            async move { backplane.publish(batch).await }
        });
        let (commit, done) = next(&store).await;
        assert_eq!((commit.frames.len(), commit.keys.len()), (2, 1));
        done(Ok(()));
        let published = publish.await.unwrap().unwrap();
        assert_eq!((published.ids[1], published.ids[2]), (first.ids[0], published.ids[3]));
        assert_eq!((published.accepted, backplane.history().events), (2, 3));
    }

    #[tokio::test]
    async fn twin_of_one_that_failed_is_tried_itself() {
        let (store, backplane) = held();
        let (first, twin) =
            (start(&backplane, vec![keyed("1", "k")]), start(&backplane, vec![keyed("1", "k")]));
        let (_, done) = next(&store).await;
        done(Err(Arc::new(broken())));
        let (_, done) = next(&store).await;
        done(Ok(()));
        let results = [first.await.unwrap(), twin.await.unwrap()];
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert_eq!(backplane.history().events, 1);
    }

    #[tokio::test]
    async fn store_that_neither_answers_nor_fails_is_told_and_nobody_queues_behind_it() {
        let store = Arc::new(Held::default());
        let config = Config { commit_wait_max: Duration::ZERO, ..Config::default() };
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let backplane = Backplane::with(shared, &config, Arc::new(|| 1000)).unwrap();
        let first = start(&backplane, vec![event("1")]);
        let (_, done) = next(&store).await;
        let refused = backplane.publish(vec![event("2")]).await.unwrap_err().to_string();
        assert_eq!(refused, "the store does not accept events: a write has not ended for 0 s");
        assert_eq!(backplane.store_failure().unwrap().to_string(), "a write has not ended for 0 s");
        done(Ok(()));
        first.await.unwrap().unwrap();
        assert!(backplane.store_failure().is_none());
        let third = start(&backplane, vec![event("3")]);
        next(&store).await.1(Ok(()));
        third.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn store_lets_go_in_portions() {
        let store = Arc::new(Held::default());
        let mut config = Config::default();
        config.hub.history.events_max = 32;
        let clock = Arc::new(AtomicU64::new(1000));
        let tick = Arc::clone(&clock);
        let now = Arc::new(move || tick.load(Ordering::Relaxed));
        let backplane = Backplane::with(Arc::clone(&store) as Arc<dyn Store>, &config, now).unwrap();
        for n in 0..36 {
            let publish = start(&backplane, vec![event("x")]);
            next(&store).await.1(Ok(()));
            publish.await.unwrap().unwrap();
            let told: Vec<u64> = store.discards.lock().iter().map(|what| what.events_before).collect();
            assert_eq!(told, (2..=n).filter(|n| n % 2 == 1 && *n > 32).map(|n| n - 31).collect::<Vec<_>>());
        }
        clock.store(u64::from(u32::MAX), Ordering::Relaxed);
        backplane.tend();
        assert_eq!(store.discards.lock().last().unwrap().events_before, 36);
    }

    #[tokio::test]
    async fn key_in_force_stays_in_the_store_when_the_clock_is_put_back() {
        let store = Arc::new(Held::default());
        let mut config = Config::default();
        config.hub.history.events_max = 1;
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let tick = Arc::clone(&clock);
        let now = Arc::new(move || tick.load(Ordering::Relaxed));
        let backplane = Backplane::with(Arc::clone(&store) as Arc<dyn Store>, &config, now).unwrap();
        let first = start(&backplane, vec![event("1"), event("2")]);
        let (_, done) = next(&store).await;
        clock.store(400_000, Ordering::Relaxed);
        let second = start(&backplane, vec![keyed("3", "k")]);
        let (commit, accept) = next(&store).await;
        done(Ok(()));
        accept(Ok(()));
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        let told = store.discards.lock();
        assert_eq!(commit.keys[0].at_ms, 400_000);
        assert!(told.iter().all(|what| what.keys_before_ms == 100_000), "{told:?}");
        assert_eq!(told.len(), 2);
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
        let portion = Portion { events_max: 10, bytes_max: 1 << 20 };
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
