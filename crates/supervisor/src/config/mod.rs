//! The configuration: read, checked as a whole, every mistake at once.

mod diff;
mod document;
mod expand;
mod keys;
mod program;
pub mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

pub use diff::{Definition, Diff, diff};
pub use document::Mistake;
use document::{Document, Section};
use expand::Names;
use keys::{Keys, nearest};
pub use program::{
    Alive, AutoRestart, Backoff, Check, Kind, Logfile, OnFatal, Output, Program, Ready, Rlimit, StartLimit,
};

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisord {
    /// The daemon's own log; `None`: none.
    pub logfile: Option<PathBuf>,
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
}

/// Where a configuration comes from, to be read again at a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// What `%(ENV_X)s` stands for.
    pub environment: Vec<(String, String)>,
    /// What `%(host_node_name)s` stands for.
    pub host: String,
}

impl Source {
    /// Reads and checks the configuration.
    pub fn load(&self) -> Result<Config, Mistakes> {
        Config::load(&self.file, &self.environment, &self.host)
    }
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
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The processes of all groups, in the order of the file.
    pub programs: Vec<Program>,
    /// The listening sockets.
    pub sockets: Vec<Socket>,
    /// Where `supervisorctl` finds the daemon, if the file says so.
    pub serverurl: Option<String>,
    /// What is probably not meant so, but is no mistake.
    pub warnings: Vec<Mistake>,
}

