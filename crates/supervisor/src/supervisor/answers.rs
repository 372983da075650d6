//! What clients read: programs, their configuration, their logs; and the signals that they send.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Supervisor;
use super::entry::{Entry, Id};
use crate::config::{Group, Logfile, Output, Program, units};
use crate::ctl::fault::{Fault, FaultCode};
use crate::ctl::method::Channel;
use crate::ctl::server::Answer;
use crate::ctl::xmlrpc::Value;
use crate::logs::tail::{self, ReadError};
use crate::os::{reaper, user};
use crate::program::name::{Namespec, namespec};

impl Supervisor {
    pub(super) fn process_info(&self, name: &str) -> Answer {
        self.one(name).map(|id| self.entries[&id].info().into())
    }

    pub(super) fn all_process_info(&self) -> Value {
        let mut infos: Vec<_> = self.entries.values().map(Entry::info).collect();
        infos.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
        Value::Array(infos.into_iter().map(Value::from).collect())
    }

    /// What the configuration says now, in use or not (supervisor 4.3 `rpcinterface.py`).
    pub(super) fn all_config_info(&self) -> Value {
        let mut infos: Vec<(&str, Value)> = Vec::new();
        for group in &self.config.groups {
            let programs = self.config.programs.iter().filter(|program| program.group == group.name);
            for program in programs {
                let inuse = self.groups.contains_key(&group.name);
                let entry = self.entry_of(&group.name, &program.name).filter(|_| inuse);
                infos.push((&program.name, config_info(program, group, entry, inuse)));
            }
        }
        infos.sort_by_key(|(name, _)| *name);
        Value::Array(infos.into_iter().map(|(_, info)| info).collect())
    }

    pub(super) fn one(&self, name: &str) -> Result<Id, Fault> {
        let bad = || Fault::new(FaultCode::BadName, name);
        let Namespec::Process { group, name } = Namespec::parse(name) else { return Err(bad()) };
        let mut found = self.entries.iter().filter(|(_, e)| e.config.group == group && e.config.name == name);
        found.next().map(|(id, _)| *id).ok_or_else(bad)
    }

    fn entry_of(&self, group: &str, name: &str) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.config.group == group && entry.config.name == name)
    }

    pub(super) fn group(&self, name: &str) -> Result<Vec<Id>, Fault> {
        let ids = self.ids_of(name);
        if ids.is_empty() && !self.groups.contains_key(name) {
            return Err(Fault::new(FaultCode::BadName, name));
        }
        Ok(ids)
    }

    pub(super) fn signal_named(&self, name: &str, signal: &str) -> Answer {
        if let Namespec::Group(group) = Namespec::parse(name) {
            let ids = self.group(&group).map_err(|_| Fault::new(FaultCode::BadName, name));
            return ids.and_then(|ids| self.signal_many(ids, signal));
        }
        let id = self.one(name)?;
        if signal == "0" {
            // Asks whether it is there.
            let there = self.entries[&id].life.state().is_signallable();
            return if there { Ok(true.into()) } else { Err(Fault::new(FaultCode::NotRunning, name)) };
        }
        let signal = parse_signal(signal)?;
        self.send_signal(id, signal, name).map(|()| true.into())
    }

    pub(super) fn signal_many(&self, ids: Vec<Id>, signal: &str) -> Answer {
        let signallable = ids.into_iter().filter(|id| self.entries[id].life.state().is_signallable());
        let results = signallable.map(|id| {
            let name = self.namespec(id);
            let sent = parse_signal(signal).and_then(|signal| self.send_signal(id, signal, &name));
            self.status(id, sent).into()
        });
        Ok(Value::Array(results.collect()))
    }

    /// How clients call a program.
    pub(super) fn namespec(&self, id: Id) -> String {
        let config = &self.entries[&id].config;
        namespec(&config.group, &config.name)
    }

    fn send_signal(&self, id: Id, signal: Signal, name: &str) -> Result<(), Fault> {
        let entry = &self.entries[&id];
        match entry.life.pid().filter(|_| entry.life.state().is_signallable()) {
            Some(pid) => {
                log::debug!("sending {} (pid {pid}) sig {signal}", entry.config.name);
                reaper::signal(pid, signal, false)
                    .map_err(|errno| Fault::new(FaultCode::Failed, &format!("cannot signal {name}: {errno}")))
            }
            None => Err(Fault::new(FaultCode::NotRunning, name)),
        }
    }

    pub(super) fn read_log(&self, offset: i64, length: i64) -> Answer {
        match self.config.supervisord.logfile.clone() {
            Some(path) if path.exists() => read(tail::read(&path, offset, length)),
            path => Err(no_file(path)),
        }
    }

    pub(super) fn clear_log(&self) -> Answer {
        match &self.config.supervisord.logfile {
            Some(path) if path.exists() => {
                log::info!("reopening log file");
                self.log.clear().map_err(|_| Fault::bare(FaultCode::Failed))?;
                Ok(true.into())
            }
            _ => Err(Fault::bare(FaultCode::NoFile)),
        }
    }

    pub(super) fn read_process_log(&self, name: &str, channel: Channel, offset: i64, length: i64) -> Answer {
        match self.log_of(name, channel)? {
            Some(path) if path.exists() => read(tail::read(&path, offset, length)),
            path => Err(no_file(path)),
        }
    }

    pub(super) fn tail_process_log(&self, name: &str, channel: Channel, offset: i64, length: i64) -> Answer {
        let (bytes, offset, overflow) = match self.log_of(name, channel)? {
            Some(path) if path.exists() => tail::tail(&path, offset, length),
            _ => (Vec::new(), 0, false),
        };
        Ok(Value::Array(vec![text(&bytes), Value::Int(offset), overflow.into()]))
    }

    pub(super) fn clear_process_logs(&self, name: &str) -> Answer {
        let id = self.one(name)?;
        self.clear(id).map_err(|_| Fault::new(FaultCode::Failed, name))?;
        Ok(true.into())
    }

    pub(super) fn clear_all_process_logs(&self) -> Value {
        let cleared = self.graph.ids.iter().map(|id| {
            let result = self.clear(*id).map_err(|_| Fault::new(FaultCode::Failed, &self.namespec(*id)));
            self.status(*id, result).into()
        });
        Value::Array(cleared.collect())
    }

    /// The file of an output, or without a name the daemon's own log: for those who follow it.
    pub(super) fn log_path(&self, name: Option<&str>, channel: Channel) -> Answer {
        let path = match name {
            Some(name) => self.log_of(name, channel)?,
            None => self.config.supervisord.logfile.clone(),
        };
        match path {
            Some(path) if path.exists() => Ok(path.display().to_string().into()),
            path => Err(no_file(path)),
        }
    }

    fn log_of(&self, name: &str, channel: Channel) -> Result<Option<PathBuf>, Fault> {
        let entry = &self.entries[&self.one(name)?];
        Ok(if channel == Channel::Stdout { &entry.stdout } else { &entry.stderr }.path())
    }

    fn clear(&self, id: Id) -> io::Result<()> {
        let entry = &self.entries[&id];
        entry.stdout.clear()?;
        entry.stderr.clear()
    }
}

