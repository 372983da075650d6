//! What durability costs a publisher, against the machine's own disk and against the history in memory.

use std::time::Duration;

use stack_tests::{Hub, HubPlan};
use tempfile::TempDir;

use crate::machine::{folder, median, sync_rate};
use crate::publishers::rate;

/// Rounds, of which the middle one counts.
const ROUNDS: usize = 3;
/// How long each figure is taken for.
const TIME: Duration = Duration::from_secs(3);
/// An event as it is written.
const EVENT_BYTES: usize = 300;
/// Publishers at one time.
const MANY: usize = 64;

#[derive(Debug, Default)]
struct Figures {
    sync: Vec<f64>,
    disk: [Vec<f64>; 2],
    memory: [Vec<f64>; 2],
}

/// The table.
pub(crate) fn run() -> anyhow::Result<()> {
    let folder = folder()?;
    let mut figures = Figures::default();
    for round in 1..=ROUNDS {
        figures.sync.push(sync_rate(&folder, EVENT_BYTES, TIME)?);
        for (n, publishers) in [1, MANY].into_iter().enumerate() {
            figures.disk[n].push(published(&folder, "disk", publishers)?);
            figures.memory[n].push(published(&folder, "memory", publishers)?);
        }
        println!("round {round} of {ROUNDS} done");
    }
    let sync = median(figures.sync);
    let [disk_one, disk_many] = figures.disk.map(median);
    let [memory_one, memory_many] = figures.memory.map(median);
    println!("\nper second, the middle of {ROUNDS} rounds of {TIME:?}");
    for (what, rate) in [
        (format!("fdatasync, {EVENT_BYTES} bytes appended each time"), sync),
        ("1 publisher, history on disk".to_owned(), disk_one),
        ("1 publisher, history in memory".to_owned(), memory_one),
        (format!("{MANY} publishers, history on disk"), disk_many),
        (format!("{MANY} publishers, history in memory"), memory_many),
    ] {
        println!("  {what:<42} {rate:>9.0}");
    }
    println!("\ntargets");
    target("1 publisher", disk_one, 0.8 * sync, &format!("0.8 x fdatasync; it is {:.2} x", disk_one / sync));
    let (by_disk, by_memory) = (20.0 * sync, 0.8 * memory_many);
    let which = if by_disk < by_memory { "20 x fdatasync" } else { "0.8 x memory" };
    let is = format!(
        "{which}; it is {:.1} x fdatasync, {:.2} x memory",
        disk_many / sync,
        disk_many / memory_many
    );
    target(&format!("{MANY} publishers"), disk_many, by_disk.min(by_memory), &is);
    Ok(())
}

fn target(what: &str, is: f64, least: f64, words: &str) {
    let verdict = if is >= least { "met" } else { "MISSED" };
    println!("  {what:<14} {is:>9.0} of {least:>9.0}  {verdict:<6} ({words})");
}

/// Publishes per second of a new server on a new folder.
fn published(folder: &TempDir, history: &str, publishers: usize) -> anyhow::Result<f64> {
    let data = TempDir::new_in(folder.path())?;
    let hub = Hub::start(HubPlan::new(&data.path().join("data"), &[("SSE_HISTORY", history)]));
    let padding = "x".repeat(EVENT_BYTES - 100);
    let body = format!("{{\"topic\":\"bench\",\"event\":\"tick\",\"data\":{{\"text\":\"{padding}\"}}}}");
    rate(hub.port(), publishers, &body, TIME)
}
