//! The calls that the daemon answers: from names and values to types, and back.

use super::fault::{Fault, FaultCode};
use super::xmlrpc::{self, MethodCall, Value};

/// One of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a client wants (supervisor 4.3 `rpcinterface.py`).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the method of the same name")]
pub enum Call {
    GetApiVersion,
    GetSupervisorVersion,
    GetIdentification,
    GetState,
    GetPid,
    ReadLog {
        offset: i64,
        length: i64,
    },
    ClearLog,
    Shutdown,
    StartProcess {
        name: String,
        wait: bool,
    },
    StartProcessGroup {
        name: String,
        wait: bool,
    },
    StartAllProcesses {
        wait: bool,
    },
    StopProcess {
        name: String,
        wait: bool,
    },
    StopProcessGroup {
        name: String,
        wait: bool,
    },
    StopAllProcesses {
        wait: bool,
    },
    SignalProcess {
        name: String,
        signal: String,
    },
    SignalProcessGroup {
        name: String,
        signal: String,
    },
    SignalAllProcesses {
        signal: String,
    },
    GetProcessInfo {
        name: String,
    },
    GetAllProcessInfo,
    ReadProcessLog {
        channel: Channel,
        name: String,
        offset: i64,
        length: i64,
    },
    TailProcessLog {
        channel: Channel,
        name: String,
        offset: i64,
        length: i64,
    },
    ClearProcessLogs {
        name: String,
    },
    ClearAllProcessLogs,
    Restart,
    ReloadConfig,
    AddProcessGroup {
        name: String,
    },
    RemoveProcessGroup {
        name: String,
    },
    GetAllConfigInfo,
    SendProcessStdin {
        name: String,
        chars: String,
    },
    SendRemoteCommEvent {
        kind: String,
        data: String,
    },
    /// Where the output of a program, or without a name the daemon's own log, is written: for those who follow it.
    LogPath {
        channel: Channel,
        name: Option<String>,
    },
}

impl Call {
    /// The call that a client means. Values of other types are taken as supervisord takes them; what makes it
    /// fail inside (HTTP 500) is fault 2 here. An unknown name is fault 1, wrong parameters are fault 2.
    pub fn parse(call: MethodCall) -> Result<Self, Fault> {
        let MethodCall { name, params } = call;
        let mut params = Params(params.into_iter());
        let parsed = match name.as_str() {
            "supervisor.getAPIVersion" | "supervisor.getVersion" => Self::GetApiVersion,
            "supervisor.getSupervisorVersion" => Self::GetSupervisorVersion,
            "supervisor.getIdentification" => Self::GetIdentification,
            "supervisor.getState" => Self::GetState,
            "supervisor.getPID" => Self::GetPid,
            "supervisor.readLog" | "supervisor.readMainLog" => {
                Self::ReadLog { offset: params.int()?, length: params.int()? }
            }
            "supervisor.clearLog" => Self::ClearLog,
            "supervisor.shutdown" => Self::Shutdown,
            "supervisor.startProcess" => Self::StartProcess { name: params.text()?, wait: params.wait()? },
            "supervisor.startProcessGroup" => {
                Self::StartProcessGroup { name: params.group()?, wait: params.wait()? }
            }
            "supervisor.startAllProcesses" => Self::StartAllProcesses { wait: params.wait()? },
            "supervisor.stopProcess" => Self::StopProcess { name: params.text()?, wait: params.wait()? },
            "supervisor.stopProcessGroup" => {
                Self::StopProcessGroup { name: params.group()?, wait: params.wait()? }
            }
            "supervisor.stopAllProcesses" => Self::StopAllProcesses { wait: params.wait()? },
            "supervisor.signalProcess" => {
                Self::SignalProcess { name: params.text()?, signal: params.signal()? }
            }
            "supervisor.signalProcessGroup" => {
                Self::SignalProcessGroup { name: params.group()?, signal: params.signal()? }
            }
            "supervisor.signalAllProcesses" => Self::SignalAllProcesses { signal: params.signal()? },
            "supervisor.getProcessInfo" => Self::GetProcessInfo { name: params.text()? },
            "supervisor.getAllProcessInfo" => Self::GetAllProcessInfo,
            "supervisor.readProcessStdoutLog" | "supervisor.readProcessLog" => {
                params.read(Channel::Stdout)?
            }
            "supervisor.readProcessStderrLog" => params.read(Channel::Stderr)?,
            "supervisor.tailProcessStdoutLog" | "supervisor.tailProcessLog" => {
                params.tail(Channel::Stdout)?
            }
            "supervisor.tailProcessStderrLog" => params.tail(Channel::Stderr)?,
            "supervisor.clearProcessLogs" | "supervisor.clearProcessLog" => {
                Self::ClearProcessLogs { name: params.text()? }
            }
            "supervisor.clearAllProcessLogs" => Self::ClearAllProcessLogs,
            "supervisor.restart" => Self::Restart,
            "supervisor.reloadConfig" => Self::ReloadConfig,
            // Whatever it is, it is compared with the names of groups.
            "supervisor.addProcessGroup" => Self::AddProcessGroup { name: params.group_or_list()? },
            "supervisor.removeProcessGroup" => Self::RemoveProcessGroup { name: params.group()? },
            "supervisor.getAllConfigInfo" => Self::GetAllConfigInfo,
            "supervisor.sendProcessStdin" => params.stdin()?,
            "supervisor.sendRemoteCommEvent" => {
                Self::SendRemoteCommEvent { kind: params.any()?, data: params.any()? }
            }
            _ => return Err(Fault::bare(FaultCode::UnknownMethod)),
        };
        params.end()?;
        Ok(parsed)
    }
}

