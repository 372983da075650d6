//! The bars of the supervisor: ours, the Python one, s6, runit and Horust in one run, in turn.
//!
//! `RUNS` rounds, of which the middle one counts; `ROWS=memory,status` and `TOOLS=ours,genuine` for a part of it.

mod daemon;
mod plan;
mod processes;
pub(crate) mod program;
mod rows;
mod table;
mod tools;
mod wait;
mod xmlrpc;

use std::fs;

use anyhow::Context as _;

use crate::machine::folder;
use rows::Round;
use table::Table;

/// Rounds if none are named.
const RUNS: usize = 5;

/// The table.
pub(crate) fn run() -> anyhow::Result<()> {
    let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let runs = setting("RUNS").map_or(Ok(RUNS), |runs| runs.parse()).context("RUNS is no number")?;
    let rows = rows::all(setting("ROWS").as_deref())?;
    let tools = tools::all(setting("TOOLS").as_deref())?;
    // What a daemon leaves behind comes to us.
    nix::sys::prctl::set_child_subreaper(true)?;
    let (folder, began) = (folder()?, load());
    let mut table = Table::new(&tools);
    for row in rows {
        let mut cells = Vec::new();
        for run in 1..=runs {
            println!("{}: round {run} of {runs}", row.key);
            let round = Round::new(&tools, folder.path());
            cells.push((row.measure)(&round).with_context(|| format!("{} cannot be measured", row.key))?);
        }
        table.add(row, &cells);
    }
    println!("\nthe middle of {runs} rounds; load before {began}, after {}", load());
    print!("{table}");
    Ok(())
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
