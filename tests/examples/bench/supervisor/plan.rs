//! What a daemon is to run, in words that every tool's configuration has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::program::WORD;

/// Size at which a log is rotated, and old files that are kept.
pub(crate) const LOG_BYTES_MAX: u64 = 10 << 20;
/// Old files beside the one that is written.
pub(crate) const LOG_BACKUPS: usize = 5;
/// How long a program must be up to count as started, where a tool knows that.
pub(crate) const STARTSECS: u64 = 1;
/// How long a program may take to stop.
pub(crate) const STOPWAITSECS: u64 = 2;

/// Programs that are all alike, each with its output logged, in a folder of their own.
#[derive(Debug)]
pub(crate) struct Plan {
    folder: PathBuf,
    program: PathBuf,
    count: usize,
    deaf: bool,
    line_bytes: usize,
    lines: u64,
}

impl Plan {
    /// So many programs that say nothing and stop at once.
    pub(crate) fn new(folder: &Path, count: usize) -> anyhow::Result<Self> {
        for name in ["said", "logs", "conf"] {
            fs::create_dir_all(folder.join(name))
                .with_context(|| format!("cannot make a folder in {}", folder.display()))?;
        }
        let program = std::env::current_exe().context("cannot find this binary")?;
        Ok(Self { folder: folder.to_owned(), program, count, deaf: false, line_bytes: 100, lines: 0 })
    }

    /// Each writes so many lines of so many bytes.
    pub(crate) fn writing(self, line_bytes: usize, lines: u64) -> Self {
        Self { line_bytes, lines, ..self }
    }

    /// None of them heeds SIGTERM.
    pub(crate) fn deaf(self) -> Self {
        Self { deaf: true, ..self }
    }

    /// Where all of it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a tool's own files go.
    pub(crate) fn conf(&self) -> PathBuf {
        self.folder.join("conf")
    }

    /// Whether SIGTERM is ignored.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// How many programs there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The programs' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| format!("p{number:04}"))
    }

    /// What a program said of itself.
    pub(crate) fn said(&self, name: &str) -> PathBuf {
        self.folder.join("said").join(name)
    }

    /// A program's log: a file, or a folder of files.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(name)
    }

    /// A program's command line, as a shell reads it.
    pub(crate) fn command(&self, name: &str) -> String {
        let kind = if self.deaf { "deaf" } else { "calm" };
        let (program, said) = (self.program.display(), self.said(name));
        format!("\"{program}\" {WORD} \"{}\" {kind} {} {}", said.display(), self.line_bytes, self.lines)
    }
}
