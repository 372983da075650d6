//! How fast the output of one program reaches its log, rotated as in earnest, and whether all of it is there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{Cell, Round};
use crate::supervisor::daemon::{Daemon, PATIENCE};
use crate::supervisor::plan::{LOG_BACKUPS, LOG_BYTES_MAX, Plan};
use crate::supervisor::program::{DIGITS, line, now_ns};
use crate::supervisor::tools::{OURS, Tool};
use crate::supervisor::wait::until;

/// Lines of 4000 bytes.
const LONG: (usize, u64) = (4000, 250_000);
/// Lines of 100 bytes.
const SHORT: (usize, u64) = (100, 3_000_000);

pub(super) fn measure_4000(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| measured(tool, folder, LONG))
}

pub(super) fn measure_100(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| measured(tool, folder, SHORT))
}

/// Leaves no logs, for some keep all of them.
fn measured(tool: &dyn Tool, folder: &Path, lines: (usize, u64)) -> anyhow::Result<Cell> {
    let cell = measure(tool, folder, lines);
    fs::remove_dir_all(folder)?;
    cell
}

fn measure(tool: &dyn Tool, folder: &Path, (bytes, lines): (usize, u64)) -> anyhow::Result<Cell> {
    let daemon = Daemon::start(tool, Plan::new(folder, 1)?.writing(bytes, lines))?;
    let name = daemon.plan().names().next().unwrap_or_default();
    let first_ns = daemon.has_written(&name)?;
    let logs = || tool.logs(daemon.plan(), &name);
    until(PATIENCE, &daemon.words("the last line in a log"), || {
        Ok(logs().iter().any(|log| ends_with_line(log, lines - 1)).then_some(()))
    })?;
    let seconds = (now_ns() - first_ns) as f64 / 1e9;
    let figure = bytes as f64 * lines as f64 / seconds / 1e6;
    let found = Found::read(&logs(), bytes)?;
    let flaws = found.flaws(bytes, lines);
    if flaws.is_empty() {
        return Ok(Cell::of(figure));
    }
    if tool.name() == OURS {
        bail!("logs that are not whole: {}", flaws.join(", "));
    }
    Ok(Cell::noted(figure, &flaws.join(", ")))
}

/// The number at the end of the last line is there as soon as the line is.
fn ends_with_line(log: &PathBuf, number: u64) -> bool {
    let end = format!("{number:0DIGITS$}\n");
    let read = || -> std::io::Result<bool> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::End(-(end.len() as i64)))?;
        let mut seen = String::new();
        file.read_to_string(&mut seen)?;
        Ok(seen == end)
    };
    read().unwrap_or(false)
}

/// What the files of a log hold.
#[derive(Default)]
struct Found {
    files: usize,
    bytes_max: u64,
    torn: usize,
    numbers: BTreeSet<u64>,
    twice: usize,
}

impl Found {
    fn read(logs: &[PathBuf], bytes: usize) -> anyhow::Result<Self> {
        let mut found = Self { files: logs.len(), ..Self::default() };
        for log in logs {
            let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
            found.bytes_max = found.bytes_max.max(text.len() as u64);
            for piece in text.split_inclusive(|byte| *byte == b'\n') {
                let number = || std::str::from_utf8(piece.get(..DIGITS)?).ok()?.parse().ok();
                match number() {
                    Some(number) if *piece == [line(number, bytes), vec![b'\n']].concat() => {
                        found.twice += usize::from(!found.numbers.insert(number));
                    }
                    _ => found.torn += 1,
                }
            }
        }
        Ok(found)
    }

    fn flaws(&self, bytes: usize, lines: u64) -> Vec<String> {
        let first = self.numbers.first().copied().unwrap_or_default();
        let last = self.numbers.last().copied().unwrap_or_default();
        // A line torn in two is not missing, but it is not whole either.
        let missing = (last + 1 - first) as usize - self.numbers.len();
        let kept_least = LOG_BYTES_MAX / 2 * LOG_BACKUPS as u64 / bytes as u64;
        [
            (self.torn > 0, "lines torn by rotation"),
            (missing > self.torn, "lines missing"),
            (self.twice > 0, "lines twice"),
            (last + 1 != lines && self.torn == 0, "the end missing"),
            ((self.numbers.len() as u64) < kept_least, "less kept than asked for"),
            (self.bytes_max > LOG_BYTES_MAX * 11 / 10, "files longer than asked for"),
            (self.files > LOG_BACKUPS + 2, "more files kept than asked for"),
        ]
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, what)| what.to_owned())
        .collect()
    }
}
