//! The places of a listener: who holds one since when, and who gives way when all are taken.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::server::Limits;

/// Nobody loses a request or an answer up to this size.
const SMALL_BYTES: usize = 64 << 10;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Has sent nothing.
    New,
    /// Sends the head of a request.
    Head,
    /// Sends its body.
    Body,
    /// Is being answered, which may take as long as a program takes to stop.
    Answer,
    /// Follows a log.
    Follow,
    /// Has been answered.
    Idle,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Has shown that it may call.
    known: Cell<bool>,
    /// Bytes that are kept for it: of its request, or of answers that it has not read yet.
    held: Cell<usize>,
    leave: Notify,
    /// Shared by all: somebody does something else now.
    changed: Rc<Notify>,
    /// Who reads from it, and waits differently in another phase.
    reader: RefCell<Option<Waker>>,
}

impl Seat {
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
        self.changed.notify_waiters();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Wakes the reader at the next phase.
    pub(super) fn reads(&self, reader: &Waker) {
        self.reader.replace(Some(reader.clone()));
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    pub(super) fn know(&self) {
        self.known.set(true);
    }

    /// Bytes are no longer kept for it.
    pub(super) fn release(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
    }

    /// Until it has to give way.
    pub(super) async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// The lower, the earlier it gives way.
    fn worth(&self) -> u8 {
        match self.phase.get() {
            Phase::Follow => 2,
            Phase::Answer => 3,
            Phase::Idle if self.known.get() => 1,
            // Whoever it is: a request that does not arrive holds a place for nothing.
            _ => 0,
        }
    }
}

/// All places of a listener.
#[derive(Debug)]
pub(super) struct Seats {
    limits: Limits,
    next: Cell<u64>,
    taken: RefCell<BTreeMap<u64, Rc<Seat>>>,
    freed: Notify,
    changed: Rc<Notify>,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) seat: Rc<Seat>,
    seats: Rc<Seats>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.taken.borrow_mut().remove(&self.seat.number);
        self.seats.freed.notify_one();
        self.seats.changed.notify_waiters();
    }
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            next: Cell::new(0),
            taken: RefCell::default(),
            freed: Notify::new(),
            changed: Rc::default(),
        })
    }

    /// A place for a new connection; the one with the least reason to stay gives way. One that has just come is
    /// given a moment before.
    pub(super) async fn take(self: &Rc<Self>) -> Taken {
        while let Some(until) = self.make_room(Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.freed.notified() => {}
            }
        }
        let number = self.next.get();
        self.next.set(number + 1);
        let seat = Rc::new(Seat {
            number,
            phase: Cell::new(Phase::New),
            since: Cell::new(Instant::now()),
            known: Cell::new(false),
            held: Cell::new(0),
            leave: Notify::new(),
            changed: Rc::clone(&self.changed),
            reader: RefCell::default(),
        });
        self.taken.borrow_mut().insert(number, Rc::clone(&seat));
        Taken { seat, seats: Rc::clone(self) }
    }

    /// Makes room for one more, or tells when there may be.
    fn make_room(&self, now: Instant) -> Option<Instant> {
        let full = self.taken.borrow().len() >= self.limits.connections_max;
        let unknown = self.taken.borrow().values().filter(|seat| !seat.known.get()).count();
        if !full && unknown < self.limits.unknown_connections_max {
            return None;
        }
        let last = {
            let taken = self.taken.borrow();
            let candidates = taken.values().filter(|seat| full || !seat.known.get());
            candidates.min_by_key(|seat| (seat.worth(), seat.since.get())).cloned()
        };
        let last = last?;
        let settled = last.since.get() + self.limits.settle_time;
        if settled > now {
            return Some(settled);
        }
        self.dismiss(&last);
        None
    }

    /// Room for one more descriptor.
    pub(super) fn dismiss_one(&self) {
        let last = self.taken.borrow().values().min_by_key(|seat| (seat.worth(), seat.since.get())).cloned();
        // One that has just come is given the moment that its request takes.
        let settled = |seat: &Rc<Seat>| seat.since.get() + self.limits.settle_time <= Instant::now();
        if let Some(last) = last.filter(settled) {
            self.dismiss(&last);
        }
    }

    fn dismiss(&self, seat: &Seat) {
        self.taken.borrow_mut().remove(&seat.number);
        seat.leave.notify_one();
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Until nobody waits for an answer.
    pub(super) async fn answered(&self) {
        loop {
            // Before the look, so that no change is missed.
            let changed = self.changed.notified();
            if !self.taken.borrow().values().any(|seat| seat.phase.get() == Phase::Answer) {
                return;
            }
            changed.await;
        }
    }

    /// How many follow a log.
    pub(super) fn followers(&self) -> usize {
        self.taken.borrow().values().filter(|seat| seat.phase.get() == Phase::Follow).count()
    }

    /// Notes bytes that are kept for this connection. If that is too much with all others, those whose bytes have
    /// been kept longest lose them.
    pub(super) fn hold(&self, seat: &Seat, bytes: usize) {
        seat.held.set(seat.held.get() + bytes);
        if bytes <= SMALL_BYTES {
            return;
        }
        while let Some(slowest) = self.slowest(seat) {
            self.dismiss(&slowest);
        }
    }

    /// Who has to go for the bytes of this one.
    fn slowest(&self, seat: &Seat) -> Option<Rc<Seat>> {
        let taken = self.taken.borrow();
        let held: usize = taken.values().map(|seat| seat.held.get()).sum();
        let slow = |other: &&Rc<Seat>| other.number != seat.number && other.held.get() > SMALL_BYTES;
        let slowest = taken.values().filter(slow).min_by_key(|seat| seat.since.get());
        slowest.filter(|_| held > self.limits.held_bytes_max).cloned()
    }
}
