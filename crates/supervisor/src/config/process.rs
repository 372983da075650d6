//! The processes of one section: `[program:x]`, `[eventlistener:x]` or `[fcgi-program:x]`, `numprocs` of them.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::document::{Value, Weight};
use super::keys::Keys;
use super::program::{AutoRestart, Kind, Logfile, OnFatal, Output, Program, Rlimit};
use super::reader::process_name;
use super::{environment, paths, probes, units, words};

const MAXBYTES_DEFAULT: u64 = 50 << 20;
const BACKUPS_DEFAULT: i64 = 10;
const BACKUPS_MAX: i64 = 10_000;
/// Processes of one section.
const NUMPROCS_MAX: i64 = 10_000;

/// Keys of an output stream.
struct Stream {
    logfile: &'static str,
    maxbytes: &'static str,
    backups: &'static str,
    tee: &'static str,
    syslog: &'static str,
    capture_maxbytes: &'static str,
    events_enabled: &'static str,
}

const STDOUT: Stream = Stream {
    logfile: "stdout_logfile",
    maxbytes: "stdout_logfile_maxbytes",
    backups: "stdout_logfile_backups",
    tee: "stdout_tee",
    syslog: "stdout_syslog",
    capture_maxbytes: "stdout_capture_maxbytes",
    events_enabled: "stdout_events_enabled",
};

const STDERR: Stream = Stream {
    logfile: "stderr_logfile",
    maxbytes: "stderr_logfile_maxbytes",
    backups: "stderr_logfile_backups",
    tee: "stderr_tee",
    syslog: "stderr_syslog",
    capture_maxbytes: "stderr_capture_maxbytes",
    events_enabled: "stderr_events_enabled",
};

/// Where the section stands among the others.
pub(super) struct Place<'a> {
    /// Its name.
    pub program: &'a str,
    /// The group that its processes belong to.
    pub group: &'a str,
    /// What it is.
    pub kind: Kind,
    /// The environment of the daemon.
    pub env: &'a [(String, String)],
}

/// Takes all keys of the section.
pub(super) fn read(place: &Place<'_>, keys: &mut Keys<'_>) -> Vec<Program> {
    keys.names().set("program_name", place.program);
    keys.names().set("group_name", place.group);
    let numprocs = keys.count("numprocs", NUMPROCS_MAX, &format!("a number from 0 to {NUMPROCS_MAX}"));
    let mut numprocs = numprocs.unwrap_or(1);
    let first: i64 = keys.number("numprocs_start", "a whole number").unwrap_or(0);
    keys.names().set("numprocs", numprocs.to_string());
    let pattern = keys.entry("process_name").and_then(|entry| entry.value.text());
    let pattern = pattern.unwrap_or_else(|| "%(program_name)s".to_owned());
    if numprocs > 1 && !pattern.contains("%(process_num)") {
        let key = if keys.section.entry("process_name").is_some() { "process_name" } else { "numprocs" };
        keys.mistake(
            key,
            "`process_name` must contain %(process_num) when `numprocs` is above 1, such as %(program_name)s_%(process_num)02d"
                .to_owned(),
        );
        numprocs = 1;
    }
    let outside = keys.names().clone();
    let mut programs = Vec::new();
    // Also the keys of a section without processes are checked.
    for number in first..first.saturating_add(numprocs.max(1)) {
        *keys.names() = outside.clone();
        keys.names().set("process_num", number.to_string());
        programs.extend(one(place, &pattern, keys));
    }
    if numprocs == 0 { Vec::new() } else { programs }
}