/// The members in the words of supervisord; what has no value is `none`.
fn config_info(program: &Program, group: &Group, entry: Option<&Entry>, inuse: bool) -> Value {
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let none = || Value::from("none");
    let seconds = |time: Duration| int(time.as_secs());
    let uid = program.user.as_deref().and_then(|name| user::user(name).ok());
    let mut members: Vec<(&'static str, Value)> = vec![
        ("autostart", program.autostart.into()),
        ("directory", program.directory.as_ref().map_or_else(none, |path| path.display().to_string().into())),
        ("uid", uid.map_or_else(none, |ids| Value::Int(i64::from(ids.uid.as_raw())))),
        ("command", program.command_text.as_str().into()),
        (
            "exitcodes",
            Value::Array(program.exitcodes.iter().map(|code| Value::Int(i64::from(*code))).collect()),
        ),
        ("group", group.name.as_str().into()),
        ("group_prio", Value::Int(group.priority)),
        ("inuse", inuse.into()),
        ("killasgroup", program.killasgroup.into()),
        ("name", program.name.as_str().into()),
        ("process_prio", Value::Int(program.priority)),
        ("redirect_stderr", program.redirect_stderr.into()),
        ("startretries", int(u64::from(program.startretries))),
        ("startsecs", seconds(program.startsecs)),
        ("stopsignal", Value::Int(i64::from(program.stopsignal as i32))),
        ("stopwaitsecs", seconds(program.stopwaitsecs)),
        ("serverurl", program.serverurl.as_deref().unwrap_or("none").into()),
    ];
    let stderr_of = |entry: &Entry| entry.stderr.path();
    members.extend(output_info(STDOUT_KEYS, &program.stdout, entry.and_then(|entry| entry.stdout.path())));
    members.extend(output_info(STDERR_KEYS, &program.stderr, entry.and_then(stderr_of)));
    Value::Struct(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

const STDOUT_KEYS: [&str; 6] = [
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_logfile",
    "stdout_logfile_backups",
    "stdout_logfile_maxbytes",
    "stdout_syslog",
];
const STDERR_KEYS: [&str; 6] = [
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_logfile",
    "stderr_logfile_backups",
    "stderr_logfile_maxbytes",
    "stderr_syslog",
];

fn output_info(
    keys: [&'static str; 6],
    output: &Output,
    open: Option<PathBuf>,
) -> impl Iterator<Item = (&'static str, Value)> {
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let logfile = match (&output.logfile, &open) {
        (Logfile::None, _) => "none".to_owned(),
        (Logfile::Auto, None) => "auto".to_owned(),
        (Logfile::File(path), _) | (Logfile::Auto, Some(path)) => path.display().to_string(),
    };
    keys.into_iter().zip([
        int(output.capture_maxbytes),
        output.events_enabled.into(),
        logfile.into(),
        int(output.backups as u64),
        int(output.maxbytes),
        output.syslog.into(),
    ])
}

fn parse_signal(signal: &str) -> Result<Signal, Fault> {
    units::signal(signal).map_err(|_| Fault::new(FaultCode::BadSignal, signal))
}

fn no_file(path: Option<PathBuf>) -> Fault {
    match path {
        Some(path) => Fault::new(FaultCode::NoFile, &path.display().to_string()),
        // A fault about nothing has its name alone.
        None => Fault::bare(FaultCode::NoFile),
    }
}

fn read(bytes: Result<Vec<u8>, ReadError>) -> Answer {
    match bytes {
        Ok(bytes) => Ok(text(&bytes)),
        Err(ReadError::BadArguments) => Err(Fault::bare(FaultCode::BadArguments)),
        Err(ReadError::Failed(_)) => Err(Fault::bare(FaultCode::Failed)),
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into_owned())
}
