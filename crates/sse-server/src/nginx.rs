//! nginx's configuration: the marked lines of a template, written anew for where and how the stack runs.
//!
//! A line that ends in `#@ name` is replaced by what [`Settings`] say for that name; one that begins with `#?name` is a
//! comment unless `name` is wanted; one that ends in `#!name` is left out where it is; every other line stays. The shipped template (`docker/nginx-sse.conf`) holds the
//! container's defaults, so it is valid by itself.

mod application;
#[cfg(test)]
mod tests;
mod tls;
mod wall;

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use ipnet::IpNet;

use crate::descriptors::{self, TooFew};

pub use application::{Application, Error as ApplicationError};
pub use tls::{Error as TlsError, Tls};
pub use wall::Wall;

const MARK: &str = "#@ ";

const OPTION: &str = "#?";

const UNLESS: &str = "#!";

/// The run folder that the template is written for.
const RUN_DIR_DEFAULT: &str = "/run/sse";

/// The longest path that a unix socket can have (`sockaddr_un`, less its final NUL).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The longest file name that a program of the stack opens as a socket in the run folder.
const SOCKET_NAME_LONGEST: &str = "sse-server.sock";

/// Connections of a worker beyond two for each stream: publishes, health checks, refusals.
const CONNECTIONS_SPARE: u64 = 1024;

/// Descriptors of a worker beyond its connections: logs, listeners, bodies on disk.
const DESCRIPTORS_SPARE: u64 = 1024;

/// Descriptors that a worker needs beside two for each stream: logs, listeners, its own, and a publish.
const DESCRIPTORS_LEAST: u64 = 24;

/// Connections of a worker when the number of streams is unlimited; each costs nginx half a KiB beforehand.
const CONNECTIONS_UNLIMITED: u64 = 65_536;

/// A body may be this many times as large as an event.
const BODY_PER_EVENT: u64 = 16;

/// How long nginx waits for a client that takes nothing when sse-server itself never gives up on one.
const SEND_TIMEOUT_SECONDS_MAX: u64 = 86_400;

/// Every mark that a template must have, each once or more.
const MARKS: [&str; 26] = [
    "user",
    "worker_processes",
    "worker_rlimit_nofile",
    "worker_connections",
    "run_dir",
    "client_max_body_size",
    "send_timeout",
    "set_real_ip_from",
    "from_trusted_proxy",
    "cors_origin",
    "problem_413",
    "listen",
    "tls_listen",
    "tls_certificate",
    "tls_streams",
    "tls_redirect",
    "tls_hsts",
    "wall_streams_zone",
    "wall_streams",
    "wall_opened_zone",
    "wall_opened",
    "wall_login_zone",
    "wall_login",
    "application",
    "application_resolver",
    "application_body",
];

/// What lines of a template may depend on, each on one or more.
const OPTIONS: [&str; 8] = [
    "tls",
    "tls_redirect",
    "tls_hsts",
    "wall_opened",
    "wall_login",
    "login",
    "application",
    "application_named",
];

/// What the configuration of nginx depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whom the workers run as; `None` if nginx is not started by root, for then it cannot choose.
    pub user: Option<String>,
    /// How many workers; `None` lets nginx count cores, which sees the machine's and not those a container may use.
    pub workers: Option<NonZeroUsize>,
    /// The port nginx listens on, at every address.
    pub port: u16,
    /// Whether to listen on IPv6 too.
    pub ipv6: bool,
    /// Where the socket of sse-server, the pid file and the temporary files are.
    pub run_dir: PathBuf,
    /// The most streams at one time; 0 is unlimited.
    pub connections_max: u64,
    /// What one address may have.
    pub wall: Wall,
    /// The largest event in bytes; 0 is unlimited.
    pub event_bytes_max: u64,
    /// Seconds after which sse-server gives up on a client that takes nothing; 0 is never.
    pub idle_timeout_seconds: u64,
    /// Proxies whose word about the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Other sites whose pages may read what nginx answers by itself.
    pub cors_origins: Vec<String>,
    /// The most descriptors that a process may have here.
    pub descriptors_max: u64,
    /// How TLS is spoken, if it is.
    pub tls: Option<Tls>,
    /// Whether sse-server has a login.
    pub login: bool,
    /// The application that has every path which is not ours, if there is one.
    pub application: Option<Application>,
}

