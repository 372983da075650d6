//! The reactor's double: the same steps as in `fanout/reactor.rs`, without sockets and threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::fetch::{Fetch, Found};
use super::socket::{Item, Sent};
use super::stream::{Arrival, End, Handle, Place, Stream};
use crate::backplane::Backplane;
use crate::hub::{EventId, Frame, Hub, Interest, Ordinal, Portion, ReaderId, Subscription, Unread, Wake};
use crate::store::ReadError;

/// Portions that a stream behind reads in one turn.
const PORTIONS_MAX: usize = 2;

#[derive(Default)]
pub(super) struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(&self) {
        self.0.store(true, Relaxed);
    }
}

/// How far one turn goes, as time decides for the reactor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Portions of new events.
    pub(super) portions: usize,
    /// Whether what others handed over has come.
    pub(super) receives: bool,
    /// Whether streams have been silent for long.
    pub(super) beats: bool,
}

pub(super) struct Reader {
    hub: Hub,
    pub(super) id: ReaderId,
    pub(super) bell: Arc<Bell>,
    portion: Portion,
    /// Events looked at in one fetch.
    scan_max: u64,
    pub(super) next: Ordinal,
    position: EventId,
    streams: BTreeMap<Handle, Stream>,
    mailbox: Vec<Arrival>,
    arrivals: Vec<Arrival>,
    arrived: usize,
    ready: VecDeque<Handle>,
    pub(super) reports: Vec<Handle>,
    fetches: VecDeque<Fetch>,
    fetched: Vec<(Handle, Found)>,
    more: bool,
    /// Streams ended since the last look.
    pub(super) ended: Vec<(Handle, End)>,
}

impl Reader {
    pub(super) fn new(hub: &Hub, portion: Portion, scan_max: u64) -> Self {
        let bell = Arc::new(Bell::default());
        Self {
            hub: hub.clone(),
            id: hub.reader(Arc::clone(&bell) as Arc<dyn Wake>),
            bell,
            portion,
            scan_max,
            next: 0,
            position: EventId::ZERO,
            streams: BTreeMap::new(),
            mailbox: Vec::new(),
            arrivals: Vec::new(),
            arrived: 0,
            ready: VecDeque::new(),
            reports: Vec::new(),
            fetches: VecDeque::new(),
            fetched: Vec::new(),
            more: false,
            ended: Vec::new(),
        }
    }

    /// Whether the reactor would wake.
    pub(super) fn is_woken(&self) -> bool {
        self.more || !self.ready.is_empty() || !self.reports.is_empty() || self.bell.0.load(Relaxed)
    }

    pub(super) fn send(&mut self, arrival: Arrival) {
        self.mailbox.push(arrival);
        self.bell.wake();
    }

    /// What its open streams ask for, in the model's numbers.
    pub(super) fn interests(&self) -> impl Iterator<Item = usize> {
        let streams = self.streams.values().map(|stream| stream.interest_number);
        let coming = self.mailbox.iter().chain(&self.arrivals).map(|arrival| arrival.interest);
        streams.chain(coming)
    }

    /// Where streams start that nothing was read for yet.
    pub(super) fn arriving(&self) -> impl Iterator<Item = Ordinal> {
        let streams = self.streams.values().filter_map(|stream| stream.is_arriving);
        let coming = self.mailbox.iter().chain(&self.arrivals).map(|arrival| arrival.subscription.start.next);
        streams.chain(coming)
    }

    /// The server sends every stream away; what is under way to the clients still comes, or is `lost`.
    pub(super) fn end_all(&mut self, lost: bool) {
        self.close_all(lost);
        for stream in std::mem::take(&mut self.streams).into_values() {
            self.hub.unsubscribe(self.id, stream.group);
        }
        for arrival in self.mailbox.drain(..).chain(self.arrivals.drain(..)) {
            self.hub.unsubscribe(self.id, arrival.subscription.group);
        }
    }

    /// The server goes; what is under way to the clients still comes, or is `lost`.
    pub(super) fn close_all(&mut self, lost: bool) {
        let coming = self.mailbox.iter().chain(&self.arrivals).map(|arrival| &arrival.socket);
        coming
            .chain(self.streams.values().map(|stream| &stream.socket))
            .for_each(|socket| socket.close(lost));
    }

