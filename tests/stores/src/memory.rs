//! Memory of an open history, and what it occupies on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::child;
use crate::store::{Kind, Writer, clear};
use crate::table::{medians, row};

const EVENTS: u64 = 100_000;

pub fn print(folder: &Path) -> Result<()> {
    let figures: [_; 7] = medians(3, |kind| {
        clear(folder)?;
        let store = kind.open(folder)?;
        Writer::new(&*store, 300).fill(EVENTS)?;
        drop(store);
        child::figures(kind, folder, "memory")
    })?;
    let names = ["opened: anonymous KiB", "opened: file KiB", "scanned: anonymous KiB", "scanned: file KiB"];
    let written = ["written: anonymous KiB", "written: file KiB", "threads"];
    for (name, cells) in names.into_iter().chain(written).zip(figures) {
        row(&format!("{EVENTS} events, {name}"), cells.map(|n| format!("{n:.0}")));
    }
    Ok(())
}

/// The child's part: what it holds more than before, once open, scanned, and written on.
pub fn measure(kind: Kind, folder: &Path) -> Result<()> {
    let before = pss()?;
    let store = kind.open(folder)?;
    let opened = pss()?;
    store.scan(0, usize::MAX, &mut |_, _| {})?;
    let scanned = pss()?;
    let mut writer = Writer { store: &*store, size: 300, bound: EVENTS, oldest: 0, next: EVENTS };
    for _ in 0..500 {
        writer.append(64)?;
    }
    let written = pss()?;
    for [anonymous, file] in [opened, scanned, written] {
        print!("{} {} ", anonymous - before[0], file - before[1]);
    }
    println!("{}", fs::read_dir("/proc/self/task")?.count());
    Ok(())
}

/// Anonymous and file-backed PSS in KiB.
fn pss() -> Result<[i64; 2]> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).context("a PSS field")?;
        anyhow::Ok(line.split_whitespace().nth(1).context("a figure")?.parse()?)
    };
    Ok([field("Pss_Anon:")?, field("Pss_File:")?])
}

/// Bytes that the files of a folder occupy.
pub fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
