//! What the process and its machine use: the figures of `/sse/health`.

use std::fs;
use std::time::Instant;

use parking_lot::Mutex;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Figures are taken anew when they are asked for, at most this often.
const FRESH_MS: u128 = 500;

/// One look at the system.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU of this process; 100 is one core.
    pub cpu_percent: f64,
    /// Resident memory of this process.
    pub memory_bytes: u64,
    /// Used part of the memory of the cgroup, else of the machine.
    pub memory_percent: f64,
    /// Descriptors of this process.
    pub open_files: u64,
    /// Descriptors it may have.
    pub open_files_max: u64,
    /// Load of the machine over 1, 5 and 15 minutes.
    pub load_average: [f64; 3],
}

/// Takes figures when they are asked for.
#[derive(Debug)]
pub struct Sampler(Mutex<Sample>);

#[derive(Debug)]
struct Sample {
    system: Option<System>,
    taken: Option<Instant>,
    last: Usage,
}

impl Default for Sampler {
    fn default() -> Self {
        Self(Mutex::new(Sample { system: System::new().ok(), taken: None, last: Usage::default() }))
    }
}

impl Sampler {
    /// The figures now, or those of a moment ago.
    pub fn usage(&self, now: Instant) -> Usage {
        let mut sample = self.0.lock();
        if sample.taken.is_some_and(|taken| now.duration_since(taken).as_millis() < FRESH_MS) {
            return sample.last;
        }
        sample.taken = Some(now);
        let pid = sysinfo::Pid::from_u32(std::process::id());
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        if let Some(system) = &mut sample.system {
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
        }
        let process = sample.system.as_ref().and_then(|system| system.process(pid));
        let (cpu, memory) =
            process.map_or((0.0, 0), |process| (f64::from(process.cpu_usage()), process.memory()));
        let load = System::load_average();
        sample.last = Usage {
            cpu_percent: (cpu * 10.0).round() / 10.0,
            memory_bytes: memory,
            memory_percent: memory_percent(sample.system.as_mut()),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            open_files_max: nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                .map_or(0, |(soft, _)| soft),
            load_average: load.map_or([0.0; 3], |load| [load.one, load.five, load.fifteen]),
        };
        sample.last
    }
}

fn memory_percent(system: Option<&mut System>) -> f64 {
    let machine = |system: &mut System| {
        system.refresh_memory();
        (system.used_memory(), system.total_memory())
    };
    let (used, limit) = cgroup_memory().or_else(|| system.map(machine)).unwrap_or_default();
    if limit == 0 { 0.0 } else { (used as f64 / limit as f64 * 1000.0).round() / 10.0 }
}

/// Used and allowed bytes of the cgroup (version 2, then 1), if it has a limit.
fn cgroup_memory() -> Option<(u64, u64)> {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let (used, limit, stat) = [
        ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat"),
        (
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat",
        ),
    ]
    .into_iter()
    .find_map(|(used, limit, stat)| Some((read(used)?, read(limit)?, stat)))?;
    // Version 1 writes a number near the largest one for no limit.
    if limit >= 1 << 60 {
        return None;
    }
    // What the kernel can take back at once is not in use.
    let inactive = fs::read_to_string(stat).ok().and_then(|text| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            matches!(name, "inactive_file" | "total_inactive_file").then(|| value.parse::<u64>().ok())?
        })
    });
    Some((used.saturating_sub(inactive.unwrap_or(0)), limit))
}
