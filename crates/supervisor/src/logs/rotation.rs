//! Which rotated files there are, what each is called next, and where a file may be cut.
//!
//! The names are those of file-rotate's `AppendCount`: `x.log.1`, `x.log.2.gz` …, the higher the older. Its writer
//! is not used: it panics when the folder is gone, forgets why a file could not be opened, and compresses within
//! the write, and each of these is something that the daemon must survive.

use std::path::{Path, PathBuf};

use file_rotate::SuffixInfo;
use file_rotate::suffix::{AppendCount, SuffixScheme};

/// A line that goes on for so many bytes beyond the size of the file is cut all the same.
pub(super) const LINE_BYTES_MAX: u64 = 1 << 20;

/// One step of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// One too many.
    Remove(PathBuf),
    /// From its old name to its next one.
    Rename(PathBuf, PathBuf),
}

/// The rotated files of `base` among the names of its folder, newest first.
pub(super) fn rotated(base: &Path, names: impl Iterator<Item = String>) -> Vec<SuffixInfo<usize>> {
    let Some(prefix) = base.file_name().map(|name| format!("{}.", name.to_string_lossy())) else {
        return Vec::new();
    };
    let scheme = AppendCount::new(usize::MAX);
    let mut found: Vec<SuffixInfo<usize>> = names
        .filter_map(|name| {
            let rest = name.strip_prefix(&prefix)?;
            let (number, compressed) = match rest.strip_suffix(".gz") {
                Some(number) => (number, true),
                None => (rest, false),
            };
            let suffix = scheme.parse(number).filter(|suffix| *suffix > 0 && suffix.to_string() == number)?;
            Some(SuffixInfo { suffix, compressed })
        })
        .collect();
    found.sort_by_key(|info| (info.suffix, info.compressed));
    found
}

/// What makes room for a new `base`, in this order, when `backups` old files are kept.
pub(super) fn steps(base: &Path, found: &[SuffixInfo<usize>], backups: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for info in found.iter().rev() {
        let next = SuffixInfo { suffix: info.suffix + 1, compressed: info.compressed };
        steps.push(if next.suffix > backups {
            Step::Remove(info.to_path(base))
        } else {
            Step::Rename(info.to_path(base), next.to_path(base))
        });
    }
    if backups > 0 {
        steps.push(Step::Rename(
            base.to_path_buf(),
            SuffixInfo { suffix: 1, compressed: false }.to_path(base),
        ));
    }
    steps
}

/// How to go on writing to a file that is almost full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// So many bytes still belong into this file, and it is not full after them.
    Keep(usize),
    /// So many bytes still belong into this file, then it is rotated.
    RotateAfter(usize),
}

/// Where `bytes` are cut when `size` bytes are in a file of `maxbytes`; `line_open`: they end within a line.
/// A file is cut at a line end, at most [`LINE_BYTES_MAX`] beyond its size.
pub(super) fn cut(bytes: &[u8], size: u64, maxbytes: u64, line_open: bool) -> Cut {
    let length = bytes.len() as u64;
    if maxbytes == 0 || size + length <= maxbytes {
        return Cut::Keep(bytes.len());
    }
    let room = usize::try_from(maxbytes.saturating_sub(size)).unwrap_or(usize::MAX).min(bytes.len());
    if let Some(end) = memchr::memrchr(b'\n', &bytes[..room]) {
        return Cut::RotateAfter(end + 1);
    }
    if size > 0 && !line_open {
        return Cut::RotateAfter(0);
    }
    // Within a line: it is finished here, unless it never ends.
    let hard = usize::try_from((maxbytes + LINE_BYTES_MAX).saturating_sub(size)).unwrap_or(usize::MAX);
    match memchr::memchr(b'\n', bytes) {
        Some(end) if end < hard => Cut::RotateAfter(end + 1),
        _ if bytes.len() >= hard => Cut::RotateAfter(hard),
        _ => Cut::Keep(bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<SuffixInfo<usize>> {
        rotated(Path::new("/l/x.log"), list.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn only_numbered_files_of_this_log_are_its_rotated_files() {
        let found = names(&[
            "x.log",
            "x.log.2.gz",
            "x.log.1",
            "x.log.01",
            "x.log.0",
            "x.log.1.tmp",
            "xx.log.1",
            "x.log.a",
        ]);
        let found: Vec<_> = found.iter().map(|info| (info.suffix, info.compressed)).collect();
        assert_eq!(found, [(1, false), (2, true)]);
    }

    #[test]
    fn every_file_moves_on_and_the_oldest_goes() {
        let rename =
            |from: &str, to: &str| Step::Rename(format!("/l/{from}").into(), format!("/l/{to}").into());
        assert_eq!(
            steps(Path::new("/l/x.log"), &names(&["x.log.1", "x.log.2.gz", "x.log.3.gz", "x.log.7"]), 3),
            [
                Step::Remove("/l/x.log.7".into()),
                Step::Remove("/l/x.log.3.gz".into()),
                rename("x.log.2.gz", "x.log.3.gz"),
                rename("x.log.1", "x.log.2"),
                rename("x.log", "x.log.1"),
            ]
        );
        assert_eq!(steps(Path::new("/l/x.log"), &[], 0), []);
    }

    #[test]
    fn a_file_is_cut_at_a_line_end() {
        for (bytes, size, line_open, expected) in [
            ("a\nb\n", 0, false, Cut::Keep(4)),
            ("a\nb\ncc\n", 4, false, Cut::RotateAfter(4)),
            ("abcd\n", 6, false, Cut::RotateAfter(0)),
            ("abcdefgh\nx\n", 6, true, Cut::RotateAfter(9)),
            ("abcdefgh", 6, true, Cut::Keep(8)),
            ("abcdefghijkl\nx", 0, false, Cut::RotateAfter(13)),
        ] {
            assert_eq!(cut(bytes.as_bytes(), size, 10, line_open), expected, "{bytes:?} {size} {line_open}");
        }
        let endless = vec![b'x'; 3 << 20];
        assert_eq!(cut(&endless, 0, 10, false), Cut::RotateAfter(10 + (1 << 20)));
        assert_eq!(cut(&endless, 0, 0, false), Cut::Keep(3 << 20));
    }
}
