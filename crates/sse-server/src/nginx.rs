//! nginx's configuration: the marked lines of a template, written anew for where and how the stack runs.
//!
//! A line that ends in `#@ name` is replaced by what [`Settings`] say for that name; every other line stays. The shipped
//! template (`docker/nginx-sse.conf`) holds the container's defaults, so it is valid by itself.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use ipnet::IpNet;

use crate::descriptors::{self, TooFew};

const MARK: &str = "#@ ";

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
const MARKS: [&str; 12] = [
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
            event_bytes_max: 262_144,
            idle_timeout_seconds: 300,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            descriptors_max: 1_048_576,
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
    #[error("{path}:{line}: unknown mark `#@ {name}`; the marks are {}", MARKS.join(", "))]
    UnknownMark {
        /// The template.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The unknown name.
        name: String,
    },
    /// The template leaves out something that must vary.
    #[error("{path}: no line has the mark `#@ {name}`, so that setting would not reach nginx")]
    MissingMark {
        /// The template.
        path: PathBuf,
        /// The name that is missing.
        name: &'static str,
    },
    /// `PORT` is no port.
    #[error("PORT is {0:?}, but it must be a number from 1 to 65535")]
    Port(String),
    /// Somebody else has the port.
    #[error("PORT is {0}, but another program listens there already: end it, or choose another one, e.g. PORT={next}", next = next_port(*.0))]
    PortInUse(u16),
    /// The port cannot be had.
    #[error("PORT is {port}, but nginx may not listen there: {source}")]
    PortDenied {
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A path that would end the directive it stands in, or that nginx could not read.
    #[error(
        "RUN_DIR is {0:?}, but it must be an absolute path without control characters, quotes, `\\`, `$`, `;`, `{{` and `}}`"
    )]
    RunDir(PathBuf),
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
    /// Takes `PORT`, `RUN_DIR` and, if `root` is to start nginx, `NGINX_USER` from the environment; an empty one counts as unset.
    pub fn surroundings(
        mut self,
        env: impl Fn(&str) -> Option<String>,
        root: bool,
    ) -> Result<Settings, Error> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        if let Some(port) = set("PORT") {
            self.port = port.parse().ok().filter(|port| *port != 0).ok_or(Error::Port(port))?;
        }
        if let Some(run_dir) = set("RUN_DIR") {
            self.run_dir = checked_run_dir(run_dir)?;
        }
        self.user = match (root, set("NGINX_USER")) {
            (false, _) => None,
            (true, Some(user)) => Some(checked_user(user)?),
            (true, None) => self.user,
        };
        self.workers = thread::available_parallelism().ok();
        self.ipv6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        Ok(self)
    }

    /// Whether nginx could listen on the port just now.
    pub fn check_port(&self) -> Result<(), Error> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse(self.port),
            _ => Error::PortDenied { port: self.port, source },
        };
        drop(TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).map_err(refused)?);
        if self.ipv6 {
            drop(TcpListener::bind((Ipv6Addr::UNSPECIFIED, self.port)).map_err(refused)?);
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
            "problem_413" => vec![format!(
                r#"413 '{{"type":"about:blank","title":"Content Too Large","status":413,"detail":"the request body is above the limit of {bytes} bytes"}}';"#
            )],
            "listen" => {
                let mut lines = vec![format!("listen {port} default_server backlog=4096;")];
                if self.ipv6 {
                    lines.push(format!("listen [::]:{port} default_server backlog=4096;"));
                }
                lines
            }
            _ => return None,
        })
    }

    /// The text of `template` (read from `path`, which only messages name) with its marked lines written anew.
    pub fn render(&self, template: &str, path: &Path) -> Result<String, Error> {
        let mut text = String::with_capacity(template.len() + 256);
        let mut seen = Vec::new();
        for (n, line) in template.lines().enumerate() {
            let Some((directive, mark)) = marked(line) else {
                text.push_str(line);
                text.push('\n');
                continue;
            };
            let indent = &line[..line.len() - line.trim_start().len()];
            let directives = self.directives(mark, directive.trim()).ok_or_else(|| Error::UnknownMark {
                path: path.to_owned(),
                line: n + 1,
                name: mark.to_owned(),
            })?;
            seen.push(mark);
            // The mark stays on the first line, also where nothing is to be said.
            let mut directives = directives.iter();
            let first = directives.next().map_or(String::new(), |first| format!("{first} "));
            text.push_str(&format!("{indent}{first}{MARK}{mark}\n"));
            for directive in directives {
                text.push_str(&format!("{indent}{directive}\n"));
            }
        }
        match MARKS.into_iter().find(|name| !seen.contains(name)) {
            Some(name) => Err(Error::MissingMark { path: path.to_owned(), name }),
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

/// What stands before a line's mark, and the mark's name.
fn marked(line: &str) -> Option<(&str, &str)> {
    let (directive, mark) = line.rsplit_once(MARK)?;
    let mark = mark.trim_end();
    let is_name = !mark.is_empty() && mark.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((directive, mark))
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

fn checked_run_dir(run_dir: String) -> Result<PathBuf, Error> {
    let forbidden = |c: char| c.is_control() || "\"'\\$;{}".contains(c);
    let path = PathBuf::from(&run_dir);
    if !run_dir.starts_with('/') || run_dir.contains(forbidden) {
        return Err(Error::RunDir(path));
    }
    if path.join(SOCKET_NAME_LONGEST).as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(Error::RunDirLong { path });
    }
    Ok(path)
}

fn checked_user(user: String) -> Result<String, Error> {
    let is_name = user.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if is_name { Ok(user) } else { Err(Error::User(user)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../docker/nginx-sse.conf");

    fn shipped(settings: &Settings) -> String {
        settings.render(SHIPPED, Path::new("nginx-sse.conf")).unwrap()
    }

    fn surroundings(pairs: &[(&str, &str)], root: bool) -> Result<Settings, String> {
        let env =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::default().surroundings(env, root).map_err(|e| e.to_string())
    }

    #[test]
    fn the_shipped_file_is_what_the_defaults_of_the_container_render() {
        assert_eq!(shipped(&Settings::default()), SHIPPED);
    }

    #[test]
    fn every_setting_reaches_its_lines() {
        let d = Settings::default;
        let nets = ["10.1.2.3/8", "2001:db8::1/128"].map(|net| net.parse().unwrap());
        #[rustfmt::skip]
        let table: [(Settings, &[&str]); 17] = [
            (Settings { user: Some("me".into()), ..d() }, &["user me; #@ user\n"]),
            (Settings { user: None, ..d() }, &["\n#@ user\n"]),
            (Settings { workers: NonZeroUsize::new(3), ..d() }, &["worker_processes 3; #@ worker_processes\n"]),
            (Settings { port: 5001, ..d() }, &["        listen 5001 default_server backlog=4096; #@ listen\n"]),
            (Settings { port: 5001, ipv6: true, ..d() }, &["listen 5001 default_server backlog=4096; #@ listen\n        listen [::]:5001 default_server backlog=4096;\n"]),
            (Settings { run_dir: "/tmp/a b".into(), ..d() }, &["pid \"/tmp/a b/nginx.pid\"; #@ run_dir\n", "        server \"unix:/tmp/a b/sse-server.sock\" max_fails=0; #@ run_dir\n"]),
            (Settings { run_dir: "/srv/run".into(), ..d() }, &["    proxy_temp_path /srv/run/nginx-proxy; #@ run_dir\n"]),
            (Settings { connections_max: 1, ..d() }, &["worker_connections 1026; #@", "worker_rlimit_nofile 2050; #@"]),
            (Settings { connections_max: 10_000, ..d() }, &["worker_connections 21024; #@", "worker_rlimit_nofile 22048; #@"]),
            (Settings { connections_max: 0, ..d() }, &["worker_connections 65536; #@", "worker_rlimit_nofile 66560; #@"]),
            (Settings { connections_max: 10_000, descriptors_max: 4096, ..d() }, &["worker_connections 4096; #@", "worker_rlimit_nofile 4096; #@"]),
            (Settings { event_bytes_max: 1000, ..d() }, &["client_max_body_size 16000; #@", "limit of 16000 bytes\"}'; #@ problem_413\n"]),
            (Settings { event_bytes_max: 0, ..d() }, &["client_max_body_size 0; #@"]),
            (Settings { idle_timeout_seconds: 0, ..d() }, &["send_timeout 86400s; #@"]),
            (Settings { trusted_proxies: nets.to_vec(), ..d() }, &["        10.0.0.0/8 1; #@ from_trusted_proxy\n        2001:db8::1/128 1;\n"]),
            (Settings { cors_origins: vec!["https://a.b".into(), "http://[::1]:3000".into()], ..d() }, &["        \"https://a.b\" $http_origin; #@ cors_origin\n        \"http://[::1]:3000\" $http_origin;\n"]),
            (Settings { trusted_proxies: nets.to_vec(), ..d() }, &["    set_real_ip_from 10.0.0.0/8; #@ set_real_ip_from\n    set_real_ip_from 2001:db8::1/128;\n"]),
        ];
        for (settings, lines) in table {
            let text = shipped(&settings);
            for line in lines {
                assert!(text.contains(line), "{settings:?} does not give {line:?} in\n{text}");
            }
        }
    }

    #[test]
    fn the_surroundings_are_read_from_the_environment() {
        let read =
            surroundings(&[("PORT", "5001"), ("RUN_DIR", "/srv/run"), ("NGINX_USER", "me")], true).unwrap();
        assert_eq!((read.port, read.run_dir, read.user), (5001, "/srv/run".into(), Some("me".into())));
        let read = surroundings(&[("PORT", ""), ("NGINX_USER", "me")], false).unwrap();
        assert_eq!((read.port, read.run_dir, read.user), (80, "/run/sse".into(), None));
    }

    /// The attack: a value that ends its directive and begins one of its own.
    #[test]
    fn a_value_that_would_break_out_of_the_file_is_refused_in_one_sentence() {
        let path =
            "it must be an absolute path without control characters, quotes, `\\`, `$`, `;`, `{` and `}`";
        let name = "it must be one name of letters, digits, `_`, `.` and `-`";
        let port = "it must be a number from 1 to 65535";
        #[rustfmt::skip]
        let table = [
            ("PORT", "80; include /etc/passwd", format!("PORT is \"80; include /etc/passwd\", but {port}")),
            ("PORT", "0", format!("PORT is \"0\", but {port}")),
            ("PORT", "65536", format!("PORT is \"65536\", but {port}")),
            ("RUN_DIR", "run", format!("RUN_DIR is \"run\", but {path}")),
            ("RUN_DIR", "/run; user root", format!("RUN_DIR is \"/run; user root\", but {path}")),
            ("RUN_DIR", "/run\nuser root", format!("RUN_DIR is \"/run\\nuser root\", but {path}")),
            ("RUN_DIR", "/run\"x", format!("RUN_DIR is \"/run\\\"x\", but {path}")),
            ("RUN_DIR", "/run}", format!("RUN_DIR is \"/run}}\", but {path}")),
            ("RUN_DIR", "/$x", format!("RUN_DIR is \"/$x\", but {path}")),
            ("NGINX_USER", "root; daemon on", format!("NGINX_USER is \"root; daemon on\", but {name}")),
            ("NGINX_USER", "a b", format!("NGINX_USER is \"a b\", but {name}")),
            ("NGINX_USER", "a\nb", format!("NGINX_USER is \"a\\nb\", but {name}")),
        ];
        for (key, value, sentence) in table {
            assert_eq!(surroundings(&[(key, value)], true).unwrap_err(), sentence);
        }
    }

    #[test]
    fn a_run_folder_too_long_for_a_socket_is_refused() {
        let fits = format!("/{}", "x".repeat(90));
        assert!(surroundings(&[("RUN_DIR", &fits)], false).is_ok());
        let long = format!("/{}", "x".repeat(91));
        assert_eq!(
            surroundings(&[("RUN_DIR", &long)], false).unwrap_err(),
            format!(
                "RUN_DIR is {long:?} (92 bytes), but the paths of the sockets in it allow at most 91 bytes: choose a shorter one"
            )
        );
    }

    #[test]
    fn the_arguments_are_a_template_and_where_the_result_goes() {
        let parse = |line: &str| Invocation::parse(line.split_whitespace().map(str::to_owned));
        assert_eq!(
            parse("--template a --output b --check-port").unwrap(),
            Invocation { template: "a".into(), output: Some("b".into()), check_port: true }
        );
        let usage = "usage: sse-server nginx --template FILE [--output FILE] [--check-port]";
        for (line, mistake) in [
            ("", "--template FILE is missing"),
            ("--template", "--template needs a FILE"),
            ("--template a b", "unknown argument \"b\""),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), format!("{mistake}; {usage}"));
        }
    }

    #[test]
    fn a_mark_that_nobody_knows_and_a_mark_that_is_missing_are_mistakes() {
        let check = |template: String, sentence: &str| {
            let mistake = Settings::default().render(&template, Path::new("x.conf")).unwrap_err();
            assert_eq!(mistake.to_string(), sentence);
        };
        check(
            SHIPPED.replace("#@ listen", "#@ lisen"),
            &format!(
                "x.conf:{}: unknown mark `#@ lisen`; the marks are user, worker_processes, worker_rlimit_nofile, \
                 worker_connections, run_dir, client_max_body_size, send_timeout, set_real_ip_from, from_trusted_proxy, cors_origin, problem_413, listen",
                SHIPPED.lines().position(|line| line.ends_with("#@ listen")).unwrap() + 1
            ),
        );
        check(
            SHIPPED.replace(" #@ listen", ""),
            "x.conf: no line has the mark `#@ listen`, so that setting would not reach nginx",
        );
    }

    #[test]
    fn a_port_that_somebody_has_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, stack_tests::free_port())).unwrap();
        let port = taken.local_addr().unwrap().port();
        let settings = Settings { port, ..Settings::default() };
        assert_eq!(
            settings.check_port().unwrap_err().to_string(),
            format!(
                "PORT is {port}, but another program listens there already: end it, or choose another one, e.g. PORT={}",
                next_port(port)
            )
        );
        drop(taken);
        settings.check_port().unwrap();
    }

    #[test]
    fn more_streams_than_nginx_has_descriptors_for_are_refused() {
        let check = |connections_max, descriptors_max| {
            Settings { connections_max, descriptors_max, ..Settings::default() }.check_descriptors()
        };
        for (streams, descriptors) in [(0, 100), (500, 1024), (10_000, 20_024)] {
            assert_eq!(check(streams, descriptors), Ok(()), "{streams} of {descriptors}");
        }
        assert_eq!(
            check(501, 1024).unwrap_err().to_string(),
            "SSE_MAX_CONNECTIONS is 501, which takes 1026 descriptors in nginx, but a process may have 1024 here: \
             lower it to 500 or less, or raise the hard limit (ulimit -Hn, LimitNOFILE=1026 in a unit of systemd, \
             docker run --ulimit nofile=1026, ulimits in a compose file)"
        );
    }
}