    /// One turn of the reactor's loop.
    pub(super) fn turn(&mut self, turn: Turn) {
        self.bell.0.store(false, Relaxed);
        for handle in std::mem::take(&mut self.reports) {
            self.report(handle);
        }
        if turn.receives {
            self.arrivals.append(&mut self.mailbox);
        } else if !self.mailbox.is_empty() {
            self.bell.wake();
        }
        self.more = self.take_rounds(turn.portions);
        self.adopt_arrivals();
        self.take_fetched();
        for _ in 0..self.ready.len() {
            if let Some(handle) = self.ready.pop_front().filter(|handle| self.streams.contains_key(handle)) {
                self.advance(handle);
            }
        }
        if turn.beats {
            self.beat();
        }
        let arrived = std::mem::take(&mut self.arrived);
        if arrived > 0 {
            self.hub.arrived(self.id, arrived);
        }
    }

    fn report(&mut self, handle: Handle) {
        match self.streams.get(&handle) {
            None => {}
            Some(stream) if stream.socket.is_cut() => self.end(handle, End::Client),
            Some(_) => self.advance(handle),
        }
    }

    fn take_rounds(&mut self, portions: usize) -> bool {
        for n in 1.. {
            let mut frames = Vec::new();
            let taken = self.hub.take(self.id, self.portion, &mut frames);
            (self.next, self.position) = (taken.next, taken.position);
            self.round(&frames);
            let behind = self.streams.iter().filter_map(|(handle, stream)| match stream.place {
                Place::Behind(next) if next < taken.first => Some((*handle, next)),
                _ => None,
            });
            for (handle, next) in behind.collect::<Vec<_>>() {
                self.end(handle, End::Beyond(next));
            }
            let more = taken.next < taken.end;
            if !more || n >= portions {
                return more;
            }
        }
        unreachable!("the numbers do not end")
    }

    fn round(&mut self, frames: &[Arc<Frame>]) {
        let live = self.streams.iter().filter(|(_, stream)| stream.place == Place::Live);
        for handle in live.map(|(handle, _)| *handle).collect::<Vec<_>>() {
            let stream = self.stream(handle);
            let items = wanted(frames, &stream.interest);
            if items.is_empty() {
                continue;
            }
            match stream.socket.send(&items) {
                Sent::All => {}
                Sent::Part(sent) => {
                    stream.rest = items[sent..].to_vec();
                    self.place_behind(handle, (self.next, self.position));
                }
                Sent::Ended => self.end(handle, End::Client),
            }
        }
    }

    fn adopt_arrivals(&mut self) {
        for arrival in std::mem::take(&mut self.arrivals) {
            if arrival.subscription.start.next > self.next {
                self.arrivals.push(arrival);
            } else {
                self.adopt(arrival);
            }
        }
    }

    fn adopt(&mut self, arrival: Arrival) {
        let Arrival { handle, socket, subscription, interest } = arrival;
        let Subscription { group, interest: shared, start } = subscription;
        let opened = socket.send(&[Item::Greeting(start)]);
        let rest = if let Sent::Part(_) = opened { vec![Item::Greeting(start)] } else { Vec::new() };
        let stream = Stream {
            socket,
            group,
            interest: shared,
            interest_number: interest,
            place: Place::Behind(start.next),
            passed: start.position,
            rest,
            is_fetching: false,
            is_arriving: None,
        };
        self.streams.insert(handle, stream);
        // What a new watch reports.
        self.reports.push(handle);
        self.arrived += 1;
        match opened {
            Sent::All => self.advance(handle),
            Sent::Part(_) => {}
            Sent::Ended => return self.end(handle, End::Client),
        }
        if self.streams.get(&handle).is_some_and(|stream| stream.is_fetching) {
            self.stream(handle).is_arriving = Some(start.next);
            self.arrived -= 1;
        }
    }

    fn take_fetched(&mut self) {
        for (handle, found) in std::mem::take(&mut self.fetched) {
            let Some(stream) = self.streams.get_mut(&handle) else { continue };
            stream.is_fetching = false;
            self.arrived += usize::from(stream.is_arriving.take().is_some());
            match (found, stream.place) {
                (Err(ReadError::Gone), Place::Behind(next)) => self.end(handle, End::Beyond(next)),
                (Err(_), _) => self.end(handle, End::Store),
                (Ok((frames, then)), Place::Behind(_)) => {
                    if self.write_replay(handle, &frames, then) {
                        self.ready.push_back(handle);
                    }
                }
                (Ok(_), Place::Live) => {}
            }
        }
    }