fn one(place: &Place<'_>, pattern: &str, keys: &mut Keys<'_>) -> Option<Program> {
    let environment = environment::of_program(keys);
    let name = name(pattern, keys);
    let (stopasgroup, killasgroup) = as_group(keys);
    let redirect_stderr = keys.boolean("redirect_stderr").unwrap_or(false);
    if redirect_stderr && place.kind == Kind::EventListener {
        let text = format!(
            "{} section sets redirect_stderr=true but this is not allowed because it will interfere with the eventlistener protocol",
            keys.title()
        );
        keys.mistake("redirect_stderr", text);
    }
    let stdout = output(place, keys, &STDOUT);
    let mut stderr = output(place, keys, &STDERR);
    if redirect_stderr {
        if matches!(stderr.logfile, Logfile::File(_)) {
            if keys.ini() {
                let title = keys.title();
                keys.genuine("stderr_logfile", format!("For {title}, redirect_stderr=true but stderr_logfile has also been set to a filename, the filename has been ignored"));
            } else {
                let text = "`stderr_logfile` has no effect with `redirect_stderr = true`: remove one of them";
                keys.mistake("stderr_logfile", text.to_owned());
            }
        }
        stderr.logfile = Logfile::None;
    }
    let ini = keys.ini();
    let seconds = |value: &str| match units::integer(value) {
        // There a negative time is over at once.
        Some(number) if number < 0 && ini => Ok(Duration::ZERO),
        _ => units::duration(value).map_err(|_| "must be a number of seconds, 0 or more".to_owned()),
    };
    let user = keys.get("user", |text| units::user(text).map(|_| text.to_owned()));
    let retries = keys.count("startretries", u32::MAX.into(), "a whole number, 0 or more");
    let command = command(keys);
    Some(Program {
        program: place.program.to_owned(),
        kind: place.kind,
        name: name?,
        group: place.group.to_owned(),
        priority: keys.number("priority", "a whole number").unwrap_or(999),
        autostart: keys.boolean("autostart").unwrap_or(true),
        autorestart: keys.get("autorestart", autorestart).unwrap_or(AutoRestart::Unexpected),
        startsecs: keys.get("startsecs", seconds).unwrap_or(Duration::from_secs(1)),
        startretries: retries.map_or(3, |number| u32::try_from(number).unwrap_or(u32::MAX)),
        exitcodes: exitcodes(keys),
        stopsignal: keys.get("stopsignal", units::signal).unwrap_or(Signal::SIGTERM),
        stopwaitsecs: keys.get("stopwaitsecs", seconds).unwrap_or(Duration::from_secs(10)),
        stopasgroup,
        killasgroup,
        user,
        directory: keys.text("directory").map(Into::into),
        umask: keys.get("umask", units::mode),
        environment,
        redirect_stderr,
        stdout,
        stderr,
        logfile_compress: keys.boolean("logfile_compress").unwrap_or(false),
        depends_on: keys.list("depends_on").unwrap_or_default(),
        ready: probes::ready(keys),
        backoff: probes::backoff(keys),
        start_limit: probes::start_limit(keys),
        on_fatal: keys.get("on_fatal", on_fatal).unwrap_or(OnFatal::Ignore),
        drainsignal: keys.get("drainsignal", units::signal),
        reopen_signal: keys.get("reopen_signal", units::signal),
        sockets: keys.list("sockets").unwrap_or_default(),
        fcgi_socket: (place.kind == Kind::FcgiProgram).then(|| fcgi_socket(place.program)),
        alive: probes::alive(keys),
        run_group: keys.get("group", |text| units::group(text).map(|_| text.to_owned())),
        supplementary_groups: supplementary_groups(keys),
        nice: keys.get("nice", |text| match units::integer(text).and_then(|n| i32::try_from(n).ok()) {
            Some(nice) if (-20..=19).contains(&nice) => Ok(nice),
            _ => Err("must be a number from -20 to 19".to_owned()),
        }),
        rlimits: rlimits(keys),
        serverurl: keys.text("serverurl").filter(|url| !url.trim().eq_ignore_ascii_case("auto")),
        command_text: command.as_ref().map(|(_, text)| text.clone()).unwrap_or_default(),
        command: command.map(|(words, _)| words)?,
    })
}

/// The name under which the socket of an fcgi-program stands among the others; no `[socket]` can have it.
pub(super) fn fcgi_socket(program: &str) -> String {
    format!("fcgi:{program}")
}

fn name(pattern: &str, keys: &mut Keys<'_>) -> Option<String> {
    let expanded = match keys.section.entry("process_name") {
        Some(entry) => keys.expand(entry, pattern),
        None => super::expand::expand(pattern, keys.names()),
    };
    let name = keys.note("process_name", expanded)?.trim().to_owned();
    if let Err((weight, why)) = process_name(&name) {
        keys.find(weight, "process_name", why);
    }
    Some(name)
}

fn as_group(keys: &mut Keys<'_>) -> (bool, bool) {
    let (stop, kill) = (keys.boolean("stopasgroup"), keys.boolean("killasgroup"));
    // Where the genuine default of false would leave children behind, the format that is ours says true.
    let (stop, kill) = if keys.ini() {
        let stop = stop.unwrap_or(false);
        (stop, kill.unwrap_or(stop))
    } else {
        (stop.unwrap_or(kill != Some(false)), kill.unwrap_or(true))
    };
    if stop && !kill {
        keys.mistake(
            "killasgroup",
            "`stopasgroup = true` with `killasgroup = false` would leave what ignores the signal alive for ever"
                .to_owned(),
        );
    }
    (stop, kill)
}

