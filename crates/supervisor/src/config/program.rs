//! One program: what to run, how to keep it running, how to stop it, where its output goes.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::document::Value;
use super::expand::Names;
use super::expand::expand;
use super::keys::Keys;
use super::units;

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

/// Keys of supervisord and ours that this version does not know yet.
const LATER: [&str; 18] = [
    "process_name",
    "numprocs",
    "numprocs_start",
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_syslog",
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_syslog",
    "alive",
    "env_file",
    "group",
    "supplementary_groups",
    "nice",
    "rlimits",
    "stdin",
    "events",
    "socket",
];

const MAXBYTES_DEFAULT: u64 = 50 << 20;
const BACKUPS_DEFAULT: usize = 10;
const BACKUPS_MAX: usize = 10_000;

/// Takes the keys of `[program.NAME]`. `None` if it has no command; the mistake is noted.
pub(super) fn read(name: &str, line: usize, names: &Names, mut keys: Keys<'_>) -> Option<Program> {
    let command = command(&mut keys, "command", names);
    let stopasgroup = keys.boolean("stopasgroup");
    let killasgroup = keys.boolean("killasgroup");
    if stopasgroup == Some(true) && killasgroup == Some(false) {
        keys.mistake(
            keys.line("killasgroup"),
            "`stopasgroup = true` with `killasgroup = false` would leave what ignores the signal alive for ever"
                .to_owned(),
        );
    }
    let stopasgroup = stopasgroup.unwrap_or(killasgroup != Some(false));
    let redirect_stderr = keys.boolean("redirect_stderr").unwrap_or(false);
    let stdout = output(
        &mut keys,
        ["stdout_logfile", "stdout_logfile_maxbytes", "stdout_logfile_backups", "stdout_tee"],
    );
    let stderr = output(
        &mut keys,
        ["stderr_logfile", "stderr_logfile_maxbytes", "stderr_logfile_backups", "stderr_tee"],
    );
    if redirect_stderr && matches!(stderr.logfile, Logfile::File(_)) {
        keys.mistake(
            keys.line("stderr_logfile"),
            "`stderr_logfile` has no effect with `redirect_stderr = true`: remove one of them".to_owned(),
        );
    }
    let seconds =
        |value: &str| units::duration(value).map_err(|_| "must be a number of seconds, 0 or more".to_owned());
    let program = Program {
        program: name.to_owned(),
        kind: Kind::Program,
        name: name.to_owned(),
        group: name.to_owned(),
        command: command.clone().unwrap_or_default(),
        command_text: shlex::try_join(command.iter().flatten().map(String::as_str)).unwrap_or_default(),
        priority: keys.number("priority", "a whole number").unwrap_or(999),
        autostart: keys.boolean("autostart").unwrap_or(true),
        autorestart: keys.get("autorestart", autorestart).unwrap_or(AutoRestart::Unexpected),
        startsecs: keys.get("startsecs", seconds).unwrap_or(Duration::from_secs(1)),
        startretries: keys.number("startretries", "a whole number, 0 or more").unwrap_or(3),
        exitcodes: exitcodes(&mut keys),
        stopsignal: keys.get("stopsignal", units::signal).unwrap_or(Signal::SIGTERM),
        stopwaitsecs: keys.get("stopwaitsecs", seconds).unwrap_or(Duration::from_secs(10)),
        stopasgroup,
        killasgroup: killasgroup.unwrap_or(true),
        user: keys.text("user"),
        directory: keys.text("directory").map(PathBuf::from),
        umask: keys.get("umask", units::mode),
        environment: environment(&mut keys, names),
        redirect_stderr,
        stdout,
        stderr,
        logfile_compress: keys.boolean("logfile_compress").unwrap_or(false),
        depends_on: keys.list("depends_on").unwrap_or_default(),
        ready: ready(&mut keys),
        backoff: backoff(&mut keys),
        start_limit: start_limit(&mut keys),
        on_fatal: keys.get("on_fatal", on_fatal).unwrap_or(OnFatal::Ignore),
        drainsignal: keys.get("drainsignal", units::signal),
        reopen_signal: keys.get("reopen_signal", units::signal),
        sockets: keys.list("sockets").unwrap_or_default(),
        fcgi_socket: None,
        alive: None,
        run_group: None,
        supplementary_groups: None,
        nice: None,
        rlimits: Vec::new(),
        serverurl: keys.text("serverurl"),
    };
    if command.is_none() && keys.entry("command").is_none() {
        keys.mistake(line, format!("[program.{name}] has no `command`"));
    }
    keys.finish(&LATER);
    command.map(|_| program)
}