impl Config {
    /// Where programs reach the daemon: over the unix socket rather than over TCP.
    #[must_use]
    pub fn control_url(&self) -> Option<String> {
        let urls = self.http_servers.iter().map(|server| match &server.address {
            HttpAddress::Unix { file, .. } => (0, format!("unix://{}", file.display())),
            HttpAddress::Tcp { host, port } if host.is_empty() => (1, format!("http://localhost:{port}")),
            HttpAddress::Tcp { host, port } => (1, format!("http://{host}:{port}")),
        });
        urls.min().map(|(_, url)| url)
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

const BACKLOG_DEFAULT: i32 = 4096;
const SECTIONS: [&str; 6] =
    ["supervisord", "unix_http_server", "supervisorctl", "program", "group", "socket"];
const SECTIONS_LATER: [&str; 6] =
    ["inet_http_server", "eventlistener", "fcgi-program", "include", "rpcinterface", "ctlplugin"];

impl Config {
    /// Reads and checks the file; `env` is what `%(ENV_X)s` stands for.
    pub fn load(file: &Path, env: &[(String, String)], host: &str) -> Result<Self, Mistakes> {
        let unreadable = |why: String| {
            Mistakes(vec![Mistake {
                file: file.to_path_buf(),
                line: 0,
                text: format!("cannot be read: {why}"),
            }])
        };
        let text = fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        if file.extension().is_none_or(|extension| extension != "toml") {
            return Err(unreadable("only *.toml is supported by this version".to_owned()));
        }
        Self::parse(file, &text, env, host)
    }

    /// Checks the text of a file.
    pub fn parse(file: &Path, text: &str, env: &[(String, String)], host: &str) -> Result<Self, Mistakes> {
        let document = Document::from_toml(file, text).map_err(Mistakes)?;
        Reader::new(&document, env, host).read()
    }
}

struct Reader<'a> {
    document: &'a Document,
    names: Names,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn new(document: &'a Document, env: &[(String, String)], host: &str) -> Self {
        let mut names: Names = env.iter().map(|(k, v)| (format!("ENV_{k}"), v.clone())).collect();
        let here = document.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let here = here.canonicalize().unwrap_or_else(|_| here.to_path_buf());
        names.insert("here".to_owned(), here.display().to_string());
        names.insert("host_node_name".to_owned(), host.to_owned());
        Self { document, names, mistakes: Vec::new() }
    }

    fn read(mut self) -> Result<Config, Mistakes> {
        let document = self.document;
        let mut config = Config {
            file: document.file.clone(),
            supervisord: self.supervisord(None),
            http_servers: Vec::new(),
            groups: Vec::new(),
            programs: Vec::new(),
            sockets: Vec::new(),
            serverurl: None,
            warnings: Vec::new(),
        };
        let mut lines = BTreeMap::new();
        for section in &document.sections {
            match (section.kind.as_str(), section.name.as_deref()) {
                ("supervisord", None) => config.supervisord = self.supervisord(Some(section)),
                ("unix_http_server", None) => config.http_servers.extend(self.unix_http_server(section)),
                ("supervisorctl", None) => config.serverurl = self.supervisorctl(section),
                ("program", Some(name)) => {
                    lines.insert(name.to_owned(), section.line);
                    config.programs.extend(self.program(name, section));
                }
                ("socket", Some(name)) => config.sockets.extend(self.socket(name, section)),
                ("group", Some(_)) => {}
                (kind, _) => self.unknown_section(kind, section.line),
            }
        }
        for section in document.sections.iter().filter(|section| section.kind == "group") {
            let group = self.group(section, &mut config.programs);
            config.groups.extend(group);
        }
        for program in &config.programs {
            if program.group == program.name {
                config.groups.push(Group {
                    name: program.name.clone(),
                    priority: program.priority,
                    listener: None,
                });
            }
        }
        self.check_names(&config, &lines);
        if self.mistakes.is_empty() {
            return Ok(config);
        }
        self.mistakes.sort_by_key(|mistake| mistake.line);
        Err(Mistakes(self.mistakes))
    }

    fn mistake(&mut self, line: usize, text: String) {
        self.mistakes.push(Mistake { file: self.document.file.clone(), line, text });
    }

    fn unknown_section(&mut self, kind: &str, line: usize) {
        let text = if SECTIONS_LATER.contains(&kind) {
            format!("[{kind}] is not supported by this version")
        } else {
            format!("unknown section [{kind}]{}", nearest(kind, SECTIONS.into_iter()))
        };
        self.mistake(line, text);
    }

    fn supervisord(&mut self, section: Option<&Section>) -> Supervisord {
        let empty = Section { kind: "supervisord".to_owned(), name: None, line: 0, entries: Vec::new() };
        let section = section.unwrap_or(&empty);
        let mut keys = Keys::new(&self.document.file, section, &self.names, &mut self.mistakes);
        let logfile = keys.get("logfile", |text| match text.to_ascii_lowercase().as_str() {
            "none" | "off" => Ok(None),
            _ => Ok(Some(PathBuf::from(text))),
        });
        let supervisord = Supervisord {
            logfile: logfile.unwrap_or_else(|| Some(PathBuf::from("supervisord.log"))),
            logfile_maxbytes: keys.get("logfile_maxbytes", units::bytes).unwrap_or(50 << 20),
            logfile_backups: keys.number("logfile_backups", "a whole number, 0 or more").unwrap_or(10),
            logfile_compress: keys.boolean("logfile_compress").unwrap_or(false),
            loglevel: keys.get("loglevel", loglevel).unwrap_or(log::LevelFilter::Info),
            pidfile: Some(
                keys.text("pidfile").map_or_else(|| PathBuf::from("supervisord.pid"), PathBuf::from),
            ),
            silent: keys.boolean("silent").unwrap_or(false),
            identifier: keys.text("identifier").unwrap_or_else(|| "supervisor".to_owned()),
            umask: keys.get("umask", units::mode).unwrap_or(0o022),
            directory: keys.text("directory").map(PathBuf::from),
            environment: program::environment(&mut keys, &self.names),
            shutdown_timeout: keys.duration("shutdown_timeout"),
            childlogdir: keys.text("childlogdir").map_or_else(std::env::temp_dir, PathBuf::from),
            user: None,
            minfds: 1024,
            minprocs: 200,
            nocleanup: keys.boolean("nocleanup").unwrap_or(false),
            strip_ansi: keys.boolean("strip_ansi").unwrap_or(false),
            nodaemon: true,
        };
        // In the foreground it always runs, so the key may stay and say so.
        if keys.boolean("nodaemon") == Some(false) {
            let line = keys.line("nodaemon");
            keys.mistake(line, "`nodaemon = false` is not supported by this version".to_owned());
        }
        keys.finish(&["minfds", "minprocs", "user"]);
        supervisord
    }

    fn unix_http_server(&mut self, section: &Section) -> Option<HttpServer> {
        let mut keys = Keys::new(&self.document.file, section, &self.names, &mut self.mistakes);
        let file = keys.text("file").map(PathBuf::from);
        if file.is_none() {
            keys.mistake(section.line, "[unix_http_server] has no `file`".to_owned());
        }
        let (username, password) = (keys.text("username"), keys.text("password"));
        if username.is_some() != password.is_some() {
            let text = "[unix_http_server] must have both `username` and `password`, or neither".to_owned();
            keys.mistake(section.line, text);
        }
        let chmod = keys.get("chmod", units::mode).unwrap_or(0o700);
        let chown = keys.text("chown");
        let server = file.map(|file| HttpServer {
            address: HttpAddress::Unix { file, chmod, chown },
            username,
            password,
        });
        keys.finish(&[]);
        server
    }

    fn supervisorctl(&mut self, section: &Section) -> Option<String> {
        let mut keys = Keys::new(&self.document.file, section, &self.names, &mut self.mistakes);
        let url = keys.text("serverurl");
        let _ =
            (keys.text("username"), keys.text("password"), keys.text("prompt"), keys.text("history_file"));
        keys.finish(&[]);
        url
    }

    fn program(&mut self, name: &str, section: &Section) -> Option<Program> {
        if let Err(why) = process_name(name) {
            self.mistake(section.line, why);
        }
        let mut names = self.names.clone();
        for (key, value) in
            [("program_name", name), ("process_num", "0"), ("group_name", name), ("numprocs", "1")]
        {
            names.insert(key.to_owned(), value.to_owned());
        }
        let keys = Keys::new(&self.document.file, section, &names, &mut self.mistakes);
        program::read(name, section.line, &names, keys)
    }

    fn socket(&mut self, name: &str, section: &Section) -> Option<Socket> {
        let mut keys = Keys::new(&self.document.file, section, &self.names, &mut self.mistakes);
        if name.is_empty() || name.len() > 255 || name.contains(|c: char| c == ':' || c.is_control()) {
            let text = format!(
                "the name of [socket.{name}] must be 1 to 255 characters without `:` and control characters"
            );
            keys.mistake(section.line, text);
        }
        let listen = keys.get("listen", |text| match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= 107 => Ok(Listen::Unix(PathBuf::from(path))),
            Some(_) => Err("must be unix: and an absolute path of at most 107 bytes".to_owned()),
            None => match text.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(Listen::Tcp(text.to_owned()))
                }
                _ => Err("must be host:port or unix:/path".to_owned()),
            },
        });
        if listen.is_none() && keys.entry("listen").is_none() {
            keys.mistake(section.line, format!("[socket.{name}] has no `listen`"));
        }
        let backlog = keys.get("backlog", |text| match text.parse() {
            Ok(number) if (1..=65_535).contains(&number) => Ok(number),
            _ => Err("must be a number from 1 to 65535".to_owned()),
        });
        let socket = listen.map(|listen| Socket {
            name: name.to_owned(),
            listen,
            backlog: backlog.unwrap_or(BACKLOG_DEFAULT),
            mode: keys.get("mode", units::mode),
            owner: keys.text("owner"),
        });
        keys.finish(&[]);
        socket
    }

    fn group(&mut self, section: &Section, programs: &mut [Program]) -> Option<Group> {
        let name = section.name.as_deref()?;
        if let Err(why) = process_name(name) {
            self.mistake(section.line, why);
        }
        let mut keys = Keys::new(&self.document.file, section, &self.names, &mut self.mistakes);
        let members = keys.list("programs").unwrap_or_default();
        let line = keys.line("programs");
        if members.is_empty() {
            keys.mistake(line, format!("[group.{name}] has no `programs`"));
        }
        for member in &members {
            match programs.iter_mut().find(|program| program.name == *member) {
                Some(program) => program.group = name.to_owned(),
                None => keys
                    .mistake(line, format!("[group.{name}] names program `{member}`, which does not exist")),
            }
        }
        let priority = keys.number("priority", "a whole number").unwrap_or(999);
        keys.finish(&[]);
        Some(Group { name: name.to_owned(), priority, listener: None })
    }

    fn check_names(&mut self, config: &Config, lines: &BTreeMap<String, usize>) {
        let programs: Vec<&str> = lines.keys().map(String::as_str).collect();
        for program in &config.programs {
            let line = lines.get(&program.name).copied().unwrap_or(0);
            for name in &program.depends_on {
                if name == &program.name {
                    self.mistake(line, format!("[program.{name}] depends on itself"));
                } else if !programs.contains(&name.as_str()) {
                    let near = nearest(name, programs.iter().copied());
                    let text =
                        format!("[program.{}] depends on `{name}`, which does not exist{near}", program.name);
                    self.mistake(line, text);
                }
            }
            for name in &program.sockets {
                if !config.sockets.iter().any(|socket| socket.name == *name) {
                    let near = nearest(name, config.sockets.iter().map(|socket| socket.name.as_str()));
                    let text = format!(
                        "[program.{}] uses [socket.{name}], which does not exist{near}",
                        program.name
                    );
                    self.mistake(line, text);
                }
            }
        }
        if let Some(cycle) = cycle(&config.programs) {
            let line = lines.get(&cycle[0]).copied().unwrap_or(0);
            self.mistake(line, format!("programs depend on each other in a circle: {}", cycle.join(" → ")));
        }
    }
}

