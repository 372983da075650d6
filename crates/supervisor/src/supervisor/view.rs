//! A program as clients see it.

use std::time::{Duration, Instant};

use super::entry::Entry;
use crate::ctl::method::ProcessInfo;
use crate::program::ProcessState;

impl Entry {
    /// The answer to `getProcessInfo` (supervisor 4.3 `rpcinterface.py`).
    pub(super) fn info(&self) -> ProcessInfo {
        let state = self.life.state();
        let now = jiff::Timestamp::now().as_second();
        let path =
            |output: &super::Output| output.path().map(|path| path.display().to_string()).unwrap_or_default();
        ProcessInfo {
            name: self.config.name.clone(),
            group: self.config.group.clone(),
            description: self.description(state),
            start: self.started.map_or(0, |(began, wall)| began_at(wall, now, began.elapsed())),
            stop: self.stopped_at,
            now,
            state: state.code(),
            statename: state.name().to_owned(),
            spawnerr: self.life.spawn_error().to_owned(),
            exitstatus: self.life.exit().map_or(0, crate::program::Exit::status),
            logfile: path(&self.stdout),
            stdout_logfile: path(&self.stdout),
            stderr_logfile: path(&self.stderr),
            pid: self.life.pid().unwrap_or(0),
            ready: self.config.ready.as_ref().map(|_| self.life.is_ready()),
        }
    }

    fn description(&self, state: ProcessState) -> String {
        match state {
            ProcessState::Running => {
                let up =
                    self.started.map_or(Duration::ZERO, |(began, _)| Instant::now().duration_since(began));
                format!("pid {}, uptime {}", self.life.pid().unwrap_or(0), uptime(up))
            }
            ProcessState::Fatal | ProcessState::Backoff => match self.life.spawn_error() {
                "" => format!("unknown error (try \"tail {}\")", self.config.name),
                why => why.to_owned(),
            },
            ProcessState::Stopped | ProcessState::Exited if self.started.is_some() => {
                local_time(self.stopped_at)
            }
            ProcessState::Stopped | ProcessState::Exited => "Not started".to_owned(),
            _ => String::new(),
        }
    }
}

/// When something began that has lasted for `elapsed`: at `wall`, unless the clock was set since. Clients compute
/// the uptime from this and from `now`, so it must be right by today's clock.
fn began_at(wall: i64, now: i64, elapsed: Duration) -> i64 {
    let computed = now.saturating_sub_unsigned(elapsed.as_secs());
    if (computed - wall).abs() <= 1 { wall.min(now) } else { computed }
}

/// As Python writes a `timedelta` of whole seconds: `0:00:05`, `1 day, 0:00:05`, `2 days, 10:00:00`.
fn uptime(up: Duration) -> String {
    let seconds = up.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

/// `Jan 31 12:00 PM`, where the daemon is.
fn local_time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%b %d %I:%M %p").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_where_it_was_until_the_clock_is_set() {
        for (now, seconds, expected) in [
            (1_000, 0, 1_000),
            (1_005, 5, 1_000),
            (1_006, 5, 1_000),
            (1_004, 5, 1_000),
            (999, 0, 999),
            (4_605, 5, 4_600),
            (-2_000, 5, -2_005),
        ] {
            assert_eq!(began_at(1_000, now, Duration::from_secs(seconds)), expected, "now {now}");
        }
    }

    #[test]
    fn an_uptime_is_written_as_python_writes_it() {
        for (seconds, expected) in [
            (0, "0:00:00"),
            (3_725, "1:02:05"),
            (86_405, "1 day, 0:00:05"),
            (2 * 86_400 + 36_000, "2 days, 10:00:00"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), expected);
        }
    }
}
