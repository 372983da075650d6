//! One log file: written as it comes, rotated at line ends, never a reason to stop.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compress::{Compressor, Names, list};
use super::rotation::{Cut, Step, cut, steps};

/// How long a file that was moved away or removed from outside is still written to.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Where and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The file.
    pub path: PathBuf,
    /// Size at which it is rotated; 0: never.
    pub maxbytes: u64,
    /// Old files that are kept; 0: the file begins anew.
    pub backups: usize,
    /// Whether old files are gzipped.
    pub compress: bool,
}

/// What an operator should hear about a write.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing: it is written, or the loss was told before.
    Quiet,
    /// From now on output is lost.
    Failed(io::Error),
    /// The file cannot be rotated and grows on; nothing is lost.
    NotRotated(io::Error),
    /// Writing works again.
    Resumed {
        /// Bytes that were lost in between.
        lost: u64,
    },
}

/// Why a log file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are in the sentences")]
pub enum OpenError {
    /// Its folder is missing, and cannot be made either; in supervisord's words as far as they go.
    #[error("The directory named as part of the path {path} does not exist, and cannot be made")]
    Folder { path: PathBuf, source: io::Error },
    /// Its folder is there.
    #[error("cannot open the log file {path}")]
    File { path: PathBuf, source: io::Error },
}

impl OpenError {
    /// Whether it may pass by itself: the disk is full, or nobody reads the pipe yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let (Self::Folder { source, .. } | Self::File { source, .. }) = self;
        matches!(source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::ENXIO))
    }
}

/// A log file that is being written.
#[derive(Debug)]
pub struct Writer {
    config: LogConfig,
    names: Arc<Names>,
    compressor: Option<Compressor>,
    file: Option<File>,
    inode: u64,
    size: u64,
    /// The file ends within a line.
    line_open: bool,
    /// The next bytes go on with a line whose beginning is lost.
    line_lost: bool,
    lost: u64,
    next_check: Option<Instant>,
    /// After a rotation that failed: when it is tried again.
    next_rotation: Option<Instant>,
    /// Why it failed, until that is told.
    rotate_error: Option<io::Error>,
}

