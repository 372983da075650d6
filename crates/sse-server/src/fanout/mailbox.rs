//! What others hand to a reactor, and how they wake it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mio::{Registry, Token, Waker};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::command::Command;
use super::fetch::Fetched;
use super::gzip::Checksum;
use super::stream::Owner;
use super::wire::Encoding;
use crate::hub::{Subscription, Wake};

/// The token of the waker; streams have their slot and generation.
pub(super) const WAKER: Token = Token(usize::MAX);

/// A stream on its way to its reactor.
pub(super) struct Arrival {
    pub(super) socket: OwnedFd,
    /// Response head and greeting, framed.
    pub(super) opening: Vec<u8>,
    /// Of the greeting.
    pub(super) greeted: Checksum,
    pub(super) encoding: Encoding,
    pub(super) subscription: Subscription,
    pub(super) owner: Box<Owner>,
}

/// Questions that wait for a reactor; beyond it one is answered with nothing.
const COMMANDS_MAX: usize = 256;

/// What was handed over, in order.
#[derive(Default)]
struct Post {
    arrivals: Vec<Arrival>,
    commands: VecDeque<Command>,
}

/// What others see of a reactor.
pub(super) struct Mailbox {
    waker: Waker,
    woken: AtomicBool,
    post: Mutex<Post>,
    fetched: Mutex<Vec<Fetched>>,
    /// Streams on this reactor or on their way to it.
    pub(super) streams: AtomicU64,
    draining: AtomicBool,
    stopping: AtomicBool,
    /// Told when the last stream has ended.
    pub(super) empty: Notify,
}

impl Mailbox {
    /// A mailbox whose waker is watched by a reactor's own poll.
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new(registry, WAKER)?,
            woken: AtomicBool::new(false),
            post: Mutex::default(),
            fetched: Mutex::default(),
            streams: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            empty: Notify::new(),
        })
    }

    /// The reactor is awake: whoever comes from now on wakes it again. To be called before it looks at
    /// what has come.
    pub(super) fn awake(&self) {
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// Moves the streams handed over into `arrivals` and, if it is empty, what was asked into `commands`. Returns
    /// whether questions are left, for which nobody wakes the reactor again.
    pub(super) fn receive(&self, arrivals: &mut Vec<Arrival>, commands: &mut VecDeque<Command>) -> bool {
        let mut post = self.post.lock();
        arrivals.append(&mut post.arrivals);
        if commands.is_empty() {
            std::mem::swap(commands, &mut post.commands);
        }
        !post.commands.is_empty()
    }

    /// Moves what was read from the store into `out`.
    pub(super) fn receive_fetched(&self, out: &mut VecDeque<Fetched>) {
        out.extend(self.fetched.lock().drain(..));
    }

    /// Hands over what was read from the store.
    pub(super) fn bring(&self, fetched: Fetched) {
        self.fetched.lock().push(fetched);
        self.wake();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Hands a stream over; it was counted in `streams` before.
    pub(super) fn send(&self, arrival: Arrival) {
        self.post.lock().arrivals.push(arrival);
        self.wake();
    }

    /// Asks something; every stream handed over before is counted in.
    pub(super) fn command(&self, command: Command) {
        let mut post = self.post.lock();
        if post.commands.len() < COMMANDS_MAX {
            post.commands.push_back(command);
        }
        drop(post);
        self.wake();
    }

    /// A stream has ended, or did not come.
    pub(super) fn leave(&self) {
        if self.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.empty.notify_waiters();
        }
    }

    /// Every stream says goodbye.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake();
    }

    /// The thread ends, and with it every stream.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

impl Wake for Mailbox {
    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // It fails only if the reactor is gone.
            let _ = self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::ConnectionId;
    use tokio::sync::oneshot::{self, error::TryRecvError};

    /// The attack: questions faster than a busy reactor answers them, until memory is full.
    #[test]
    fn question_beyond_the_bound_is_answered_with_nothing_at_once() {
        let poll = mio::Poll::new().unwrap();
        let mailbox = Mailbox::new(poll.registry()).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..=COMMANDS_MAX {
            let (answer, answered) = oneshot::channel();
            mailbox.command(Command::Kick { id: ConnectionId::random().unwrap(), answer });
            waiting.push(answered);
        }
        let mut last = waiting.pop().unwrap();
        assert_eq!(last.try_recv(), Err(TryRecvError::Closed));
        assert!(waiting.iter_mut().all(|answered| answered.try_recv() == Err(TryRecvError::Empty)));
        let mut commands = VecDeque::new();
        assert!(!mailbox.receive(&mut Vec::new(), &mut commands), "it has all");
        assert_eq!(commands.len(), COMMANDS_MAX);
        // A reactor that has questions left takes no more, and knows that there are.
        let (answer, _answered) = oneshot::channel();
        mailbox.command(Command::Kick { id: ConnectionId::random().unwrap(), answer });
        assert!(mailbox.receive(&mut Vec::new(), &mut commands), "one is left");
        assert_eq!(commands.len(), COMMANDS_MAX);
    }
}
