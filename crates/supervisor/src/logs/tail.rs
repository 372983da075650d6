//! Reads a log file back, by the rules of supervisord (supervisor 4.3 `options.py`: `readFile`, `tailFile`).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The most that one answer holds.
pub const READ_BYTES_MAX: u64 = 16 << 20;

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Offset and length contradict each other.
    #[error("bad arguments")]
    BadArguments,
    /// The file cannot be read.
    #[error("cannot read the log file")]
    Failed(#[from] io::Error),
}

/// Bytes from `offset`; a negative one counts from the end, and `length` must then be 0. A `length` of 0 is
/// everything up to the end.
pub fn read(path: &Path, offset: i64, length: i64) -> Result<Vec<u8>, ReadError> {
    if length < 0 || (offset < 0 && length != 0) {
        return Err(ReadError::BadArguments);
    }
    let mut file = open(path)?;
    let (start, limit) = match u64::try_from(offset) {
        Ok(offset) => (offset, if length == 0 { u64::MAX } else { length.unsigned_abs() }),
        Err(_) => (file.metadata()?.len().saturating_sub(offset.unsigned_abs()), offset.unsigned_abs()),
    };
    read_at(&mut file, start, limit)
}

/// The part of a growing file that follows `offset`, at most `length` bytes of its end: the bytes, the offset to
/// ask for next, and whether something between was left out.
pub fn tail(path: &Path, offset: i64, length: i64) -> (Vec<u8>, i64, bool) {
    let follow = || -> Result<(Vec<u8>, i64, bool), ReadError> {
        let mut file = open(path)?;
        let size = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        let (mut start, mut length) = (offset, length);
        let overflow = size > start.saturating_add(length);
        if overflow {
            start = size - 1;
        }
        if start.saturating_add(length) > size {
            if start > size - 1 {
                length = 0;
            }
            start = size - length;
        }
        let length = u64::try_from(length).unwrap_or(0);
        let bytes = if length == 0 {
            Vec::new()
        } else {
            read_at(&mut file, u64::try_from(start).unwrap_or(0), length)?
        };
        Ok((bytes, size, overflow))
    };
    follow().unwrap_or_else(|_| (Vec::new(), offset, false))
}

/// A pipe without a writer would stop the daemon here.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn read_at(file: &mut File, start: u64, limit: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(limit.min(READ_BYTES_MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_from_either_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789").unwrap();
        for (offset, length, expected) in [
            (0, 0, "0123456789"),
            (3, 2, "34"),
            (8, 100, "89"),
            (50, 0, ""),
            (-4, 0, "6789"),
            (-400, 0, "0123456789"),
        ] {
            assert_eq!(read(file.path(), offset, length).unwrap(), expected.as_bytes(), "{offset} {length}");
        }
        assert!(matches!(read(file.path(), -4, 1), Err(ReadError::BadArguments)));
        assert!(matches!(read(file.path(), 0, -1), Err(ReadError::BadArguments)));
        assert!(matches!(read(Path::new("/no/such/file"), 0, 0), Err(ReadError::Failed(_))));
    }

    #[test]
    fn a_growing_log_is_followed_by_offsets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789").unwrap();
        for (offset, length, expected, overflow) in [
            (0, 4, "6789", true),
            (0, 10, "0123456789", false),
            (10, 4, "", false),
            (8, 4, "6789", false),
            (0, 0, "", true),
        ] {
            let found = tail(file.path(), offset, length);
            assert_eq!(found, (expected.as_bytes().to_vec(), 10, overflow), "{offset} {length}");
        }
        assert_eq!(tail(Path::new("/no/such/file"), 7, 4), (Vec::new(), 7, false));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&pipe, 0, 0), Err(ReadError::Failed(_))));
        assert_eq!(tail(&pipe, 0, 10), (Vec::new(), 0, false));
    }
}
