//! The command `wait`: until programs are what is asked for, or the time is over.

use std::time::{Duration, Instant};

use super::super::trouble::Trouble;
use super::super::value::{field, number, truth};
use super::super::xmlrpc::Value;
use super::status::{is_stopped, select};
use super::{Done, Session, absent, exit, full_name};
use crate::program::ProcessState;

/// How long it waits unless told.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The longest wait that can be asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often the daemon is asked: its interface has no events.
const POLL: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Running,
    Ready,
    Stopped,
}

#[derive(Debug, PartialEq, Eq)]
struct Wish<'a> {
    names: Vec<&'a str>,
    goal: Goal,
    timeout: Duration,
}

/// How far one program is.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    There,
    NotYet,
    Never,
}

impl Goal {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "running" => Some(Self::Running),
            "ready" => Some(Self::Ready),
            "stopped" => Some(Self::Stopped),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Stopped => "stopped",
        }
    }

    /// A daemon that does not know readiness has nothing more than RUNNING.
    fn progress(self, info: &Value) -> Progress {
        let state = number(info, "state");
        let running = state == i64::from(ProcessState::Running.code());
        let there = match self {
            Self::Running => running,
            Self::Ready => running && truth(info, "ready").unwrap_or(true),
            Self::Stopped => is_stopped(state),
        };
        match there {
            true => Progress::There,
            false if state == i64::from(ProcessState::Fatal.code()) => Progress::Never,
            false => Progress::NotYet,
        }
    }
}

impl<'a> Wish<'a> {
    fn parse(args: &[&'a str]) -> Result<Self, String> {
        let mut wish = Self { names: Vec::new(), goal: Goal::Running, timeout: TIMEOUT_DEFAULT };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (*arg, None),
            };
            let value = match name {
                "--for" | "--timeout" => {
                    value.or_else(|| args.next().copied()).ok_or_else(|| format!("{name} needs a value"))?
                }
                other if other.starts_with('-') => return Err(format!("wait does not know {other}")),
                _ => {
                    wish.names.push(arg);
                    continue;
                }
            };
            if name == "--for" {
                wish.goal = Goal::parse(value)
                    .ok_or_else(|| format!("--for takes running, ready or stopped, not {value}"))?;
            } else {
                wish.timeout = duration(value)
                    .ok_or_else(|| format!("--timeout takes a time such as 30s, not {value}"))?;
            }
        }
        if wish.names.is_empty() {
            return Err("wait requires a process name".to_owned());
        }
        Ok(wish)
    }
}

/// A time: `500ms`, `30s`, `5m`, `1h`, or seconds without a unit.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let time = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
    (time <= TIMEOUT_MAX).then_some(time)
}

