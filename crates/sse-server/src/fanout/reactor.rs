//! One thread that writes streams: wake → new frames → groups → sockets; heartbeats; deadlines.
//!
//! It sleeps in one place, until a socket, the hub or a deadline wants something. Every turn of the loop
//! takes, in this order: what sockets report, rounds of new events (unless they are gathered), streams handed over, what operators ask,
//! streams that read on by themselves, deadlines; each for a bounded time, so that none waits long for another. A stream
//! handed over is adopted when the rounds have reached its place in the order, so none is ever ahead of
//! its reactor, and one that is level with it is live.

mod drain;
mod gathering;
mod held;
mod leave;
mod silence;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Poll};

use super::command::{self, Command};
use super::counters::Tally;
use super::fetch::{Fetch, Fetched, Found};
use super::group::{Round, Slot, Wanted, Window};
use super::gzip::{Given, Packer};
use super::mailbox::{Arrival, Mailbox};
use super::roster::{Handle, Roster, from_token};
use super::stream::{Place, Sent, Stream};
use super::wheel::Wheel;
use super::wire::{Chunk, Encoding};
use super::{Config, Counters, EndReason};
use crate::hub::{EventId, Frame, Hub, Ordinal, Portion, ReaderId, Unread, Wake};
use drain::Drain;
use gathering::Gathering;
use held::Held;

/// Socket reports taken at once.
const REPORTS_MAX: usize = 1024;

/// Portions that a stream behind reads in one turn of the loop; then others come first.
const PORTIONS_MAX: usize = 2;

/// Poll takes its time in a C int of milliseconds.
const SLEEP_MAX_MS: u64 = 3_600_000;

/// How long a turn does each of its works before others come and what is left waits for the next: goes on with
/// streams whose sockets have room, writes rounds, takes streams in, goes on with what was read from the store, answers
/// operators, lets streams behind read on.
const WRITING_MAX: Duration = Duration::from_millis(20);

pub(super) struct Reactor {
    config: Config,
    hub: Hub,
    reader: ReaderId,
    counters: Arc<Counters>,
    mailbox: Arc<Mailbox>,
    poll: Poll,
    began: Instant,
    now_ms: u64,
    roster: Roster,
    /// Streams behind that wait for nothing but their turn, each once.
    ready: VecDeque<Handle>,
    heartbeats: Wheel<Handle>,
    /// The streams whose grant ends, by when.
    granted_until: BTreeSet<(u64, Slot)>,
    idle_look_ms: u64,
    /// The next event to take, the end of the order when it was looked at, and the id passed.
    next: Ordinal,
    end: Ordinal,
    position: EventId,
    /// If streams are sent away.
    drain: Option<Drain>,
    gathering: Gathering,
    held: Held,
    /// Streams whose place the reactor has not reached.
    arrivals: Vec<Arrival>,
    /// Streams that have arrived this turn: nothing is held for them any more.
    arrived: usize,
    fetches: Sender<Fetch>,
    /// Requests on their way, and what came of earlier ones and waits for its turn.
    fetching: usize,
    fetched: VecDeque<Fetched>,
    /// Questions that wait for their turn.
    commands: VecDeque<Command>,
    /// Whether there are more in the mailbox.
    asked_more: bool,
    tally: Tally,
    // Kept for their memory from turn to turn.
    frames: Vec<Arc<Frame>>,
    wanted: Vec<Wanted>,
    stalled: Vec<Slot>,
    waiting: Vec<Slot>,
    ended: Vec<(Slot, EndReason)>,
    due: Vec<Handle>,
    chunk: Chunk,
    text: Vec<u8>,
    scratch: Box<[u8]>,
    packer: Packer,
}