struct Params(std::vec::IntoIter<Value>);

impl Params {
    fn any_value(&mut self) -> Result<Value, Fault> {
        self.0.next().ok_or_else(incorrect)
    }

    fn text(&mut self) -> Result<String, Fault> {
        match self.any_value()? {
            Value::Text(text) => Ok(text),
            _ => Err(incorrect()),
        }
    }

    /// Whatever it is, as a text.
    fn any(&mut self) -> Result<String, Fault> {
        self.any_value().map(|value| value.to_string())
    }

    /// A group's name. Other values are looked up just as well, and never found.
    fn group(&mut self) -> Result<String, Fault> {
        match self.any_value()? {
            Value::Text(text) => Ok(text),
            Value::Array(_) | Value::Struct(_) => Err(incorrect()),
            Value::Nil => Err(Fault::bare(FaultCode::BadName)),
            other => Err(Fault::new(FaultCode::BadName, &other.to_string())),
        }
    }

    /// A group's name, or whatever it is called instead.
    fn group_or_list(&mut self) -> Result<String, Fault> {
        match self.any_value()? {
            Value::Text(text) => Ok(text),
            Value::Nil => Err(Fault::bare(FaultCode::BadName)),
            other => Err(Fault::new(FaultCode::BadName, &other.to_string())),
        }
    }

    /// A signal goes by its name or its number.
    fn signal(&mut self) -> Result<String, Fault> {
        match self.any_value()? {
            Value::Text(text) => Ok(text),
            other => int(&other).map(|number| number.to_string()),
        }
    }

    fn int(&mut self) -> Result<i64, Fault> {
        int(&self.any_value()?)
    }

    fn wait(&mut self) -> Result<bool, Fault> {
        Ok(match self.0.next() {
            None => true,
            Some(Value::Bool(wait)) => wait,
            Some(Value::Int(number)) => number != 0,
            Some(Value::Double(number)) => number != 0.0,
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Struct(members)) => !members.is_empty(),
            Some(Value::Nil) => false,
        })
    }

    fn stdin(&mut self) -> Result<Call, Fault> {
        let name = self.any_value()?;
        match (name, self.any_value()?) {
            (Value::Text(name), Value::Text(chars)) => Ok(Call::SendProcessStdin { name, chars }),
            (_, Value::Nil | Value::Text(_)) => Err(incorrect()),
            (_, other) => Err(Fault::new(FaultCode::IncorrectParameters, &other.to_string())),
        }
    }

    fn read(&mut self, channel: Channel) -> Result<Call, Fault> {
        Ok(Call::ReadProcessLog { channel, name: self.text()?, offset: self.int()?, length: self.int()? })
    }

    fn tail(&mut self, channel: Channel) -> Result<Call, Fault> {
        Ok(Call::TailProcessLog { channel, name: self.text()?, offset: self.int()?, length: self.int()? })
    }

    fn end(mut self) -> Result<(), Fault> {
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err(Fault::bare(FaultCode::IncorrectParameters)),
        }
    }
}

fn incorrect() -> Fault {
    Fault::bare(FaultCode::IncorrectParameters)
}

