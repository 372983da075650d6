//! What programs say to the daemon itself, on its way to the loop: the words of listeners, and events.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::Notify;

use super::entry::Id;
use crate::events::Event;

/// Bytes that wait for the loop; then those programs are not read until it has caught up.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Something that was said.
#[derive(Debug)]
pub(super) enum Said {
    /// For the listeners.
    Event(Event),
    /// By a listener, on its stdout.
    Listener {
        /// Which.
        id: Id,
        /// In which of its lives.
        start: u64,
        /// What.
        bytes: Vec<u8>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: RefCell<VecDeque<Said>>,
    bytes: Cell<usize>,
    arrived: Notify,
    emptied: Notify,
}

impl Inbox {
    pub(super) fn put(&self, said: Said, bytes: usize) {
        self.waiting.borrow_mut().push_back(said);
        self.bytes.set(self.bytes.get() + bytes);
        self.arrived.notify_one();
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        while self.bytes.get() > WAITING_BYTES_MAX {
            self.emptied.notified().await;
        }
    }

    /// Waits until something was said.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Everything that was said, in its order.
    pub(super) fn take(&self) -> VecDeque<Said> {
        self.bytes.set(0);
        self.emptied.notify_waiters();
        std::mem::take(&mut *self.waiting.borrow_mut())
    }
}