impl Default for Settings {
    /// Those of the container, which the template is written for.
    fn default() -> Self {
        Settings {
            user: Some("www-data".to_owned()),
            workers: None,
            port: 80,
            ipv6: false,
            run_dir: PathBuf::from(RUN_DIR_DEFAULT),
            connections_max: 500,
            wall: Wall::default(),
            event_bytes_max: 262_144,
            idle_timeout_seconds: 300,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            descriptors_max: 1_048_576,
            tls: None,
            login: false,
            application: None,
        }
    }
}

/// What `sse-server nginx` is asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The file with the marked lines.
    pub template: PathBuf,
    /// Where the result goes; stdout if `None`.
    pub output: Option<PathBuf>,
    /// Whether to make sure that nginx can have its port, which holds only before it runs.
    pub check_port: bool,
}

impl Invocation {
    /// Reads the arguments after `nginx`.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Invocation, Error> {
        let mut invocation = Invocation::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut file =
                || args.next().map(PathBuf::from).ok_or_else(|| Error::Usage(format!("{arg} needs a FILE")));
            match arg.as_str() {
                "--template" => invocation.template = file()?,
                "--output" => invocation.output = Some(file()?),
                "--check-port" => invocation.check_port = true,
                _ => return Err(Error::Usage(format!("unknown argument {arg:?}"))),
            }
        }
        if invocation.template.as_os_str().is_empty() {
            return Err(Error::Usage("--template FILE is missing".to_owned()));
        }
        Ok(invocation)
    }

    /// Does it; the answer is what belongs on stdout.
    pub fn run(&self, settings: &Settings) -> Result<String, Error> {
        let text = settings.render_file(&self.template)?;
        if self.check_port {
            settings.check_port()?;
        }
        match &self.output {
            Some(output) => write(output, &text).map(|()| String::new()),
            None => Ok(text),
        }
    }
}