/// A time as a person writes it.
fn shown(time: Duration) -> String {
    match time.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

/// What is said of a program that is not there, with what the daemon says of it.
fn state_of(info: &Value) -> String {
    match field(info, "description") {
        "" => field(info, "statename").to_owned(),
        why => format!("{} ({why})", field(info, "statename")),
    }
}

impl Session<'_> {
    pub(super) async fn wait(&mut self, args: &[&str]) -> Done {
        let wish = match Wish::parse(args) {
            Ok(wish) => wish,
            Err(why) => {
                self.usage(&format!("Error: {why}"), "wait")?;
                self.exit = exit::INVALID_ARGS;
                return Ok(());
            }
        };
        let deadline = Instant::now() + wish.timeout;
        loop {
            let Some(why) = self.what_is_missing(&wish).await? else { return Ok(()) };
            match why {
                Missing::ForGood(line) => return self.error(&line),
                Missing::Yet(line) if Instant::now() >= deadline => return self.error(&line),
                Missing::Yet(_) => tokio::time::sleep(POLL.min(deadline - Instant::now())).await,
            }
        }
    }

    async fn what_is_missing(&mut self, wish: &Wish<'_>) -> Result<Option<Missing>, Trouble> {
        let (goal, after) = (wish.goal.word(), shown(wish.timeout));
        let infos = match self.daemon.call("supervisor.getAllProcessInfo", &[]).await {
            Ok(infos) => infos,
            // A daemon that is about to come is waited for too.
            Err(error) => match absent(&error) {
                Some((words, _)) => {
                    let line = format!("not {goal} after {after}: {} {words}", self.daemon.url);
                    return Ok(Some(Missing::Yet(line)));
                }
                None => return Err(error.into()),
            },
        };
        let (matching, missing) = select(infos.items(), &wish.names);
        if let Some(line) = missing.into_iter().next() {
            return Ok(Some(Missing::ForGood(line)));
        }
        let not_there = |info: &&&Value| wish.goal.progress(info) == Progress::NotYet;
        if let Some(info) = matching.iter().find(|info| wish.goal.progress(info) == Progress::Never) {
            let line = format!("{} will not be {goal}: {}", full_name(info), state_of(info));
            return Ok(Some(Missing::ForGood(line)));
        }
        let waiting: Vec<&&Value> = matching.iter().filter(not_there).collect();
        let Some((info, others)) = waiting.split_first() else { return Ok(None) };
        let more = match others.len() {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        let line = format!("{} is not {goal} after {after}: {}{more}", full_name(info), state_of(info));
        Ok(Some(Missing::Yet(line)))
    }
}

/// Why the wait is not over, as the sentence to end with.
enum Missing {
    Yet(String),
    ForGood(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_names_a_goal_and_a_time() {
        let wish = |names: &[&'static str], goal, seconds| Wish {
            names: names.to_vec(),
            goal,
            timeout: Duration::from_secs(seconds),
        };
        for (line, expected) in [
            ("a", Ok(wish(&["a"], Goal::Running, 30))),
            ("a --for ready b:* --timeout 5s", Ok(wish(&["a", "b:*"], Goal::Ready, 5))),
            ("--for=stopped --timeout=2m a", Ok(wish(&["a"], Goal::Stopped, 120))),
            ("", Err("wait requires a process name")),
            ("a --for", Err("--for needs a value")),
            ("a --for up", Err("--for takes running, ready or stopped, not up")),
            ("a --timeout soon", Err("--timeout takes a time such as 30s, not soon")),
            ("a --timeout 9999h", Err("--timeout takes a time such as 30s, not 9999h")),
            ("a -x", Err("wait does not know -x")),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(Wish::parse(&words), expected.map_err(str::to_owned), "{line}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1.5", Some(1500)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("0", Some(0)),
            ("5d", None),
            ("", None),
            ("-1s", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
        assert_eq!(shown(Duration::from_millis(1500)) + &shown(Duration::from_secs(30)), "1500ms30s");
    }

    #[test]
    fn ready_is_what_the_daemon_says_or_running() {
        use Progress::{Never, NotYet, There};
        let info = |state: i64, ready: Option<bool>| {
            let ready = ready.map(|ready| ("ready".to_owned(), Value::Bool(ready)));
            Value::Struct([("state".to_owned(), Value::Int(state))].into_iter().chain(ready).collect())
        };
        for (state, ready, [running, is_ready, stopped]) in [
            (0, None, [NotYet, NotYet, There]),
            (10, Some(false), [NotYet, NotYet, NotYet]),
            (20, None, [There, There, NotYet]),
            (20, Some(true), [There, There, NotYet]),
            (20, Some(false), [There, NotYet, NotYet]),
            (30, None, [NotYet, NotYet, NotYet]),
            (40, Some(true), [NotYet, NotYet, NotYet]),
            (100, None, [NotYet, NotYet, There]),
            (200, None, [Never, Never, There]),
        ] {
            let info = info(state, ready);
            let progress = |goal: Goal| goal.progress(&info);
            assert_eq!(
                [progress(Goal::Running), progress(Goal::Ready), progress(Goal::Stopped)],
                [running, is_ready, stopped],
                "{state} {ready:?}"
            );
        }
    }
}
