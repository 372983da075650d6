//! Whether the store works, and the watch over one that does not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::store::{Store, StoreError};

/// What the store last failed with, until it is seen to work again: by the next commit, or, when nothing is
/// published, by a probe.
#[derive(Clone)]
pub(super) struct Failure {
    store: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
    probe_interval: Duration,
    commit_wait_max: Duration,
}

/// What failed, or worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A commit.
    Commit,
    /// Moving the mark, without which no ids are issued before long: commits that work say nothing about it.
    Mark,
}

#[derive(Default)]
struct State {
    why: Option<(What, Arc<StoreError>)>,
    is_watched: bool,
    /// When the commits that have not ended began, earliest first.
    pending: VecDeque<Instant>,
}

impl Failure {
    pub(super) fn new(store: Arc<dyn Store>, probe_interval: Duration, commit_wait_max: Duration) -> Self {
        Self { store, state: Arc::default(), probe_interval, commit_wait_max }
    }

    /// What it is.
    pub(super) fn get(&self) -> Option<Arc<StoreError>> {
        let state = self.state.lock();
        state.why.as_ref().map(|(_, why)| Arc::clone(why)).or_else(|| self.stuck_in(&state))
    }

    /// A commit that neither ends nor fails: what comes meanwhile would only wait behind it.
    pub(super) fn stuck(&self) -> Option<Arc<StoreError>> {
        self.stuck_in(&self.state.lock())
    }

    fn stuck_in(&self, state: &State) -> Option<Arc<StoreError>> {
        let waits = state.pending.front()?.elapsed();
        (waits > self.commit_wait_max).then(|| Arc::new(StoreError::Stuck { seconds: waits.as_secs() }))
    }

    /// A commit begins.
    pub(super) fn begin(&self, now: Instant) {
        self.state.lock().pending.push_back(now);
    }

    /// Notes how the store's last work went. The first failure is logged, and watched on `runtime`.
    pub(super) fn note<T>(&self, what: What, result: &Result<T, Arc<StoreError>>, runtime: &Handle) {
        let mut state = self.state.lock();
        if what == What::Commit {
            state.pending.pop_front();
        }
        match result {
            Ok(_) if state.why.as_ref().is_some_and(|(failed, _)| *failed == what) => state.works(),
            Ok(_) => {}
            Err(why) => {
                if state.why.is_none() {
                    log::error!("the store does not accept events: {}", why.in_full());
                }
                state.why = Some((what, Arc::clone(why)));
                if !state.is_watched {
                    state.is_watched = true;
                    runtime.spawn(self.clone().watch());
                }
            }
        }
    }

    async fn watch(self) {
        loop {
            tokio::time::sleep(self.probe_interval).await;
            let store = Arc::clone(&self.store);
            let probed = spawn_blocking(move || store.probe()).await;
            let mut state = self.state.lock();
            match probed {
                Ok(Err(why)) => state.why = state.why.take().map(|(what, _)| (what, why)),
                Ok(Ok(())) => state.works(),
                // The runtime ends.
                Err(_) => {}
            }
            if state.why.is_none() {
                state.is_watched = false;
                return;
            }
        }
    }
}

impl State {
    fn works(&mut self) {
        if self.why.take().is_some() {
            log::info!("the store accepts events again");
        }
    }
}
