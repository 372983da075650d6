//! Opening, scanning and resuming after the writer was killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::child;
use crate::store::{Kind, Writer, clear};
use crate::table::{medians, row};

/// Single commits between the filling and the kill.
const COMMITS: usize = 200;

pub fn print(folder: &Path) -> Result<()> {
    for events in [100_000, 1_000_000] {
        let [cold, open, scan, resume] = medians(3, |kind| {
            clear(folder)?;
            let acked = killed(kind, folder, events)?;
            forget_pages();
            let [cold, ..]: [f64; 4] = child::figures(kind, folder, "open")?;
            clear(folder)?;
            let acked = acked.max(killed(kind, folder, events)?);
            let [open, scan, resume, seen] = child::figures(kind, folder, "open")?;
            ensure!(seen as u64 > acked || seen as u64 + 1 > events, "{} lost events", kind.name());
            Ok([cold, open, scan, resume])
        })?;
        let ms = |cells: [f64; Kind::ALL.len()]| cells.map(|n| format!("{n:.1}"));
        row(&format!("{events} events, killed: open, not cached, ms"), ms(cold));
        row(&format!("{events} events, killed: open, ms"), ms(open));
        row(&format!("{events} events, killed: scan all, ms"), ms(scan));
        row(&format!("{events} events, killed: resume of 100, us"), ms(resume));
    }
    Ok(())
}

/// Leaves a history whose writer was killed between two commits; gives the last ordinal it had answered.
pub fn killed(kind: Kind, folder: &Path, events: u64) -> Result<u64> {
    let mut writer =
        child::command(kind, folder, "write").arg(events.to_string()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(writer.stdout.take().context("the child's output")?).lines();
    let last = lines.take(COMMITS).last().context("a commit")??;
    writer.kill()?;
    writer.wait()?;
    Ok(last.parse()?)
}

/// The child's part: fills the history, then commits one event after the other until killed.
pub fn write(kind: Kind, folder: &Path, events: u64) -> Result<()> {
    let store = kind.open(folder)?;
    let mut writer = Writer::new(&*store, 300);
    writer.fill(events)?;
    loop {
        writer.append(1)?;
        println!("{}", writer.next - 1);
    }
}

/// Drops the page cache where that is allowed.
fn forget_pages() {
    nix::unistd::sync();
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "1");
}
