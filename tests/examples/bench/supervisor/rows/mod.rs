//! What is measured: a file for each kind of figure.

mod idle;
mod logs;
mod many;
mod memory;
mod restart;
mod start;
mod status;
mod stop;

use std::path::{Path, PathBuf};

use anyhow::bail;
use tempfile::TempDir;

use super::tools::{OURS, Tool};

/// What ours must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// No more than this.
    AtMost(f64),
    /// No less than the genuine one in the same run.
    AsGenuine,
}

impl Bar {
    /// The figure that it stands for.
    pub(crate) fn at(self, genuine: Option<f64>) -> Option<f64> {
        match self {
            Self::AtMost(bar) => Some(bar),
            Self::AsGenuine => genuine,
        }
    }

    /// As it stands in the table.
    pub(crate) fn text(self, bar: f64) -> String {
        match self {
            Self::AtMost(_) => format!("≤ {bar}"),
            Self::AsGenuine => format!("≥ {bar:.0}"),
        }
    }

    /// Whether a figure reaches it.
    pub(crate) fn is_met(self, figure: f64, bar: f64) -> bool {
        match self {
            Self::AtMost(_) => figure <= bar,
            Self::AsGenuine => figure >= bar,
        }
    }
}

/// A line of the table.
pub(crate) struct Row {
    /// What `ROWS` calls it.
    pub(crate) key: &'static str,
    /// What it says.
    pub(crate) title: &'static str,
    /// Of its figures.
    pub(crate) unit: &'static str,
    /// For ours.
    pub(crate) bar: Bar,
    /// One round: a cell for each tool.
    pub(crate) measure: fn(&Round<'_>) -> anyhow::Result<Vec<Cell>>,
}

/// What one tool showed in one round.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// None if it cannot do this.
    pub(crate) figure: Option<f64>,
    /// What has to be said to it.
    pub(crate) note: Option<String>,
}

impl Cell {
    /// A figure that says all.
    fn of(figure: f64) -> Self {
        Self { figure: Some(figure), note: None }
    }

    /// A figure that is not quite the same for this tool.
    fn noted(figure: f64, note: &str) -> Self {
        Self { figure: Some(figure), note: Some(note.to_owned()) }
    }

    /// Why there is none.
    fn none(note: &str) -> Self {
        Self { figure: None, note: Some(note.to_owned()) }
    }

    /// That it failed, in one line.
    fn failed(error: &anyhow::Error) -> Self {
        Self::none(format!("{error:#}").lines().next().unwrap_or_default())
    }
}

/// All tools in turn, each in a folder of its own.
///
/// The folders stay until all is measured: a file system may look long for an inode that is not one of those just freed,
/// and the next to make many files would pay for it.
pub(crate) struct Round<'a> {
    tools: &'a [Box<dyn Tool>],
    folder: &'a Path,
}

impl<'a> Round<'a> {
    /// A round in this folder.
    pub(crate) fn new(tools: &'a [Box<dyn Tool>], folder: &'a Path) -> Self {
        Self { tools, folder }
    }

    /// The tools, where a row runs them side by side.
    fn tools(&self) -> impl Iterator<Item = &'a dyn Tool> {
        self.tools.iter().map(AsRef::as_ref)
    }

    /// A new folder.
    fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(TempDir::new_in(self.folder)?.keep())
    }

    /// The cells of all tools, one after the other. That another one cannot do it is noted; ours must.
    fn each(&self, measure: impl Fn(&dyn Tool, &Path) -> anyhow::Result<Cell>) -> anyhow::Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for tool in self.tools() {
            cells.push(match measure(tool, &self.folder()?) {
                Err(error) if tool.name() != OURS => Cell::failed(&error),
                cell => cell?,
            });
        }
        Ok(cells)
    }
}

const ALL: &[Row] = &[
    Row {
        key: "memory",
        title: "memory (PSS), 2 logged programs",
        unit: "MB",
        bar: Bar::AtMost(3.0),
        measure: memory::measure,
    },
    Row {
        key: "start",
        title: "exec -> first child running",
        unit: "ms",
        bar: Bar::AtMost(10.0),
        measure: start::measure,
    },
    Row {
        key: "restart",
        title: "SIGKILL of a child, up for 3 s -> new child",
        unit: "ms",
        bar: Bar::AtMost(10.0),
        measure: restart::measure,
    },
    Row {
        key: "idle",
        title: "wake-ups when idle, 20 s",
        unit: "times",
        bar: Bar::AtMost(0.0),
        measure: idle::measure,
    },
    Row {
        key: "logs-4000",
        title: "logs, 4000-byte writes, 10 MB x 5",
        unit: "MB/s",
        bar: Bar::AsGenuine,
        measure: logs::measure_4000,
    },
    Row {
        key: "logs-100",
        title: "logs, 100-byte writes, 10 MB x 5",
        unit: "MB/s",
        bar: Bar::AsGenuine,
        measure: logs::measure_100,
    },
    Row {
        key: "stop",
        title: "stop of 25 well-behaved programs",
        unit: "ms",
        bar: Bar::AtMost(100.0),
        measure: stop::measure_calm,
    },
    Row {
        key: "stop-deaf",
        title: "stop of 5 that ignore TERM, stopwaitsecs 2",
        unit: "ms",
        bar: Bar::AtMost(2300.0),
        measure: stop::measure_deaf,
    },
    Row {
        key: "many",
        title: "1000 programs all RUNNING, startsecs 1",
        unit: "ms",
        bar: Bar::AtMost(3000.0),
        measure: many::measure,
    },
    Row {
        key: "status",
        title: "status, each with its own client",
        unit: "ms",
        bar: Bar::AtMost(10.0),
        measure: status::measure_client,
    },
    Row {
        key: "xmlrpc",
        title: "getAllProcessInfo, one and the same client",
        unit: "ms",
        bar: Bar::AtMost(10.0),
        measure: status::measure_call,
    },
];

/// All rows, or those that are named; `logs` stands for both of its kind.
pub(crate) fn all(named: Option<&str>) -> anyhow::Result<Vec<&'static Row>> {
    let Some(named) = named else { return Ok(ALL.iter().collect()) };
    let is = |row: &Row, word: &str| {
        row.key == word
            || row.key.strip_prefix(word).is_some_and(|rest| word == "logs" && rest.starts_with('-'))
    };
    let words: Vec<&str> = named.split(',').collect();
    if let Some(word) = words.iter().find(|word| !ALL.iter().any(|row| is(row, word))) {
        let keys: Vec<_> = ALL.iter().map(|row| row.key).collect();
        bail!("ROWS: {word} is none of {}", keys.join(", "));
    }
    Ok(ALL.iter().filter(|row| words.iter().any(|word| is(row, word))).collect())
}