/// Why there is no configuration for nginx.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments make no sense.
    #[error("{0}; usage: sse-server nginx --template FILE [--output FILE] [--check-port]")]
    Usage(String),
    /// The template names something that nobody knows.
    #[error("{path}:{line}: unknown mark `{mark}`; after `#@ ` may be {}, and after `#?` {}", MARKS.join(", "), OPTIONS.join(", "))]
    UnknownMark {
        /// The template.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The mark.
        mark: String,
    },
    /// The template leaves out something that must vary.
    #[error("{path}: no line has the mark `{mark}`, so that setting would not reach nginx")]
    MissingMark {
        /// The template.
        path: PathBuf,
        /// The mark that is missing.
        mark: String,
    },
    /// What should be a port is none.
    #[error("{name} is {value:?}, but it must be a number from 1 to 65535")]
    Port {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// Somebody else has the port.
    #[error("{name} is {port}, but another program listens there already: end it, or choose another one, e.g. {name}={next}", next = next_port(*.port))]
    PortInUse {
        /// The variable.
        name: &'static str,
        /// The port.
        port: u16,
    },
    /// The port cannot be had.
    #[error("{name} is {port}, but nginx may not listen there: {source}")]
    PortDenied {
        /// The variable.
        name: &'static str,
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A path that would end the directive it stands in, or that nginx could not read.
    #[error(
        "{name} is {path:?}, but it must be an absolute path without control characters, quotes, `\\`, `$`, `;`, `{{` and `}}`"
    )]
    Path {
        /// The variable.
        name: &'static str,
        /// What it holds.
        path: PathBuf,
    },
    /// A path too long for a socket.
    #[error(
        "RUN_DIR is {path:?} ({} bytes), but the paths of the sockets in it allow at most {max} bytes: choose a shorter one",
        path.as_os_str().len(),
        max = SOCKET_PATH_BYTES_MAX - SOCKET_NAME_LONGEST.len() - 1
    )]
    RunDirLong {
        /// The run folder.
        path: PathBuf,
    },
    /// A user that would end the directive it stands in.
    #[error("NGINX_USER is {0:?}, but it must be one name of letters, digits, `_`, `.` and `-`")]
    User(String),
    /// TLS was asked for, and cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is an application that nothing can be forwarded to.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// nginx cannot hold as many streams as are allowed.
    #[error(transparent)]
    Descriptors(#[from] TooFew),
    /// The template cannot be read.
    #[error("cannot read the template {path}: {source}")]
    Read {
        /// The template.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The result cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where it was to go.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

const fn next_port(port: u16) -> u16 {
    if port == u16::MAX { port - 1 } else { port + 1 }
}

impl Settings {
    /// Takes `PORT`, `RUN_DIR`, what is said about TLS (`TLS_…`, with `data_dir` for what is kept) and the application (`APP_…`),
    /// and, if `root` is to start nginx, `NGINX_USER` from the environment; an empty one counts as unset.
    pub fn surroundings(
        mut self,
        env: impl Fn(&str) -> Option<String>,
        root: bool,
        data_dir: &Path,
    ) -> Result<Settings, Error> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        self.port = port("PORT", &set)?.unwrap_or(self.port);
        if let Some(run_dir) = set("RUN_DIR") {
            self.run_dir = checked_run_dir(run_dir)?;
        }
        self.user = match (root, set("NGINX_USER")) {
            (false, _) => None,
            (true, Some(user)) => Some(checked_user(user)?),
            (true, None) => self.user,
        };
        self.tls = Tls::read(&set, self.port, data_dir)?;
        let etc = |name| fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
        self.application = Application::read(&set, &etc("hosts"), &etc("resolv.conf"))?;
        self.workers = thread::available_parallelism().ok();
        self.ipv6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        Ok(self)
    }

    /// Whether nginx could listen on its ports just now.
    pub fn check_port(&self) -> Result<(), Error> {
        let tls = self.tls.iter().map(|tls| ("TLS_PORT", tls.port));
        for (name, port) in [("PORT", self.port)].into_iter().chain(tls) {
            let refused = |source: io::Error| match source.kind() {
                io::ErrorKind::AddrInUse => Error::PortInUse { name, port },
                _ => Error::PortDenied { name, port, source },
            };
            drop(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(refused)?);
            if self.ipv6 {
                drop(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).map_err(refused)?);
            }
        }
        Ok(())
    }

    /// Connections that each worker may have: two for each stream, for one worker may get them all.
    fn worker_connections(&self) -> u64 {
        let wanted = match self.connections_max {
            0 => CONNECTIONS_UNLIMITED,
            streams => streams.saturating_mul(2).saturating_add(CONNECTIONS_SPARE),
        };
        wanted.min(self.descriptors_max)
    }

    fn worker_descriptors(&self) -> u64 {
        self.worker_connections().saturating_add(DESCRIPTORS_SPARE).min(self.descriptors_max)
    }

    /// Whether each worker can have the descriptors that the streams take which are allowed: else nginx would refuse
    /// streams before sse-server does.
    pub fn check_descriptors(&self) -> Result<(), TooFew> {
        descriptors::suffice("nginx", (self.connections_max, 2, DESCRIPTORS_LEAST), self.descriptors_max)
    }

    fn body_bytes_max(&self) -> u64 {
        self.event_bytes_max.saturating_mul(BODY_PER_EVENT)
    }

    fn send_timeout_seconds(&self) -> u64 {
        match self.idle_timeout_seconds {
            0 => SEND_TIMEOUT_SECONDS_MAX,
            seconds => seconds.min(SEND_TIMEOUT_SECONDS_MAX),
        }
    }

    /// The directives for one mark; `line` is what stands before the mark in the template.
    fn directives(&self, mark: &str, line: &str) -> Option<Vec<String>> {
        let bytes = self.body_bytes_max();
        let port = self.port;
        Some(match mark {
            "user" => self.user.iter().map(|user| format!("user {user};")).collect(),
            "worker_processes" => {
                vec![format!(
                    "worker_processes {};",
                    self.workers.map_or("auto".to_owned(), |n| n.to_string())
                )]
            }
            "worker_rlimit_nofile" => vec![format!("worker_rlimit_nofile {};", self.worker_descriptors())],
            "worker_connections" => vec![format!("worker_connections {};", self.worker_connections())],
            "run_dir" => vec![in_run_dir(line, &self.run_dir.display().to_string())],
            "client_max_body_size" => vec![format!("client_max_body_size {bytes};")],
            "send_timeout" => vec![format!("send_timeout {}s;", self.send_timeout_seconds())],
            "set_real_ip_from" => {
                self.trusted_proxies.iter().map(|net| format!("set_real_ip_from {};", net.trunc())).collect()
            }
            "from_trusted_proxy" => {
                self.trusted_proxies.iter().map(|net| format!("{} 1;", net.trunc())).collect()
            }
            "cors_origin" => {
                self.cors_origins.iter().map(|origin| format!("\"{origin}\" $http_origin;")).collect()
            }
            "problem_413" => {
                let more = self.application.as_ref().map_or(String::new(), |application| {
                    format!(", of the application {} bytes", application.body_bytes_max)
                });
                vec![format!(
                    r#"413 '{{"type":"about:blank","title":"Content Too Large","status":413,"detail":"the request body is above the limit of {bytes} bytes{more}"}}';"#
                )]
            }
            "listen" => {
                let mut lines = vec![format!("listen {port} default_server backlog=4096;")];
                if self.ipv6 {
                    lines.push(format!("listen [::]:{port} default_server backlog=4096;"));
                }
                lines
            }
            _ => {
                let tls = self.tls.as_ref();
                return tls
                    .and_then(|tls| tls.directives(mark, self.ipv6, self.wall.streams_max))
                    .or_else(|| self.application.as_ref()?.directives(mark))
                    .or_else(|| self.wall.directives(mark, self.connections_max));
            }
        })
    }

    /// Whether lines that depend on `option` are wanted; `None` if nobody knows it.
    fn wants(&self, option: &str) -> Option<bool> {
        let tls = self.tls.as_ref();
        Some(match option {
            "tls" => tls.is_some(),
            "tls_redirect" => tls.is_some_and(|tls| tls.redirect.is_some()),
            "tls_hsts" => tls.is_some_and(|tls| tls.hsts_seconds > 0),
            "login" => self.login,
            "application" => self.application.is_some(),
            "application_named" => self.application.as_ref().is_some_and(|app| !app.resolvers.is_empty()),
            _ => return self.wall.wants(option),
        })
    }

    /// The text of `template` (read from `path`, which only messages name) with its marked lines written anew.
    pub fn render(&self, template: &str, path: &Path) -> Result<String, Error> {
        let mut text = String::with_capacity(template.len() + 256);
        let mut seen = Vec::new();
        for (n, whole) in template.lines().enumerate() {
            let unknown = |mark: String| Error::UnknownMark { path: path.to_owned(), line: n + 1, mark };
            let (mut line, mut is_wanted) = (Cow::Borrowed(whole), true);
            if let Some((option, rest)) = optional(whole) {
                seen.push(format!("{OPTION}{option}"));
                is_wanted = self.wants(option).ok_or_else(|| unknown(format!("{OPTION}{option}")))?;
                line = Cow::Owned(format!("{}{rest}", indent(whole)));
            }
            if let Some(option) = unless(whole)
                && self.wants(option).ok_or_else(|| unknown(format!("{UNLESS}{option}")))?
            {
                continue;
            }
            let marked = marked(&line);
            seen.extend(marked.map(|(_, mark)| format!("{MARK}{mark}")));
            match marked {
                _ if !is_wanted => text.push_str(&format!("{whole}\n")),
                None => text.push_str(&format!("{line}\n")),
                Some((directive, mark)) => {
                    let directives = self
                        .directives(mark, directive.trim())
                        .ok_or_else(|| unknown(format!("{MARK}{mark}")))?;
                    let indent = indent(&line);
                    // The mark stays on the first line, also where nothing is to be said.
                    let mut directives = directives.iter();
                    let first = directives.next().map_or(String::new(), |first| format!("{first} "));
                    text.push_str(&format!("{indent}{first}{MARK}{mark}\n"));
                    for directive in directives {
                        text.push_str(&format!("{indent}{directive}\n"));
                    }
                }
            }
        }
        let marks = MARKS.into_iter().map(|mark| format!("{MARK}{mark}"));
        let options = OPTIONS.into_iter().map(|option| format!("{OPTION}{option}"));
        match marks.chain(options).find(|mark| !seen.contains(mark)) {
            Some(mark) => Err(Error::MissingMark { path: path.to_owned(), mark }),
            None => Ok(text),
        }
    }

    /// Renders the file `template`.
    pub fn render_file(&self, template: &Path) -> Result<String, Error> {
        let text = fs::read_to_string(template)
            .map_err(|source| Error::Read { path: template.to_owned(), source })?;
        self.render(&text, template)
    }
}

