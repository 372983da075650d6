//! Events to many streams: ours, direct and through nginx, beside a bare `send` loop, nginx's push module and two Python servers.
//!
//! `QUICK=1` for a short form; `RUNS` rounds, of which the middle one counts; `ROWS=memory,load` and `TOOLS=ours,nchan`
//! for a part of it. Whatever is not delivered is a failure, and the figure is missing. Streams are read to their end only of
//! ours and in the row gzip: everybody else is killed with them open, so that nothing is said of the sums at their ends.

pub(crate) mod crowd;
mod event;
mod plot;
mod processes;
mod publishers;
mod rows;
pub(crate) mod servers;
mod settings;
mod sockets;
mod table;

use std::fs;
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, bail};
use stack_tests::target;

use crate::machine::folder;
use rows::Round;
use settings::Settings;
use table::Table;

/// The table; an error if a figure is missing.
pub(crate) fn run() -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    // What a server leaves behind comes to us, and no farther.
    nix::sys::prctl::set_child_subreaper(true)?;
    let (folder, began, load_before) = (folder()?, Instant::now(), load());
    let mut table = Table::new(&settings.tools);
    let so_far = target().join("bench/fanout.txt");
    println!("the table, row by row as it comes: {}", so_far.display());
    let steps: usize = settings.rows.iter().map(|row| settings.runs_of(row)).sum();
    let mut step = 0;
    let mut costs = Vec::new();
    for row in &settings.rows {
        let (row_began, mut rounds) = (Instant::now(), Vec::new());
        for run in 1..=settings.runs_of(row) {
            step += 1;
            let mut cells = Vec::new();
            for tool in &settings.tools {
                if !row.tools.contains(tool) {
                    cells.push(None);
                    continue;
                }
                progress(&format!(
                    "{:>4} s  step {step} of {steps}: {}, run {run}: {}",
                    began.elapsed().as_secs(),
                    row.key,
                    tool.name()
                ));
                let round = Round::new(&settings, folder.path(), *tool)?;
                cells.push(Some((row.measure)(&round)));
            }
            rounds.push(cells);
        }
        costs.push(format!("{} {} ({})", row.key, row_began.elapsed().as_secs(), settings.runs_of(row)));
        table.add(row, rounds);
        // An hour's figures are not lost with the last of them.
        fs::write(&so_far, table.to_string())?;
    }
    progress("");
    println!(
        "the middle of {} runs; {} processors, load before {load_before}, after {}; {} s",
        settings.runs,
        std::thread::available_parallelism().map_or(0, usize::from),
        load(),
        began.elapsed().as_secs()
    );
    print!("{table}");
    println!("seconds of each row (of so many runs): {}", costs.join(", "));
    if let Some(svg) = plot::svg(&table.points()) {
        let path = target().join("bench/fanout.svg");
        fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        println!("plot: {}", path.display());
    }
    match table.failures() {
        0 => Ok(()),
        failures => bail!("{failures} figures are missing, see the notes"),
    }
}

/// One line that is written over, on stderr.
fn progress(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r{text:<78}{}", if text.is_empty() { "\r" } else { "" });
    let _ = stderr.flush();
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
