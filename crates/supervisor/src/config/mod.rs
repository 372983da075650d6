//! The configuration: read, checked as a whole, every mistake at once.

pub mod arguments;
mod convert;
mod daemon;
mod dependencies;
mod diff;
mod document;
mod environment;
mod expand;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod groups;
mod include;
mod ini;
mod keys;
mod listeners;
mod paths;
mod probes;
mod process;
mod program;
mod reader;
pub mod units;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::events::ResultHandler;

pub use convert::Converted;
pub use diff::{Definition, Diff, diff};
pub use document::Mistake;
pub use program::{
    Alive, AutoRestart, Backoff, Check, Kind, Logfile, OnFatal, Output, Program, Ready, Rlimit, StartLimit,
};
pub use words::unreadable_command;

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisord {
    /// The daemon's own log; `None`: none.
    pub logfile: Option<PathBuf>,
    /// Whether its log goes to the system's log instead.
    pub syslog: bool,
    /// Size at which it is rotated; 0: never.
    pub logfile_maxbytes: u64,
    /// Old files that are kept.
    pub logfile_backups: usize,
    /// Whether rotated files are gzipped.
    pub logfile_compress: bool,
    /// The least important level that is written.
    pub loglevel: log::LevelFilter,
    /// Where the daemon's pid is written.
    pub pidfile: Option<PathBuf>,
    /// Whether nothing of the log goes to stdout.
    pub silent: bool,
    /// The name by which the daemon is known to its clients.
    pub identifier: String,
    /// The umask of the daemon and its programs.
    pub umask: u32,
    /// Where the daemon works.
    pub directory: Option<PathBuf>,
    /// Added to the environment of every program.
    pub environment: Vec<(String, String)>,
    /// The longest time that a whole stop may take; `None`: no limit.
    pub shutdown_timeout: Option<Duration>,
    /// Where log files without a name of their own are made.
    pub childlogdir: PathBuf,
    /// Whom the daemon becomes after its start as root.
    pub user: Option<String>,
    /// Open files that the daemon must be able to have.
    pub minfds: u64,
    /// Processes that the daemon must be able to have.
    pub minprocs: u64,
    /// Whether log files without a name of their own that an earlier run left stay.
    pub nocleanup: bool,
    /// Whether colours and other ANSI sequences are taken out of the programs' logs.
    pub strip_ansi: bool,
    /// Whether the daemon stays in the foreground.
    pub nodaemon: bool,
}

/// Where the daemon is controlled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpServer {
    /// Where it listens.
    pub address: HttpAddress,
    /// Name that a client must give.
    pub username: Option<String>,
    /// Password that a client must give, as it is or `{SHA}` and its SHA-1 in hex.
    pub password: Option<String>,
    /// Whether it answers `GET /status` alone.
    pub status_only: bool,
}

/// Where a control interface listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAddress {
    /// `[unix_http_server]`.
    Unix {
        /// Its file.
        file: PathBuf,
        /// Its permissions.
        chmod: u32,
        /// Its owner, `user` or `user:group`.
        chown: Option<String>,
    },
    /// `[inet_http_server]`.
    Tcp {
        /// The address; empty: every one of this machine.
        host: String,
        /// The port.
        port: u16,
    },
}

/// A group of programs: one of `[group.NAME]`, or one program alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Lower starts first and stops last.
    pub priority: i64,
    /// What its processes listen to, if they are listeners.
    pub listener: Option<Listener>,
}

/// What `[eventlistener.NAME]` says beside what every program has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Names of event types, in supervisord's words.
    pub events: Vec<String>,
    /// Events that may wait; one more drops the oldest.
    pub buffer_size: usize,
    /// Who looks at their results.
    pub result_handler: ResultHandler,
}

/// Where a configuration comes from, to be read again at a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// What `%(ENV_X)s` stands for.
    pub environment: Vec<(String, String)>,
    /// The variables that are no UTF-8, which programs inherit as they are.
    pub inherited: Vec<(OsString, OsString)>,
    /// What `%(host_node_name)s` stands for.
    pub host: String,
    /// Where relative paths begin: where the daemon was started, wherever it works later.
    pub directory: PathBuf,
    /// What the command line says instead of `[supervisord]`.
    pub overrides: Overrides,
}

