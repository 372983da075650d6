//! What happened, in the words in which a listener reads it.

use std::fmt;

use super::text::text;
use crate::program::ProcessState;

/// Which of its outputs a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Its stdout.
    Stdout,
    /// Its stderr.
    Stderr,
}

impl Stream {
    /// The name in payloads and log sentences.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often a `TICK` comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// Every 5 seconds.
    Seconds5,
    /// Every minute.
    Seconds60,
    /// Every hour.
    Seconds3600,
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Seconds5, Self::Seconds60, Self::Seconds3600];

    /// Its length in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Seconds5 => 5,
            Self::Seconds60 => 60,
            Self::Seconds3600 => 3600,
        }
    }

    /// The beginning of the slice of time in which `when`, in seconds since 1970, is. A tick is due when it changes.
    #[must_use]
    pub fn slice(self, when: u64) -> u64 {
        when - when % self.seconds()
    }
}

/// Something that listeners can be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A process came into another state.
    ProcessState {
        /// The new state; the event is named after it.
        to: ProcessState,
        /// The process.
        process: String,
        /// Its group.
        group: String,
        /// The state it was in.
        from_state: ProcessState,
        /// Its pid, which an end still has; told as 0 if there is none.
        pid: Option<u32>,
        /// Whether its exit was expected. Only told with EXITED.
        expected: bool,
        /// Tries that failed so far, this one included at BACKOFF. Only told with STARTING and BACKOFF.
        tries: u32,
    },
    /// A program wrote between the two tokens.
    ProcessCommunication {
        /// Where to.
        stream: Stream,
        /// The process.
        process: String,
        /// Its group.
        group: String,
        /// Its pid.
        pid: Option<u32>,
        /// What it wrote.
        data: Vec<u8>,
    },
    /// A program wrote.
    ProcessLog {
        /// Where to.
        stream: Stream,
        /// The process.
        process: String,
        /// Its group.
        group: String,
        /// Its pid.
        pid: Option<u32>,
        /// What it wrote, as much as was read at once.
        data: Vec<u8>,
    },
    /// A client of the XML-RPC interface called `sendRemoteCommEvent`.
    RemoteCommunication {
        /// Its `type`.
        kind: String,
        /// Its `data`.
        data: String,
    },
    /// The daemon runs.
    SupervisorRunning,
    /// The daemon begins to stop.
    SupervisorStopping,
    /// A slice of time is over.
    Tick {
        /// How long it was.
        period: Period,
        /// The beginning of the next one, in seconds since 1970: a multiple of the period.
        when: u64,
    },
    /// A group is there, with the daemon's start or with `add`.
    GroupAdded {
        /// Its name.
        group: String,
    },
    /// A group is gone.
    GroupRemoved {
        /// Its name.
        group: String,
    },
}

