//! The open connections of the listeners, counted, so that an ending server can wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Connections that are served; cloned handles share the count. Streams have left them.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    none: Notify,
    ending: AtomicBool,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub struct Connected(Arc<Shared>);

impl Connections {
    /// Counts one.
    #[must_use]
    pub fn connected(&self) -> Connected {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Connected(Arc::clone(&self.0))
    }

    /// From now on each connection ends with its next answer, which says so.
    pub fn end(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
    }

    /// Whether each connection ends with its next answer.
    #[must_use]
    pub fn are_ending(&self) -> bool {
        self.0.ending.load(Ordering::SeqCst)
    }

    /// Waits until none is open.
    pub async fn none(&self) {
        loop {
            let mut none = std::pin::pin!(self.0.none.notified());
            none.as_mut().enable();
            if self.0.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