impl Writer {
    /// A writer that opens its file at the first write. Old files that are not compressed yet will be.
    #[must_use]
    pub fn new(config: LogConfig, compressor: Option<Compressor>) -> Self {
        let names = Names::new(config.path.clone());
        let compressor = compressor.filter(|_| config.compress);
        if let Some(compressor) = &compressor {
            compressor.compress(&names);
        }
        Self {
            config,
            names,
            compressor,
            file: None,
            inode: 0,
            size: 0,
            line_open: false,
            line_lost: false,
            lost: 0,
            next_check: None,
            next_rotation: None,
            rotate_error: None,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// Whether this is how the file is to be written.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Appends. A write that fails loses its bytes, is told once, and is tried again with the next.
    pub fn write(&mut self, bytes: &[u8], now: Instant) -> Outcome {
        let lost_before = self.lost;
        match self.append(bytes, now) {
            Ok(()) if lost_before > 0 => {
                self.lost = 0;
                Outcome::Resumed { lost: lost_before }
            }
            Ok(()) => self.rotate_error.take().map_or(Outcome::Quiet, Outcome::NotRotated),
            Err((error, written)) => {
                self.lost += (bytes.len() - written) as u64;
                self.line_lost = bytes.last() != Some(&b'\n');
                self.file = None;
                if lost_before == 0 { Outcome::Failed(error) } else { Outcome::Quiet }
            }
        }
    }

    /// Opens the file, so that it is there before anything is written. If it cannot be, the first write says so too.
    pub fn open_now(&mut self, now: Instant) -> Result<(), OpenError> {
        self.check_file(now).map_err(|source| {
            let path = self.config.path.clone();
            let folder = path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir());
            if folder { OpenError::File { path, source } } else { OpenError::Folder { path, source } }
        })
    }

    /// Opens the file anew at the next write.
    pub fn reopen(&mut self) {
        self.file = None;
    }

    /// Begins the file anew, if there is one; the rotated ones stay, as in supervisord.
    pub fn clear(&mut self) -> io::Result<()> {
        let was_open = self.file.take().is_some();
        match fs::remove_file(&self.config.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // What never was is not made.
            Err(_) if !was_open => Ok(()),
            _ => self.open(),
        }
    }

    fn append(&mut self, bytes: &[u8], now: Instant) -> Result<(), (io::Error, usize)> {
        let mut done = 0;
        if self.line_lost {
            // What is left of a line without its beginning is lost with it.
            done = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            self.lost += done as u64;
            self.line_lost = done == bytes.len() && bytes.last() != Some(&b'\n');
        }
        self.check_file(now).map_err(|error| (error, done))?;
        while done < bytes.len() {
            let held = self.next_rotation.is_some_and(|next| now < next);
            let maxbytes = if held { 0 } else { self.config.maxbytes };
            let (length, rotate) = match cut(&bytes[done..], self.size, maxbytes, self.line_open) {
                Cut::Keep(length) => (length, false),
                Cut::RotateAfter(length) => (length, true),
            };
            if length > 0 {
                self.write_all(&bytes[done..done + length]).map_err(|(error, n)| (error, done + n))?;
                done += length;
            }
            if rotate {
                match self.rename() {
                    Ok(()) => {
                        self.next_rotation = None;
                        self.begin_anew().map_err(|error| (error, done))?;
                    }
                    Err(error) => {
                        // The first of a row of failures is told.
                        if self.next_rotation.replace(now + CHECK_INTERVAL).is_none() {
                            self.rotate_error = Some(error);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), (io::Error, usize)> {
        let mut done = 0;
        while !bytes.is_empty() {
            let Some(file) = &mut self.file else { return Err((io::ErrorKind::NotFound.into(), done)) };
            match file.write(bytes) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), done)),
                Ok(n) => {
                    done += n;
                    self.size += n as u64;
                    self.line_open = bytes[n - 1] != b'\n';
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((error, done)),
            }
        }
        Ok(())
    }

    /// Makes sure that the file is open and still the one that its name stands for.
    fn check_file(&mut self, now: Instant) -> io::Result<()> {
        if self.file.is_some() && self.next_check.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next_check = Some(now + CHECK_INTERVAL);
        let same = fs::metadata(&self.config.path).is_ok_and(|metadata| metadata.ino() == self.inode);
        if self.file.is_none() || !same { self.open() } else { Ok(()) }
    }

    fn open(&mut self) -> io::Result<()> {
        let path = &self.config.path;
        // What is no file, such as a pipe, loses what its reader does not take: nobody waits for it.
        let open = || {
            let mut options = OpenOptions::new();
            options
                .append(true)
                .create(true)
                .mode(0o644)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(path)
        };
        let mut file = match (open(), path.parent()) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                open()?
            }
            (file, _) => file?,
        };
        let metadata = file.metadata()?;
        // A line that this writer has begun itself goes on, unless a part of it is lost.
        let goes_on = self.inode == metadata.ino() && self.lost == 0;
        self.inode = metadata.ino();
        self.size = if metadata.is_file() { metadata.len() } else { 0 };
        self.line_open = self.size > 0 && last_byte(path)? != b'\n';
        if self.line_open && !goes_on {
            // A line that a crash or a full disk cut short is not continued by another one.
            file.write_all(b"\n")?;
            self.size += 1;
            self.line_open = false;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Gives the old files their next names, and this one its first, if there are to be any.
    fn rename(&mut self) -> io::Result<()> {
        let (path, backups) = (&self.config.path, self.config.backups);
        if backups == 0 || !self.is_file() {
            return Ok(());
        }
        self.names.locked(|| -> io::Result<()> {
            for step in steps(path, &list(path)?, backups) {
                match step {
                    Step::Remove(path) => fs::remove_file(path)?,
                    Step::Rename(from, to) => fs::rename(from, to)?,
                }
            }
            Ok(())
        })?;
        if let Some(compressor) = &self.compressor {
            compressor.compress(&self.names);
        }
        Ok(())
    }

    /// Goes on in an empty file.
    fn begin_anew(&mut self) -> io::Result<()> {
        if !self.is_file() {
            // A device such as /dev/full has no size and no second name.
            self.size = 0;
            return Ok(());
        }
        if self.config.backups > 0 {
            return self.open();
        }
        if let Some(file) = &self.file {
            file.set_len(0)?;
        }
        self.size = 0;
        self.line_open = false;
        Ok(())
    }

    fn is_file(&self) -> bool {
        self.file.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|m| m.is_file())
    }
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let mut file = File::open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests;
