//! The life of a program: inputs and the time go in, actions come out.
//!
//! ```text
//!                 Start                    up for startsecs, ready
//!  STOPPED ──────────────────▶ STARTING ──────────────────────────▶ RUNNING
//!     ▲  ▲                     │  ▲   │                             │  │
//!     │  │ Stop   exit too soon│  │   │Stop                 Stop    │  │ exit
//!     │  └──────── BACKOFF ◀───┘  │   └────────▶ STOPPING ◀─────────┘  │
//!     │               │  └────────┘                 │                  ▼
//!     └───────────────│─────────────────────────────┘               EXITED ──▶ STARTING (autorestart)
//!                     ▼ more than startretries, or start_limit
//!                   FATAL                 a signal cannot be sent ──▶ UNKNOWN
//! ```
//!
//! The transitions are those of supervisor 4.3 `process.py`, with four additions: STARTING also lasts until the
//! program is ready, if it has a readiness check; a program that no longer serves goes through STOPPING to STARTING;
//! `start_limit` counts every start; and waiting is on a clock that nobody can set.

mod backoff;
mod exit;
pub mod name;
pub mod order;
mod state;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use backoff::Backoff;
pub use exit::Exit;
pub use state::ProcessState;

/// When a program that exits by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    Never,
    /// When its exit code is none of the expected ones.
    Unexpected,
    /// Always.
    Always,
}

/// What a program's life follows.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The program's name, for the log.
    pub name: String,
    /// Up for so long is RUNNING.
    pub startsecs: Duration,
    /// Tries after the first that failed.
    pub startretries: u32,
    /// Whether it starts again after an exit.
    pub restart: Restart,
    /// Exit codes that are no failure.
    pub exitcodes: Vec<i32>,
    /// After this a stop becomes a kill.
    pub stopwaitsecs: Duration,
    /// The wait between tries.
    pub backoff: Backoff,
    /// More starts than this within the time are a crash loop.
    pub start_limit: Option<(usize, Duration)>,
    /// How long it may take until it is ready; `None`: it has no readiness check.
    pub ready_timeout: Option<Duration>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// It shall run.
    Start,
    /// It shall not run.
    Stop,
    /// The process is there.
    Spawned(u32),
    /// The process could not be made.
    SpawnFailed(String),
    /// The process ended.
    Exited(Exit),
    /// The readiness check succeeded.
    Ready,
    /// It was asked whether it still serves, and does not; with why.
    Unhealthy(String),
    /// The stop signal could not be sent.
    SignalFailed,
    /// The deadline has come.
    Timeout,
}

/// How important a sentence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// An operator must act.
    Critical,
    /// It may become a problem.
    Warn,
    /// An event of a life.
    Info,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the process, and answer with `Spawned` or `SpawnFailed`.
    Spawn,
    /// Send the stop signal.
    Terminate,
    /// Send SIGKILL.
    Kill,
    /// It is in another state now; whoever listens is to be told.
    Entered(Entered),
    /// Write this to the log.
    Log(Level, String),
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The state before.
    pub from: ProcessState,
    /// The state now.
    pub to: ProcessState,
    /// The process that it concerns.
    pub pid: Option<u32>,
    /// Whether an exit was one of those that are no failure.
    pub expected: bool,
    /// Failures in a row so far.
    pub tries: u32,
}

/// A program.
#[derive(Debug)]
pub struct Program {
    rules: Rules,
    state: ProcessState,
    pid: Option<u32>,
    started: Option<Instant>,
    deadline: Option<Instant>,
    ready: bool,
    /// It was not ready in time and is being ended for it.
    overdue: bool,
    /// Why it was not ready the last time it was asked.
    doubt: Option<String>,
    /// It is being ended only to begin anew.
    again: bool,
    failures: u32,
    starts: VecDeque<Instant>,
    spawn_error: String,
    exit: Option<Exit>,
    chance: u64,
}

const TOO_QUICKLY: &str = "Exited too quickly (process log may have details)";

