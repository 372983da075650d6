//! The commands of `supervisorctl`, with supervisord's output and exit codes (supervisor 4.3 `supervisorctl.py`).

use std::io::{self, Write};

use super::client::{CallError, Daemon};
use super::fault::FaultCode;
use super::xmlrpc::Value;
use crate::program::name::{Namespec, namespec};

/// The version of the interface that both sides must speak.
pub const API_VERSION: &str = "3.0";

/// Bytes of a log that `tail` shows.
const TAIL_BYTES: i64 = 1600;

/// The exit codes of the genuine client (`LSBInitExitStatuses`, `LSBStatusExitStatuses`).
mod exit {
    pub(super) const GENERIC: u8 = 1;
    pub(super) const INVALID_ARGS: u8 = 2;
    pub(super) const UNIMPLEMENTED_FEATURE: u8 = 3;
    pub(super) const STATUS_NOT_RUNNING: u8 = 3;
    pub(super) const INSUFFICIENT_PRIVILEGES: u8 = 4;
    pub(super) const STATUS_UNKNOWN: u8 = 4;
    pub(super) const NOT_INSTALLED: u8 = 5;
    pub(super) const NOT_RUNNING: u8 = 7;
}

/// One run of the client: a daemon, where the output goes, and the exit code so far.
pub struct Session<'a> {
    daemon: Daemon,
    out: &'a mut dyn Write,
    exit: u8,
}

/// Output that cannot be written ends a command; everything else is told in its words.
type Done = io::Result<()>;

impl<'a> Session<'a> {
    /// A session with one daemon.
    pub fn new(daemon: Daemon, out: &'a mut dyn Write) -> Self {
        Self { daemon, out, exit: 0 }
    }

    /// Runs a command and gives its exit code.
    pub async fn run(mut self, words: &[String]) -> io::Result<u8> {
        let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
        let Some((command, args)) = words.split_first() else { return Ok(exit::INVALID_ARGS) };
        match *command {
            "status" => self.status(args).await?,
            "start" => self.start(args).await?,
            "stop" => self.stop(args).await?,
            "restart" => self.restart(args).await?,
            "signal" => self.signal(args).await?,
            "pid" => self.pid(args).await?,
            "tail" => self.tail(args).await?,
            "maintail" => self.maintail(args).await?,
            "clear" => self.clear(args).await?,
            "shutdown" => self.shutdown(args).await?,
            "version" => self.version(args).await?,
            _ => {
                self.say(&format!("*** Unknown syntax: {}", words.join(" ")))?;
                self.exit = exit::GENERIC;
            }
        }
        self.out.flush()?;
        Ok(self.exit)
    }

    fn say(&mut self, line: &str) -> Done {
        writeln!(self.out, "{line}")
    }

    /// A call that failed in a way that the command has no words for.
    fn fail(&mut self, error: &CallError) -> Done {
        self.exit = exit::GENERIC;
        match error {
            CallError::Fault(fault) => self.say(&format!("error: <Fault {}: '{}'>", fault.code, fault.text)),
            CallError::Unauthorized => self.say("Server requires authentication"),
            error => self.say(&format!("error: {error}")),
        }
    }

    /// Whether there is a daemon that speaks our version.
    async fn up(&mut self) -> io::Result<bool> {
        match self.daemon.call("supervisor.getVersion", &[]).await {
            Ok(Value::Text(version)) if version == API_VERSION => return Ok(true),
            Ok(version) => {
                let version = version.text().unwrap_or("unknown").to_owned();
                self.say(&format!(
                    "Sorry, this version of supervisorctl expects to talk to a server with API version \
                     {API_VERSION}, but the remote version is {version}."
                ))?;
                self.exit = exit::NOT_INSTALLED;
            }
            Err(CallError::Fault(fault)) if fault.code == FaultCode::UnknownMethod.code() => {
                self.say(
                    "Sorry, supervisord responded but did not recognize the supervisor namespace commands that \
                     supervisorctl uses to control it.  Please check that the [rpcinterface:supervisor] section is \
                     enabled in the configuration file (see sample.conf).",
                )?;
                self.exit = exit::UNIMPLEMENTED_FEATURE;
            }
            Err(CallError::Connect { url, source }) if source.kind() == io::ErrorKind::ConnectionRefused => {
                self.say(&format!("{url} refused connection"))?;
                self.exit = exit::INSUFFICIENT_PRIVILEGES;
            }
            Err(CallError::Connect { url, source }) if source.kind() == io::ErrorKind::NotFound => {
                self.say(&format!("{url} no such file"))?;
                self.exit = exit::NOT_RUNNING;
            }
            Err(error) => self.fail(&error)?,
        }
        Ok(false)
    }