impl Reactor {
    pub(super) fn new(
        config: Config,
        hub: Hub,
        fetches: Sender<Fetch>,
        counters: Arc<Counters>,
    ) -> io::Result<(Self, ReaderId, Arc<Mailbox>)> {
        let poll = Poll::new()?;
        let mailbox = Arc::new(Mailbox::new(poll.registry())?);
        let reader = hub.reader(Arc::clone(&mailbox) as Arc<dyn Wake>);
        let bucket_ms = millis(config.heartbeat_interval) / 32;
        let window = Window {
            bytes_max: config.gzip_window_bytes,
            bytes_per_stream: config.gzip_window_bytes_per_stream,
        };
        let packer = Packer::new(config.gzip_level, config.gzip_threshold);
        let reactor = Self {
            config,
            hub,
            reader,
            counters,
            mailbox: Arc::clone(&mailbox),
            poll,
            began: Instant::now(),
            now_ms: 0,
            roster: Roster::new(window),
            ready: VecDeque::new(),
            heartbeats: Wheel::new(bucket_ms),
            granted_until: BTreeSet::new(),
            idle_look_ms: 0,
            next: 0,
            end: 0,
            position: EventId::ZERO,
            drain: None,
            gathering: Gathering::default(),
            held: Held::default(),
            arrivals: Vec::new(),
            arrived: 0,
            fetches,
            fetching: 0,
            fetched: VecDeque::new(),
            commands: VecDeque::new(),
            asked_more: false,
            tally: Tally::default(),
            frames: Vec::new(),
            wanted: Vec::new(),
            stalled: Vec::new(),
            waiting: Vec::new(),
            ended: Vec::new(),
            due: Vec::new(),
            chunk: Chunk::default(),
            text: Vec::new(),
            packer,
            scratch: vec![0; 16 << 10].into(),
        };
        Ok((reactor, reader, mailbox))
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(REPORTS_MAX);
        let mut more = false;
        loop {
            let waiting = more || self.has_left_work();
            let timeout = if waiting { Some(Duration::ZERO) } else { self.sleep() };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    panic!("a reactor's own descriptor is open and its buffer is valid: {error}")
                }
                Ok(()) | Err(_) => {}
            }
            self.now_ms = millis(self.began.elapsed());
            self.mailbox.awake();
            let began = Instant::now();
            for event in &events {
                self.report(event, began);
            }
            self.asked_more = self.mailbox.receive(&mut self.arrivals, &mut self.commands);
            let is_draining = self.mailbox.is_draining();
            more = !self.gathers(is_draining) && self.take_rounds();
            self.release_held(is_draining, self.next);
            self.adopt_arrivals();
            self.take_fetched();
            self.answer_commands();
            self.advance_ready();
            self.beat();
            self.look_for_idle();
            self.expire();
            if is_draining {
                self.drain(more);
            }
            let arrived = std::mem::take(&mut self.arrived);
            if arrived > 0 {
                self.hub.arrived(self.reader, arrived);
            }
            self.tally.give(&self.counters);
            if self.mailbox.is_stopping() {
                break;
            }
        }
        // They are told as all others.
        while let Some(arrival) = self.arrivals.pop() {
            self.adopt(arrival);
        }
        self.end_all();
        self.tally.give(&self.counters);
    }

    /// A moment on the reactor's own clock.
    fn time_ms(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.began))
    }

    /// Whether a turn was over before all was done that could be.
    fn has_left_work(&self) -> bool {
        let can_be_adopted = |arrival: &Arrival| arrival.subscription.start.next <= self.next;
        !self.ready.is_empty()
            || !self.commands.is_empty()
            || self.asked_more
            || !self.fetched.is_empty()
            || self.arrivals.iter().any(can_be_adopted)
    }

    /// How long nothing will be due.
    fn sleep(&self) -> Option<Duration> {
        if self.roster.is_empty() {
            return None;
        }
        let idle = (!self.config.idle_timeout.is_zero()).then_some(self.idle_look_ms);
        let granted = self.granted_until.first().map(|(until_ms, _)| *until_ms);
        let due = [
            self.heartbeats.next_due(),
            idle,
            self.drain.as_ref().map(Drain::due_ms),
            self.gathering.until_ms(),
            self.held_until_ms(),
            granted,
        ]
        .into_iter()
        .flatten()
        .min()?;
        // Poll counts from now, and the clock may have moved since `now_ms`.
        let in_ms = due.saturating_sub(millis(self.began.elapsed()));
        Some(Duration::from_millis(in_ms.clamp(1, SLEEP_MAX_MS)))
    }

    /// What a socket reports. It does so once, so a stream that has room later in a turn than `WRITING_MAX` waits among
    /// those that are ready.
    fn report(&mut self, event: &mio::event::Event, began: Instant) {
        let Some(handle) = from_token(event.token()).filter(|handle| self.roster.holds(*handle)) else {
            return;
        };
        let slot = handle.0;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let stream = &mut self.roster[slot];
            let ended = stream.drain_input(&mut self.scratch, self.config.input_bytes_max);
            if let Some(reason) = ended {
                return self.end(slot, reason);
            }
        }
        if event.is_writable() && began.elapsed() > WRITING_MAX {
            self.make_ready(slot);
        } else if event.is_writable() {
            self.go_on(handle);
        }
    }

    /// Takes new events and writes them to every live stream that wants them, round by round, up to the
    /// end of the order. Returns whether there is more.
    fn take_rounds(&mut self) -> bool {
        let (portion, began) = (self.portion(), Instant::now());
        loop {
            let mut frames = std::mem::take(&mut self.frames);
            let taken = self.hub.take(self.reader, portion, &mut frames);
            (self.next, self.end, self.position) = (taken.next, taken.end, taken.position);
            let first = taken.next - frames.len() as Ordinal;
            if !frames.is_empty() && self.round(first, &frames) > 0 {
                self.gathering.begin(self.now_ms + millis(self.config.flush_interval));
            }
            frames.clear();
            self.frames = frames;
            for slot in self.roster.beyond_reach(taken.first) {
                self.end(slot, EndReason::Slow);
            }
            let more = taken.next < taken.end;
            if !more || began.elapsed() > WRITING_MAX {
                return more;
            }
        }
    }

    /// Takes in the streams whose place the reactor has reached; the others wait for the next turn. Until then
    /// what they need is held for them.
    fn adopt_arrivals(&mut self) {
        let (waiting, began) = (std::mem::take(&mut self.arrivals), Instant::now());
        for arrival in waiting {
            if arrival.subscription.start.next > self.next || began.elapsed() > WRITING_MAX {
                self.arrivals.push(arrival);
            } else {
                self.adopt(arrival);
            }
        }
    }

    /// Goes on with the streams for which something was read from the store.
    fn take_fetched(&mut self) {
        if self.fetching == 0 {
            return;
        }
        self.mailbox.receive_fetched(&mut self.fetched);
        let began = Instant::now();
        while began.elapsed() <= WRITING_MAX
            && let Some(Fetched { stream: handle, found }) = self.fetched.pop_front()
        {
            self.fetching -= 1;
            if !self.roster.holds(handle) {
                continue;
            }
            let stream = &mut self.roster[handle.0];
            stream.fetching = None;
            self.arrived += usize::from(std::mem::take(&mut stream.is_arriving));
            match (found, stream.place) {
                (None, Place::Behind(_)) => self.end(handle.0, EndReason::Slow),
                (Some(Found { frames, then }), Place::Behind(_)) => {
                    if self.write_replay(handle.0, &frames, then) {
                        self.make_ready(handle.0);
                    }
                }
                // It was told goodbye meanwhile.
                (_, Place::Live | Place::Held(_) | Place::Leaving) => {}
            }
        }
    }

    /// Answers what operators ask.
    fn answer_commands(&mut self) {
        let began = Instant::now();
        while began.elapsed() <= WRITING_MAX
            && let Some(command) = self.commands.pop_front()
        {
            // Who asked may have gone meanwhile.
            match command {
                Command::List { after, count_max, answer } if !answer.is_closed() => {
                    let (streams, order) = ((&self.roster, &*self.arrivals), (self.next, self.end));
                    let _ = answer.send(command::list(streams, order, self.now_ms, after, count_max));
                }
                Command::Kick { id, answer } if !answer.is_closed() => {
                    let _ = answer.send(self.kick(id));
                }
                Command::Withdraw { holder, answer } => {
                    let _ = answer.send(self.withdraw(&holder));
                }
                Command::List { .. } | Command::Kick { .. } => {}
            }
        }
    }

    /// Lets each stream that is behind, and whose socket has room, read on a little.
    fn advance_ready(&mut self) {
        let began = Instant::now();
        for _ in 0..self.ready.len() {
            if let Some(handle) = self.ready.pop_front().filter(|handle| self.roster.holds(*handle)) {
                self.roster[handle.0].is_ready = false;
                self.go_on(handle);
            }
            if began.elapsed() > WRITING_MAX {
                break;
            }
        }
    }

    /// The stream has its turn as soon as there is time.
    fn make_ready(&mut self, slot: Slot) {
        if !std::mem::replace(&mut self.roster[slot].is_ready, true) {
            self.ready.push_back(self.roster.handle(slot));
        }
    }

    /// Advances a stream whose socket may have room, and asks for room again if it has none.
    fn go_on(&mut self, handle: Handle) {
        self.advance(handle.0);
        if self.roster.holds(handle) {
            self.watch(handle.0);
        }
    }

    fn portion(&self) -> Portion {
        Portion { events_max: self.config.round_events_max, bytes_max: self.config.round_bytes_max }
    }

    /// Writes a round: the same bytes, with one call, to each live stream of each group that wants them. The bytes of a
    /// group are made, written and gone before those of the next, however many groups there are. Returns how many
    /// events streams got.
    fn round(&mut self, first: Ordinal, frames: &[Arc<Frame>]) -> u64 {
        let mut wanted = std::mem::take(&mut self.wanted);
        self.make_room(first, frames);
        self.roster.groups.wanted(frames, &mut wanted);
        let mut deliveries = 0;
        for wanted in wanted.chunk_by(|a, b| a.0 == b.0) {
            let round = self.roster.groups.compose(wanted, frames, &mut self.packer);
            deliveries += round.events * self.write_round(&round, first);
            self.roster.groups.recycle(round);
        }
        self.hold(first, frames);
        wanted.clear();
        self.wanted = wanted;
        self.tally.delivered += deliveries;
        if let Some(oldest) = frames.first()
            && deliveries > 0
        {
            self.counters.delivery_latency.observe(oldest.accepted().elapsed(), deliveries);
        }
        deliveries
    }

    /// Returns how many streams got it.
    fn write_round(&mut self, round: &Round, first: Ordinal) -> u64 {
        let live = std::mem::take(&mut self.roster.groups[round.group].live);
        let mut parts: Vec<(Slot, *const u8, usize)> = Vec::new();
        let may_wait = !self.config.undrained_wait.is_zero();
        for slot in &live {
            let stream = &mut self.roster[*slot];
            // A compressed one would leave what it shares with its group.
            if may_wait && stream.is_unix && stream.gzip.is_none() && !stream.has_taken_all() {
                self.waiting.push(*slot);
                continue;
            }
            stream.events += round.events;
            let bytes = round.bytes_for(stream);
            if round.text > 0 {
                self.tally.text += round.text;
                self.tally.packed += bytes.len() as u64;
            }
            match stream.send(bytes) {
                Sent::All => self.tally.bytes += bytes.len() as u64,
                Sent::Part(sent) => {
                    self.tally.bytes += sent as u64;
                    parts.push((*slot, bytes.as_ptr(), sent));
                }
                Sent::Ended(reason) => {
                    stream.events -= round.events;
                    self.ended.push((*slot, reason));
                }
            }
        }
        let written = (live.len() - self.ended.len() - self.waiting.len()) as u64;
        let entry = &mut self.roster.groups[round.group];
        entry.live = live;
        entry.written_ms = self.now_ms;
        for bytes in round.all_bytes() {
            // One copy for all of what some of them has not got.
            let parts = || parts.iter().filter(|(_, of, _)| *of == bytes.as_ptr());
            let Some(from) = parts().map(|(.., sent)| *sent).min() else { continue };
            let rest: Arc<[u8]> = bytes[from..].into();
            for (slot, _, sent) in parts() {
                self.roster[*slot].keep(Arc::clone(&rest), sent - from);
                self.roster.place_behind(*slot, (self.next, self.position));
                self.watch(*slot);
            }
        }
        while let Some(slot) = self.waiting.pop() {
            self.roster.place_held(slot, first);
        }
        while let Some((slot, reason)) = self.ended.pop() {
            self.end(slot, reason);
        }
        written
    }

    /// Takes a stream in: opening first, then its replay.
    fn adopt(&mut self, arrival: Arrival) {
        let Arrival { socket, opening, greeted, encoding, subscription, owner } = arrival;
        let group = self.roster.groups.join(subscription.group, &subscription.interest, encoding);
        let mut stream = Stream::new(socket, group, owner, self.now_ms);
        stream.joined = self.position;
        if encoding == Encoding::Gzip {
            stream.gzip = Some(Box::new(Given::new(greeted)));
            self.counters.gzip_streams.fetch_add(1, Ordering::Relaxed);
        }
        let opened = stream.send(&opening);
        self.tally.bytes += stream.bytes;
        if let Sent::Part(sent) = opened {
            stream.keep(opening[sent..].into(), 0);
        }
        let granted_until_ms = stream.connection().granted_until.map(|at| self.time_ms(at));
        let handle = self.roster.insert(stream);
        let slot = handle.0;
        if let Some(until_ms) = granted_until_ms {
            self.granted_until.insert((until_ms, slot));
        }
        let start = subscription.start;
        self.roster.place_behind(slot, (start.next, start.position));
        self.arrived += 1;
        let watched = self.begin_watch(slot);
        if let Err(error) = watched {
            log::warn!("cannot watch the socket of a stream: {error}");
            return self.end(slot, EndReason::Client);
        }
        let interval_ms = millis(self.config.heartbeat_interval);
        if interval_ms > 0 {
            self.heartbeats.insert(self.now_ms, self.now_ms + interval_ms, handle);
        }
        match opened {
            Sent::All => self.advance(slot),
            Sent::Part(_) => {}
            Sent::Ended(reason) => return self.end(slot, reason),
        }
        if self.roster.holds(handle) && self.roster[slot].fetching.is_some() {
            self.roster[slot].is_arriving = true;
            self.arrived -= 1;
        }
    }

    /// Lets a stream that is not live go on: first its unfinished write, then what it has missed, until it
    /// is level with the reactor or its socket is full. Others wait meanwhile, so it gets few portions.
    fn advance(&mut self, slot: Slot) {
        for _ in 0..PORTIONS_MAX {
            let stream = &mut self.roster[slot];
            if stream.is_stuck() {
                let before = stream.bytes;
                let sent = stream.flush(self.now_ms);
                self.tally.bytes += stream.bytes - before;
                stream.written_ms = self.now_ms;
                match sent {
                    Sent::All => {}
                    Sent::Part(_) => return,
                    Sent::Ended(reason) => return self.end(slot, reason),
                }
            }
            let (place, is_fetching) = (stream.place, stream.fetching.is_some());
            match place {
                Place::Live | Place::Held(_) => return,
                Place::Leaving => return self.end(slot, EndReason::Drain),
                Place::Behind(next) if self.parts(next >= self.next) => return self.say_goodbye(slot),
                Place::Behind(_) if is_fetching => return,
                Place::Behind(next) if next >= self.next => return self.roster.place_live(slot),
                Place::Behind(next) => {
                    if !self.replay(slot, next) {
                        return;
                    }
                }
            }
        }
        self.make_ready(slot);
    }

    /// Writes one portion of what a stream has missed, or asks the store for it. Returns whether its socket
    /// takes more.
    fn replay(&mut self, slot: Slot, next: Ordinal) -> bool {
        let mut frames = std::mem::take(&mut self.frames);
        let more = match self.hub.replay(next, self.next, self.portion(), &mut frames) {
            Ok(then) => {
                let passed = frames.last().map_or(self.roster[slot].passed, |frame| frame.id());
                self.write_replay(slot, &frames, (then, passed))
            }
            Err(Unread::Stored) => {
                self.fetch(slot, next);
                false
            }
            Err(Unread::Gone) => {
                self.end(slot, EndReason::Slow);
                false
            }
        };
        frames.clear();
        self.frames = frames;
        more
    }

    fn fetch(&mut self, slot: Slot, from: Ordinal) {
        let stream = self.roster.handle(slot);
        let (mailbox, until, portion) = (Arc::clone(&self.mailbox), self.next, self.portion());
        let interest = Arc::clone(self.roster.with_group(slot).1.interest());
        let fetching = Arc::new(());
        let wanted = Arc::downgrade(&fetching);
        // It fails only when the thread has panicked, and then has said so.
        if self.fetches.send(Fetch { mailbox, stream, wanted, interest, from, until, portion }).is_err() {
            return self.end(slot, EndReason::Slow);
        }
        self.roster[slot].fetching = Some(fetching);
        self.fetching += 1;
    }

    /// Writes those of these events that a stream wants; it reads on from `then`, and has passed the id beside.
    /// Returns whether its socket takes more.
    fn write_replay(&mut self, slot: Slot, frames: &[Arc<Frame>], then: (Ordinal, EventId)) -> bool {
        let (stream, group) = self.roster.with_group(slot);
        let interest = group.interest();
        let body = self.chunk.begin();
        let (mut events, mut replayed) = (0, 0);
        for frame in frames.iter().filter(|frame| interest.reads(frame)) {
            events += 1;
            replayed += u64::from(frame.id() <= stream.joined);
            match &mut stream.gzip {
                // No private event may be read off the length of another.
                Some(given) if interest.is_private() => {
                    self.text.clear();
                    frame.write(interest, &mut self.text);
                    given.add(&self.text);
                    self.tally.text += self.text.len() as u64;
                    self.packer.pack(&[], &self.text, body);
                }
                Some(_) => frame.write(interest, &mut self.text),
                None => frame.write(interest, body),
            }
        }
        (stream.place, stream.passed) = (Place::Behind(then.0), then.1);
        if events == 0 {
            return true;
        }
        if let Some(given) = &mut stream.gzip {
            if !interest.is_private() {
                given.add(&self.text);
                self.tally.text += self.text.len() as u64;
                self.packer.pack(&[], &self.text, body);
            }
            self.text.clear();
            self.tally.packed += body.len() as u64;
        }
        self.chunk.finish(group.encoding());
        stream.events += events;
        stream.written_ms = self.now_ms;
        self.tally.delivered += events;
        self.tally.replayed += replayed;
        let bytes = self.chunk.bytes();
        match stream.send(bytes) {
            Sent::All => {
                self.tally.bytes += bytes.len() as u64;
                true
            }
            Sent::Part(sent) => {
                self.tally.bytes += sent as u64;
                stream.keep(bytes[sent..].into(), 0);
                self.watch(slot);
                false
            }
            Sent::Ended(reason) => {
                self.end(slot, reason);
                false
            }
        }
    }

    fn end(&mut self, slot: Slot, reason: EndReason) {
        let (stream, group) = self.roster.remove(slot);
        self.arrived += usize::from(stream.is_arriving);
        if let Some(until) = stream.connection().granted_until {
            self.granted_until.remove(&(self.time_ms(until), slot));
        }
        // A twin of the descriptor may be open in actix, so closing would not end the watch.
        let _ = self.poll.registry().deregister(&mut SourceFd(&stream.descriptor()));
        self.hub.unsubscribe(self.reader, group);
        self.counters.closed.add(reason);
        if stream.gzip.is_some() {
            self.counters.gzip_streams.fetch_sub(1, Ordering::Relaxed);
        }
        stream.end(reason);
        self.mailbox.leave();
    }
}

/// Frames the last bytes of a stream that is not live, with the end of its body.
fn finish_last(stream: &Stream, encoding: Encoding, chunk: &mut Chunk) {
    if let Some(given) = &stream.gzip {
        chunk.body().extend_from_slice(&given.ending());
    }
    chunk.finish(encoding);
    chunk.body().extend_from_slice(encoding.last_chunk());
}

/// A duration in milliseconds; one beyond reason becomes so long that it is never over, and still can be
/// added to a time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}
