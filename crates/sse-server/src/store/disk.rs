//! The store of a hub whose history outlives it: events on disk, committed in groups by one thread.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use parking_lot::{Mutex, RwLock};

use super::engine::{Engine, EngineError};
use super::mark::Mark;
use super::salvage::{self, Left};
use super::{Commit, Discard, Done, ReadError, Store, StoreError};
use super::{journal, record};
use crate::hub::{EventId, Frame, Ordinal, Portion, Recovered};

/// Bounds of what is written as one; what comes meanwhile waits for the next write.
const GROUP_EVENTS_MAX: usize = 4096;
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Keeps events in `history/` of the data folder, and the mark of the event ids beside it.
///
/// Of the events that an earlier run left none is trusted unseen: each has a checksum, all are looked at when
/// the store is opened, and what follows damage is kept, or, when nothing follows, what was before it.
pub struct DiskStore {
    queue: Mutex<Option<Sender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    recovered: Mutex<Option<Recovered>>,
}

struct Shared {
    folder: PathBuf,
    mark: Mark,
    /// None while it is being opened again.
    engine: RwLock<Option<Engine>>,
}

/// What the thread is asked for.
enum Task {
    Commit(Commit, Done),
    Discard(Discard),
    Probe(Reply),
}

type Reply = SyncSender<Result<(), Arc<StoreError>>>;

