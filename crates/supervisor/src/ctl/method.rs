//! The calls that the daemon answers: from names and values to types, and back.

use super::fault::{Fault, FaultCode};
use super::xmlrpc::{MethodCall, Value};

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
    ListMethods,
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

/// Every method, sorted.
pub const METHODS: [&str; 38] = [
    "supervisor.addProcessGroup",
    "supervisor.clearAllProcessLogs",
    "supervisor.clearLog",
    "supervisor.clearProcessLog",
    "supervisor.clearProcessLogs",
    "supervisor.getAPIVersion",
    "supervisor.getAllConfigInfo",
    "supervisor.getAllProcessInfo",
    "supervisor.getIdentification",
    "supervisor.getPID",
    "supervisor.getProcessInfo",
    "supervisor.getState",
    "supervisor.getSupervisorVersion",
    "supervisor.getVersion",
    "supervisor.readLog",
    "supervisor.readMainLog",
    "supervisor.readProcessLog",
    "supervisor.readProcessStderrLog",
    "supervisor.readProcessStdoutLog",
    "supervisor.reloadConfig",
    "supervisor.removeProcessGroup",
    "supervisor.restart",
    "supervisor.sendProcessStdin",
    "supervisor.sendRemoteCommEvent",
    "supervisor.shutdown",
    "supervisor.signalAllProcesses",
    "supervisor.signalProcess",
    "supervisor.signalProcessGroup",
    "supervisor.startAllProcesses",
    "supervisor.startProcess",
    "supervisor.startProcessGroup",
    "supervisor.stopAllProcesses",
    "supervisor.stopProcess",
    "supervisor.stopProcessGroup",
    "supervisor.tailProcessLog",
    "supervisor.tailProcessStderrLog",
    "supervisor.tailProcessStdoutLog",
    "system.listMethods",
];

impl Call {
    /// The call that a client means. An unknown name is fault 1, wrong parameters are fault 2.
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
                Self::StartProcessGroup { name: params.text()?, wait: params.wait()? }
            }
            "supervisor.startAllProcesses" => Self::StartAllProcesses { wait: params.wait()? },
            "supervisor.stopProcess" => Self::StopProcess { name: params.text()?, wait: params.wait()? },
            "supervisor.stopProcessGroup" => {
                Self::StopProcessGroup { name: params.text()?, wait: params.wait()? }
            }
            "supervisor.stopAllProcesses" => Self::StopAllProcesses { wait: params.wait()? },
            "supervisor.signalProcess" => {
                Self::SignalProcess { name: params.text()?, signal: params.word()? }
            }
            "supervisor.signalProcessGroup" => {
                Self::SignalProcessGroup { name: params.text()?, signal: params.word()? }
            }
            "supervisor.signalAllProcesses" => Self::SignalAllProcesses { signal: params.word()? },
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
            "supervisor.addProcessGroup" => Self::AddProcessGroup { name: params.text()? },
            "supervisor.removeProcessGroup" => Self::RemoveProcessGroup { name: params.text()? },
            "supervisor.getAllConfigInfo" => Self::GetAllConfigInfo,
            "supervisor.sendProcessStdin" => {
                Self::SendProcessStdin { name: params.text()?, chars: params.text()? }
            }
            "supervisor.sendRemoteCommEvent" => {
                Self::SendRemoteCommEvent { kind: params.text()?, data: params.text()? }
            }
            "system.listMethods" => Self::ListMethods,
            _ => return Err(Fault::bare(FaultCode::UnknownMethod)),
        };
        params.end()?;
        Ok(parsed)
    }
}

struct Params(std::vec::IntoIter<Value>);

impl Params {
    fn text(&mut self) -> Result<String, Fault> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Fault::bare(FaultCode::IncorrectParameters)),
        }
    }

    /// A text, or a number as a text: signals go by either.
    fn word(&mut self) -> Result<String, Fault> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Int(number)) => Ok(number.to_string()),
            _ => Err(Fault::bare(FaultCode::IncorrectParameters)),
        }
    }

    fn int(&mut self) -> Result<i64, Fault> {
        match self.0.next() {
            Some(Value::Int(number)) => Ok(number),
            _ => Err(Fault::bare(FaultCode::IncorrectParameters)),
        }
    }

    fn wait(&mut self) -> Result<bool, Fault> {
        match self.0.next() {
            None => Ok(true),
            Some(Value::Bool(wait)) => Ok(wait),
            Some(Value::Int(number)) => Ok(number != 0),
            Some(_) => Err(Fault::bare(FaultCode::IncorrectParameters)),
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
        Self::Struct(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
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
