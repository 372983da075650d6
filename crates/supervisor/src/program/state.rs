//! The states of a program, with supervisord's numbers and names.

use std::fmt;

/// Where a program is in its life (supervisor 4.3 `states.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// Never started, or stopped on request.
    Stopped = 0,
    /// Started, not yet up for `startsecs` or not yet ready.
    Starting = 10,
    /// Up.
    Running = 20,
    /// Exited before `startsecs`; waits for the next try.
    Backoff = 30,
    /// Asked to stop.
    Stopping = 40,
    /// Ended by itself after it was up.
    Exited = 100,
    /// Given up.
    Fatal = 200,
    /// A signal could not be sent.
    Unknown = 1000,
}

impl ProcessState {
    /// The number in the XML-RPC interface.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The name in `status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether there is no process and none is about to be (`STOPPED_STATES`).
    #[must_use]
    pub fn is_stopped(self) -> bool {
        matches!(self, Self::Stopped | Self::Exited | Self::Fatal | Self::Unknown)
    }

    /// Whether it is up or on its way up (`RUNNING_STATES`).
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Backoff | Self::Starting)
    }

    /// Whether there is a process that takes signals (`SIGNALLABLE_STATES`).
    #[must_use]
    pub fn is_signallable(self) -> bool {
        matches!(self, Self::Running | Self::Starting | Self::Stopping)
    }
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