/// The words of the command, and the command in the words of the file.
fn command(keys: &mut Keys<'_>) -> Option<(Vec<String>, String)> {
    let Some(entry) = keys.entry("command") else {
        let text = format!("{} has no `command`", keys.title());
        keys.mistake("command", text);
        return None;
    };
    let wrong = || "`command` must be a string or a list of strings".to_owned();
    let command: Result<(Vec<String>, String), String> = match &entry.value {
        Value::List(values) => values
            .iter()
            .map(|value| value.text().ok_or_else(wrong).and_then(|text| keys.expand(entry, &text)))
            .collect::<Result<Vec<String>, _>>()
            .and_then(|words| {
                let text = shlex::try_join(words.iter().map(String::as_str))
                    .map_err(|_| "`command` contains a NUL".to_owned())?;
                Ok((words, text))
            }),
        value => value.text().ok_or_else(wrong).and_then(|text| keys.expand(entry, &text)).map(|text| {
            match words::split(&text) {
                Ok(words) => (words, text),
                Err(why) => {
                    let mistake = format!("`command` cannot be read: {why}: {text:?}");
                    keys.find(Weight::Swallowed, "command", mistake);
                    (vec![String::new()], text)
                }
            }
        }),
    };
    let (mut words, text) = keys.note("command", command)?;
    if words.iter().any(|word| word.contains('\0')) {
        keys.mistake("command", "`command` contains a NUL".to_owned());
        return None;
    }
    if words.is_empty() || (words[0].is_empty() && words.len() > 1) {
        keys.find(Weight::Swallowed, "command", "`command` is empty".to_owned());
        words = vec![String::new()];
    }
    Some((words, text))
}

fn output(place: &Place<'_>, keys: &mut Keys<'_>, stream: &Stream) -> Output {
    let text = keys.text_twice(stream.logfile);
    let mut syslog = keys.boolean(stream.syslog).unwrap_or(false);
    let maxbytes = keys.get(stream.maxbytes, units::bytes).unwrap_or(MAXBYTES_DEFAULT);
    let logfile = match text.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("auto") => Logfile::Auto,
        Some("none" | "off" | "") => Logfile::None,
        Some("syslog") => {
            let title = keys.title();
            keys.genuine(
                stream.logfile,
                format!(
                    "For {title}, {}=syslog but this is deprecated and will be removed.  Use {}=true to enable syslog instead.",
                    stream.logfile, stream.syslog
                ),
            );
            syslog = true;
            Logfile::None
        }
        Some(_) => Logfile::File(paths::home(&text.unwrap_or_default(), place.env)),
    };
    if logfile == Logfile::Auto && maxbytes == 0 {
        let title = keys.title();
        keys.genuine(
            stream.maxbytes,
            format!(
                "For {title}, AUTO logging used for {} without rollover, set maxbytes > 0 to avoid filling up filesystem unintentionally",
                stream.logfile
            ),
        );
    }
    let backups = keys.count(stream.backups, BACKUPS_MAX, &format!("a number from 0 to {BACKUPS_MAX}"));
    Output {
        logfile,
        maxbytes,
        backups: usize::try_from(backups.unwrap_or(BACKUPS_DEFAULT)).unwrap_or(0),
        tee: keys.boolean(stream.tee).unwrap_or(false),
        syslog,
        capture_maxbytes: keys.get(stream.capture_maxbytes, units::bytes).unwrap_or(0),
        events_enabled: keys.boolean(stream.events_enabled).unwrap_or(false),
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
    let Some(words) = keys.list("exitcodes") else { return vec![0] };
    let codes = words
        .iter()
        .map(|word| match units::integer(word).and_then(|code| i32::try_from(code).ok()) {
            Some(code) if (0..=255).contains(&code) => Ok(code),
            _ => Err(format!("`exitcodes` has {word:?}, but an exit code is a number from 0 to 255")),
        })
        .collect();
    keys.note("exitcodes", codes).unwrap_or_default()
}

fn supplementary_groups(keys: &mut Keys<'_>) -> Option<Vec<String>> {
    let names = keys.list("supplementary_groups")?;
    for name in &names {
        let known = units::group(name)
            .map_err(|_| format!("`supplementary_groups` names {name:?}, which does not exist"));
        keys.note("supplementary_groups", known);
    }
    Some(names)
}

/// Limits of the system by their names in `setrlimit(2)`.
const RLIMITS: [(&str, libc::__rlimit_resource_t); 16] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

fn rlimits(keys: &mut Keys<'_>) -> Vec<Rlimit> {
    let pairs = keys.table("rlimits", &RLIMITS.map(|(name, _)| name)).unwrap_or_default();
    let mut limits = Vec::new();
    for (name, text) in pairs {
        let value = match text.as_str() {
            "unlimited" => Ok(None),
            text => units::bytes(text).map(Some).map_err(|_| {
                format!("`rlimits.{name}` is {text:?}, but it must be a number, such as 65536 or 64MB, or \"unlimited\"")
            }),
        };
        let resource = RLIMITS.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource);
        if let (Some(value), Some(resource)) = (keys.note("rlimits", value), resource) {
            limits.push(Rlimit { name, resource, value });
        }
    }
    limits
}
