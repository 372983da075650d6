//! What streams get for which events are read from the store, and what a store that fails costs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use sse_server::backplane::{self, Backplane};
use sse_server::fanout::{self, Encoding};
use sse_server::hub::{After, EventId, Frame, Ordinal, Portion, Recovered};
use sse_server::store::{Commit, Discard, DiskStore, Done, ReadError, Store, StoreError};
use tempfile::TempDir;

use crate::hub::{DEADLINE, Reader, Running, event, eventually, interest, start_with};

const SILENCE: Duration = Duration::from_millis(200);

/// A store on a disk, of which some events cannot be read.
struct Flawed {
    disk: DiskStore,
    /// Events from the first to before the second.
    unreadable: Mutex<std::ops::Range<Ordinal>>,
    /// Whoever reads waits for this.
    gate: Mutex<()>,
    reads: AtomicU64,
}

impl Store for Flawed {
    fn kind(&self) -> &'static str {
        self.disk.kind()
    }

    fn recover(&self) -> Result<Recovered, StoreError> {
        self.disk.recover()
    }

    fn reserve(&self, mark: EventId) -> Result<(), Arc<StoreError>> {
        self.disk.reserve(mark)
    }

    fn commit(&self, commit: Commit, done: Done) {
        self.disk.commit(commit, done);
    }

    fn read(&self, from: Ordinal, portion: Portion) -> Result<Vec<Arc<Frame>>, ReadError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock());
        if self.unreadable.lock().contains(&from) {
            let source = io::ErrorKind::StaleNetworkFileHandle.into();
            return Err(StoreError::History { path: "history".into(), source }.into());
        }
        self.disk.read(from, portion)
    }

    fn discard(&self, what: Discard) {
        self.disk.discard(what);
    }

    fn probe(&self) -> Result<(), Arc<StoreError>> {
        self.disk.probe()
    }

    fn close(&self, last: EventId) -> Result<(), Arc<StoreError>> {
        self.disk.close(last)
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A hub that keeps hardly anything in memory, and its store.
fn start(tune: impl FnOnce(&mut backplane::Config, &mut fanout::Config)) -> (Running, Arc<Flawed>) {
    let data = Arc::new(TempDir::new().unwrap());
    let disk = DiskStore::open(data.path(), 1).unwrap();
    let (unreadable, gate, reads) = (Mutex::new(0..0), Mutex::new(()), AtomicU64::new(0));
    let store = Arc::new(Flawed { disk, unreadable, gate, reads });
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let tune = |backplane: &mut backplane::Config, fanout: &mut fanout::Config| {
        backplane.hub.history.ring_bytes_max = Some(1);
        tune(backplane, fanout);
    };
    (start_with(data, tune, |config| Backplane::with(shared, &config, Arc::new(now_ms)).unwrap()), store)
}

fn publish(hub: &Running, topic: &str, events: std::ops::Range<u64>) -> Vec<EventId> {
    hub.publish(events.map(|n| event(topic, "", &n.to_string())).collect()).ids
}

#[track_caller]
fn expect_heartbeat(reader: &mut Reader, id: EventId) {
    assert_eq!(reader.next(), format!("id: {id}\nevent: heartbeat\ndata: {{}}"));
}

#[test]
fn stream_that_waits_for_a_failing_store_gets_heartbeats_and_then_each_event_once() {
    let (hub, store) = start(|_, fanout| fanout.heartbeat_interval = SILENCE);
    let ids = publish(&hub, "t", 0..100);
    *store.unreadable.lock() = 0..Ordinal::MAX;
    let began = Instant::now();
    let mut readers: Vec<_> = [Encoding::Chunked, Encoding::Plain, Encoding::Gzip]
        .into_iter()
        .map(|encoding| hub.open_with(interest("t", &[], false), After::Id(ids[9]), encoding))
        .collect();
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    while began.elapsed() < Duration::from_secs(1) {
        readers.iter_mut().for_each(|reader| expect_heartbeat(reader, ids[9]));
    }
    *store.unreadable.lock() = 0..0;
    for reader in &mut readers {
        for (n, id) in ids.iter().enumerate().skip(10) {
            let mut next = reader.next();
            while n == 10 && next.contains("event: heartbeat") {
                next = reader.next();
            }
            assert_eq!(next, format!("id: {id}\ndata: {n}"));
        }
    }
    let live = publish(&hub, "t", 100..101)[0];
    for reader in &mut readers {
        let mut next = reader.next();
        while next.contains("event: heartbeat") {
            next = reader.next();
        }
        assert_eq!(next, format!("id: {live}\ndata: 100"));
        expect_heartbeat(reader, live);
    }
    hub.runtime.block_on(hub.fanout.drain());
    for reader in &mut readers {
        while reader.try_next().is_some() {}
    }
}

#[test]
fn heartbeat_of_a_stream_that_found_nothing_so_far_names_how_far_it_is() {
    let (hub, store) = start(|_, fanout| fanout.heartbeat_interval = SILENCE);
    let ids = publish(&hub, "t", 0..6000);
    let wanted = publish(&hub, "rare", 0..2);
    // More than are looked at for one stream before others come, and less than twice as many.
    *store.unreadable.lock() = 4096..Ordinal::MAX;
    let mut reader = hub.open("rare", After::Earliest);
    reader.greeting();
    let mut passed = reader.next();
    while !passed.starts_with(&format!("id: {}\n", ids[4095])) {
        assert!(passed.contains("event: heartbeat"), "{passed}");
        passed = reader.next();
    }
    *store.unreadable.lock() = 0..0;
    let mut next = reader.next();
    while next.contains("event: heartbeat") {
        next = reader.next();
    }
    assert_eq!(next, format!("id: {}\ndata: 0", wanted[0]));
}

#[test]
fn stream_whose_events_cannot_be_read_holds_up_no_other() {
    let (hub, store) = start(|_, _| {});
    let ids = publish(&hub, "t", 0..100);
    *store.unreadable.lock() = 0..10;
    let mut first = hub.open("t", After::Earliest);
    first.greeting();
    eventually("the first is read for", || store.reads.load(Ordering::SeqCst) > 0);
    let began = Instant::now();
    let mut second = hub.open("t", After::Id(ids[49]));
    second.greeting();
    for n in 50..100 {
        assert_eq!(second.data(), n.to_string());
    }
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    *store.unreadable.lock() = 0..0;
    for n in 0..100 {
        assert_eq!(first.data(), n.to_string());
    }
}

#[test]
fn nothing_is_read_for_streams_that_have_ended() {
    let (hub, store) = start(|_, _| {});
    publish(&hub, "t", 0..100);
    let gate = store.gate.lock();
    let mut first = hub.open("t", After::Earliest);
    first.greeting();
    eventually("the first is read for", || store.reads.load(Ordering::SeqCst) == 1);
    let mut gone: Vec<_> = (0..200).map(|_| hub.open("t", After::Earliest)).collect();
    gone.iter_mut().for_each(|reader| drop(reader.greeting()));
    drop(gone);
    eventually("they have ended", || hub.fanout.streams() == 1);
    drop(gate);
    for n in 0..100 {
        assert_eq!(first.data(), n.to_string());
    }
    let mut last = hub.open("t", After::Earliest);
    last.greeting();
    for n in 0..100 {
        assert_eq!(last.data(), n.to_string());
    }
    let reads = store.reads.load(Ordering::SeqCst);
    assert!(reads < 100, "{reads} reads for two streams");
}
