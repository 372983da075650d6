//! How a process ended.

use std::fmt;

/// What `wait` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal {
        /// Its name, such as `SIGKILL`.
        name: String,
        /// Whether it left a core file.
        core: bool,
    },
}

impl Exit {
    /// The code that clients see: -1 after a signal (supervisor 4.3 `options.py:decode_wait_status`).
    #[must_use]
    pub fn status(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal { .. } => -1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal { name, core: false } => write!(f, "terminated by {name}"),
            Self::Signal { name, core: true } => write!(f, "terminated by {name} (core dumped)"),
        }
    }
}