/// A whole number, or what can be made one.
fn int(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Bool(value) => Ok(i64::from(*value)),
        Value::Text(text) => xmlrpc::int(text).ok_or_else(incorrect),
        #[expect(clippy::cast_possible_truncation, reason = "the fraction is what is cut off")]
        Value::Double(number) if number.is_finite() => Ok(*number as i64),
        _ => Err(incorrect()),
    }
}

/// What clients learn of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of supervisord's answer")]
pub struct ProcessInfo {
    pub name: String,
    pub group: String,
    pub description: String,
    pub start: i64,
    pub stop: i64,
    pub now: i64,
    pub state: i32,
    pub statename: String,
    pub spawnerr: String,
    pub exitstatus: i32,
    pub logfile: String,
    pub stdout_logfile: String,
    pub stderr_logfile: String,
    pub pid: u32,
    /// Ours: whether its readiness check has succeeded; left out if it has none.
    pub ready: Option<bool>,
}

impl From<ProcessInfo> for Value {
    fn from(info: ProcessInfo) -> Self {
        let members: [(&str, Self); 14] = [
            ("name", info.name.into()),
            ("group", info.group.into()),
            ("start", Self::Int(info.start)),
            ("stop", Self::Int(info.stop)),
            ("now", Self::Int(info.now)),
            ("state", Self::Int(i64::from(info.state))),
            ("statename", info.statename.into()),
            ("spawnerr", info.spawnerr.into()),
            ("exitstatus", Self::Int(i64::from(info.exitstatus))),
            ("logfile", info.logfile.into()),
            ("stdout_logfile", info.stdout_logfile.into()),
            ("stderr_logfile", info.stderr_logfile.into()),
            ("pid", Self::Int(i64::from(info.pid))),
            ("description", info.description.into()),
        ];
        let ready = info.ready.map(|ready| ("ready", ready.into()));
        Self::Struct(members.into_iter().chain(ready).map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// The result for one program of a call that concerns many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallStatus {
    /// The program.
    pub name: String,
    /// Its group.
    pub group: String,
    /// What became of it.
    pub result: Result<(), Fault>,
}

impl From<CallStatus> for Value {
    fn from(status: CallStatus) -> Self {
        let (code, text) = match status.result {
            Ok(()) => (FaultCode::Success.code(), "OK".to_owned()),
            Err(fault) => (fault.code, fault.text),
        };
        let members: [(&str, Self); 4] = [
            ("name", status.name.into()),
            ("group", status.group.into()),
            ("status", Self::Int(i64::from(code))),
            ("description", text.into()),
        ];
        Self::Struct(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, params: &[Value]) -> Result<Call, i32> {
        Call::parse(MethodCall { name: name.to_owned(), params: params.to_vec() }).map_err(|fault| fault.code)
    }

    #[test]
    fn names_and_parameters_become_calls_or_faults() {
        let name = || "web".to_owned();
        for (method, params, expected) in [
            ("supervisor.getVersion", &[][..], Ok(Call::GetApiVersion)),
            (
                "supervisor.startProcess",
                &["web".into()][..],
                Ok(Call::StartProcess { name: name(), wait: true }),
            ),
            (
                "supervisor.stopProcess",
                &["web".into(), false.into()][..],
                Ok(Call::StopProcess { name: name(), wait: false }),
            ),
            (
                "supervisor.readProcessLog",
                &["web".into(), Value::Int(-10), Value::Int(0)][..],
                Ok(Call::ReadProcessLog { channel: Channel::Stdout, name: name(), offset: -10, length: 0 }),
            ),
            (
                "supervisor.signalProcess",
                &["web".into(), Value::Int(1)][..],
                Ok(Call::SignalProcess { name: name(), signal: "1".to_owned() }),
            ),
            ("supervisor.startProcess", &[][..], Err(2)),
            ("supervisor.startProcess", &["web".into(), true.into(), true.into()][..], Err(2)),
            ("supervisor.getState", &[Value::Int(1)][..], Err(2)),
            // The attack of CVE-2017-11610: attributes of the interface are no methods.
            ("supervisor.supervisord.options.execve", &["/bin/sh".into()][..], Err(1)),
            ("supervisor._update", &["x".into()][..], Err(1)),
            ("getState", &[][..], Err(1)),
        ] {
            assert_eq!(parse(method, params), expected, "{method}");
        }
    }
}
