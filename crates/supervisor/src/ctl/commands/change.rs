//! The commands that change programs: `start`, `stop`, `restart`, `signal`, `clear`.

use super::super::client::CallError;
use super::super::fault::{Fault, FaultCode};
use super::super::trouble::Trouble;
use super::super::value::{field, number};
use super::super::xmlrpc::Value;
use super::{Done, Session, exit, full_name, is_fault};
use crate::program::name::{Namespec, namespec};

/// A command that changes the state of programs.
struct Change {
    command: &'static str,
    one: &'static str,
    group: &'static str,
    all: &'static str,
    /// What it says when it is done.
    done: &'static str,
    /// What it says of the faults that it knows; any other ends the command.
    words: &'static [(FaultCode, &'static str)],
    /// The fault that means: it is so already.
    harmless: Option<FaultCode>,
    /// A failure is told in the words of the daemon.
    failure_is_told: bool,
    no_group_exit: u8,
}

const START: Change = Change {
    command: "start",
    one: "supervisor.startProcess",
    group: "supervisor.startProcessGroup",
    all: "supervisor.startAllProcesses",
    done: "started",
    words: &[
        (FaultCode::BadName, "no such process"),
        (FaultCode::NoFile, "no such file"),
        (FaultCode::NotExecutable, "file is not executable"),
        (FaultCode::AlreadyStarted, "already started"),
        (FaultCode::SpawnError, "spawn error"),
        (FaultCode::AbnormalTermination, "abnormal termination"),
    ],
    harmless: Some(FaultCode::AlreadyStarted),
    failure_is_told: false,
    no_group_exit: exit::INVALID_ARGS,
};

const STOP: Change = Change {
    command: "stop",
    one: "supervisor.stopProcess",
    group: "supervisor.stopProcessGroup",
    all: "supervisor.stopAllProcesses",
    done: "stopped",
    words: SIGNAL_WORDS,
    harmless: Some(FaultCode::NotRunning),
    failure_is_told: true,
    no_group_exit: exit::GENERIC,
};

const SIGNAL: Change = Change {
    command: "signal",
    one: "supervisor.signalProcess",
    group: "supervisor.signalProcessGroup",
    all: "supervisor.signalAllProcesses",
    done: "signalled",
    words: SIGNAL_WORDS,
    harmless: None,
    failure_is_told: true,
    no_group_exit: exit::GENERIC,
};

const CLEAR: Change = Change {
    command: "clear",
    one: "supervisor.clearProcessLogs",
    group: "supervisor.clearProcessLogs",
    all: "supervisor.clearAllProcessLogs",
    done: "cleared",
    words: &[(FaultCode::BadName, "no such process"), (FaultCode::Failed, "failed")],
    harmless: None,
    failure_is_told: false,
    no_group_exit: exit::GENERIC,
};

const SIGNAL_WORDS: &[(FaultCode, &str)] = &[
    (FaultCode::BadName, "no such process"),
    (FaultCode::BadSignal, "bad signal name"),
    (FaultCode::NotRunning, "not running"),
];

impl Change {
    /// The line for one program, or nothing if the command knows no word for the code.
    fn line(&self, name: &str, code: i64, text: &str) -> Option<String> {
        let is = |fault: FaultCode| i64::from(fault.code()) == code;
        if is(FaultCode::Success) {
            return Some(format!("{name}: {}", self.done));
        }
        if let Some((_, words)) = self.words.iter().find(|(fault, _)| is(*fault)) {
            return Some(format!("{name}: ERROR ({words})"));
        }
        (is(FaultCode::Failed) && self.failure_is_told).then(|| text.to_owned())
    }

    /// The exit code that one program's result asks for; none if all is well.
    fn exit(&self, code: i64) -> Option<u8> {
        let is = |fault: FaultCode| i64::from(fault.code()) == code;
        let dead = [FaultCode::SpawnError, FaultCode::AbnormalTermination, FaultCode::NotRunning];
        if is(FaultCode::Success) || self.harmless.is_some_and(is) {
            None
        } else if dead.into_iter().any(is) {
            Some(exit::NOT_RUNNING)
        } else {
            Some(exit::GENERIC)
        }
    }
}

