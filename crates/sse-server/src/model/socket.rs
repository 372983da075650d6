//! A connection between a reader and a client: takes so much, and then no more until the client has read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::hub::{EventId, Frame, Start};

/// What goes over the wire, whole.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Greeting(Start),
    Event(Arc<Frame>),
    Heartbeat(EventId),
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    Part(usize),
    Ended,
}

/// Both ends share it.
#[derive(Debug, Clone)]
pub(super) struct Socket(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    room: usize,
    buffer: VecDeque<Item>,
    client_is_gone: bool,
    server_is_gone: bool,
}

impl Socket {
    /// Takes so many items before the client has read any.
    pub(super) fn new(room: usize) -> Self {
        let buffer = VecDeque::new();
        Self(Rc::new(RefCell::new(State { room, buffer, client_is_gone: false, server_is_gone: false })))
    }

    pub(super) fn send(&self, items: &[Item]) -> Sent {
        let mut state = self.0.borrow_mut();
        if state.client_is_gone {
            return Sent::Ended;
        }
        let taken = items.len().min(state.room - state.buffer.len());
        state.buffer.extend(items[..taken].iter().cloned());
        if taken == items.len() { Sent::All } else { Sent::Part(taken) }
    }

    pub(super) fn receive(&self) -> Option<Item> {
        self.0.borrow_mut().buffer.pop_front()
    }

    /// Whether the client has read everything and nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        let state = self.0.borrow();
        state.server_is_gone && state.buffer.is_empty()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.borrow().client_is_gone
    }

    pub(super) fn cut(&self) {
        let mut state = self.0.borrow_mut();
        state.client_is_gone = true;
        state.buffer.clear();
    }

    /// The server's end closes; what is under way still comes, or is `lost`.
    pub(super) fn close(&self, lost: bool) {
        let mut state = self.0.borrow_mut();
        state.server_is_gone = true;
        if lost {
            state.buffer.clear();
        }
    }
}
