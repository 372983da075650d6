//! One program as the loop holds it: its configuration, its life, its outputs.

use std::rc::Rc;
use std::time::Instant;

use super::broadcast::listener_of;
use super::checks::Checks;
use super::input::Stdin;
use super::output::Output;
use crate::config::{self, AutoRestart};
use crate::events::Listener;
use crate::os::user::{self, Ids};
use crate::program::{Backoff, ProcessState, Program, Restart, Rules};

/// The number of an entry, never used twice.
pub(super) type Id = u64;

/// What becomes of a program once it has stopped.
#[derive(Debug)]
pub(super) enum AfterStop {
    /// It is forgotten.
    Remove,
    /// It goes on with another configuration.
    Replace(Box<config::Program>),
}

/// A task that ends with its handle.
#[derive(Debug)]
pub(super) struct Task(tokio::task::JoinHandle<()>);

impl From<tokio::task::JoinHandle<()>> for Task {
    fn from(handle: tokio::task::JoinHandle<()>) -> Self {
        Self(handle)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Entry {
    pub(super) config: config::Program,
    pub(super) life: Program,
    /// The way into the program's input, open as long as it runs.
    pub(super) stdin: Option<Stdin>,
    pub(super) stdout: Rc<Output>,
    pub(super) stderr: Rc<Output>,
    /// What it has said as a listener, if it is one.
    pub(super) listener: Option<Listener>,
    /// It shall start as soon as what it depends on is ready.
    pub(super) wanted: bool,
    /// It shall stop as soon as what depends on it has.
    pub(super) unwanted: bool,
    /// Its drain signal was sent.
    pub(super) drained: bool,
    /// What the log last said it waits for.
    pub(super) told: Option<Vec<String>>,
    pub(super) after_stop: Option<AfterStop>,
    /// Other processes of the same program that are on their way out: it starts once they are gone.
    pub(super) after: Vec<Id>,
    /// Counts processes, so that what an old one's check says is not taken for the new one's.
    pub(super) start: u64,
    pub(super) checks: Checks,
    /// On a clock that nobody sets, for the uptime; and on the wall, for the answer.
    pub(super) started: Option<(Instant, i64)>,
    pub(super) stopped_at: i64,
}

impl Entry {
    pub(super) fn new(id: Id, config: config::Program, stdout: Rc<Output>, stderr: Rc<Output>) -> Self {
        Self {
            life: Program::new(rules(&config), id ^ u64::from(std::process::id()) << 32),
            wanted: config.autostart,
            listener: listener_of(&config),
            config,
            stdin: None,
            stdout,
            stderr,
            unwanted: false,
            drained: false,
            told: None,
            after_stop: None,
            after: Vec::new(),
            start: 0,
            checks: Checks::default(),
            started: None,
            stopped_at: 0,
        }
    }

    /// Notes times when the state is another one than before.
    pub(super) fn changed(&mut self, before: ProcessState) {
        let state = self.life.state();
        if state != before {
            let now = jiff::Timestamp::now().as_second();
            if state == ProcessState::Starting {
                self.started = Some((Instant::now(), now));
            }
        }
        self.end_checks();
        if self.life.pid().is_none() {
            self.stdin = None;
        }
        if state.is_stopped() {
            self.unwanted = false;
            self.drained = false;
        }
    }

    /// Whom it runs as, if the configuration says so.
    pub(super) fn ids(&self) -> Result<Option<Ids>, String> {
        let config = &self.config;
        user::resolve(
            config.user.as_deref(),
            config.run_group.as_deref(),
            config.supplementary_groups.as_deref(),
        )
    }

    /// Whether it is up or on its way up, by whatever way.
    pub(super) fn runs(&self) -> bool {
        self.life.state().is_running() || self.life.begins_anew()
    }

    /// Whether it needs this socket to stay open.
    pub(super) fn holds(&self, socket: &str) -> bool {
        self.life.state().is_running() && self.config.uses(socket)
    }

    /// Whether it is a process of the same section that is still on its way out, for good.
    pub(super) fn leaves(&self, new: &config::Program) -> bool {
        matches!(self.after_stop, Some(AfterStop::Remove))
            && self.config.program == new.program
            && !self.life.state().is_stopped()
    }

    pub(super) fn reopen_logs(&self) {
        self.stdout.reopen();
        self.stderr.reopen();
    }
}

/// What the configuration says about the program's life.
fn rules(config: &config::Program) -> Rules {
    Rules {
        name: config.name.clone(),
        startsecs: config.startsecs,
        startretries: config.startretries,
        restart: match config.autorestart {
            AutoRestart::Never => Restart::Never,
            AutoRestart::Unexpected => Restart::Unexpected,
            AutoRestart::Always => Restart::Always,
        },
        exitcodes: config.exitcodes.clone(),
        stopwaitsecs: config.stopwaitsecs,
        backoff: match config.backoff {
            None => Backoff::Linear,
            Some(config::Backoff { initial, factor, max, jitter }) => {
                Backoff::Exponential { initial, factor, max, jitter }
            }
        },
        start_limit: config.start_limit.map(|limit| (limit.starts, limit.within)),
        ready_timeout: config.ready.as_ref().map(|ready| ready.timeout),
    }
}
