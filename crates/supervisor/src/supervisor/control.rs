//! Answers clients: each call goes to the part that knows.

use std::error::Error;

use tokio::sync::oneshot;

use super::Supervisor;
use super::own_log::try_log;
use super::waiters::Goal;
use crate::ctl::commands::API_VERSION;
use crate::ctl::fault::{Fault, FaultCode};
use crate::ctl::method::Call;
use crate::ctl::server::Answer;
use crate::ctl::xmlrpc::Value;
use crate::events::Event;
use crate::program::ProcessState;

use super::input::StdinError;

/// The version of the daemon that clients are told: that of supervisord whose interface this is would
/// mislead those who look for our own.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Supervisor {
    pub(super) fn on_call(&mut self, call: Call, answer: oneshot::Sender<Answer>) {
        if self.shutdown.is_some() && !matches!(call, Call::SendRemoteCommEvent { .. }) {
            let _ = answer.send(Err(Fault::bare(FaultCode::ShutdownState)));
            return;
        }
        let now = match call {
            Call::StartProcess { name, wait } => return self.change(&name, Goal::Started, wait, answer),
            Call::StopProcess { name, wait } => return self.change(&name, Goal::Stopped, wait, answer),
            Call::StartProcessGroup { name, wait } => {
                return self.change_many(self.group(&name), Goal::Started, wait, answer);
            }
            Call::StopProcessGroup { name, wait } => {
                return self.change_many(self.group(&name), Goal::Stopped, wait, answer);
            }
            Call::StartAllProcesses { wait } => {
                return self.change_many(Ok(self.graph.ids.clone()), Goal::Started, wait, answer);
            }
            Call::StopAllProcesses { wait } => {
                return self.change_many(Ok(self.graph.ids.clone()), Goal::Stopped, wait, answer);
            }
            Call::GetApiVersion => Ok(API_VERSION.into()),
            Call::GetSupervisorVersion => Ok(VERSION.into()),
            Call::GetIdentification => Ok(self.config.supervisord.identifier.as_str().into()),
            Call::GetState => Ok(Value::Struct(vec![
                ("statecode".to_owned(), Value::Int(1)),
                ("statename".to_owned(), "RUNNING".into()),
            ])),
            Call::GetPid => Ok(Value::Int(i64::from(std::process::id()))),
            Call::Shutdown => {
                self.begin_shutdown(false);
                Ok(true.into())
            }
            Call::Restart => self.restart(),
            Call::ReloadConfig => self.reload_config(),
            Call::AddProcessGroup { name } => self.add_process_group(&name),
            Call::RemoveProcessGroup { name } => self.remove_process_group(&name),
            Call::GetProcessInfo { name } => self.process_info(&name),
            Call::GetAllProcessInfo => Ok(self.all_process_info()),
            Call::GetAllConfigInfo => Ok(self.all_config_info()),
            Call::SignalProcess { name, signal } => self.signal_named(&name, &signal),
            Call::SignalProcessGroup { name, signal } => {
                self.group(&name).and_then(|ids| self.signal_many(ids, &signal))
            }
            Call::SignalAllProcesses { signal } => self.signal_many(self.graph.ids.clone(), &signal),
            Call::SendProcessStdin { name, chars } => self.send_stdin(&name, &chars),
            Call::SendRemoteCommEvent { kind, data } => {
                self.emit(&Event::RemoteCommunication { kind, data });
                Ok(true.into())
            }
            Call::ReadLog { offset, length } => self.read_log(offset, length),
            Call::ClearLog => self.clear_log(),
            Call::ReadProcessLog { channel, name, offset, length } => {
                self.read_process_log(&name, channel, offset, length)
            }
            Call::TailProcessLog { channel, name, offset, length } => {
                self.tail_process_log(&name, channel, offset, length)
            }
            Call::ClearProcessLogs { name } => self.clear_process_logs(&name),
            Call::ClearAllProcessLogs => Ok(self.clear_all_process_logs()),
            Call::LogPath { channel, name } => self.log_path(name.as_deref(), channel),
        };
        let _ = answer.send(now);
    }

    /// What the new run would refuse to start with is found before anything is stopped for it.
    fn restart(&mut self) -> Answer {
        let refuse = |why: &str| Fault::new(FaultCode::CantReread, why);
        let config = self.source.load().map_err(|mistakes| refuse(&mistakes.to_string()))?;
        try_log(&config.supervisord).map_err(|error| match error.source() {
            Some(source) => refuse(&format!("{error}: {source}")),
            None => refuse(&error.to_string()),
        })?;
        self.begin_shutdown(true);
        Ok(true.into())
    }

    fn reload_config(&mut self) -> Answer {
        let diff =
            self.reread().map_err(|mistakes| Fault::new(FaultCode::CantReread, &mistakes.to_string()))?;
        let names = |names: Vec<String>| Value::Array(names.into_iter().map(Value::from).collect());
        let lists = vec![names(diff.added), names(diff.changed), names(diff.removed)];
        // An answer is an array of one, by tradition.
        Ok(Value::Array(vec![Value::Array(lists)]))
    }

    fn add_process_group(&mut self, name: &str) -> Answer {
        let definition = self.config.definition(name).ok_or_else(|| Fault::new(FaultCode::BadName, name))?;
        if self.groups.contains_key(name) {
            return Err(Fault::new(FaultCode::AlreadyAdded, name));
        }
        self.add_group(definition);
        Ok(true.into())
    }

    fn remove_process_group(&mut self, name: &str) -> Answer {
        if !self.groups.contains_key(name) {
            return Err(Fault::new(FaultCode::BadName, name));
        }
        let ids = self.ids_of(name);
        if ids.iter().any(|id| !self.entries[id].life.state().is_stopped()) {
            return Err(Fault::new(FaultCode::StillRunning, name));
        }
        self.remove_group(name);
        Ok(true.into())
    }

    fn send_stdin(&mut self, name: &str, chars: &str) -> Answer {
        let id = self.one(name)?;
        let Some(entry) = self.entries.get_mut(&id) else { return Err(Fault::new(FaultCode::BadName, name)) };
        if entry.life.pid().is_none() || entry.life.state() == ProcessState::Stopping {
            return Err(Fault::new(FaultCode::NotRunning, name));
        }
        let written =
            entry.stdin.as_mut().map_or(Err(StdinError::Closed), |stdin| stdin.write(chars.as_bytes()));
        match written {
            Ok(()) => Ok(true.into()),
            Err(StdinError::Closed) => Err(Fault::new(FaultCode::NoFile, name)),
            Err(StdinError::Full) => {
                Err(Fault::new(FaultCode::Failed, &format!("{name} does not read its input")))
            }
        }
    }
}