/// Names stand in `status`, in `group:name` and in paths of the control interface.
fn process_name(name: &str) -> Result<(), String> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | '*' | ',');
    if name.is_empty() || name.contains(forbidden) {
        return Err(format!("the name {name:?} must not be empty or contain spaces, `:`, `/`, `*` or `,`"));
    }
    Ok(())
}

fn loglevel(text: &str) -> Result<log::LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "critical" | "crit" | "error" | "erro" => Ok(log::LevelFilter::Error),
        "warn" => Ok(log::LevelFilter::Warn),
        "info" => Ok(log::LevelFilter::Info),
        "debug" | "debg" => Ok(log::LevelFilter::Debug),
        "trace" | "trac" | "blather" | "blat" => Ok(log::LevelFilter::Trace),
        _ => Err("must be critical, error, warn, info, debug, trace or blather".to_owned()),
    }
}

/// The names of programs that depend on each other in a circle, if there is one; the first comes again at the end.
fn cycle(programs: &[Program]) -> Option<Vec<String>> {
    let depends: BTreeMap<&str, &[String]> =
        programs.iter().map(|program| (program.name.as_str(), program.depends_on.as_slice())).collect();
    let mut done: Vec<&str> = Vec::new();
    fn walk<'a>(
        name: &'a str,
        depends: &BTreeMap<&'a str, &'a [String]>,
        path: &mut Vec<&'a str>,
        done: &mut Vec<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(at) = path.iter().position(|seen| *seen == name) {
            let mut found: Vec<String> = path[at..].iter().map(|name| (*name).to_owned()).collect();
            found.push(name.to_owned());
            return (found.len() > 2).then_some(found);
        }
        if done.contains(&name) {
            return None;
        }
        path.push(name);
        for next in depends.get(name).copied().unwrap_or_default() {
            if let Some(found) = walk(next, depends, path, done) {
                return Some(found);
            }
        }
        path.pop();
        done.push(name);
        None
    }
    programs.iter().find_map(|program| walk(&program.name, &depends, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests;
