//! Log files that the daemon names itself: `web-stdout---supervisor-k3x9q2ab.log`, for `AUTO`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Random letters in a name.
const LETTERS: usize = 8;

/// Makes an empty file for an output, which only the daemon's user may read (supervisor 4.3 `options.py`:
/// `mktempfile`).
pub fn create(folder: &Path, program: &str, channel: &str, identifier: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let file = tempfile::Builder::new()
        .prefix(&format!("{program}-{channel}---{identifier}-"))
        .suffix(".log")
        .rand_bytes(LETTERS)
        .tempfile_in(folder)?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

/// Removes what an earlier run under the same identifier left; gives the files that could not be removed.
pub fn clear(folder: &Path, identifier: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| is_of(&entry.file_name().to_string_lossy(), identifier))
        .map(|entry| entry.path())
        .filter(|path| fs::remove_file(path).is_err())
        .collect()
}

fn is_of(name: &str, identifier: &str) -> bool {
    let Some((program, rest)) = name.split_once(&format!("---{identifier}-")) else { return false };
    let Some((letters, rotated)) = rest.split_once(".log") else { return false };
    let number = rotated.strip_suffix(".gz").unwrap_or(rotated);
    let number = number.strip_prefix('.').unwrap_or(number);
    !program.is_empty()
        && !letters.is_empty()
        && !letters.contains(char::is_whitespace)
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_removes_the_files_of_the_one_before_it_and_no_others() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = create(folder.path(), "web", "stdout", "supervisor").unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("web-stdout---supervisor-") && name.ends_with(".log"), "{name}");
        let others = [
            "web.log",
            "web-stdout---other-k3x9q2ab.log",
            "web-stdout---supervisor-a.log.old",
            "x---supervisor-.log",
        ];
        let old = ["w-stderr---supervisor-abcdefgh.log.1", "w-stderr---supervisor-abcdefgh.log.2.gz"];
        for name in others.iter().chain(&old) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(clear(folder.path(), "supervisor"), [] as [PathBuf; 0]);
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = others.map(str::to_owned).to_vec();
        expected.sort();
        assert_eq!(left, expected);
    }
}