fn command(keys: &mut Keys<'_>, key: &'static str, names: &Names) -> Option<Vec<String>> {
    let entry = keys.entry(key)?;
    let words = match &entry.value {
        Value::List(values) => values
            .iter()
            .map(|value| value.text().ok_or_else(|| format!("`{key}` must be a string or a list of strings")))
            .map(|text| text.and_then(|text| expand(&text, names)))
            .collect(),
        value => value
            .text()
            .ok_or_else(|| format!("`{key}` must be a string or a list of strings"))
            .and_then(|text| expand(&text, names))
            .and_then(|text| {
                shlex::split(&text).ok_or_else(|| format!("`{key}` has a quote that is not closed: {text:?}"))
            }),
    };
    let words: Vec<String> = keys.note(entry.line, words)?;
    if words.first().is_none_or(String::is_empty) {
        keys.mistake(entry.line, format!("`{key}` is empty"));
        return None;
    }
    if words.iter().any(|word| word.contains('\0')) {
        keys.mistake(entry.line, format!("`{key}` contains a NUL"));
        return None;
    }
    Some(words)
}

fn output(keys: &mut Keys<'_>, [logfile, maxbytes, backups, tee]: [&'static str; 4]) -> Output {
    let logfile = keys.get(logfile, |text| match text.to_ascii_lowercase().as_str() {
        "none" | "off" | "" => Ok(Logfile::None),
        "auto" => Ok(Logfile::Auto),
        "syslog" => {
            Err("must be the path of a file or NONE: syslog is not supported by this version".to_owned())
        }
        _ => Ok(Logfile::File(PathBuf::from(text))),
    });
    let backups_allowed = |text: &str| match text.trim().parse() {
        Ok(number) if number <= BACKUPS_MAX => Ok(number),
        _ => Err(format!("must be a number from 0 to {BACKUPS_MAX}")),
    };
    Output {
        logfile: logfile.unwrap_or(Logfile::Auto),
        maxbytes: keys.get(maxbytes, units::bytes).unwrap_or(MAXBYTES_DEFAULT),
        backups: keys.get(backups, backups_allowed).unwrap_or(BACKUPS_DEFAULT),
        tee: keys.boolean(tee).unwrap_or(false),
        syslog: false,
        capture_maxbytes: 0,
        events_enabled: false,
    }
}

fn autorestart(text: &str) -> Result<AutoRestart, String> {
    match text.to_ascii_lowercase().as_str() {
        "unexpected" => Ok(AutoRestart::Unexpected),
        other => match units::boolean(other) {
            Ok(true) => Ok(AutoRestart::Always),
            Ok(false) => Ok(AutoRestart::Never),
            Err(_) => Err("must be true, false or unexpected".to_owned()),
        },
    }
}

fn on_fatal(text: &str) -> Result<OnFatal, String> {
    match text {
        "ignore" => Ok(OnFatal::Ignore),
        "shutdown" => Ok(OnFatal::Shutdown),
        _ => Err("must be ignore or shutdown".to_owned()),
    }
}

fn exitcodes(keys: &mut Keys<'_>) -> Vec<i32> {
    let line = keys.line("exitcodes");
    let Some(words) = keys.list("exitcodes") else { return vec![0] };
    let codes = words
        .iter()
        .map(|word| match word.parse() {
            Ok(code) if (0..=255).contains(&code) => Ok(code),
            _ => Err(format!("`exitcodes` has {word:?}, but an exit code is a number from 0 to 255")),
        })
        .collect();
    keys.note(line, codes).unwrap_or_default()
}

/// A table, or the INI's `A="1",B="two words"`.
pub(super) fn environment(keys: &mut Keys<'_>, names: &Names) -> Vec<(String, String)> {
    let Some(entry) = keys.entry("environment") else { return Vec::new() };
    let pairs = match &entry.value {
        Value::Table(pairs) => pairs
            .iter()
            .map(|(name, value)| match value.text() {
                Some(text) => expand(&text, names).map(|text| (name.clone(), text)),
                None => Err(format!("`environment.{name}` must be one value")),
            })
            .collect::<Result<Vec<_>, _>>(),
        Value::Text(text) => expand(text, names).and_then(|text| environment_words(&text)),
        _ => Err("`environment` must be a table, such as { A = \"1\" }, or a string such as A=\"1\",B=\"2\""
            .to_owned()),
    };
    let pairs = pairs.and_then(|pairs| {
        match pairs
            .iter()
            .find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
        {
            Some((name, _)) => Err(format!("`environment` cannot hold a variable like {name:?}")),
            None => Ok(pairs),
        }
    });
    keys.note(entry.line, pairs).unwrap_or_default()
}

