//! A store whose disk outlives its process, and whose commits wait for the word of the test.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::truth::{Truth, number};
use crate::hub::{EventId, Frame, KeyUse, Ordinal, Portion, Recovered, RecoveredEvent};
use crate::store::{Commit, Discard, Done, ReadError, Store, StoreError};

/// The disk, and the process's handle on it.
pub(super) struct Disk {
    /// Closed: what blocks waits here, so that it runs only when nothing else does.
    pub(super) gate: Mutex<()>,
    pub(super) truth: Arc<Mutex<Truth>>,
    clock: Arc<AtomicU64>,
    state: Mutex<State>,
}

/// What is being read, so that it is not discarded.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// The first event that some reader with streams has not taken.
    pub(super) taken: Option<Ordinal>,
    /// For each reader: where the earliest stream started that is, or was together with another, on its way, and
    /// the first event that one needs now. They are held for as long as that is not too much.
    pub(super) arriving: Vec<(Ordinal, Ordinal)>,
    /// How far beyond the history's bounds something is held for them.
    pub(super) backlog: (u64, u64),
}

#[derive(Default)]
struct State {
    // On the disk.
    records: Vec<Arc<Frame>>,
    first: usize,
    keys: Vec<KeyUse>,
    mark: EventId,
    // In the process.
    queue: VecDeque<Waiting>,
    discard: Option<Discard>,
    issued: EventId,
    // Of the test.
    fails: bool,
    crashed: bool,
    torn: bool,
    frames_recovered: usize,
    needs: Needs,
}

struct Waiting {
    commit: Commit,
    done: Done,
    at_ms: u64,
}

fn broken() -> StoreError {
    StoreError::WriteMark { path: "disk".into(), source: io::ErrorKind::StorageFull.into() }
}

impl Disk {
    pub(super) fn new(truth: Truth, clock: Arc<AtomicU64>, frames_recovered: usize) -> Self {
        let state = State { frames_recovered, ..State::default() };
        Self { gate: Mutex::new(()), truth: Arc::new(Mutex::new(truth)), clock, state: Mutex::new(state) }
    }

    /// From now on the mark, the end and reads fail, or work.
    pub(super) fn set_fails(&self, fails: bool) {
        self.state.lock().fails = fails;
    }

    pub(super) fn fails(&self) -> bool {
        self.state.lock().fails
    }

    pub(super) fn set_needs(&self, needs: Needs) {
        self.state.lock().needs = needs;
    }

    pub(super) fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Commits what has waited longest, so many publishes as one; or fails to.
    pub(super) fn commit_group(&self, publishes: usize, works: bool) {
        let group: Vec<Waiting> = {
            let mut state = self.state.lock();
            let publishes = publishes.min(state.queue.len());
            let group: Vec<Waiting> = state.queue.drain(..publishes).collect();
            if works {
                state.let_go();
                group.iter().for_each(|waiting| state.write(&waiting.commit));
            }
            group
        };
        for Waiting { commit, done, at_ms } in group {
            if works {
                self.accept(&commit, at_ms, done);
            } else {
                done(Err(Arc::new(broken())));
            }
        }
    }

    fn accept(&self, commit: &Commit, at_ms: u64, done: Done) {
        let mut truth = self.truth.lock();
        truth.append(&commit.frames);
        truth.trim(at_ms);
        drop(truth);
        done(Ok(()));
    }

    /// The process is gone; so many publishes were committed, and nobody was told. If a write was torn, the mark
    /// is all that is known of what was issued.
    pub(super) fn crash(&self, committed: usize, torn: bool) {
        let lost = {
            let (mut state, mut truth) = (self.state.lock(), self.truth.lock());
            let committed = if truth.is_durable { committed.min(state.queue.len()) } else { 0 };
            let group: Vec<Waiting> = state.queue.drain(..committed).collect();
            if committed > 0 {
                state.let_go();
            }
            truth.meet("publishes committed unheard", group.len());
            for Waiting { commit, .. } in &group {
                state.write(commit);
                truth.append(&commit.frames);
            }
            state.discard = None;
            (state.crashed, state.torn) = (true, torn);
            (group, std::mem::take(&mut state.queue))
        };
        drop(lost);
    }

    /// Ids rise below the mark, and a publish is committed once, as one, in order.
    fn check_submitted(&self, state: &State, commit: &Commit, at_ms: u64) {
        let mut truth = self.truth.lock();
        let numbers: Vec<usize> = commit.frames.iter().map(|frame| number(frame)).collect();
        let publish = truth.asked[numbers[0]].publish;
        let mut of_it = truth.asked.iter().enumerate().filter(|(_, asked)| asked.publish == publish);
        let is_whole = of_it.all(|(n, asked)| numbers.contains(&n) || asked.event.key.is_some());
        let is_new = numbers.is_sorted() && numbers.iter().all(|n| !truth.asked[*n].submitted);
        let is_one = is_whole && is_new && numbers.iter().all(|n| truth.asked[*n].publish == publish);
        truth.must(is_one, || format!("publish {publish} is not committed as one: {numbers:?}"));
        let (mut last, mark) = (state.issued, state.mark);
        for (frame, number) in commit.frames.iter().zip(numbers) {
            let id = frame.id();
            truth.must(last < id && id < mark, || format!("id {id} is not between {last} and {mark}"));
            truth.submit(number, id, at_ms);
            last = id;
        }
    }
}

