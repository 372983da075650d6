//! The daemon's own log, in supervisord's words: `2026-01-31 12:00:00,123 INFO spawned: 'web' with pid 7`.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::writer::Writer;

/// The target of a sentence that is more than an error; the `log` crate has no level for it.
const CRITICAL: &str = "critical";

/// Takes lines that shall also stand on the daemon's stdout; must not block.
pub type Console = Box<dyn Fn(&[u8]) + Send>;

/// Where the daemon's sentences go.
pub struct DaemonLog {
    level: LevelFilter,
    file: Option<Mutex<Writer>>,
    stdout: Mutex<Option<Console>>,
}

impl DaemonLog {
    /// A log to a file, to stdout, to both or to nowhere.
    #[must_use]
    pub fn new(level: LevelFilter, file: Option<Writer>, stdout: Option<Console>) -> Self {
        Self { level, file: file.map(Mutex::new), stdout: Mutex::new(stdout) }
    }

    /// The target under which a sentence is CRIT.
    #[must_use]
    pub fn critical() -> &'static str {
        CRITICAL
    }

    /// Says nothing more on stdout.
    pub fn close(&self) {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Begins the file anew.
    pub fn clear(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.lock().unwrap_or_else(PoisonError::into_inner).clear())
    }

    /// Opens the file anew at the next sentence.
    pub fn reopen(&self) {
        if let Some(file) = &self.file {
            file.lock().unwrap_or_else(PoisonError::into_inner).reopen();
        }
    }
}

fn word(record: &Record<'_>) -> &'static str {
    match record.level() {
        Level::Error if record.target() == CRITICAL => "CRIT",
        Level::Error => "ERRO",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBG",
        Level::Trace => "TRAC",
    }
}

impl Log for DaemonLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let time = jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
        // One sentence is one line, whatever a name or an error contains.
        let text = record.args().to_string().replace(['\n', '\r'], " ");
        let mut line = Vec::with_capacity(text.len() + 32);
        let _ = writeln!(line, "{time} {} {text}", word(record));
        if let Some(file) = &self.file {
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write(&line, Instant::now());
        }
        if let Some(stdout) = &*self.stdout.lock().unwrap_or_else(PoisonError::into_inner) {
            stdout(&line);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::super::writer::LogConfig;
    use super::*;

    #[test]
    fn a_sentence_is_one_line_with_time_and_level() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("s.log");
        let config = LogConfig { path: path.clone(), maxbytes: 0, backups: 0, compress: false };
        let log = DaemonLog::new(LevelFilter::Info, Some(Writer::new(config, None)), None);
        for (level, target, text) in [
            (Level::Info, "", "spawned: 'a' with pid 7"),
            (Level::Error, CRITICAL, "two\nlines"),
            (Level::Debug, "", "not written"),
        ] {
            log.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
        }
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_at(24)).collect();
        assert_eq!(lines[0].1, "INFO spawned: 'a' with pid 7");
        assert_eq!(lines[1].1, "CRIT two lines");
        assert_eq!(lines.len(), 2);
        let shape: String = lines[0].0.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00 00:00:00,000 ");
    }
}
