//! Tells listeners what happens, and hears what they answer.

use std::time::{Duration, Instant};

use super::Supervisor;
use super::entry::{Entry, Id};
use super::inbox::Said;
use crate::events::{Event, Kinds, Line, Listener, ListenerState, Outcome, Period, Pool, publish};
use crate::program::{Entered, ProcessState};

/// How long the loop may sleep before it looks whether somebody has set the clock on the wall, which ticks follow.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// The ticks that listeners wait for.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The slice of time that was last told, for each period that somebody wants.
    told: Vec<(Period, u64)>,
    next: Option<Instant>,
}

impl Ticks {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

impl Supervisor {
    pub(super) fn emit(&mut self, event: &Event) {
        if !self.pools.is_empty() {
            tell(publish(event, &mut self.serial, self.pools.values_mut()));
        }
    }

    /// A program is in another state now.
    pub(super) fn entered(&mut self, id: Id, entered: Entered) {
        let Some(entry) = self.entries.get(&id) else { return };
        let event = Event::ProcessState {
            to: entered.to,
            process: entry.config.name.clone(),
            group: entry.config.group.clone(),
            from_state: entered.from,
            pid: entered.pid,
            expected: entered.expected,
            tries: entered.tries,
        };
        self.emit(&event);
        if entered.to == ProcessState::Running {
            self.watch(id);
        }
        let ended = entered.to.is_stopped() || entered.to == ProcessState::Backoff;
        if ended && let Some(entry) = self.entries.get(&id).filter(|entry| entry.listener.is_some()) {
            let name = entry.config.name.clone();
            if let Some(pool) = self.pools.get_mut(&entry.config.group) {
                tell(pool.rejected(&name));
            }
        }
    }

    /// Makes the pool of a group of listeners.
    pub(super) fn add_pool(&mut self, group: &crate::config::Group) {
        let Some(listener) = &group.listener else { return };
        match Kinds::parse(&listener.events) {
            Ok(kinds) => {
                let identifier = &self.config.supervisord.identifier;
                let pool = Pool::new(&group.name, identifier, kinds, listener.buffer_size);
                self.pools.insert(group.name.clone(), pool);
            }
            Err(why) => log::error!("[eventlistener.{}]: {why}", group.name),
        }
        self.arrange_ticks();
    }

    pub(super) fn on_said(&mut self) {
        for said in self.inbox.take() {
            match said {
                Said::Event(event) => self.emit(&event),
                Said::Listener { id, start, bytes } => self.on_listener(id, start, &bytes),
            }
        }
        // A listener that has heard everything may stop.
        self.unsettled |= self.shutdown.is_some();
        self.dispatch();
    }

    fn on_listener(&mut self, id: Id, start: u64, bytes: &[u8]) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.start == start) else { return };
        let (name, group) = (entry.config.name.clone(), entry.config.group.clone());
        log::debug!("'{name}' stdout output:\n{}", crate::events::text(bytes));
        let definition = self.groups.get(&group).and_then(|definition| definition.group.listener.as_ref());
        let handler = definition.map(|listener| listener.result_handler).unwrap_or_default();
        let outcomes =
            entry.listener.as_mut().map(|listener| listener.on_stdout(bytes, handler)).unwrap_or_default();
        let Some(pool) = self.pools.get_mut(&group) else { return };
        for outcome in outcomes {
            match outcome {
                Outcome::Log(line) => tell([line]),
                Outcome::Ready => {}
                Outcome::Show(lines) => self.shared.stdout.write(&lines),
                Outcome::Result { ok: true } => pool.processed(&name),
                Outcome::Result { ok: false } | Outcome::Violation => tell(pool.rejected(&name)),
            }
        }
    }

    /// Gives waiting events to listeners that are ready.
    pub(super) fn dispatch(&mut self) {
        for (group, pool) in &mut self.pools {
            if pool.waiting() == 0 {
                continue;
            }
            let ready =
                self.entries.values_mut().filter(|entry| entry.config.group == *group && is_ready(entry));
            for entry in ready {
                let (Some(listener), Some(stdin)) = (&mut entry.listener, &mut entry.stdin) else { continue };
                let Some(delivery) = pool.next_for(&entry.config.name) else { break };
                match stdin.write(&delivery.bytes) {
                    Ok(()) => {
                        listener.sent();
                        tell([delivery.line]);
                    }
                    Err(_) => tell(pool.unsent(&entry.config.name)),
                }
            }
        }
    }

    /// Which ticks are wanted; must follow every change of the pools.
    pub(super) fn arrange_ticks(&mut self) {
        let now = wall_seconds();
        let wanted = Period::ALL.into_iter().filter(|period| {
            let tick = Event::Tick { period: *period, when: 0 };
            self.pools.values().any(|pool| pool.wants(&tick))
        });
        let before = std::mem::take(&mut self.ticks.told);
        let told =
            |period: Period| before.iter().find(|(other, _)| *other == period).map(|(_, slice)| *slice);
        self.ticks.told =
            wanted.map(|period| (period, told(period).unwrap_or_else(|| period.slice(now)))).collect();
        self.ticks.next = self.next_tick(Instant::now());
    }

    fn next_tick(&self, now: Instant) -> Option<Instant> {
        let wall = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        let left = |period: Period| {
            let end = (period.slice(wall / 1000) + period.seconds()) * 1000;
            Duration::from_millis(end.saturating_sub(wall)).min(CLOCK_INTERVAL)
        };
        self.ticks.told.iter().map(|(period, _)| now + left(*period)).min()
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.ticks.next.is_none_or(|next| next > now) {
            return;
        }
        let wall = wall_seconds();
        let mut due = Vec::new();
        for (period, told) in &mut self.ticks.told {
            let slice = period.slice(wall);
            if slice != *told {
                *told = slice;
                due.push(Event::Tick { period: *period, when: slice });
            }
        }
        for event in &due {
            self.emit(event);
        }
        self.ticks.next = self.next_tick(now);
    }

    /// A listener has a new process.
    pub(super) fn listener_began(&mut self, id: Id) {
        if let Some(listener) = self.entries.get_mut(&id).and_then(|entry| entry.listener.as_mut()) {
            listener.begin();
        }
    }
}

fn is_ready(entry: &Entry) -> bool {
    entry.life.state() == ProcessState::Running
        && entry.listener.as_ref().is_some_and(|listener| listener.state() == ListenerState::Ready)
}

/// A listener for a program, if it is one.
pub(super) fn listener_of(config: &crate::config::Program) -> Option<Listener> {
    (config.kind == crate::config::Kind::EventListener).then(|| Listener::new(&config.name))
}

fn tell(lines: impl IntoIterator<Item = Line>) {
    for Line { level, text } in lines {
        log::log!(level, "{text}");
    }
}

fn wall_seconds() -> u64 {
    jiff::Timestamp::now().as_second().unsigned_abs()
}
