//! The processes of one daemon, as the kernel tells them: all that work in its folder.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::program::WORD;

/// Every process whose working directory is this folder or one below it.
pub(crate) fn within_folder(folder: &Path) -> Vec<i32> {
    let of = |entry: std::io::Result<fs::DirEntry>| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (cwd.starts_with(folder) && is_alive(pid)).then_some(pid)
    };
    fs::read_dir("/proc").into_iter().flatten().filter_map(of).collect()
}

/// Those of them that are the tool's own: the daemon and what helps it, not the programs.
pub(crate) fn of_the_tool(folder: &Path) -> Vec<i32> {
    within_folder(folder).into_iter().filter(|pid| !is_program(*pid)).collect()
}

fn is_program(pid: i32) -> bool {
    let own = std::env::current_exe().unwrap_or_default();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    words.next() == Some(own.as_os_str().as_encoded_bytes()) && words.next() == Some(WORD.as_bytes())
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may contain anything, so the fields are counted from its end.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Proportional memory of a process in KiB.
pub(crate) fn pss_kib(pid: i32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("cannot read the memory of process {pid}"))?;
    field(&text, "Pss:").with_context(|| format!("no memory of process {pid}"))
}

/// How often the threads of a process were given a processor or lost it.
pub(crate) fn switches(pid: i32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("status"))?;
        for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            sum += field(&text, name).with_context(|| format!("no {name} of process {pid}"))?;
        }
    }
    Ok(sum)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Kills all that work in a folder, again until none is left, and collects those that were left to us.
pub(crate) fn kill_all(daemon: i32, folder: &Path) {
    let _ = kill(Pid::from_raw(daemon), Signal::SIGKILL);
    for _ in 0..10_000 {
        let left = within_folder(folder);
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
        if left.is_empty() {
            return;
        }
        let _ = nix::poll::poll(&mut [], 1_u16);
    }
}
