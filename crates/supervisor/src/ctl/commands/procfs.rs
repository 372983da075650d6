//! What the kernel says of processes: whose children they are, their CPU time and memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Clock ticks of a second in `/proc` (`USER_HZ`, which Linux fixes for programs).
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i64,
    group: i64,
    /// CPU time since its start, in ticks.
    ticks: u64,
    /// When it started: with the pid it names one process for ever.
    start: u64,
}

/// All processes at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot(BTreeMap<i64, Process>);

impl Snapshot {
    /// The processes below `proc`.
    pub(super) fn take(proc: &Path) -> Self {
        let entries = fs::read_dir(proc).into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok());
        let read = |pid: i64| {
            // Who has gone meanwhile is not there.
            let stat = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
            Some((pid, parse_stat(&String::from_utf8_lossy(&stat))?))
        };
        Self(pids.filter_map(read).collect())
    }

    /// Whether `ancestor` started `pid`, itself or through others.
    pub(super) fn descends(&self, pid: i64, ancestor: i64) -> bool {
        let mut at = pid;
        // A chain is never longer than there are processes.
        for _ in 0..=self.0.len() {
            match self.0.get(&at) {
                Some(process) if process.parent == ancestor => return true,
                Some(process) => at = process.parent,
                None => return false,
            }
        }
        false
    }

    /// The process, all that descend from it, and all of its process group.
    pub(super) fn tree(&self, root: i64) -> BTreeSet<i64> {
        let members =
            |(pid, process): (&i64, &Process)| (*pid == root || process.group == root).then_some(*pid);
        let mut tree: BTreeSet<i64> = self.0.iter().filter_map(members).collect();
        loop {
            let before = tree.len();
            let children: Vec<i64> = self
                .0
                .iter()
                .filter(|(_, process)| tree.contains(&process.parent))
                .map(|(pid, _)| *pid)
                .collect();
            tree.extend(children);
            if tree.len() == before {
                return tree;
            }
        }
    }

    /// The ticks that these processes have used since `before`; those that are new count whole.
    pub(super) fn ticks_since(&self, before: &Self, pids: &BTreeSet<i64>) -> u64 {
        let used = |pid: &i64| {
            let now = self.0.get(pid)?;
            let then = before.0.get(pid).filter(|then| then.start == now.start).map_or(0, |then| then.ticks);
            Some(now.ticks.saturating_sub(then))
        };
        pids.iter().filter_map(used).sum()
    }
}

/// The fields of `/proc/PID/stat` that count; the name between the brackets may hold anything.
fn parse_stat(text: &str) -> Option<Process> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        start: number(19)?,
    })
}

/// The memory of these processes in bytes: their share of it (PSS), or where the kernel does not tell us that,
/// what they have in memory (RSS).
pub(super) fn memory(proc: &Path, pids: &BTreeSet<i64>) -> u64 {
    let one = |pid: &i64| {
        let folder = proc.join(pid.to_string());
        let line = |file: &str, name: &str| kilobytes(&fs::read_to_string(folder.join(file)).ok()?, name);
        line("smaps_rollup", "Pss:").or_else(|| line("status", "VmRSS:"))
    };
    pids.iter().filter_map(one).sum::<u64>() * 1024
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(proc: &Path, pid: i64, parent: i64, group: i64, ticks: u64, start: u64) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "{pid} (a) b) S {parent} {group} 1 0 -1 4194560 1 0 0 0 {ticks} 5 0 0 20 0 1 0 {start} 2 3\n"
        );
        fs::write(folder.join("stat"), text).unwrap();
    }

    #[test]
    fn a_programs_processes_are_its_descendants_and_its_group() {
        let proc = tempfile::TempDir::new().unwrap();
        for (pid, parent, group) in
            [(1, 0, 1), (10, 1, 1), (20, 10, 20), (21, 20, 20), (22, 21, 99), (23, 1, 20), (30, 10, 30)]
        {
            stat(proc.path(), pid, parent, group, 7, 100);
        }
        fs::create_dir(proc.path().join("self")).unwrap();
        let snapshot = Snapshot::take(proc.path());
        assert_eq!(snapshot.tree(20), BTreeSet::from([20, 21, 22, 23]));
        assert_eq!(snapshot.tree(30), BTreeSet::from([30]));
        assert_eq!(snapshot.tree(7), BTreeSet::new());
        for (pid, ancestor, expected) in
            [(22, 10, true), (20, 10, true), (23, 10, false), (7, 10, false), (10, 10, false)]
        {
            assert_eq!(snapshot.descends(pid, ancestor), expected, "{pid} {ancestor}");
        }
    }

    #[test]
    fn ticks_of_a_recycled_pid_count_whole() {
        let proc = tempfile::TempDir::new().unwrap();
        stat(proc.path(), 20, 1, 20, 100, 1);
        stat(proc.path(), 21, 1, 20, 100, 1);
        let before = Snapshot::take(proc.path());
        stat(proc.path(), 20, 1, 20, 130, 1);
        stat(proc.path(), 21, 1, 20, 15, 2);
        let now = Snapshot::take(proc.path());
        assert_eq!(now.ticks_since(&before, &BTreeSet::from([20])), 30);
        assert_eq!(now.ticks_since(&before, &BTreeSet::from([20, 21, 22])), 50);
    }

    #[test]
    fn memory_is_the_share_or_what_is_resident() {
        let proc = tempfile::TempDir::new().unwrap();
        for (pid, file, text) in [
            (1, "smaps_rollup", "00-ff ---p\nRss:  999 kB\nPss:  100 kB\n"),
            (2, "status", "Name:\tx\nVmRSS:\t  20 kB\n"),
        ] {
            fs::create_dir(proc.path().join(pid.to_string())).unwrap();
            fs::write(proc.path().join(pid.to_string()).join(file), text).unwrap();
        }
        assert_eq!(memory(proc.path(), &BTreeSet::from([1, 2, 3])), 120 * 1024);
    }
}
