//! What the machine itself can do, and where.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use stack_tests::target;
use tempfile::TempDir;

/// A folder for the figures, on a real disk.
pub(crate) fn folder() -> anyhow::Result<TempDir> {
    let home = target().join("bench");
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    if statfs(&home)?.filesystem_type() == TMPFS_MAGIC {
        bail!(
            "{} is on tmpfs, where nothing is durable: set CARGO_TARGET_DIR to a folder on a disk",
            home.display()
        );
    }
    Ok(TempDir::new_in(home)?)
}

/// How often per second `bytes` can be appended to a file, each time with `fdatasync`.
pub(crate) fn sync_rate(folder: &TempDir, bytes: usize, time: Duration) -> anyhow::Result<f64> {
    let path = folder.path().join("sync");
    let mut file = File::create(&path)?;
    let piece = vec![b'x'; bytes];
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < time {
        file.write_all(&piece)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A part of many latencies in milliseconds: the one that `part` of all do not exceed.
pub(crate) fn part_ms(micros: &[u32], part: f64) -> f64 {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
}

/// Three digits that matter.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value == 0.0 || value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
