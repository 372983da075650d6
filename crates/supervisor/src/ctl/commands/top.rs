//! The command `top`: CPU and memory of every program with all its processes.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::value::{field, number};
use super::super::xmlrpc::Value;
use super::procfs::{Snapshot, TICKS_PER_SECOND, memory};
use super::status::{STATE_WIDTH, name_width, select};
use super::{Done, REFRESH, Session, full_name};

/// How long CPU time is measured for a single table.
const ONCE_SPAN: Duration = Duration::from_millis(500);

const PROC: &str = "/proc";

/// One line of the table.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    state: String,
    pid: i64,
    /// What the kernel says; nothing of a process that is not on this machine.
    usage: Option<Usage>,
}

#[derive(Debug, PartialEq)]
struct Usage {
    processes: usize,
    /// Of one CPU, in percent.
    cpu: f64,
    /// In bytes.
    memory: u64,
}

impl Session<'_> {
    pub(super) async fn top(&mut self, args: &[&str]) -> Done {
        let (flags, names): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| **arg == "--once");
        let live = flags.is_empty() && self.output.style.terminal;
        let shown = self.until_interrupt(async |session| session.measured(&names, live).await);
        if shown.await? { self.ended_by_interrupt() } else { Ok(()) }
    }

    async fn measured(&mut self, names: &[&str], live: bool) -> Done {
        let (mut before, mut at) = (Snapshot::take(Path::new(PROC)), Instant::now());
        let mut span = ONCE_SPAN;
        let mut first = true;
        loop {
            tokio::time::sleep(span).await;
            let (now, seconds) = (Snapshot::take(Path::new(PROC)), at.elapsed().as_secs_f64());
            at = Instant::now();
            let table =
                async |session: &mut Session<'_>| session.usage_table(names, &before, &now, seconds).await;
            let text = self.captured(table).await?;
            if !live {
                return Ok(self.output.out.write_all(text.as_bytes())?);
            }
            self.show_live(&text, first)?;
            (before, span, first) = (now, REFRESH, false);
        }
    }

    async fn usage_table(&mut self, names: &[&str], before: &Snapshot, now: &Snapshot, seconds: f64) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let daemon = self.daemon.call("supervisor.getPID", &[]).await?.int().unwrap_or(0);
        let infos = self.infos().await?;
        let (matching, missing) = select(&infos, names);
        for line in &missing {
            self.error(line)?;
        }
        let rows: Vec<Row> = matching.iter().map(|info| row(info, daemon, before, now, seconds)).collect();
        let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
        let width = name_width(&names);
        let head = format!("{:<width$}{:<STATE_WIDTH$}{COLUMNS}", "NAME", "STATE");
        let head = self.output.style.head(&head);
        self.say(&head)?;
        for row in &rows {
            let state = self.output.style.state(&row.state, STATE_WIDTH);
            self.say(&format!("{:<width$}{state}{}", row.name, figures(row)))?;
        }
        Ok(())
    }
}

/// The heads of what `figures` gives.
const COLUMNS: &str = "    PID  PROCS    CPU%      MEM";

fn figures(row: &Row) -> String {
    let pid = if row.pid == 0 { "-".to_owned() } else { row.pid.to_string() };
    match &row.usage {
        Some(Usage { processes, cpu, memory }) => {
            format!("{pid:>7} {processes:>6} {cpu:>7.1} {:>8}", bytes(*memory))
        }
        None => format!("{pid:>7} {:>6} {:>7} {:>8}", "-", "-", "-"),
    }
}

/// A size in the largest unit that leaves a number before the point.
fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64 / 1024.0;
    for unit in ["K", "M"] {
        if size < 1000.0 {
            return format!("{size:.1}{unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1}G")
}

fn row(info: &Value, daemon: i64, before: &Snapshot, now: &Snapshot, seconds: f64) -> Row {
    let pid = number(info, "pid");
    // A pid of another machine or container is a stranger here.
    let usage = (pid > 0 && now.descends(pid, daemon)).then(|| {
        let pids = now.tree(pid);
        let cpu = now.ticks_since(before, &pids) as f64 / TICKS_PER_SECOND / seconds.max(0.001) * 100.0;
        Usage { processes: pids.len(), cpu, memory: memory(Path::new(PROC), &pids) }
    });
    Row { name: full_name(info), state: field(info, "statename").to_owned(), pid, usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (size, expected) in [
            (0, "0.0K"),
            (1536, "1.5K"),
            (1_000 * 1024, "1.0M"),
            (52_428_800, "50.0M"),
            (3 << 30, "3.0G"),
            (4000 << 30, "4000.0G"),
        ] {
            assert_eq!(bytes(size), expected);
        }
    }

    #[test]
    fn figures_stand_below_their_heads() {
        let row = |pid, usage| Row { name: "x".to_owned(), state: "RUNNING".to_owned(), pid, usage };
        let usage = Usage { processes: 3, cpu: 12.34, memory: 52_428_800 };
        for (row, expected) in [
            (row(4711, Some(usage)), "   4711      3    12.3    50.0M"),
            (row(4711, None), "   4711      -       -        -"),
            (row(0, None), "      -      -       -        -"),
        ] {
            assert_eq!(figures(&row), expected);
            assert_eq!(figures(&row).len(), COLUMNS.len());
        }
    }
}