impl DiskStore {
    /// Opens the store of this data folder, which is made if it is missing. Of the newest events, frames up to
    /// about `ring_bytes_max` are taken into memory.
    pub fn open(data_dir: &Path, ring_bytes_max: usize) -> Result<Self, StoreError> {
        let mark = Mark::open(data_dir)?;
        let folder = salvage::history_in(data_dir);
        let (engine, left) = salvage::open(&folder, mark.get(), ring_bytes_max)?;
        let Left { recovered, next } = left;
        mark.raise(recovered.newest)?;
        let writer = Writer { next, last: recovered.newest, broken: None, discard: None };
        let shared = Arc::new(Shared { folder, mark, engine: RwLock::new(Some(engine)) });
        let (queue, tasks) = channel();
        let thread = thread::Builder::new().name("store".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let alarm = Alarm;
                writer.run(&shared, &tasks);
                std::mem::forget(alarm);
            }
        });
        let thread = thread.map_err(|source| StoreError::Folder { path: shared.folder.clone(), source })?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            shared,
            recovered: Mutex::new(Some(recovered)),
        })
    }

    /// Gives the thread something to do; the task comes back when the store is closed.
    fn ask(&self, task: Task) -> Result<(), Task> {
        match &*self.queue.lock() {
            Some(queue) => queue.send(task).map_err(|refused| refused.0),
            None => Err(task),
        }
    }

    fn ask_and_wait(&self, task: impl FnOnce(Reply) -> Task) -> Result<(), Arc<StoreError>> {
        let (reply, answer) = sync_channel(1);
        let closed = || Arc::new(StoreError::Closed { path: self.shared.folder.clone() });
        self.ask(task(reply)).map_err(|_| closed())?;
        answer.recv().unwrap_or_else(|_| Err(closed()))
    }

    #[cfg(test)]
    pub(super) fn flush_for_tests(&self) {
        self.shared.engine.read().as_ref().expect("open").flush_for_tests();
    }

    fn end(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != thread::current().id()
        {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Store for DiskStore {
    fn kind(&self) -> &'static str {
        "disk"
    }

    fn recover(&self) -> Result<Recovered, StoreError> {
        Ok(self.recovered.lock().take().expect("asked once"))
    }

    fn reserve(&self, mark: EventId) -> Result<(), Arc<StoreError>> {
        self.shared.mark.raise(mark).map_err(Arc::new)
    }

    fn commit(&self, commit: Commit, done: Done) {
        if let Err(Task::Commit(_, done)) = self.ask(Task::Commit(commit, done)) {
            done(Err(Arc::new(StoreError::Closed { path: self.shared.folder.clone() })));
        }
    }

    fn read(&self, from: Ordinal, portion: Portion) -> Result<Vec<Arc<Frame>>, ReadError> {
        let engine = self.shared.engine.read();
        let failed = |error| ReadError::Store(failed(&self.shared.folder, error));
        let failing = || StoreError::Reopening { path: self.shared.folder.clone() };
        let engine = engine.as_ref().ok_or_else(failing)?;
        let read = engine.read(from, portion).map_err(failed)?;
        let read = read.map_err(|until| ReadError::Damaged { until })?;
        Ok(read.into_iter().map(Arc::new).collect())
    }

    fn discard(&self, what: Discard) {
        // A closed store lets nothing go, and the next run asks again.
        let _ = self.ask(Task::Discard(what));
    }

    fn probe(&self) -> Result<(), Arc<StoreError>> {
        self.ask_and_wait(Task::Probe)
    }

    fn close(&self, last: EventId) -> Result<(), Arc<StoreError>> {
        self.end();
        drop(self.shared.engine.write().take());
        self.shared.mark.settle(last).map_err(Arc::new)
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

/// A hub whose store has panicked accepts nothing and cannot mend itself: whoever supervises it starts it again.
struct Alarm;

impl Drop for Alarm {
    fn drop(&mut self) {
        log::error!("the thread that writes the history has panicked");
        std::process::abort();
    }
}

/// The thread that writes.
struct Writer {
    /// The number of the next event, and the highest id committed.
    next: Ordinal,
    last: EventId,
    /// Why nothing is written until a probe succeeds.
    broken: Option<Arc<StoreError>>,
    /// What is still to be let go.
    discard: Option<Discard>,
}

/// Commits that are written as one.
#[derive(Default)]
struct Group {
    commits: Vec<Commit>,
    done: Vec<Done>,
    events: usize,
    bytes: usize,
}

impl Group {
    fn is_full(&self) -> bool {
        self.events >= GROUP_EVENTS_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    fn add(&mut self, commit: Commit, done: Done) {
        self.events += commit.frames.len();
        self.bytes += commit.frames.iter().map(|frame| frame.cost()).sum::<usize>();
        self.commits.push(commit);
        self.done.push(done);
    }
}

impl Writer {
    fn run(mut self, shared: &Shared, tasks: &Receiver<Task>) {
        let mut waiting = VecDeque::new();
        loop {
            let is_idle = self.discard.is_none() || self.broken.is_some();
            if waiting.is_empty() && is_idle {
                match tasks.recv() {
                    Ok(task) => waiting.push_back(task),
                    Err(_) => break,
                }
            }
            waiting.extend(tasks.try_iter().take(GROUP_EVENTS_MAX));
            let mut group = Group::default();
            while let Some(task) = waiting.pop_front() {
                match task {
                    Task::Commit(commit, done) => {
                        group.add(commit, done);
                        if group.is_full() {
                            break;
                        }
                    }
                    Task::Discard(what) => self.discard = Some(what),
                    Task::Probe(reply) => {
                        let _ = reply.send(self.probe(shared));
                    }
                }
            }
            self.commit(shared, group);
            self.let_go(shared);
        }
        if self.broken.is_some() {
            // What is left of refused events must not be there at the next start.
            let _ = self.probe(shared);
        }
    }

    fn commit(&mut self, shared: &Shared, group: Group) {
        if group.commits.is_empty() {
            return;
        }
        let is_tried = self.broken.is_none();
        let written = self.work(shared, |writer, engine| engine.commit(writer.next, &group.commits));
        if written.is_ok() {
            self.next += group.events as u64;
            let frames = group.commits.iter().flat_map(|commit| commit.frames.last());
            self.last = frames.map(|frame| frame.id()).max().unwrap_or(self.last);
        } else if is_tried {
            self.take_back(shared, &group);
        }
        for done in group.done {
            done(written.clone());
        }
    }

    /// Before anybody is told that nothing was accepted, what may be on the disk of it is made unreadable there, also
    /// where nothing can be written any more.
    fn take_back(&mut self, shared: &Shared, group: &Group) {
        drop(shared.engine.write().take());
        let first = group.commits.iter().flat_map(|commit| commit.frames.first()).next();
        let record = first.map(|frame| record::encode(self.next, frame));
        if let Some(Err(error)) = record.map(|record| journal::cut_at(&shared.folder, &record)) {
            log::error!("refused events may be in the history in {}: {error}", shared.folder.display());
        }
        // If it fails, the next probe tries again.
        let _ = self.probe(shared);
    }

    fn let_go(&mut self, shared: &Shared) {
        let Some(what) = self.discard else { return };
        if let Ok(more) = self.work(shared, |_, engine| engine.discard(what))
            && !more
        {
            self.discard = None;
        }
    }

    /// Does something with a database that works.
    fn work<T>(
        &mut self,
        shared: &Shared,
        work: impl FnOnce(&Self, &Engine) -> Result<T, EngineError>,
    ) -> Result<T, Arc<StoreError>> {
        if let Some(why) = &self.broken {
            return Err(Arc::clone(why));
        }
        let engine = shared.engine.read();
        let engine = engine.as_ref().expect("one that works is open");
        work(self, engine).map_err(|error| {
            let why = Arc::new(failed(&shared.folder, error));
            self.broken = Some(Arc::clone(&why));
            why
        })
    }

    /// After a failure nobody knows what the database holds, and it takes nothing more: it is opened again, and
    /// what may be there of events that were refused is removed.
    fn probe(&mut self, shared: &Shared) -> Result<(), Arc<StoreError>> {
        let mut slot = shared.engine.write();
        if self.broken.is_some() {
            drop(slot.take());
        }
        let opened = match slot.take() {
            Some(engine) => Ok(engine),
            None => Engine::open(&shared.folder),
        };
        let mended = opened.and_then(|engine| engine.mend(self.next, self.last).map(|()| engine));
        match mended {
            Ok(engine) => {
                *slot = Some(engine);
                self.broken = None;
            }
            Err(error) => {
                let why = Arc::new(failed(&shared.folder, error));
                self.broken = Some(Arc::clone(&why));
                return Err(why);
            }
        }
        drop(slot);
        shared.mark.rewrite().map_err(Arc::new)
    }
}

/// The sentence for what the database says.
pub(super) fn failed(folder: &Path, error: EngineError) -> StoreError {
    let path = folder.to_owned();
    match error {
        EngineError::Locked => StoreError::Locked { path },
        EngineError::NewerFormat => StoreError::NewerFormat { path },
        EngineError::Io(source) => StoreError::History { path, source },
        other => {
            let source = io::Error::other(other);
            StoreError::History { path, source }
        }
    }
}
