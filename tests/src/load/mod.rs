//! A load whose every event is accounted for: publishers that repeat, subscribers that return, and a check of both.

mod checker;
mod id;
mod link;
mod publisher;
mod stream;
mod subscriber;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use checker::{Verdict, check};
pub use id::Id;
pub use publisher::{Published, Publishing};
pub use subscriber::{Return, Seen, Subscribing, Trace};

use crate::poll::within;
use publisher::{Control, Publisher};
use subscriber::Subscriber;

/// The stack of a thread that publishes or reads.
const THREAD_STACK_BYTES: usize = 256 * 1024;

/// Streams that are being read.
pub struct Subscribers {
    stop: Arc<AtomicBool>,
    threads: Vec<(Arc<Mutex<Trace>>, JoinHandle<()>)>,
}

impl Subscribers {
    /// Opens the streams, and waits until every one is greeted.
    #[track_caller]
    pub fn start(plan: &Subscribing) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..plan.subscribers)
            .map(|n| {
                let trace = Arc::<Mutex<Trace>>::default();
                let subscriber =
                    Subscriber { plan: plan.clone(), stop: Arc::clone(&stop), trace: Arc::clone(&trace) };
                (trace, spawn(format!("subscriber {n}"), move || subscriber.run()))
            })
            .collect();
        let subscribers = Self { stop, threads };
        within(Duration::from_secs(20), "every subscriber is greeted", || {
            subscribers.all(|trace| trace.greetings > 0).then_some(())
        });
        subscribers
    }

    /// Whether something holds for every trace so far.
    pub fn all(&self, holds: impl Fn(&Trace) -> bool) -> bool {
        self.threads.iter().all(|(trace, _)| holds(&trace.lock().expect("no subscriber panics")))
    }

    /// A sum over the traces so far.
    pub fn sum(&self, of: impl Fn(&Trace) -> u64) -> u64 {
        self.threads.iter().map(|(trace, _)| of(&trace.lock().expect("no subscriber panics"))).sum()
    }

    /// Waits until everybody has passed `id`, or the time is over, and ends the streams.
    pub fn finish(self, id: Option<Id>, limit: Duration) -> Vec<Trace> {
        let deadline = Instant::now() + limit;
        while !self.all(|trace| trace.position >= id) && Instant::now() < deadline {
            let _ = nix::poll::poll(&mut [], 5_u16);
        }
        self.stop.store(true, Ordering::SeqCst);
        self.threads
            .into_iter()
            .map(|(trace, thread)| {
                thread.join().expect("no subscriber panics");
                std::mem::take(&mut *trace.lock().expect("no subscriber panics"))
            })
            .collect()
    }
}

/// A load under way.
pub struct Load {
    /// The streams.
    pub subscribers: Subscribers,
    control: Arc<Control>,
    publishers: Vec<(Arc<Mutex<Published>>, JoinHandle<()>)>,
}

impl Load {
    /// Opens the streams, then begins to publish.
    #[track_caller]
    pub fn start(publishing: &Publishing, subscribing: &Subscribing) -> Self {
        let subscribers = Subscribers::start(subscribing);
        let control = Arc::<Control>::default();
        let publishers = (0..publishing.publishers)
            .map(|p| {
                let log = Arc::<Mutex<Published>>::default();
                let publisher = Publisher::new(p, publishing.clone(), Arc::clone(&control), Arc::clone(&log));
                (log, spawn(format!("publisher {p}"), move || publisher.run()))
            })
            .collect();
        Self { subscribers, control, publishers }
    }

    /// Events answered 200 so far.
    pub fn answered(&self) -> u64 {
        self.control.answered.load(Ordering::SeqCst)
    }

    /// Waits for so many more answers.
    #[track_caller]
    pub fn advance(&self, events: u64) {
        let enough = self.answered() + events;
        within(Duration::from_secs(20), "publishing goes on", || {
            self.fail_early();
            (self.answered() >= enough).then_some(())
        });
    }

    /// How often publishers met something whose kind begins so.
    pub fn met(&self, kind: &str) -> u64 {
        let logs = self.publishers.iter().map(|(log, _)| log.lock().expect("no publisher panics"));
        logs.map(|log| log.errors.iter().filter(|(k, _)| k.starts_with(kind)).map(|(_, n)| n).sum::<u64>())
            .sum()
    }

    /// With `true` publishers pause, also with an event that is not answered yet.
    pub fn hold(&self, hold: bool) {
        self.control.hold.store(hold, Ordering::SeqCst);
    }

    /// Publishers end with an event that was answered; subscribers go on until they have it, or for `limit`.
    pub fn finish(self, limit: Duration) -> Outcome {
        self.control.stop.store(true, Ordering::SeqCst);
        let publishers: Vec<Published> = self
            .publishers
            .into_iter()
            .map(|(log, thread)| {
                thread.join().expect("no publisher panics");
                std::mem::take(&mut *log.lock().expect("no publisher panics"))
            })
            .collect();
        let last = publishers.iter().filter_map(|log| log.ids.last()).max().copied();
        Outcome { publishers, traces: self.subscribers.finish(last, limit) }
    }

    /// A publisher that gave up makes waiting pointless.
    #[track_caller]
    fn fail_early(&self) {
        for (log, _) in &self.publishers {
            let breaches = log.lock().expect("no publisher panics").breaches.clone();
            assert!(breaches.is_empty(), "{breaches:?}");
        }
    }
}

/// What a load came to.
pub struct Outcome {
    /// What each publisher did.
    pub publishers: Vec<Published>,
    /// What each subscriber saw.
    pub traces: Vec<Trace>,
}

impl Outcome {
    /// The check, of these subscribers and of `more`, who read everything later.
    pub fn verdict(&self, more: &[Trace]) -> Verdict {
        let answers: Vec<Vec<Id>> = self.publishers.iter().map(|log| log.ids.clone()).collect();
        let mut verdict = check(&answers, &[&self.traces, more].concat());
        self.publishers
            .iter()
            .flat_map(|log| &log.breaches)
            .for_each(|breach| verdict.breach(breach.clone()));
        verdict
    }

    /// The last id that was answered.
    pub fn last(&self) -> Option<Id> {
        self.publishers.iter().filter_map(|log| log.ids.last()).max().copied()
    }

    /// What publishers met instead of 200, by kind.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        sum(self.publishers.iter().map(|log| &log.errors))
    }

    /// Requests of subscribers that opened no stream, by kind.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        sum(self.traces.iter().map(|trace| &trace.refusals))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let twins: u64 = self.publishers.iter().map(|log| log.twins).sum();
        writeln!(
            f,
            "publishers: {}, {twins} requests twice at one time; met {:?}",
            self.publishers.len(),
            self.errors()
        )?;
        let total = |of: fn(&Trace) -> u64| self.traces.iter().map(of).sum::<u64>();
        write!(
            f,
            "subscribers: {}, {} greetings, {} goodbyes, {} cuts, {} heartbeats, {} put off; refused {:?}",
            self.traces.len(),
            total(|trace| trace.greetings),
            total(|trace| trace.goodbyes.len() as u64),
            total(|trace| trace.cuts),
            total(|trace| trace.heartbeats),
            total(|trace| trace.put_off),
            self.refusals(),
        )
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (kind, count) in counts.flatten() {
        *all.entry(kind.clone()).or_default() += count;
    }
    all
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name).stack_size(THREAD_STACK_BYTES).spawn(run).expect("a thread")
}