    fn advance(&mut self, handle: Handle) {
        for _ in 0..PORTIONS_MAX {
            let next = self.next;
            let stream = self.stream(handle);
            if !stream.rest.is_empty() {
                match stream.socket.send(&stream.rest) {
                    Sent::All => stream.rest.clear(),
                    Sent::Part(sent) => {
                        stream.rest.drain(..sent);
                        return;
                    }
                    Sent::Ended => return self.end(handle, End::Client),
                }
            }
            match stream.place {
                Place::Live => return,
                Place::Behind(_) if stream.is_fetching => return,
                Place::Behind(from) if from >= next => return self.place(handle, Place::Live),
                Place::Behind(from) => {
                    if !self.replay(handle, from) {
                        return;
                    }
                }
            }
        }
        self.ready.push_back(handle);
    }

    fn replay(&mut self, handle: Handle, from: Ordinal) -> bool {
        let mut frames = Vec::new();
        match self.hub.replay(from, self.next, self.portion, &mut frames) {
            Ok(then) => {
                let passed = frames.last().map_or(self.stream(handle).passed, |frame| frame.id());
                self.write_replay(handle, &frames, (then, passed))
            }
            Err(Unread::Stored) => {
                let until = self.next;
                let stream = self.stream(handle);
                stream.is_fetching = true;
                let interest = Arc::clone(&stream.interest);
                self.fetches.push_back(Fetch { handle, interest, from, until });
                false
            }
            Err(Unread::Gone) => {
                self.end(handle, End::Beyond(from));
                false
            }
        }
    }

    fn write_replay(&mut self, handle: Handle, frames: &[Arc<Frame>], then: (Ordinal, EventId)) -> bool {
        self.place_behind(handle, then);
        let stream = self.stream(handle);
        let items = wanted(frames, &stream.interest);
        if items.is_empty() {
            return true;
        }
        match stream.socket.send(&items) {
            Sent::All => true,
            Sent::Part(sent) => {
                stream.rest = items[sent..].to_vec();
                false
            }
            Sent::Ended => {
                self.end(handle, End::Client);
                false
            }
        }
    }

    fn beat(&mut self) {
        let free = self.streams.iter().filter(|(_, stream)| stream.rest.is_empty());
        for handle in free.map(|(handle, _)| *handle).collect::<Vec<_>>() {
            let (next, position) = (self.next, self.position);
            let stream = self.stream(handle);
            let is_live = stream.place == Place::Live;
            let beat = [Item::Heartbeat(if is_live { position } else { stream.passed })];
            match stream.socket.send(&beat) {
                Sent::All => {}
                Sent::Part(_) => {
                    stream.rest = beat.to_vec();
                    if is_live {
                        self.place_behind(handle, (next, position));
                    }
                }
                Sent::Ended => self.end(handle, End::Client),
            }
        }
    }

    /// The thread that reads the store does so for the next stream; false if there is none.
    pub(super) fn fetch(&mut self, backplane: &Backplane) -> bool {
        let Some(fetch) = self.fetches.pop_front() else { return false };
        self.fetched.push((fetch.handle, fetch.read(backplane, self.portion, self.scan_max)));
        self.bell.wake();
        true
    }

    fn stream(&mut self, handle: Handle) -> &mut Stream {
        self.streams.get_mut(&handle).expect("the stream is open")
    }

    fn place(&mut self, handle: Handle, place: Place) {
        self.stream(handle).place = place;
    }

    fn place_behind(&mut self, handle: Handle, (next, passed): (Ordinal, EventId)) {
        let stream = self.stream(handle);
        (stream.place, stream.passed) = (Place::Behind(next), passed);
    }

    fn end(&mut self, handle: Handle, why: End) {
        let stream = self.streams.remove(&handle).expect("the stream is open");
        self.arrived += usize::from(stream.is_arriving.is_some());
        self.hub.unsubscribe(self.id, stream.group);
        stream.socket.close(false);
        self.ended.push((handle, why));
    }
}

fn wanted(frames: &[Arc<Frame>], interest: &Interest) -> Vec<Item> {
    let wanted = frames.iter().filter(|frame| interest.reads(frame));
    wanted.map(|frame| Item::Event(Arc::clone(frame))).collect()
}
