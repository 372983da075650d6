//! The whole of one history: a server on its disk, its clients and publishers, and the truth beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::Checked;
use super::case::{Ask, NewEvent, Setup, Step, WINDOW_MS, jumped};
use super::client::{Client, Connection};
use super::disk::Disk;
use super::publisher::Publisher;
use super::reader::Turn;
use super::server::Server;
use super::socket::Socket;
use super::stream::{Arrival, End};
use super::truth::{Asked, INTERESTS, Met, Truth};
use crate::backplane;
use crate::hub::{
    After, EventId, EventType, HistoryConfig, HubConfig, Interest, Portion, ResetReason, TopicFilter,
};

/// Longer than any test: nothing waits for real time.
const NEVER: Duration = Duration::from_secs(100_000);
const BEGIN_MS: u64 = 1_800_000_000_000;
/// Rounds within which everything must have come to rest.
const ROUNDS_MAX: usize = 2000;

pub(super) struct World {
    setup: Setup,
    config: backplane::Config,
    clock: Arc<AtomicU64>,
    disk: Arc<Disk>,
    truth: Arc<Mutex<Truth>>,
    server: Server,
    clients: Vec<Client>,
    publishers: Vec<Publisher>,
    handles: usize,
    has_failed: bool,
}

impl World {
    pub(super) fn new(setup: &Setup, is_durable: bool) -> Self {
        let history = HistoryConfig {
            events_max: setup.events_max,
            bytes_max: setup.bytes_max,
            age_max_ms: setup.age_max_ms,
            ring_bytes_max: is_durable.then_some(setup.ring_bytes_max),
        };
        let config = backplane::Config {
            data_dir: "nowhere".into(),
            hub: HubConfig {
                history,
                backlog_events_max: setup.backlog_events_max,
                backlog_bytes_max: setup.backlog_bytes_max,
            },
            reserve_step: Duration::from_millis(setup.reserve_step_ms),
            publish_wait_max: NEVER,
            idempotency_window: Duration::from_millis(WINDOW_MS),
            idempotency_keys_max: setup.keys_max,
            probe_interval: NEVER,
            commit_wait_max: NEVER,
            discard_events_max: setup.discard_events_max,
        };
        let clock = Arc::new(AtomicU64::new(BEGIN_MS));
        let truth = Truth::new(history, WINDOW_MS, is_durable);
        let disk = Arc::new(Disk::new(truth, Arc::clone(&clock), setup.frames_recovered));
        Self {
            truth: Arc::clone(&disk.truth),
            server: Server::start(&disk, &config, &clock, readers(setup)),
            clients: setup.clients.iter().map(|interest| Client::new(*interest)).collect(),
            setup: setup.clone(),
            config,
            clock,
            disk,
            publishers: Vec::new(),
            handles: 0,
            has_failed: false,
        }
    }

