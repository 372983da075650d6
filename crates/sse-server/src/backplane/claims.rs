//! Idempotency keys among concurrent publishes: a twin waits for the first.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hub::{Claim, EventId, IdempotencyKey, KeyUse, Keys, NotClaimed};

/// The keys in force, shared by all publishes.
pub(super) struct Claims {
    shared: Arc<Shared>,
    window_ms: u64,
}

struct Shared {
    keys: Mutex<Keys>,
    /// Told when pending keys are settled or released.
    ended: Notify,
    began: Instant,
}

/// The table of keys is full.
#[derive(Debug)]
pub(super) struct Full;

impl Claims {
    /// Goes on with the keys of an earlier run; `now_ms` since 1970.
    pub(super) fn new(window_ms: u64, keys_max: usize, recovered: Vec<KeyUse>, now_ms: u64) -> Self {
        let mut keys = Keys::new(window_ms, keys_max);
        for KeyUse { key, id, at_ms } in recovered {
            keys.recover(key, id, now_ms.saturating_sub(at_ms), 0);
        }
        let (keys, ended, began) = (Mutex::new(keys), Notify::new(), Instant::now());
        Self { shared: Arc::new(Shared { keys, ended, began }), window_ms }
    }

    /// Tells, from the time now, before which time a key was used that is not in force any more; both in
    /// milliseconds since 1970.
    pub(super) fn cutoff(&self) -> impl Fn(u64) -> u64 + Send + use<> {
        let window_ms = self.window_ms;
        move |now_ms| now_ms.saturating_sub(window_ms)
    }

    /// Claims the keys of a batch; waits while another publish holds one of them.
    pub(super) async fn claim(&self, keys: &[Option<IdempotencyKey>]) -> Result<(Vec<Claim>, Claimed), Full> {
        let mut claimed = Claimed { shared: Arc::clone(&self.shared), keys: Vec::new() };
        if keys.iter().all(Option::is_none) {
            return Ok((vec![Claim::New; keys.len()], claimed));
        }
        loop {
            let mut ended = std::pin::pin!(self.shared.ended.notified());
            ended.as_mut().enable();
            match self.shared.claim(keys) {
                Ok(claims) => {
                    let new = keys.iter().zip(&claims).filter(|(_, claim)| **claim == Claim::New);
                    claimed.keys = new.map(|(key, _)| key.clone()).collect();
                    return Ok((claims, claimed));
                }
                Err(NotClaimed::Full) => return Err(Full),
                Err(NotClaimed::Pending) => ended.await,
            }
        }
    }
}

impl Shared {
    fn claim(&self, keys: &[Option<IdempotencyKey>]) -> Result<Vec<Claim>, NotClaimed> {
        self.keys.lock().claim(keys, self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The pending keys of one publish, one place for each of its new events. Dropped: they are released.
pub(super) struct Claimed {
    shared: Arc<Shared>,
    keys: Vec<Option<IdempotencyKey>>,
}

impl Claimed {
    /// The keys, with the ids that their events got.
    pub(super) fn uses(&self, ids: &[EventId], at_ms: u64) -> Vec<KeyUse> {
        let keyed = self.keys.iter().zip(ids);
        keyed.filter_map(|(key, id)| key.clone().map(|key| KeyUse { key, id: *id, at_ms })).collect()
    }

    /// The events were accepted.
    pub(super) fn settle(mut self, ids: &[EventId]) {
        let now_ms = self.shared.now_ms();
        let mut keys = self.shared.keys.lock();
        for (key, id) in self.keys.drain(..).zip(ids) {
            if let Some(key) = key {
                keys.settle(key, *id, now_ms);
            }
        }
        drop(keys);
        self.shared.ended.notify_waiters();
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.keys.iter().any(Option::is_some) {
            let mut keys = self.shared.keys.lock();
            self.keys.drain(..).flatten().for_each(|key| keys.release(&key));
            drop(keys);
            self.shared.ended.notify_waiters();
        }
    }
}
