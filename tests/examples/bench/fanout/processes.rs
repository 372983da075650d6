//! What the processes of a server cost: their memory and their time on processors.

use std::fs;

use anyhow::Context as _;

/// These and all that descend from them.
pub(crate) fn family(roots: &[i32]) -> Vec<i32> {
    let mut all = roots.to_vec();
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        at += 1;
    }
    all
}

/// Proportional memory in KiB.
pub(crate) fn pss_kib(pids: &[i32]) -> anyhow::Result<f64> {
    let of = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("cannot read the memory of process {pid}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()?)
    };
    pids.iter().map(of).sum()
}

/// User and system time in microseconds, of which the kernel counts every hundredth of a second.
pub(crate) fn cpu_micros(pids: &[i32]) -> anyhow::Result<f64> {
    let of = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("cannot read the times of process {pid}"))?;
        // The name may contain anything, so the fields are counted from its end.
        let (_, rest) = text.rsplit_once(") ").context("no times")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).context("no times");
        Ok((ticks(11)? + ticks(12)?) * 1e6 / ticks_per_second())
    };
    pids.iter().map(of).sum()
}

fn ticks_per_second() -> f64 {
    let of = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    of.unwrap_or(100) as f64
}