    pub(super) fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Publish(events) => self.publish(events),
            Step::GiveUp(publisher) if !self.publishers.is_empty() => {
                self.publishers.remove(publisher % self.publishers.len());
            }
            Step::GiveUp(_) => {}
            Step::Commit { publishes, works } => self.disk.commit_group(*publishes, *works),
            Step::Fail(fails) => {
                self.disk.set_fails(*fails);
                self.has_failed |= fails;
            }
            Step::Subscribe { client, ask, room } => {
                let client = client % self.clients.len();
                self.cut(client);
                self.subscribe(client, ask, *room)?;
            }
            Step::Cut { client } => self.cut(client % self.clients.len()),
            Step::Read { client, items } => {
                self.read(client % self.clients.len(), *items)?;
            }
            Step::Turn { reader, portions, receives, beats } => {
                let turn = Turn { portions: *portions, receives: *receives, beats: *beats };
                self.turn(reader % self.setup.readers, turn)?;
            }
            Step::Fetch { reader } => {
                self.fetch(reader % self.setup.readers);
            }
            Step::Later(ms) => self.set_clock(self.now_ms() + ms),
            Step::Jump(by) => self.set_clock(jumped(self.now_ms(), *by)),
            Step::Back(ms) => self.set_clock(self.now_ms() - ms),
            Step::Tend => {
                self.truth.lock().trim(self.now_ms());
                self.server.backplane.tend();
            }
            Step::Look => self.look()?,
            Step::Restart { lost } => self.restart(*lost)?,
            Step::Crash { committed, torn, lost } => self.crash(*committed, *torn, *lost),
        }
        self.settle()
    }

    /// Everything comes to rest: then everybody has what he must have.
    pub(super) fn finish(&mut self) -> Checked {
        self.disk.set_fails(false);
        self.rest()?;
        self.look()?;
        self.cut(0);
        self.subscribe(0, &Ask::Earliest, 2)?;
        self.rest()
    }

    fn rest(&mut self) -> Checked {
        for _ in 0..ROUNDS_MAX {
            let mut is_at_rest = self.disk.queued() == 0;
            self.disk.commit_group(usize::MAX, true);
            self.settle()?;
            for client in 0..self.clients.len() {
                if self.clients[client].connection.is_none() {
                    self.subscribe(client, &Ask::Own, 1000)?;
                }
                is_at_rest &=
                    self.read(client, usize::MAX)? == 0 && self.clients[client].connection.is_some();
            }
            for reader in 0..self.setup.readers {
                while self.fetch(reader) {}
                if self.server.readers[reader].is_woken() {
                    is_at_rest = false;
                    self.turn(reader, Turn { portions: 3, receives: true, beats: false })?;
                }
            }
            self.settle()?;
            if is_at_rest {
                prop_assert!(self.publishers.is_empty(), "a publish was not answered");
                let truth = self.truth.lock();
                return self.clients.iter().try_for_each(|client| client.has_all(&truth));
            }
        }
        Err(TestCaseError::fail("it does not come to rest"))
    }

    /// What this history tried.
    pub(super) fn met(&self) -> Met {
        self.truth.lock().met.clone()
    }

    fn now_ms(&self) -> u64 {
        self.clock.load(Relaxed)
    }

    fn set_clock(&self, to_ms: u64) {
        self.clock.store(to_ms, Relaxed);
        self.truth.lock().tick(to_ms);
    }

    fn publish(&mut self, events: &[NewEvent]) {
        let mut truth = self.truth.lock();
        let first = truth.asked.len();
        for event in events {
            let event = event.clone();
            truth.asked.push(Asked { event, publish: first, submitted: false, refused: false, id: None });
        }
        self.publishers.push(Publisher::new(&self.server.backplane, first, events));
    }

    /// Publishes go on as far as they can; what blocks runs when nothing else does.
    fn settle(&mut self) -> Checked {
        self.disk.set_needs(self.server.needs((self.setup.backlog_events_max, self.setup.backlog_bytes_max)));
        loop {
            let mut answers = Vec::new();
            let was_polled = {
                let _closed = self.disk.gate.lock();
                let _within = self.server.runtime.enter();
                let mut was_polled = false;
                while let Some(n) = self.publishers.iter().position(Publisher::is_woken) {
                    was_polled = true;
                    if let Some(answer) = self.publishers[n].poll() {
                        answers.push((self.publishers.remove(n), answer));
                    }
                }
                was_polled
            };
            let mut truth = self.truth.lock();
            for (publisher, answer) in answers {
                publisher.check(answer, &mut truth, &self.server, self.setup.keys_max)?;
            }
            let broken = truth.broken.take();
            prop_assert!(broken.is_none(), "{}", broken.unwrap_or_default());
            drop(truth);
            if !was_polled {
                return Ok(());
            }
            self.server.run_blocking();
        }
    }

    fn subscribe(&mut self, n: usize, ask: &Ask, room: usize) -> Checked {
        let client = &mut self.clients[n];
        let mut truth = self.truth.lock();
        let after = asked(ask, client, &truth);
        let now_ms = self.clock.load(Relaxed);
        truth.trim(now_ms);
        let expected = truth.start(after);
        self.handles += 1;
        let (handle, reader) = (self.handles, self.handles % self.setup.readers);
        let subscription =
            self.server.subscribe(reader, interest(client.interest), after, now_ms, truth.end());
        let start = subscription.start;
        let reset = start.reset.map(|reset| (reset.reason, reset.oldest));
        prop_assert_eq!((start.position, reset), (expected.position, expected.reset), "{:?}", after);
        truth.meet(
            match reset {
                None => "streams without reset",
                Some((ResetReason::HistoryTruncated, _)) => "streams with history truncated",
                Some((ResetReason::UnknownId, _)) => "streams with an unknown id",
            },
            1,
        );
        if !matches!(ask, Ask::Own) {
            client.last_id = None;
        }
        let socket = Socket::new(room);
        let connection = Connection { reader, handle, socket: socket.clone(), expected, cursor: None };
        client.connection = Some(connection);
        self.server.readers[reader].send(Arrival { handle, socket, subscription, interest: client.interest });
        Ok(())
    }

    /// The store is read for one stream; false if there is none to be read for.
    fn fetch(&mut self, reader: usize) -> bool {
        let is_done = self.server.readers[reader].fetch(&self.server.backplane);
        self.truth.lock().meet("portions read from the store", usize::from(is_done));
        is_done
    }

    fn cut(&mut self, client: usize) {
        if let Some(connection) = self.clients[client].connection.take() {
            connection.socket.cut();
            self.server.readers[connection.reader].reports.push(connection.handle);
        }
    }

    fn read(&mut self, client: usize, items: usize) -> Result<usize, TestCaseError> {
        let client = &mut self.clients[client];
        let mut truth = self.truth.lock();
        let read = client.read(items, &mut truth)?;
        drop(truth);
        if let Some(connection) = &client.connection {
            if connection.socket.is_over() {
                client.connection = None;
            } else if read > 0 {
                self.server.readers[connection.reader].reports.push(connection.handle);
            }
        }
        Ok(read)
    }

    fn turn(&mut self, reader: usize, turn: Turn) -> Checked {
        let mut truth = self.truth.lock();
        let kept = truth.ordinal(truth.kept);
        for (handle, end) in self.server.turn(reader, turn) {
            let mut connections = self.clients.iter().filter_map(|client| client.connection.as_ref());
            let is_there = connections.any(|connection| connection.handle == handle);
            let (is_right, what) = match end {
                End::Client => (!is_there, "streams ended by their clients"),
                End::Beyond(next) => (next < kept, "streams ended beyond reach"),
                End::Store => (self.has_failed, "streams ended by the store"),
            };
            prop_assert!(is_right, "{}: {:?}, kept is {}", what, end, kept);
            truth.meet(what, 1);
        }
        Ok(())
    }

    fn look(&mut self) -> Checked {
        let mut truth = self.truth.lock();
        truth.trim(self.clock.load(Relaxed));
        let stats = self.server.backplane.history();
        let kept = &truth.events[truth.kept..];
        let id = |frame: Option<&Arc<crate::hub::Frame>>| frame.map(|frame| frame.id());
        prop_assert_eq!((stats.oldest, stats.newest), (id(kept.first()), id(kept.last())));
        let bytes: usize = kept.iter().map(|frame| frame.cost()).sum();
        prop_assert_eq!((stats.events, stats.bytes), (kept.len(), bytes));
        prop_assert_eq!(self.server.backplane.hub().newest(), truth.newest);
        Ok(())
    }

    fn restart(&mut self, lost: bool) -> Checked {
        self.server.end_streams(lost);
        self.settle()?;
        let (disk, works) = (Arc::clone(&self.disk), !self.disk.fails());
        let closed = self.server.close(&disk);
        self.settle()?;
        prop_assert_eq!(closed, works);
        prop_assert!(self.publishers.is_empty(), "a publish was not answered when the server ended");
        self.open();
        Ok(())
    }

    fn crash(&mut self, committed: usize, torn: bool, lost: bool) {
        self.publishers.clear();
        self.server.drop_streams(lost);
        self.disk.crash(committed, torn);
        self.open();
    }

    fn open(&mut self) {
        self.server = Server::start(&self.disk, &self.config, &self.clock, readers(&self.setup));
    }
}

fn readers(setup: &Setup) -> (usize, Portion, u64) {
    let portion = Portion { events_max: setup.portion_events_max, bytes_max: setup.portion_bytes_max };
    (setup.readers, portion, setup.scan_max)
}

fn interest(n: usize) -> Interest {
    let (filters, types) = INTERESTS[n];
    let filters = filters.iter().map(|filter| TopicFilter::parse(filter).unwrap()).collect();
    Interest::new(filters, types.iter().map(|event| EventType::parse(event).unwrap()).collect(), false)
}

fn asked(ask: &Ask, client: &Client, truth: &Truth) -> After {
    match ask {
        Ask::Own => client.own(),
        Ask::Near(_, _) if truth.events.is_empty() => After::Live,
        Ask::Live => After::Live,
        Ask::Earliest => After::Earliest,
        Ask::Near(event, by) => {
            let id = truth.events[event % truth.events.len()].id();
            After::Id(match by {
                -1 => id.before(),
                0 => id,
                _ => EventId { seq: id.seq + 1, ..id },
            })
        }
        Ask::Future(by) => After::Id(EventId { ms: truth.newest.ms + by, seq: 0 }),
        Ask::Malformed => After::Malformed,
    }
}