fn environment_words(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || format!("`environment` is {text:?}, but it must be like A=\"1\",B=\"two words\"");
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(wrong)?;
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => after[1..].split_once(quote).ok_or_else(wrong)?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        pairs.push((name.trim().to_owned(), value.to_owned()));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err(wrong()),
        };
    }
    Ok(pairs)
}

fn ready(keys: &mut Keys<'_>) -> Option<Ready> {
    let line = keys.line("ready");
    let pairs = keys.table("ready", &["http", "tcp", "unix", "exec", "timeout", "interval"])?;
    let mut checks = Vec::new();
    let mut timeout = Duration::from_secs(30);
    let mut interval = Duration::from_millis(100);
    for (key, text) in pairs {
        let done = match key {
            "http" => http(&text).map(|check| checks.push(check)),
            "tcp" => tcp(&text).map(|address| checks.push(Check::Tcp(address))),
            "unix" => {
                checks.push(Check::Unix(PathBuf::from(&text)));
                Ok(())
            }
            "exec" => match shlex::split(&text).filter(|words| !words.is_empty()) {
                Some(words) => {
                    checks.push(Check::Exec(words));
                    Ok(())
                }
                None => Err("must be a command".to_owned()),
            },
            "timeout" => units::duration(&text).map(|time| timeout = time),
            _ => units::duration(&text).map(|time| interval = time),
        };
        keys.note(line, done.map_err(|why| format!("`ready.{key}` is {text:?}, but it {why}")));
    }
    if interval.is_zero() {
        keys.mistake(line, "`ready.interval` must be above 0".to_owned());
    }
    match checks.len() {
        1 => checks.pop().map(|check| Ready { check, timeout, interval }),
        _ => {
            keys.mistake(line, "`ready` must name exactly one of http, tcp, unix and exec".to_owned());
            None
        }
    }
}

fn http(url: &str) -> Result<Check, String> {
    let wrong = || "must be like http://127.0.0.1:5001/path or http+unix:///run/x.sock:/path".to_owned();
    if let Some(rest) = url.strip_prefix("http+unix://") {
        let (socket, path) = rest.split_once(":/").ok_or_else(wrong)?;
        if !socket.starts_with('/') {
            return Err(wrong());
        }
        return Ok(Check::HttpUnix { socket: PathBuf::from(socket), path: format!("/{path}") });
    }
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    tcp(&address).map_err(|_| wrong()).map(|address| Check::Http { address, path })
}

fn tcp(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(text.to_owned())
        }
        _ => Err("must be host:port".to_owned()),
    }
}

fn backoff(keys: &mut Keys<'_>) -> Option<Backoff> {
    let line = keys.line("backoff");
    let pairs = keys.table("backoff", &["initial", "factor", "max", "jitter"])?;
    let mut backoff =
        Backoff { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(30), jitter: 0.0 };
    for (key, text) in pairs {
        let number = |low: f64, high: f64| match text.parse::<f64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(format!("must be a number from {low} to {high}")),
        };
        let done = match key {
            "initial" => units::duration(&text).map(|time| backoff.initial = time),
            "max" => units::duration(&text).map(|time| backoff.max = time),
            "factor" => number(1.0, 100.0).map(|factor| backoff.factor = factor),
            _ => number(0.0, 1.0).map(|jitter| backoff.jitter = jitter),
        };
        keys.note(line, done.map_err(|why| format!("`backoff.{key}` is {text:?}, but it {why}")));
    }
    Some(backoff)
}

fn start_limit(keys: &mut Keys<'_>) -> Option<StartLimit> {
    let line = keys.line("start_limit");
    let pairs = keys.table("start_limit", &["starts", "within"])?;
    let mut limit = StartLimit { starts: 10, within: Duration::from_secs(60) };
    for (key, text) in pairs {
        let done = match key {
            "starts" => match text.parse() {
                Ok(starts) if (1..=10_000).contains(&starts) => {
                    limit.starts = starts;
                    Ok(())
                }
                _ => Err("must be a number from 1 to 10000".to_owned()),
            },
            _ => units::duration(&text).map(|time| limit.within = time),
        };
        keys.note(line, done.map_err(|why| format!("`start_limit.{key}` is {text:?}, but it {why}")));
    }
    Some(limit)
}