impl Program {
    /// A program that was never started. `seed` varies its waits.
    #[must_use]
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            state: ProcessState::Stopped,
            pid: None,
            started: None,
            deadline: None,
            ready: false,
            overdue: false,
            doubt: None,
            again: false,
            failures: 0,
            starts: VecDeque::new(),
            spawn_error: String::new(),
            exit: None,
            chance: seed,
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        self.state
    }

    /// Whether it is being ended only to begin anew: to its clients it runs.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        self.again && self.state == ProcessState::Stopping
    }

    /// From now on an end is the end: nothing starts it but a client.
    pub fn never_again(&mut self) {
        self.again = false;
        self.rules.restart = Restart::Never;
    }

    /// Its process, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether those that depend on it may start: its check succeeded, or, without one, it is RUNNING.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.rules.ready_timeout {
            Some(_) => self.ready && self.pid.is_some() && self.state != ProcessState::Stopping,
            None => self.state == ProcessState::Running,
        }
    }

    /// Why it is not running, as clients see it; empty if nothing is wrong.
    #[must_use]
    pub fn spawn_error(&self) -> &str {
        &self.spawn_error
    }

    /// How its last process ended.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Why it was not ready the last time it was asked; the log says so if its time is over.
    pub fn doubt(&mut self, why: Option<String>) {
        self.doubt = why;
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Goes on from what happened.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.stop(now),
            Input::Spawned(pid) => self.spawned(pid, now),
            Input::SpawnFailed(why) => self.spawn_failed(why, now),
            Input::Exited(exit) => self.exited(exit, now),
            Input::Ready => self.on_ready(now),
            Input::Unhealthy(why) => self.unhealthy(&why, now),
            Input::SignalFailed => {
                self.deadline = None;
                vec![self.enter(ProcessState::Unknown)]
            }
            Input::Timeout if self.deadline.is_some_and(|deadline| deadline <= now) => self.timeout(now),
            Input::Timeout => Vec::new(),
        }
    }

    fn start(&mut self, now: Instant) -> Vec<Action> {
        if self.pid.is_some() || self.state.is_running() && self.state != ProcessState::Backoff {
            return Vec::new();
        }
        if let Some((starts, within)) = self.rules.start_limit {
            while self.starts.front().is_some_and(|start| now.duration_since(*start) > within) {
                self.starts.pop_front();
            }
            if self.starts.len() >= starts {
                self.starts.clear();
                let text = format!(
                    "gave up: {} entered FATAL state, {starts} starts within {} seconds",
                    self.rules.name,
                    within.as_secs_f64()
                );
                let mut actions = Vec::new();
                self.give_up(text, &mut actions);
                return actions;
            }
            self.starts.push_back(now);
        }
        self.spawn_error.clear();
        self.exit = None;
        self.ready = false;
        self.overdue = false;
        self.again = false;
        self.deadline = None;
        self.started = Some(now);
        vec![self.enter(ProcessState::Starting), Action::Spawn]
    }

    /// Every change of state goes through here.
    fn enter(&mut self, to: ProcessState) -> Action {
        self.enter_with(to, self.pid, true)
    }

    fn enter_with(&mut self, to: ProcessState, pid: Option<u32>, expected: bool) -> Action {
        let from = std::mem::replace(&mut self.state, to);
        Action::Entered(Entered { from, to, pid, expected, tries: self.failures })
    }

    fn spawned(&mut self, pid: u32, now: Instant) -> Vec<Action> {
        self.pid = Some(pid);
        self.started = Some(now);
        let mut actions =
            vec![Action::Log(Level::Info, format!("spawned: '{}' with pid {pid}", self.rules.name))];
        actions.extend(self.check_running(now));
        actions
    }

    fn spawn_failed(&mut self, why: String, now: Instant) -> Vec<Action> {
        let mut actions = vec![Action::Log(Level::Info, format!("spawnerr: {why}"))];
        self.spawn_error = why;
        actions.extend(self.back_off(now));
        actions
    }

    fn on_ready(&mut self, now: Instant) -> Vec<Action> {
        if self.ready || self.overdue || self.pid.is_none() || !self.state.is_running() {
            return Vec::new();
        }
        self.ready = true;
        let mut actions = vec![Action::Log(Level::Info, format!("ready: {}", self.rules.name))];
        actions.extend(self.check_running(now));
        actions
    }

    /// STARTING becomes RUNNING when both conditions hold; else the next deadline is set.
    fn check_running(&mut self, now: Instant) -> Vec<Action> {
        let (ProcessState::Starting, Some(started)) = (self.state, self.started) else { return Vec::new() };
        let up_at = Some(started + self.rules.startsecs).filter(|up_at| *up_at > now);
        let late_at = self.rules.ready_timeout.filter(|_| !self.ready).map(|timeout| started + timeout);
        self.deadline = [up_at, late_at].into_iter().flatten().min();
        if self.deadline.is_some() {
            return Vec::new();
        }
        self.failures = 0;
        let entered = self.enter(ProcessState::Running);
        let text = format!(
            "success: {} entered RUNNING state, process has stayed up for > than {} seconds (startsecs)",
            self.rules.name,
            self.rules.startsecs.as_secs_f64()
        );
        vec![entered, Action::Log(Level::Info, text)]
    }

    fn stop(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            ProcessState::Backoff => {
                self.deadline = None;
                vec![self.enter(ProcessState::Stopped)]
            }
            ProcessState::Starting | ProcessState::Running if self.pid.is_some() => {
                let overdue = std::mem::take(&mut self.overdue);
                let entered = self.enter(ProcessState::Stopping);
                if overdue && self.deadline.is_some() {
                    // The signal was sent already when it was not ready in time.
                    return vec![entered];
                }
                self.deadline = Some(now + self.rules.stopwaitsecs);
                vec![entered, Action::Terminate]
            }
            ProcessState::Stopping => {
                self.again = false;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// It runs, but does not serve: it is ended in order to begin anew.
    fn unhealthy(&mut self, why: &str, now: Instant) -> Vec<Action> {
        if self.state != ProcessState::Running {
            return Vec::new();
        }
        self.again = true;
        self.deadline = Some(now + self.rules.stopwaitsecs);
        let text = format!("unhealthy: {} is restarted: {why} (alive)", self.rules.name);
        vec![Action::Log(Level::Warn, text), self.enter(ProcessState::Stopping), Action::Terminate]
    }

    fn exited(&mut self, exit: Exit, now: Instant) -> Vec<Action> {
        let pid = self.pid.take();
        self.deadline = None;
        self.ready = false;
        let name = self.rules.name.clone();
        let expected = self.rules.exitcodes.contains(&exit.status());
        let level = if expected { Level::Info } else { Level::Warn };
        match self.state {
            ProcessState::Starting => {
                let why = if self.overdue {
                    "Not ready in time (process log may have details)"
                } else {
                    TOO_QUICKLY
                };
                self.spawn_error = why.to_owned();
                self.exit = None;
                let mut actions =
                    vec![Action::Log(Level::Warn, format!("exited: {name} ({exit}; not expected)"))];
                actions.extend(self.back_off(now));
                actions
            }
            ProcessState::Running => {
                self.failures = 0;
                let entered = self.enter_with(ProcessState::Exited, pid, expected);
                let judged = if expected { "expected" } else { "not expected" };
                if !expected {
                    self.spawn_error = format!("Bad exit code {}", exit.status());
                }
                let mut actions =
                    vec![entered, Action::Log(level, format!("exited: {name} ({exit}; {judged})"))];
                self.exit = Some(exit);
                let again = match self.rules.restart {
                    Restart::Never => false,
                    Restart::Unexpected => !expected,
                    Restart::Always => true,
                };
                if again {
                    actions.extend(self.start(now));
                }
                actions
            }
            _ => {
                let again = std::mem::take(&mut self.again);
                let entered = self.enter_with(ProcessState::Stopped, pid, expected);
                let text = format!("stopped: {name} ({exit})");
                self.exit = Some(exit);
                let mut actions = vec![entered, Action::Log(level, text)];
                if again {
                    actions.extend(self.start(now));
                }
                actions
            }
        }
    }

    /// STARTING → BACKOFF, or FATAL when the tries are used up.
    fn back_off(&mut self, now: Instant) -> Vec<Action> {
        self.failures = self.failures.saturating_add(1);
        let mut actions = vec![self.enter(ProcessState::Backoff)];
        if self.failures > self.rules.startretries {
            let text = format!(
                "gave up: {} entered FATAL state, too many start retries too quickly",
                self.rules.name
            );
            self.give_up(text, &mut actions);
            return actions;
        }
        let chance = self.next_chance();
        self.deadline = Some(now + self.rules.backoff.wait(self.failures, chance));
        actions
    }

    fn give_up(&mut self, text: String, actions: &mut Vec<Action>) {
        self.deadline = None;
        self.failures = 0;
        actions.push(self.enter(ProcessState::Fatal));
        actions.push(Action::Log(Level::Info, text));
    }

    fn timeout(&mut self, now: Instant) -> Vec<Action> {
        self.deadline = None;
        match self.state {
            ProcessState::Backoff => self.start(now),
            ProcessState::Stopping => self.kill(now),
            ProcessState::Starting if self.overdue => self.kill(now),
            ProcessState::Starting => self.starting_timeout(now),
            _ => Vec::new(),
        }
    }

    fn starting_timeout(&mut self, now: Instant) -> Vec<Action> {
        let late = match (self.started, self.rules.ready_timeout) {
            (Some(started), Some(timeout)) => !self.ready && started + timeout <= now,
            _ => false,
        };
        if !late {
            return self.check_running(now);
        }
        self.overdue = true;
        self.deadline = Some(now + self.rules.stopwaitsecs);
        let text = format!(
            "not ready: {} did not become ready within {} seconds (ready.timeout), it counts as an exit{}",
            self.rules.name,
            self.rules.ready_timeout.unwrap_or_default().as_secs_f64(),
            self.doubt.take().map(|why| format!(": {why}")).unwrap_or_default()
        );
        vec![Action::Log(Level::Warn, text), Action::Terminate]
    }

    fn kill(&mut self, now: Instant) -> Vec<Action> {
        self.deadline = Some(now + self.rules.stopwaitsecs.max(Duration::from_secs(1)));
        let text = format!("killing '{}' ({}) with SIGKILL", self.rules.name, self.pid.unwrap_or_default());
        vec![Action::Log(Level::Warn, text), Action::Kill]
    }

    /// The next of a fixed sequence of numbers from 0 to 1 (`splitmix64`).
    fn next_chance(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
