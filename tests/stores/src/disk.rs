//! What the file system itself does: one small write and its fdatasync.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::event;

/// Synced writes a second: appended, and in place.
pub fn rates(folder: &Path, during: Duration) -> Result<[f64; 2]> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("plain");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let appended = rate(&file, during, |count| count * 300)?;
    file.write_all_at(&vec![1; 16 << 20], 0)?;
    file.sync_all()?;
    let in_place = rate(&file, during, |count| count % 4096 * 4096)?;
    std::fs::remove_file(path)?;
    Ok([appended, in_place])
}

fn rate(file: &File, during: Duration, offset: impl Fn(u64) -> u64) -> Result<f64> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < during {
        file.write_all_at(&event::make(count, 300), offset(count))?;
        file.sync_data()?;
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
