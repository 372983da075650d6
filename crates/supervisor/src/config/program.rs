//! One program: what to run, how to keep it running, how to stop it, where its output goes.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

/// When a program that exits by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoRestart {
    /// Never.
    Never,
    /// When its exit code is none of `exitcodes`.
    Unexpected,
    /// Always.
    Always,
}

/// What a FATAL program means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFatal {
    /// Nothing.
    Ignore,
    /// Everything stops and the daemon exits with 10.
    Shutdown,
}

/// How long a program waits between two tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the second try.
    pub initial: Duration,
    /// From one wait to the next.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// Part of the wait by which it varies, 0 to 1.
    pub jitter: f64,
}

/// How many starts within which time are a crash loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLimit {
    /// Starts that are allowed.
    pub starts: usize,
    /// Within this time.
    pub within: Duration,
}

/// How to find out that a program serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A GET of this path at this TCP address is answered with a status from 200 to 399.
    Http {
        /// `host:port`.
        address: String,
        /// Path and query.
        path: String,
    },
    /// The same over a unix socket.
    HttpUnix {
        /// The socket's file.
        socket: PathBuf,
        /// Path and query.
        path: String,
    },
    /// The TCP address accepts a connection.
    Tcp(String),
    /// The unix socket accepts a connection.
    Unix(PathBuf),
    /// The command exits with 0.
    Exec(Vec<String>),
    /// The program says so on `NOTIFY_SOCKET`.
    Notify,
}

/// How a program that runs is asked whether it still serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// What is asked; [`Check::Notify`]: it says `WATCHDOG=1` by itself.
    pub check: Check,
    /// From one try to the next.
    pub interval: Duration,
    /// How long one try may take, or how long it may be silent.
    pub timeout: Duration,
    /// Failures in a row that are one too many.
    pub failures: u32,
}

/// What a program is to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[program.NAME]`.
    Program,
    /// `[eventlistener.NAME]`.
    EventListener,
    /// `[fcgi-program.NAME]`.
    FcgiProgram,
}

/// A limit of the system on one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    /// Which, such as `nofile`.
    pub name: &'static str,
    /// Its number for the system.
    pub resource: u32,
    /// The limit, soft and hard; `None`: unlimited.
    pub value: Option<u64>,
}

/// Where an output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logfile {
    /// Nowhere.
    None,
    /// In a file that the daemon names, in `childlogdir`.
    Auto,
    /// In this file.
    File(PathBuf),
}

/// The readiness check of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What is asked.
    pub check: Check,
    /// How long until not being ready counts as an exit.
    pub timeout: Duration,
    /// From one try to the next.
    pub interval: Duration,
}

/// Where a stream of output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The file.
    pub logfile: Logfile,
    /// Size at which the file is rotated; 0: never.
    pub maxbytes: u64,
    /// Old files that are kept.
    pub backups: usize,
    /// Whether it also goes to the daemon's own stdout.
    pub tee: bool,
    /// Whether it also goes to the system's log.
    pub syslog: bool,
    /// Bytes of one `PROCESS_COMMUNICATION` event; 0: there are none.
    pub capture_maxbytes: u64,
    /// Whether every piece of it is a `PROCESS_LOG` event.
    pub events_enabled: bool,
}

/// A program, checked.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are the keys of the configuration, described in docs/supervisor.md"
)]
pub struct Program {
    /// The section's name, which several processes may share.
    pub program: String,
    pub kind: Kind,
    pub name: String,
    pub group: String,
    pub command: Vec<String>,
    /// The command in the words of the file, for `getAllConfigInfo`.
    pub command_text: String,
    pub priority: i64,
    pub autostart: bool,
    pub autorestart: AutoRestart,
    pub startsecs: Duration,
    pub startretries: u32,
    pub exitcodes: Vec<i32>,
    pub stopsignal: Signal,
    pub stopwaitsecs: Duration,
    pub stopasgroup: bool,
    pub killasgroup: bool,
    pub user: Option<String>,
    pub directory: Option<PathBuf>,
    pub umask: Option<u32>,
    pub environment: Vec<(String, String)>,
    pub redirect_stderr: bool,
    pub stdout: Output,
    pub stderr: Output,
    pub logfile_compress: bool,
    pub depends_on: Vec<String>,
    pub ready: Option<Ready>,
    pub backoff: Option<Backoff>,
    pub start_limit: Option<StartLimit>,
    pub on_fatal: OnFatal,
    pub drainsignal: Option<Signal>,
    pub reopen_signal: Option<Signal>,
    pub sockets: Vec<String>,
    /// The socket that is its standard input, if it is an fcgi-program.
    pub fcgi_socket: Option<String>,
    pub alive: Option<Alive>,
    /// The group that it runs as, if not its user's own.
    pub run_group: Option<String>,
    /// The groups that it has beside, if not its user's own.
    pub supplementary_groups: Option<Vec<String>>,
    pub nice: Option<i32>,
    pub rlimits: Vec<Rlimit>,
    /// What `SUPERVISOR_SERVER_URL` says, if not the daemon's own.
    pub serverurl: Option<String>,
}
