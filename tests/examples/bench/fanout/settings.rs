//! How much is measured, as the environment says.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::rows::{self, Row};
use super::servers::Tool;

/// Rounds if none are named.
const RUNS: usize = 3;
/// Rows that the short form does without unless they are named.
const NOT_QUICK: &[&str] = &[
    "pressed",
    "pressed-gzip",
    "saturation-disk",
    "groups-gzip",
    "storm",
    "gathering",
    "gzip-long",
    "gzip-sizes",
    "growth-streams",
    "growth-topics",
];
/// Rows of which one round is enough: long ones that hardly differ from round to round, and curves, of which each point is
/// beside others.
const ONCE: &[&str] = &["heartbeats", "gzip-sizes", "growth-streams", "growth-topics"];

/// What to measure.
pub(crate) struct Settings {
    /// Rounds of which the middle one counts.
    pub(crate) runs: usize,
    /// Few streams and short times.
    pub(crate) is_quick: bool,
    /// In the table's order.
    pub(crate) rows: Vec<Row>,
    /// In the table's order.
    pub(crate) tools: Vec<Tool>,
}

impl Settings {
    /// `QUICK=1`, `RUNS=3`, `ROWS=memory,load`, `TOOLS=ours,nchan`.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let setting = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let is_quick = setting("QUICK").is_some_and(|value| value != "0");
        let runs = match setting("RUNS") {
            Some(runs) => runs.parse().context("RUNS is no number")?,
            None if is_quick => 1,
            None => RUNS,
        };
        let tools = match setting("TOOLS") {
            Some(names) => named("TOOLS", &names, Tool::ALL.to_vec(), |tool| tool.name())?,
            None if is_quick => vec![Tool::Floor, Tool::Ours, Tool::Nginx, Tool::Nchan, Tool::NchanAuto],
            None => Tool::ALL.to_vec(),
        };
        let rows = rows::all(is_quick);
        let rows = match setting("ROWS") {
            Some(names) => named("ROWS", &names, rows, |row| row.key)?,
            None => rows.into_iter().filter(|row| !is_quick || !NOT_QUICK.contains(&row.key)).collect(),
        };
        Ok(Self { runs, is_quick, rows, tools })
    }

    /// Rounds of a row.
    pub(crate) fn runs_of(&self, row: &Row) -> usize {
        if ONCE.contains(&row.key) { 1 } else { self.runs }
    }

    /// How long a figure is taken for.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(if self.is_quick { 2 } else { 8 })
    }

    /// How long it is for one point of a curve, and where deliveries are counted in millions.
    pub(crate) fn time_short(&self) -> Duration {
        Duration::from_secs(if self.is_quick { 2 } else { 4 })
    }
}

fn named<T>(
    setting: &str,
    names: &str,
    all: Vec<T>,
    name: impl Fn(&T) -> &'static str,
) -> anyhow::Result<Vec<T>> {
    let names: Vec<&str> = names.split(',').collect();
    let known: Vec<&str> = all.iter().map(&name).collect();
    if let Some(word) = names.iter().find(|word| !known.contains(word)) {
        bail!("{setting}: {word} is none of {}", known.join(", "));
    }
    Ok(all.into_iter().filter(|one| names.contains(&name(one))).collect())
}