    async fn status(&mut self, args: &[&str]) -> Done {
        let (json, names): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| **arg == "--json");
        if !self.up().await? {
            self.exit = exit::STATUS_UNKNOWN;
            return Ok(());
        }
        let infos = match self.daemon.call("supervisor.getAllProcessInfo", &[]).await {
            Ok(infos) => infos.items().to_vec(),
            Err(error) => return self.fail(&error),
        };
        let mut matching = Vec::new();
        if names.is_empty() || names.contains(&"all") {
            matching = infos;
        } else {
            for name in names {
                let before = matching.len();
                let (group, process, error) = match Namespec::parse(name) {
                    Namespec::Group(group) => {
                        (group.clone(), None, format!("{group}: ERROR (no such group)"))
                    }
                    Namespec::Process { group, name: process } => {
                        (group, Some(process), format!("{name}: ERROR (no such process)"))
                    }
                };
                let matches = |info: &&Value| {
                    field(info, "group") == group
                        && process.as_ref().is_none_or(|name| field(info, "name") == *name)
                };
                matching.extend(infos.iter().filter(matches).cloned());
                if matching.len() == before {
                    self.say(&error)?;
                    self.exit = exit::STATUS_UNKNOWN;
                }
            }
        }
        if json.is_empty() {
            self.status_table(&matching)?
        } else {
            self.status_json(&matching)?
        }
        let stopped = |info: &&Value| matches!(number(info, "state"), 0 | 100 | 200 | 1000);
        if matching.iter().any(|info| stopped(&info)) {
            self.exit = exit::STATUS_NOT_RUNNING;
        }
        Ok(())
    }

    fn status_table(&mut self, infos: &[Value]) -> Done {
        let names: Vec<String> = infos.iter().map(full_name).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(30) + 3;
        for (name, info) in names.iter().zip(infos) {
            let line =
                format!("{name:<width$}{:<10}{}", field(info, "statename"), field(info, "description"));
            self.say(&line)?;
        }
        Ok(())
    }

    fn status_json(&mut self, infos: &[Value]) -> Done {
        let rows: Vec<serde_json::Value> = infos.iter().map(json).collect();
        let text = serde_json::to_string_pretty(&rows).map_err(io::Error::other)?;
        self.say(&text)
    }

    async fn start(&mut self, args: &[&str]) -> Done {
        self.change(args, &START).await
    }

    async fn stop(&mut self, args: &[&str]) -> Done {
        self.change(args, &STOP).await
    }

    async fn restart(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if args.is_empty() {
            self.say("Error: restart requires a process name")?;
            self.exit = exit::GENERIC;
            return self.say(HELP_RESTART);
        }
        self.stop(args).await?;
        self.start(args).await
    }

    async fn signal(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let [signal, names @ ..] = args else { return self.signal_usage() };
        if names.is_empty() {
            return self.signal_usage();
        }
        self.change_each(names, &SIGNAL, &[(*signal).into()]).await
    }

    fn signal_usage(&mut self) -> Done {
        self.say("Error: signal requires a signal name and a process name")?;
        self.exit = exit::GENERIC;
        self.say(HELP_SIGNAL)
    }

    async fn change(&mut self, names: &[&str], change: &Change) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if names.is_empty() {
            self.say(&format!("Error: {} requires a process name", change.command))?;
            self.exit = change.usage_exit;
            return self.say(change.help);
        }
        self.change_each(names, change, &[]).await
    }

    async fn change_each(&mut self, names: &[&str], change: &Change, extra: &[Value]) -> Done {
        if names.contains(&"all") {
            return match self.daemon.call(change.all, extra).await {
                Ok(results) => self.results(&results, change),
                Err(error) => self.fail(&error),
            };
        }
        for name in names {
            match Namespec::parse(name) {
                Namespec::Group(group) => {
                    let params: Vec<Value> =
                        [group.as_str().into()].into_iter().chain(extra.iter().cloned()).collect();
                    match self.daemon.call(change.group, &params).await {
                        Ok(results) => self.results(&results, change)?,
                        Err(CallError::Fault(fault)) if fault.code == FaultCode::BadName.code() => {
                            self.say(&format!("{group}: ERROR (no such group)"))?;
                            self.exit = change.no_group_exit;
                        }
                        Err(error) => self.fail(&error)?,
                    }
                }
                Namespec::Process { group, name: process } => {
                    let params: Vec<Value> =
                        [(*name).into()].into_iter().chain(extra.iter().cloned()).collect();
                    let shown = namespec(&group, &process);
                    match self.daemon.call(change.one, &params).await {
                        Ok(_) => self.say(&format!("{shown}: {}", change.done))?,
                        Err(CallError::Fault(fault)) => {
                            self.result(&shown, fault.code, &fault.text, change)?
                        }
                        Err(error) => self.fail(&error)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn results(&mut self, results: &Value, change: &Change) -> Done {
        for result in results.items() {
            let code = i32::try_from(number(result, "status")).unwrap_or(0);
            self.result(&full_name(result), code, &field(result, "description"), change)?;
        }
        Ok(())
    }

    fn result(&mut self, name: &str, code: i32, text: &str, change: &Change) -> Done {
        if code == FaultCode::Success.code() {
            return self.say(&format!("{name}: {}", change.done));
        }
        if let Some((_, words)) = WORDS.iter().find(|(known, _)| known.code() == code) {
            self.say(&format!("{name}: ERROR ({words})"))?;
        } else if code == FaultCode::Failed.code() {
            self.say(text)?;
        } else {
            self.say(&format!("error: <Fault {code}: '{text}'>"))?;
        }
        let dead = [FaultCode::SpawnError, FaultCode::AbnormalTermination, FaultCode::NotRunning];
        if Some(code) == change.harmless.map(FaultCode::code) {
            // Already as asked for.
        } else if dead.iter().any(|fault| fault.code() == code) {
            self.exit = exit::NOT_RUNNING;
        } else {
            self.exit = exit::GENERIC;
        }
        Ok(())
    }

    async fn pid(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if args.is_empty() {
            return match self.daemon.call("supervisor.getPID", &[]).await {
                Ok(pid) => self.say(&pid.int().unwrap_or(0).to_string()),
                Err(error) => self.fail(&error),
            };
        }
        if args.contains(&"all") {
            return match self.daemon.call("supervisor.getAllProcessInfo", &[]).await {
                Ok(infos) => {
                    infos.items().iter().try_for_each(|info| self.say(&number(info, "pid").to_string()))
                }
                Err(error) => self.fail(&error),
            };
        }
        for name in args {
            match self.daemon.call("supervisor.getProcessInfo", &[(*name).into()]).await {
                Ok(info) => {
                    let pid = number(&info, "pid");
                    self.say(&pid.to_string())?;
                    if pid == 0 {
                        self.exit = exit::NOT_RUNNING;
                    }
                }
                Err(CallError::Fault(fault)) if fault.code == FaultCode::BadName.code() => {
                    self.say(&format!("No such process {name}"))?;
                    self.exit = exit::GENERIC;
                }
                Err(error) => self.fail(&error)?,
            }
        }
        Ok(())
    }

    async fn tail(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let (modifier, rest) = match args {
            [modifier, rest @ ..] if modifier.starts_with('-') => (Some(*modifier), rest),
            rest => (None, rest),
        };
        let (name, channel) = match (args.len(), rest) {
            (0, _) => return self.usage("Error: too few arguments", HELP_TAIL),
            (4.., _) => return self.usage("Error: too many arguments", HELP_TAIL),
            (_, []) => return self.error("Error: tail requires process name"),
            (_, [name]) => (*name, "stdout".to_owned()),
            (_, [name, .., channel]) => (*name, channel.to_lowercase()),
        };
        let method = match channel.as_str() {
            "stdout" => "supervisor.readProcessStdoutLog",
            "stderr" => "supervisor.readProcessStderrLog",
            _ => return self.error(&format!("Error: bad channel '{channel}'")),
        };
        let bytes = match modifier.map(|modifier| &modifier[1..]) {
            None => TAIL_BYTES,
            Some("f") => return self.follow(&format!("/logtail/{name}/{channel}")).await,
            Some(number) => match number.parse() {
                Ok(bytes) => bytes,
                Err(_) => return self.error(&format!("Error: bad argument -{number}")),
            },
        };
        let read = self.daemon.call(method, &[name.into(), Value::Int(-bytes), Value::Int(0)]).await;
        self.show_log(name, read)
    }

    async fn maintail(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let bytes = match args {
            [] => TAIL_BYTES,
            ["-f"] => return self.follow("/mainlogtail").await,
            [one] => match one.strip_prefix('-').and_then(|number| number.parse().ok()) {
                Some(bytes) => bytes,
                None => return self.error(&format!("Error: bad argument {one}")),
            },
            _ => return self.usage("Error: too many arguments", HELP_MAINTAIL),
        };
        let read = self.daemon.call("supervisor.readLog", &[Value::Int(-bytes), Value::Int(0)]).await;
        self.show_log("supervisord", read)
    }

    fn show_log(&mut self, name: &str, read: Result<Value, CallError>) -> Done {
        let fault = match read {
            Ok(text) => return self.say(text.text().unwrap_or_default()),
            Err(CallError::Fault(fault)) => fault,
            Err(error) => return self.fail(&error),
        };
        let words = [
            (FaultCode::NoFile, "no log file"),
            (FaultCode::Failed, "unknown error reading log"),
            (FaultCode::BadName, "no such process name"),
        ];
        match words.iter().find(|(code, _)| code.code() == fault.code) {
            Some((_, words)) => self.error(&format!("{name}: ERROR ({words})")),
            None => self.fail(&CallError::Fault(fault)),
        }
    }

    async fn follow(&mut self, path: &str) -> Done {
        self.say("==> Press Ctrl-C to exit <==")?;
        self.out.flush()?;
        let daemon = self.daemon.clone();
        let out = &mut *self.out;
        let mut written = Ok(());
        let followed = daemon
            .follow(path, |piece| {
                if written.is_ok() {
                    written = out.write_all(piece).and_then(|()| out.flush());
                }
            })
            .await;
        written?;
        match followed {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&error),
        }
    }

    async fn clear(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if args.is_empty() {
            return self.usage("Error: clear requires a process name", HELP_CLEAR);
        }
        if args.contains(&"all") {
            return match self.daemon.call("supervisor.clearAllProcessLogs", &[]).await {
                Ok(results) => self.results(&results, &CLEAR),
                Err(error) => self.fail(&error),
            };
        }
        for name in args {
            let shown = match Namespec::parse(name) {
                Namespec::Process { group, name } => namespec(&group, &name),
                Namespec::Group(group) => group,
            };
            match self.daemon.call("supervisor.clearProcessLogs", &[(*name).into()]).await {
                Ok(_) => self.say(&format!("{shown}: cleared"))?,
                Err(CallError::Fault(fault)) if fault.code == FaultCode::Failed.code() => {
                    self.error(&format!("{shown}: ERROR (failed)"))?;
                }
                Err(CallError::Fault(fault)) => self.result(&shown, fault.code, &fault.text, &CLEAR)?,
                Err(error) => self.fail(&error)?,
            }
        }
        Ok(())
    }

    async fn shutdown(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: shutdown accepts no arguments", HELP_SHUTDOWN);
        }
        match self.daemon.call("supervisor.shutdown", &[]).await {
            Ok(_) => self.say("Shut down"),
            Err(CallError::Fault(fault)) if fault.code == FaultCode::ShutdownState.code() => {
                self.say("ERROR: already shutting down")
            }
            Err(CallError::Connect { url, source }) if source.kind() == io::ErrorKind::ConnectionRefused => {
                self.error(&format!("ERROR: {url} refused connection (already shut down?)"))
            }
            Err(CallError::Connect { url, source }) if source.kind() == io::ErrorKind::NotFound => {
                self.error(&format!("ERROR: {url} no such file (already shut down?)"))
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn version(&mut self, args: &[&str]) -> Done {
        if !args.is_empty() {
            return self.usage("Error: version accepts no arguments", HELP_VERSION);
        }
        if !self.up().await? {
            return Ok(());
        }
        match self.daemon.call("supervisor.getSupervisorVersion", &[]).await {
            Ok(version) => self.say(version.text().unwrap_or_default()),
            Err(error) => self.fail(&error),
        }
    }

    fn error(&mut self, line: &str) -> Done {
        self.exit = exit::GENERIC;
        self.say(line)
    }

    fn usage(&mut self, line: &str, help: &str) -> Done {
        self.error(line)?;
        self.say(help)
    }
}

/// A command that changes the state of programs.
struct Change {
    command: &'static str,
    one: &'static str,
    group: &'static str,
    all: &'static str,
    /// What it says when it is done.
    done: &'static str,
    /// The fault that means: it is so already.
    harmless: Option<FaultCode>,
    usage_exit: u8,
    no_group_exit: u8,
    help: &'static str,
}

const START: Change = Change {
    command: "start",
    one: "supervisor.startProcess",
    group: "supervisor.startProcessGroup",
    all: "supervisor.startAllProcesses",
    done: "started",
    harmless: Some(FaultCode::AlreadyStarted),
    usage_exit: exit::INVALID_ARGS,
    no_group_exit: exit::INVALID_ARGS,
    help: "start <name>\t\tStart a process\nstart <gname>:*\t\tStart all processes in a group\n\
           start <name> <name>\tStart multiple processes or groups\nstart all\t\tStart all processes",
};

const STOP: Change = Change {
    command: "stop",
    one: "supervisor.stopProcess",
    group: "supervisor.stopProcessGroup",
    all: "supervisor.stopAllProcesses",
    done: "stopped",
    harmless: Some(FaultCode::NotRunning),
    usage_exit: exit::GENERIC,
    no_group_exit: exit::GENERIC,
    help: "stop <name>\t\tStop a process\nstop <gname>:*\t\tStop all processes in a group\n\
           stop <name> <name>\tStop multiple processes or groups\nstop all\t\tStop all processes",
};

const SIGNAL: Change = Change {
    command: "signal",
    one: "supervisor.signalProcess",
    group: "supervisor.signalProcessGroup",
    all: "supervisor.signalAllProcesses",
    done: "signalled",
    harmless: None,
    usage_exit: exit::GENERIC,
    no_group_exit: exit::GENERIC,
    help: HELP_SIGNAL,
};

const CLEAR: Change = Change {
    command: "clear",
    one: "supervisor.clearProcessLogs",
    group: "supervisor.clearProcessLogs",
    all: "supervisor.clearAllProcessLogs",
    done: "cleared",
    harmless: None,
    usage_exit: exit::GENERIC,
    no_group_exit: exit::GENERIC,
    help: HELP_CLEAR,
};

const WORDS: [(FaultCode, &str); 8] = [
    (FaultCode::BadName, "no such process"),
    (FaultCode::BadSignal, "bad signal name"),
    (FaultCode::NoFile, "no such file"),
    (FaultCode::NotExecutable, "file is not executable"),
    (FaultCode::AlreadyStarted, "already started"),
    (FaultCode::SpawnError, "spawn error"),
    (FaultCode::AbnormalTermination, "abnormal termination"),
    (FaultCode::NotRunning, "not running"),
];

const HELP_RESTART: &str = "restart <name>\t\tRestart a process\nrestart <gname>:*\tRestart all processes in a group\n\
     restart <name> <name>\tRestart multiple processes or groups\nrestart all\t\tRestart all processes\n\
     Note: restart does not reread config files. For that, see reread and update.";
const HELP_SIGNAL: &str = "signal <signal name> <name>\t\tSignal a process\n\
     signal <signal name> <gname>:*\t\tSignal all processes in a group\n\
     signal <signal name> <name> <name>\tSignal multiple processes or groups\n\
     signal <signal name> all\t\tSignal all processes";
const HELP_TAIL: &str = "tail [-f] <name> [stdout|stderr] (default stdout)\nEx:\n\
     tail -f <name>\t\tContinuous tail of named process stdout\n\t\t\tCtrl-C to exit.\n\
     tail -100 <name>\tlast 100 *bytes* of process stdout\n\
     tail <name> stderr\tlast 1600 *bytes* of process stderr";
const HELP_MAINTAIL: &str = "maintail -f \tContinuous tail of supervisor main log file (Ctrl-C to exit)\n\
     maintail -100\tlast 100 *bytes* of supervisord main log file\n\
     maintail\tlast 1600 *bytes* of supervisor main log file\n";
const HELP_CLEAR: &str = "clear <name>\t\tClear a process' log files.\n\
     clear <name> <name>\tClear multiple process' log files\nclear all\t\tClear all process' log files";
const HELP_SHUTDOWN: &str = "shutdown \tShut the remote supervisord down.";
const HELP_VERSION: &str = "version\t\t\tShow the version of the remote supervisord process";

fn field(info: &Value, name: &str) -> String {
    info.member(name).and_then(Value::text).unwrap_or_default().to_owned()
}

fn number(info: &Value, name: &str) -> i64 {
    info.member(name).and_then(Value::int).unwrap_or(0)
}

fn full_name(info: &Value) -> String {
    namespec(&field(info, "group"), &field(info, "name"))
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Int(number) => (*number).into(),
        Value::Bool(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Double(number) => (*number).into(),
        Value::Nil => serde_json::Value::Null,
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Struct(members) => serde_json::Value::Object(
            members.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
        ),
    }
}