impl Source {
    /// Whether the file is an INI file, and so read as leniently as supervisord reads it.
    #[must_use]
    pub fn is_ini(&self) -> bool {
        is_ini(&self.file)
    }
}

/// Whether a file is an INI file, by its name.
fn is_ini(file: &Path) -> bool {
    file.extension().is_none_or(|extension| extension != "toml")
}

/// What the command line says instead of `[supervisord]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Supervisord`")]
pub struct Overrides {
    pub nodaemon: bool,
    pub silent: bool,
    pub nocleanup: bool,
    pub strip_ansi: bool,
    pub user: Option<String>,
    pub umask: Option<u32>,
    pub directory: Option<PathBuf>,
    pub logfile: Option<String>,
    pub logfile_maxbytes: Option<u64>,
    pub logfile_backups: Option<usize>,
    pub loglevel: Option<log::LevelFilter>,
    pub pidfile: Option<String>,
    pub identifier: Option<String>,
    pub childlogdir: Option<PathBuf>,
    pub minfds: Option<u64>,
    pub minprocs: Option<u64>,
}

/// What `check` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Everything that is wrong, also what supervisord swallows; by file and line.
    pub mistakes: Vec<Mistake>,
    /// What is probably not meant so.
    pub warnings: Vec<Mistake>,
    /// The configuration, if the daemon would start with it.
    pub config: Option<Config>,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A file.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// A listening socket that the daemon opens for its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// The name by which programs ask for it, and that they are told.
    pub name: String,
    /// Where it listens.
    pub listen: Listen,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Permissions of a unix socket's file.
    pub mode: Option<u32>,
    /// Owner of a unix socket's file, `user` or `user:group`.
    pub owner: Option<String>,
}

/// Everything, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The daemon itself.
    pub supervisord: Supervisord,
    /// Where it is controlled.
    pub http_servers: Vec<HttpServer>,
    /// The groups, by priority and then by name, as there.
    pub groups: Vec<Group>,
    /// The processes of all groups, group by group, in each by priority and then by name.
    pub programs: Vec<Program>,
    /// The listening sockets.
    pub sockets: Vec<Socket>,
    /// Where `supervisorctl` finds the daemon, if the file says so.
    pub serverurl: Option<String>,
    /// What is probably not meant so, and what supervisord swallows: it is told, and does not stop the start.
    pub warnings: Vec<Mistake>,
    /// What supervisord tells about a configuration as it reads it.
    pub infos: Vec<String>,
}

impl Config {
    /// Where programs reach the daemon: over the unix socket rather than over TCP.
    #[must_use]
    pub fn control_url(&self) -> Option<String> {
        let controls = self.http_servers.iter().filter(|server| !server.status_only);
        let urls = controls.map(|server| match &server.address {
            HttpAddress::Unix { file, .. } => (0, format!("unix://{}", file.display())),
            HttpAddress::Tcp { host, port } if host.is_empty() => (1, format!("http://localhost:{port}")),
            HttpAddress::Tcp { host, port } => (1, format!("http://{host}:{port}")),
        });
        urls.min().map(|(_, url)| url)
    }

    /// The processes that `depends_on = ["NAME"]` means: those of the section of this name, or of the group.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Program> {
        let section = self.programs.iter().any(|program| program.program == name);
        self.programs.iter().filter(move |program| match section {
            true => program.program == name,
            false => program.group == name,
        })
    }

    /// What the log says about the configuration at a start, in supervisord's words where it has some.
    #[must_use]
    pub fn sentences(&self) -> Vec<(log::Level, String)> {
        let warnings = self.warnings.iter().map(|warning| match warning.genuine {
            true => (log::Level::Warn, warning.text.clone()),
            false => (log::Level::Warn, warning.to_string()),
        });
        warnings.chain(self.infos.iter().map(|info| (log::Level::Info, info.clone()))).collect()
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests;