/// Puts `text` at `path` whole or not at all: nginx never reads half a configuration.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// What stands before a line's mark, and the mark's name.
fn marked(line: &str) -> Option<(&str, &str)> {
    let (directive, mark) = line.rsplit_once(MARK)?;
    let mark = mark.trim_end();
    is_name(mark).then_some((directive, mark))
}

/// What a line depends on, and the rest of it.
fn optional(line: &str) -> Option<(&str, &str)> {
    let (option, rest) = line.trim_start().strip_prefix(OPTION)?.split_once(' ')?;
    is_name(option).then_some((option, rest))
}

/// What a line must not be there with.
fn unless(line: &str) -> Option<&str> {
    let (_, option) = line.rsplit_once(UNLESS)?;
    is_name(option).then_some(option)
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `pid /run/sse/nginx.pid;` for another run folder: the argument that names it is replaced, and quoted if need be.
fn in_run_dir(directive: &str, run_dir: &str) -> String {
    let Some((name, arguments)) = directive.trim_end_matches(';').split_once(char::is_whitespace) else {
        return directive.to_owned();
    };
    let arguments = arguments.split_whitespace().map(|argument| {
        if !argument.contains(RUN_DIR_DEFAULT) {
            return argument.to_owned();
        }
        let argument = argument.replace(RUN_DIR_DEFAULT, run_dir);
        let plain = argument.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:+@%=,~".contains(&b));
        if plain { argument } else { format!("\"{argument}\"") }
    });
    format!("{name} {};", arguments.collect::<Vec<_>>().join(" "))
}

/// The port that a variable names, if it is set.
fn port(name: &'static str, set: &impl Fn(&str) -> Option<String>) -> Result<Option<u16>, Error> {
    let Some(value) = set(name) else { return Ok(None) };
    value.parse().ok().filter(|port| *port != 0).map(Some).ok_or(Error::Port { name, value })
}

/// A path that can stand in a directive, in quotes.
fn checked_path(name: &'static str, path: PathBuf) -> Result<PathBuf, Error> {
    let forbidden = |c: char| c.is_control() || "\"'\\$;{}".contains(c);
    match path.to_str() {
        Some(text) if text.starts_with('/') && !text.contains(forbidden) => Ok(path),
        _ => Err(Error::Path { name, path }),
    }
}

fn checked_run_dir(run_dir: String) -> Result<PathBuf, Error> {
    let path = checked_path("RUN_DIR", run_dir.into())?;
    if path.join(SOCKET_NAME_LONGEST).as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(Error::RunDirLong { path });
    }
    Ok(path)
}

fn checked_user(user: String) -> Result<String, Error> {
    let is_name = user.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if is_name { Ok(user) } else { Err(Error::User(user)) }
}