impl State {
    /// What was to be discarded goes with the next commit.
    fn let_go(&mut self) {
        if let Some(Discard { events_before, keys_before_ms }) = self.discard.take() {
            self.first = self.first.max(usize::try_from(events_before).expect("few events"));
            self.keys.retain(|used| used.at_ms >= keys_before_ms);
        }
    }

    fn write(&mut self, commit: &Commit) {
        self.records.extend(commit.frames.iter().cloned());
        self.keys.extend(commit.keys.iter().cloned());
    }
}

impl Store for Disk {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn recover(&self) -> Result<Recovered, StoreError> {
        let (mut state, mut truth) = (self.state.lock(), self.truth.lock());
        let (crashed, torn) = (std::mem::take(&mut state.crashed), std::mem::take(&mut state.torn));
        state.needs = Needs::default();
        let is_whole = truth.has_whole_batches_only();
        truth.must(is_whole, || "a batch is there in part".to_owned());
        let last = |events: &[Arc<Frame>]| events.last().map_or(EventId::ZERO, |frame| frame.id());
        let newest = if truth.is_durable { last(&state.records) } else { state.mark };
        truth.open(state.first, newest, crashed, self.clock.load(Ordering::Relaxed));
        state.issued = if torn { state.mark.max(newest) } else { newest };
        if !truth.is_durable {
            return Ok(Recovered { newest, floor: newest, ..Recovered::default() });
        }
        let kept = &state.records[state.first..];
        let in_memory = kept.len().saturating_sub(state.frames_recovered);
        Ok(Recovered {
            newest,
            issued: state.issued,
            floor: last(&state.records[..state.first]),
            first: state.first as Ordinal,
            events: kept.iter().map(|frame| RecoveredEvent { id: frame.id(), cost: frame.cost() }).collect(),
            frames: kept[in_memory..].to_vec(),
            keys: state.keys.clone(),
        })
    }

    fn reserve(&self, mark: EventId) -> Result<(), Arc<StoreError>> {
        let _open = self.gate.lock();
        let mut state = self.state.lock();
        if state.fails {
            return Err(Arc::new(broken()));
        }
        state.mark = state.mark.max(mark);
        Ok(())
    }

    fn commit(&self, commit: Commit, done: Done) {
        let at_ms = self.clock.load(Ordering::Relaxed);
        let mut state = self.state.lock();
        self.check_submitted(&state, &commit, at_ms);
        state.issued = commit.frames.last().expect("a commit has events").id();
        if self.truth.lock().is_durable {
            state.queue.push_back(Waiting { commit, done, at_ms });
        } else {
            drop(state);
            self.accept(&commit, at_ms, done);
        }
    }

    fn read(&self, from: Ordinal, portion: Portion) -> Result<Vec<Arc<Frame>>, ReadError> {
        let state = self.state.lock();
        let from = usize::try_from(from).expect("few events");
        if state.fails {
            return Err(broken().into());
        }
        if from < state.first || !self.truth.lock().is_durable {
            return Err(ReadError::Gone);
        }
        let mut bytes = 0;
        let fits = |frame: &&Arc<Frame>| {
            let is_first = bytes == 0;
            bytes += frame.wire().len();
            is_first || bytes <= portion.bytes_max
        };
        let events = state.records[from.min(state.records.len())..].iter().take(portion.events_max.max(1));
        Ok(events.take_while(fits).cloned().collect())
    }

    fn discard(&self, what: Discard) {
        let (mut state, mut truth) = (self.state.lock(), self.truth.lock());
        let Needs { taken, arriving, backlog: (events_max, bytes_max) } = state.needs.clone();
        let kept = truth.ordinal(truth.kept);
        let is_near = |from: Ordinal| {
            let beyond = usize::try_from(kept.saturating_sub(from)).unwrap_or(usize::MAX);
            let held = &truth.events[truth.kept - beyond..truth.kept];
            let bytes: usize = held.iter().map(|frame| frame.cost()).sum();
            beyond == 0 || ((beyond as u64) < events_max && (bytes as u64) < bytes_max)
        };
        let held = arriving.into_iter().filter(|(from, _)| is_near(*from)).map(|(_, needed)| needed);
        let needed = held.chain(taken).chain([truth.ordinal(truth.kept)]).min().expect("one is always there");
        truth.must(what.events_before <= needed, || format!("{what:?}, but {needed} is kept or held"));
        let needs_key = truth.is_durable && truth.needs_key_before(what.keys_before_ms);
        truth.must(!needs_key, || format!("{what:?}, but a key before is in force"));
        let before = state.discard.unwrap_or(what);
        state.discard = Some(Discard {
            events_before: what.events_before.max(before.events_before),
            keys_before_ms: what.keys_before_ms.max(before.keys_before_ms),
        });
    }

    fn probe(&self) -> Result<(), Arc<StoreError>> {
        if self.fails() { Err(Arc::new(broken())) } else { Ok(()) }
    }

    fn close(&self, last: EventId) -> Result<(), Arc<StoreError>> {
        let _open = self.gate.lock();
        let works = !self.fails();
        self.commit_group(usize::MAX, works);
        let mut state = self.state.lock();
        let issued = state.issued;
        self.truth
            .lock()
            .must(last == issued, || format!("{last} is named the last id, but {issued} was issued"));
        if !works {
            // Nothing more is known of this mark than after a crash.
            (state.crashed, state.discard) = (true, None);
            return Err(Arc::new(broken()));
        }
        state.let_go();
        state.mark = last;
        Ok(())
    }
}
