//! One life of the hub: the real backplane with its runtime, and the readers of its streams.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};

use super::disk::{Disk, Needs};
use super::reader::{Reader, Turn};
use super::stream::{End, Handle};
use crate::backplane::{Backplane, Config};
use crate::hub::{After, Interest, Ordinal, Portion, Subscription};
use crate::store::Store;

pub(super) struct Server {
    pub(super) backplane: Backplane,
    pub(super) readers: Vec<Reader>,
    /// What each reader has taken, as the hub sees it.
    taken: Vec<Ordinal>,
    /// Where the earliest of its streams starts that have come since none was on its way.
    arriving_from: Vec<Ordinal>,
    pub(super) runtime: Runtime,
}

impl Server {
    /// Starts on what the disk has.
    pub(super) fn start(
        disk: &Arc<Disk>,
        config: &Config,
        clock: &Arc<AtomicU64>,
        readers: (usize, Portion, u64),
    ) -> Self {
        // One thread, so that whatever blocks runs in the order that it was asked for.
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
        let clock = Arc::clone(clock);
        let store = Arc::clone(disk) as Arc<dyn Store>;
        let backplane = Backplane::with(store, config, Arc::new(move || clock.load(Relaxed))).unwrap();
        let (count, portion, scan_max) = readers;
        let readers = (0..count).map(|_| Reader::new(backplane.hub(), portion, scan_max)).collect();
        Self {
            backplane,
            readers,
            taken: vec![0; count],
            arriving_from: vec![Ordinal::MAX; count],
            runtime: runtime.unwrap(),
        }
    }

    /// What blocks is done when this returns.
    pub(super) fn run_blocking(&self) {
        let (done, is_done) = mpsc::channel();
        self.runtime.spawn_blocking(move || done.send(()));
        is_done.recv().expect("the thread runs what it is given");
    }

    pub(super) fn subscribe(
        &mut self,
        reader: usize,
        interest: Interest,
        after: After,
        now_ms: u64,
        end: Ordinal,
    ) -> Subscription {
        if self.readers[reader].interests().next().is_none() {
            self.taken[reader] = end;
        }
        let subscription = self.backplane.hub().subscribe(self.readers[reader].id, interest, after, now_ms);
        self.arriving_from[reader] = self.arriving_from[reader].min(subscription.start.next);
        subscription
    }

    /// The streams that ended.
    pub(super) fn turn(&mut self, reader: usize, turn: Turn) -> Vec<(Handle, End)> {
        self.readers[reader].turn(turn);
        self.taken[reader] = self.readers[reader].next;
        if self.readers[reader].arriving().next().is_none() {
            self.arriving_from[reader] = Ordinal::MAX;
        }
        std::mem::take(&mut self.readers[reader].ended)
    }

    /// The interests of the open streams.
    pub(super) fn interests(&self) -> impl Iterator<Item = usize> {
        self.readers.iter().flat_map(Reader::interests)
    }

    /// What the streams still need of the history.
    pub(super) fn needs(&self, backlog: (u64, u64)) -> Needs {
        let active =
            self.readers.iter().zip(&self.taken).filter(|(reader, _)| reader.interests().next().is_some());
        let taken = active.map(|(_, taken)| *taken).min();
        let arriving = self.readers.iter().zip(&self.arriving_from);
        let arriving = arriving.filter_map(|(reader, from)| Some((*from, reader.arriving().min()?)));
        Needs { taken, arriving: arriving.collect(), backlog }
    }

    /// Every stream is told to come again; what is under way still comes, or is `lost`.
    pub(super) fn end_streams(&mut self, lost: bool) {
        self.readers.iter_mut().for_each(|reader| reader.end_all(lost));
    }

    /// The process dies, and with it every stream.
    pub(super) fn drop_streams(&mut self, lost: bool) {
        self.readers.iter_mut().for_each(|reader| reader.close_all(lost));
    }

    /// Accepts nothing more; returns whether the end could be written down.
    pub(super) fn close(&self, disk: &Disk) -> bool {
        let mut closing = pin!(self.backplane.close());
        let mut poll = || {
            let _within = self.runtime.enter();
            closing.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        let closed = disk.gate.lock();
        assert!(poll().is_pending(), "it blocks");
        drop(closed);
        self.run_blocking();
        matches!(poll(), Poll::Ready(Ok(())))
    }
}