impl Event {
    /// The type's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProcessState { to, .. } => match to {
                ProcessState::Stopped => "PROCESS_STATE_STOPPED",
                ProcessState::Starting => "PROCESS_STATE_STARTING",
                ProcessState::Running => "PROCESS_STATE_RUNNING",
                ProcessState::Backoff => "PROCESS_STATE_BACKOFF",
                ProcessState::Stopping => "PROCESS_STATE_STOPPING",
                ProcessState::Exited => "PROCESS_STATE_EXITED",
                ProcessState::Fatal => "PROCESS_STATE_FATAL",
                ProcessState::Unknown => "PROCESS_STATE_UNKNOWN",
            },
            Self::ProcessCommunication { stream: Stream::Stdout, .. } => "PROCESS_COMMUNICATION_STDOUT",
            Self::ProcessCommunication { stream: Stream::Stderr, .. } => "PROCESS_COMMUNICATION_STDERR",
            Self::ProcessLog { stream: Stream::Stdout, .. } => "PROCESS_LOG_STDOUT",
            Self::ProcessLog { stream: Stream::Stderr, .. } => "PROCESS_LOG_STDERR",
            Self::RemoteCommunication { .. } => "REMOTE_COMMUNICATION",
            Self::SupervisorRunning => "SUPERVISOR_STATE_CHANGE_RUNNING",
            Self::SupervisorStopping => "SUPERVISOR_STATE_CHANGE_STOPPING",
            Self::Tick { period: Period::Seconds5, .. } => "TICK_5",
            Self::Tick { period: Period::Seconds60, .. } => "TICK_60",
            Self::Tick { period: Period::Seconds3600, .. } => "TICK_3600",
            Self::GroupAdded { .. } => "PROCESS_GROUP_ADDED",
            Self::GroupRemoved { .. } => "PROCESS_GROUP_REMOVED",
        }
    }

    /// What follows the envelope's line. It is always text; bytes that are none are written as a Python literal.
    #[must_use]
    pub fn payload(&self) -> String {
        match self {
            Self::ProcessState { to, process, group, from_state, pid, expected, tries } => {
                let pid = pid.unwrap_or_default();
                let members = match to {
                    ProcessState::Starting | ProcessState::Backoff => format!(" tries:{tries}"),
                    ProcessState::Running | ProcessState::Stopping | ProcessState::Stopped => {
                        format!(" pid:{pid}")
                    }
                    ProcessState::Exited => format!(" expected:{} pid:{pid}", u8::from(*expected)),
                    ProcessState::Fatal | ProcessState::Unknown => String::new(),
                };
                format!("processname:{process} groupname:{group} from_state:{from_state}{members}")
            }
            Self::ProcessCommunication { process, group, pid, data, .. } => format!(
                "processname:{process} groupname:{group} pid:{}\n{}",
                pid.unwrap_or_default(),
                text(data)
            ),
            Self::ProcessLog { stream, process, group, pid, data } => format!(
                "processname:{process} groupname:{group} pid:{} channel:{stream}\n{}",
                pid.unwrap_or_default(),
                text(data)
            ),
            Self::RemoteCommunication { kind, data } => format!("type:{kind}\n{data}"),
            Self::SupervisorRunning | Self::SupervisorStopping => String::new(),
            Self::Tick { when, .. } => format!("when:{when}"),
            Self::GroupAdded { group } | Self::GroupRemoved { group } => format!("groupname:{group}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(to: ProcessState, from_state: ProcessState, pid: Option<u32>, expected: bool) -> Event {
        let (process, group) = ("x".to_owned(), "g".to_owned());
        Event::ProcessState { to, process, group, from_state, pid, expected, tries: 2 }
    }

    #[test]
    fn every_event_has_the_name_and_the_payload_of_the_genuine_one() {
        use ProcessState as S;
        let (process, group) = (|| "x".to_owned(), || "g".to_owned());
        let says = |stream, data: &[u8]| Event::ProcessCommunication {
            stream,
            process: process(),
            group: group(),
            pid: Some(7),
            data: data.to_vec(),
        };
        let logs = |stream, data: &[u8]| Event::ProcessLog {
            stream,
            process: process(),
            group: group(),
            pid: Some(7),
            data: data.to_vec(),
        };
        for (event, name, payload) in [
            (
                state(S::Stopped, S::Stopping, Some(7), true),
                "PROCESS_STATE_STOPPED",
                "processname:x groupname:g from_state:STOPPING pid:7",
            ),
            (
                state(S::Stopped, S::Backoff, None, true),
                "PROCESS_STATE_STOPPED",
                "processname:x groupname:g from_state:BACKOFF pid:0",
            ),
            (
                state(S::Exited, S::Running, Some(7), true),
                "PROCESS_STATE_EXITED",
                "processname:x groupname:g from_state:RUNNING expected:1 pid:7",
            ),
            (
                state(S::Exited, S::Running, Some(7), false),
                "PROCESS_STATE_EXITED",
                "processname:x groupname:g from_state:RUNNING expected:0 pid:7",
            ),
            (
                state(S::Starting, S::Stopped, None, true),
                "PROCESS_STATE_STARTING",
                "processname:x groupname:g from_state:STOPPED tries:2",
            ),
            (
                state(S::Stopping, S::Running, Some(7), true),
                "PROCESS_STATE_STOPPING",
                "processname:x groupname:g from_state:RUNNING pid:7",
            ),
            (
                state(S::Backoff, S::Starting, Some(7), true),
                "PROCESS_STATE_BACKOFF",
                "processname:x groupname:g from_state:STARTING tries:2",
            ),
            (
                state(S::Fatal, S::Backoff, None, true),
                "PROCESS_STATE_FATAL",
                "processname:x groupname:g from_state:BACKOFF",
            ),
            (
                state(S::Running, S::Starting, Some(7), true),
                "PROCESS_STATE_RUNNING",
                "processname:x groupname:g from_state:STARTING pid:7",
            ),
            (
                state(S::Unknown, S::Stopping, Some(7), true),
                "PROCESS_STATE_UNKNOWN",
                "processname:x groupname:g from_state:STOPPING",
            ),
            (
                says(Stream::Stdout, b"hi\nthere"),
                "PROCESS_COMMUNICATION_STDOUT",
                "processname:x groupname:g pid:7\nhi\nthere",
            ),
            (
                says(Stream::Stderr, b"\xff"),
                "PROCESS_COMMUNICATION_STDERR",
                "processname:x groupname:g pid:7\nUndecodable: b'\\xff'",
            ),
            (
                logs(Stream::Stdout, b"a line\n"),
                "PROCESS_LOG_STDOUT",
                "processname:x groupname:g pid:7 channel:stdout\na line\n",
            ),
            (
                logs(Stream::Stderr, b"half \xc3"),
                "PROCESS_LOG_STDERR",
                "processname:x groupname:g pid:7 channel:stderr\nUndecodable: b'half \\xc3'",
            ),
            (
                Event::RemoteCommunication { kind: "a kind".to_owned(), data: "da\nta".to_owned() },
                "REMOTE_COMMUNICATION",
                "type:a kind\nda\nta",
            ),
            (Event::SupervisorRunning, "SUPERVISOR_STATE_CHANGE_RUNNING", ""),
            (Event::SupervisorStopping, "SUPERVISOR_STATE_CHANGE_STOPPING", ""),
            (Event::Tick { period: Period::Seconds5, when: 1_000_000_005 }, "TICK_5", "when:1000000005"),
            (Event::Tick { period: Period::Seconds60, when: 60 }, "TICK_60", "when:60"),
            (Event::Tick { period: Period::Seconds3600, when: 7200 }, "TICK_3600", "when:7200"),
            (Event::GroupAdded { group: group() }, "PROCESS_GROUP_ADDED", "groupname:g\n"),
            (Event::GroupRemoved { group: group() }, "PROCESS_GROUP_REMOVED", "groupname:g\n"),
        ] {
            assert_eq!((event.name(), event.payload().as_str()), (name, payload));
        }
    }

    #[test]
    fn a_tick_is_due_at_multiples_of_its_period() {
        for (period, when, slice) in [
            (Period::Seconds5, 0, 0),
            (Period::Seconds5, 1_000_000_004, 1_000_000_000),
            (Period::Seconds5, 1_000_000_005, 1_000_000_005),
            (Period::Seconds60, 119, 60),
            (Period::Seconds3600, 7199, 3600),
        ] {
            assert_eq!(period.slice(when), slice, "{period:?} {when}");
        }
    }
}
