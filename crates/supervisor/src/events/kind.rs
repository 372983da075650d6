//! The types of events a listener may ask for.

use super::event::Event;

/// Every type with the one it is a case of.
const TYPES: [(&str, &str); 27] = [
    ("EVENT", ""),
    ("PROCESS_STATE", "EVENT"),
    ("PROCESS_STATE_STOPPED", "PROCESS_STATE"),
    ("PROCESS_STATE_EXITED", "PROCESS_STATE"),
    ("PROCESS_STATE_STARTING", "PROCESS_STATE"),
    ("PROCESS_STATE_STOPPING", "PROCESS_STATE"),
    ("PROCESS_STATE_BACKOFF", "PROCESS_STATE"),
    ("PROCESS_STATE_FATAL", "PROCESS_STATE"),
    ("PROCESS_STATE_RUNNING", "PROCESS_STATE"),
    ("PROCESS_STATE_UNKNOWN", "PROCESS_STATE"),
    ("PROCESS_COMMUNICATION", "EVENT"),
    ("PROCESS_COMMUNICATION_STDOUT", "PROCESS_COMMUNICATION"),
    ("PROCESS_COMMUNICATION_STDERR", "PROCESS_COMMUNICATION"),
    ("PROCESS_LOG", "EVENT"),
    ("PROCESS_LOG_STDOUT", "PROCESS_LOG"),
    ("PROCESS_LOG_STDERR", "PROCESS_LOG"),
    ("REMOTE_COMMUNICATION", "EVENT"),
    ("SUPERVISOR_STATE_CHANGE", "EVENT"),
    ("SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE"),
    ("SUPERVISOR_STATE_CHANGE_STOPPING", "SUPERVISOR_STATE_CHANGE"),
    ("TICK", "EVENT"),
    ("TICK_5", "TICK"),
    ("TICK_60", "TICK"),
    ("TICK_3600", "TICK"),
    ("PROCESS_GROUP", "EVENT"),
    ("PROCESS_GROUP_ADDED", "PROCESS_GROUP"),
    ("PROCESS_GROUP_REMOVED", "PROCESS_GROUP"),
];

/// What one pool of listeners asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds(Vec<&'static str>);

impl Kinds {
    /// Reads the names of an `events` key, in any case.
    ///
    /// # Errors
    /// A name that is no type's, or no name at all; the text says which.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        let mut kinds = Vec::new();
        for name in names {
            let upper = name.to_uppercase();
            let (kind, _) = TYPES
                .iter()
                .find(|(kind, _)| *kind == upper)
                .ok_or_else(|| format!("unknown event type {upper}"))?;
            kinds.push(*kind);
        }
        if kinds.is_empty() {
            return Err("a listener needs at least one event type".to_owned());
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self(kinds))
    }

    /// Every name there is.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TYPES.iter().map(|(name, _)| *name)
    }

    /// Whether the event is one of these, or a case of one.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let mut name = event.name();
        while !name.is_empty() {
            if self.0.contains(&name) {
                return true;
            }
            name = TYPES.iter().find(|(kind, _)| *kind == name).map_or("", |(_, parent)| parent);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Period, Stream};
    use super::*;
    use crate::program::ProcessState;

    fn kinds(names: &str) -> Result<Kinds, String> {
        Kinds::parse(&names.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    /// One event of every concrete type.
    fn events() -> Vec<Event> {
        use ProcessState as S;
        let (process, group) = (|| "x".to_owned(), || "g".to_owned());
        let states =
            [S::Stopped, S::Exited, S::Starting, S::Stopping, S::Backoff, S::Fatal, S::Running, S::Unknown];
        let mut events = vec![
            Event::RemoteCommunication { kind: String::new(), data: String::new() },
            Event::SupervisorRunning,
            Event::SupervisorStopping,
            Event::GroupAdded { group: group() },
            Event::GroupRemoved { group: group() },
        ];
        for to in states {
            let (process, group, from_state) = (process(), group(), S::Stopped);
            events.push(Event::ProcessState {
                to,
                process,
                group,
                from_state,
                pid: None,
                expected: true,
                tries: 0,
            });
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (pid, data) = (None, Vec::new());
            events.push(Event::ProcessLog {
                stream,
                process: process(),
                group: group(),
                pid,
                data: data.clone(),
            });
            events.push(Event::ProcessCommunication {
                stream,
                process: process(),
                group: group(),
                pid,
                data,
            });
        }
        events.extend(Period::ALL.map(|period| Event::Tick { period, when: 0 }));
        events
    }

    #[test]
    fn a_type_matches_itself_and_its_cases() {
        let events = events();
        for (names, count, example) in [
            ("EVENT", 20, "TICK_5"),
            ("PROCESS_STATE", 8, "PROCESS_STATE_FATAL"),
            ("PROCESS_COMMUNICATION", 2, "PROCESS_COMMUNICATION_STDERR"),
            ("PROCESS_LOG", 2, "PROCESS_LOG_STDOUT"),
            ("SUPERVISOR_STATE_CHANGE", 2, "SUPERVISOR_STATE_CHANGE_STOPPING"),
            ("TICK", 3, "TICK_3600"),
            ("PROCESS_GROUP", 2, "PROCESS_GROUP_ADDED"),
            ("REMOTE_COMMUNICATION", 1, "REMOTE_COMMUNICATION"),
            ("TICK,TICK_5", 3, "TICK_5"),
            ("PROCESS_STATE_EXITED,PROCESS_STATE_FATAL", 2, "PROCESS_STATE_EXITED"),
        ] {
            let kinds = kinds(names).unwrap();
            let matching: Vec<_> = events.iter().filter(|event| kinds.matches(event)).collect();
            assert_eq!(matching.len(), count, "{names}: {matching:?}");
            assert!(matching.iter().any(|event| event.name() == example), "{names}: {matching:?}");
        }
        for event in &events {
            let kinds = kinds(event.name()).unwrap();
            let matching: Vec<_> = events.iter().filter(|other| kinds.matches(other)).collect();
            assert_eq!(matching, [event]);
        }
        assert_eq!(Kinds::names().count(), 27);
    }

    #[test]
    fn an_unknown_type_is_named() {
        assert_eq!(kinds("tick_5").unwrap(), kinds("TICK_5").unwrap());
        for (names, error) in [
            ("TICK_5,tick_10", "unknown event type TICK_10"),
            ("PROCESS", "unknown event type PROCESS"),
            ("", "unknown event type "),
        ] {
            assert_eq!(kinds(names), Err(error.to_owned()));
        }
        assert_eq!(Kinds::parse(&[]), Err("a listener needs at least one event type".to_owned()));
    }
}