impl Session<'_> {
    pub(super) async fn start(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if args.is_empty() {
            self.usage("Error: start requires a process name", "start")?;
            self.exit = exit::INVALID_ARGS;
            return Ok(());
        }
        self.change(args, &START, &[]).await
    }

    pub(super) async fn stop(&mut self, args: &[&str]) -> Done {
        self.named_change(args, &STOP).await
    }

    pub(super) async fn restart(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if args.is_empty() {
            return self.usage("Error: restart requires a process name", "restart");
        }
        self.stop(args).await?;
        self.start(args).await
    }

    pub(super) async fn signal(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        match args {
            [] | [_] => self.usage("Error: signal requires a signal name and a process name", "signal"),
            [signal, names @ ..] => self.change(names, &SIGNAL, &[(*signal).into()]).await,
        }
    }

    pub(super) async fn clear(&mut self, args: &[&str]) -> Done {
        self.named_change(args, &CLEAR).await
    }

    async fn named_change(&mut self, names: &[&str], change: &Change) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        if names.is_empty() {
            let line = format!("Error: {} requires a process name", change.command);
            return self.usage(&line, change.command);
        }
        self.change(names, change, &[]).await
    }

    async fn change(&mut self, names: &[&str], change: &Change, extra: &[Value]) -> Done {
        if names.contains(&"all") {
            let results = self.daemon.call(change.all, extra).await?;
            return self.results(&results, change);
        }
        for name in names {
            let with = |name: &str| -> Vec<Value> {
                [name.into()].into_iter().chain(extra.iter().cloned()).collect()
            };
            let (called, shown) = match Namespec::parse(name) {
                Namespec::Group(group) if change.one != change.group => {
                    match self.daemon.call(change.group, &with(&group)).await {
                        Ok(results) => self.results(&results, change)?,
                        Err(error) if is_fault(&error, FaultCode::BadName) => {
                            self.say(&format!("{group}: ERROR (no such group)"))?;
                            self.exit = change.no_group_exit;
                        }
                        Err(error) => return Err(error.into()),
                    }
                    continue;
                }
                // `clear` knows no groups, and the genuine client names what it did not find like this.
                Namespec::Group(group) => (name, format!("{group}:None")),
                Namespec::Process { group, name: process } => (name, namespec(&group, &process)),
            };
            let (code, text) = match self.daemon.call(change.one, &with(called)).await {
                Ok(_) => (FaultCode::Success.code(), String::new()),
                Err(CallError::Fault(Fault { code, text })) => (code, text),
                Err(error) => return Err(error.into()),
            };
            self.result(&shown, i64::from(code), &text, change)?;
        }
        Ok(())
    }

    fn results(&mut self, results: &Value, change: &Change) -> Done {
        for result in results.items() {
            let (code, text) = (number(result, "status"), field(result, "description"));
            self.result(&full_name(result), code, text, change)?;
        }
        Ok(())
    }

    fn result(&mut self, name: &str, code: i64, text: &str, change: &Change) -> Done {
        let line = change.line(name, code, text).ok_or_else(|| Trouble::unknown_code(code, name))?;
        self.say(&line)?;
        if let Some(exit) = change.exit(code) {
            self.exit = exit;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_has_its_line_and_its_exit_code() {
        for (change, code, line, exit) in [
            (&START, FaultCode::Success, Some("x: started"), None),
            (&START, FaultCode::BadName, Some("x: ERROR (no such process)"), Some(1)),
            (&START, FaultCode::NoFile, Some("x: ERROR (no such file)"), Some(1)),
            (&START, FaultCode::NotExecutable, Some("x: ERROR (file is not executable)"), Some(1)),
            (&START, FaultCode::AlreadyStarted, Some("x: ERROR (already started)"), None),
            (&START, FaultCode::SpawnError, Some("x: ERROR (spawn error)"), Some(7)),
            (&START, FaultCode::AbnormalTermination, Some("x: ERROR (abnormal termination)"), Some(7)),
            (&START, FaultCode::Failed, None, Some(1)),
            (&STOP, FaultCode::Success, Some("x: stopped"), None),
            (&STOP, FaultCode::NotRunning, Some("x: ERROR (not running)"), None),
            (&STOP, FaultCode::Failed, Some("why"), Some(1)),
            (&STOP, FaultCode::ShutdownState, None, Some(1)),
            (&SIGNAL, FaultCode::Success, Some("x: signalled"), None),
            (&SIGNAL, FaultCode::BadSignal, Some("x: ERROR (bad signal name)"), Some(1)),
            (&SIGNAL, FaultCode::NotRunning, Some("x: ERROR (not running)"), Some(7)),
            (&CLEAR, FaultCode::Success, Some("x: cleared"), None),
            (&CLEAR, FaultCode::Failed, Some("x: ERROR (failed)"), Some(1)),
            (&CLEAR, FaultCode::BadName, Some("x: ERROR (no such process)"), Some(1)),
        ] {
            let number = i64::from(code.code());
            let found = change.line("x", number, "why");
            assert_eq!(found.as_deref(), line, "{} {code:?}", change.command);
            assert_eq!(change.exit(number), exit, "{} {code:?}", change.command);
        }
    }
}
