//! Durable commits and events a second, growing and in steady state.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::disk;
use crate::memory::disk_bytes;
use crate::store::{Kind, Store, Writer, clear};
use crate::table::{medians, row};

const DURING: Duration = Duration::from_millis(600);
/// How long the disk alone is asked, before and after each measurement.
const PROBE: Duration = Duration::from_millis(150);
const RUNS: usize = 5;
const BOUND: u64 = 100_000;

pub fn print(folder: &Path) -> Result<()> {
    for (size, group) in [(300, 1), (300, 64), (300, 512), (1024, 64)] {
        let what = format!("growing, {size} B, groups of {group}");
        commits(folder, &what, group, |kind, folder| growing(kind, folder, size, group))?;
    }
    for group in [1, 64, 512] {
        let what = format!("bound of {BOUND}, groups of {group}");
        commits(folder, &what, group, |kind, folder| steady(kind, folder, group))?;
    }
    let [rate, resumes] = medians(RUNS, |kind| with_reader(kind, folder))?;
    row("groups of 64 beside a reader: events/s", rate.map(|n| format!("{n:.0}")));
    row("that reader: resumes of 100 events /s", resumes.map(|n| format!("{n:.0}")));
    Ok(())
}

/// Prints a candidate's rate, and its commits per synced write of the disk alone just then.
fn commits(
    folder: &Path,
    what: &str,
    group: u64,
    measure: impl Fn(Kind, &Path) -> Result<[f64; 3]>,
) -> Result<()> {
    let [rate, worst, bytes, disk, per_append, per_overwrite] = medians(RUNS, |kind| {
        clear(folder)?;
        let before = disk::rates(folder, PROBE)?;
        let [rate, worst, bytes] = measure(kind, &folder.join("store"))?;
        let after = disk::rates(folder, PROBE)?;
        let per = |at: usize| 2.0 * rate / group as f64 / (before[at] + after[at]);
        Ok([rate, worst, bytes, (before[0] + after[0]) / 2.0, per(0), per(1)])
    })?;
    row(&format!("{what}: events/s"), rate.map(|n| format!("{n:.0}")));
    row("  the disk alone then: append and sync /s", disk.map(|n| format!("{n:.0}")));
    row("  commits per synced append", per_append.map(|n| format!("{n:.2}")));
    row("  commits per synced overwrite", per_overwrite.map(|n| format!("{n:.2}")));
    row("  worst commit, ms", worst.map(|n| format!("{n:.1}")));
    row("  MB on disk", bytes.map(|n| format!("{:.1}", n / 1e6)));
    Ok(())
}

fn growing(kind: Kind, folder: &Path, size: usize, group: u64) -> Result<[f64; 3]> {
    let store = kind.open(folder)?;
    let mut writer = Writer::new(&*store, size);
    writer.fill(1000)?;
    let [rate, worst] = run(&mut writer, group, DURING)?;
    Ok([rate, worst, disk_bytes(folder)? as f64])
}

fn steady(kind: Kind, folder: &Path, group: u64) -> Result<[f64; 3]> {
    let store = kind.open(folder)?;
    let mut writer = Writer::new(&*store, 300);
    writer.bound = BOUND;
    writer.fill(2 * BOUND)?;
    let [rate, worst] = run(&mut writer, group, DURING)?;
    Ok([rate, worst, disk_bytes(folder)? as f64])
}

fn with_reader(kind: Kind, folder: &Path) -> Result<[f64; 2]> {
    clear(folder)?;
    let store = kind.open(folder)?;
    let mut writer = Writer::new(&*store, 300);
    writer.bound = BOUND;
    writer.fill(BOUND)?;
    let ended = AtomicBool::new(false);
    let resumes = AtomicU64::new(0);
    let rate = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                read(&*store, BOUND - 1000);
                resumes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let rate = run(&mut writer, 64, DURING);
        ended.store(true, Ordering::Relaxed);
        rate
    })?;
    Ok([rate[0], resumes.into_inner() as f64 / DURING.as_secs_f64()])
}

fn read(store: &dyn Store, from: u64) {
    let mut count = 0;
    store.scan(from, 100, &mut |_, _| count += 1).expect("a resume works beside a writer");
    assert_eq!(count, 100);
}

fn run(writer: &mut Writer<'_>, group: u64, during: Duration) -> Result<[f64; 2]> {
    let first = writer.next;
    let mut worst = Duration::ZERO;
    let start = Instant::now();
    while start.elapsed() < during {
        let before = Instant::now();
        writer.append(group)?;
        worst = worst.max(before.elapsed());
    }
    Ok([(writer.next - first) as f64 / start.elapsed().as_secs_f64(), worst.as_secs_f64() * 1e3])
}
