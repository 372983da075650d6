//! Real files in real folders: what is kept is exactly the end of what was written.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn writer(folder: &TempDir, maxbytes: u64, backups: usize, compressor: Option<&Compressor>) -> Writer {
    let path = folder.path().join("x.log");
    Writer::new(LogConfig { path, maxbytes, backups, compress: compressor.is_some() }, compressor.cloned())
}

#[track_caller]
fn write(writer: &mut Writer, bytes: &[u8]) {
    assert!(matches!(writer.write(bytes, Instant::now()), Outcome::Quiet));
}

/// The files of the log, oldest first, unzipped.
fn kept(folder: &TempDir) -> Vec<Vec<u8>> {
    let base = folder.path().join("x.log");
    let mut files: Vec<Vec<u8>> = list(&base)
        .expect("the folder can be listed")
        .iter()
        .rev()
        .map(|info| {
            let bytes = fs::read(info.to_path(&base)).expect("a rotated file can be read");
            if !info.compressed {
                return bytes;
            }
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("whole gzip");
            plain
        })
        .collect();
    files.push(fs::read(base).unwrap_or_default());
    files
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} within 10 s");
        std::thread::yield_now();
    }
}

#[test]
fn why_a_log_cannot_be_opened_is_one_sentence_and_may_pass_by_itself_or_not() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(path("file"), "").unwrap();
    fs::create_dir(path("folder")).unwrap();
    let open = |name: &str| {
        let config = LogConfig { path: path(name), maxbytes: 0, backups: 0, compress: false };
        let error = Writer::new(config, None).open_now(Instant::now()).err()?;
        Some((error.to_string().replace(&folder.path().display().to_string(), "HERE"), error.may_pass()))
    };
    let told = |text: &str, may_pass| Some((text.to_owned(), may_pass));
    assert_eq!(open("new/x.log"), None);
    // Nobody reads it yet.
    assert_eq!(open("pipe"), told("cannot open the log file HERE/pipe", true));
    assert_eq!(open("folder"), told("cannot open the log file HERE/folder", false));
    let missing =
        "The directory named as part of the path HERE/file/x.log does not exist, and cannot be made";
    assert_eq!(open("file/x.log"), told(missing, false));
    for (errno, may_pass) in [(libc::ENOSPC, true), (libc::EDQUOT, true), (libc::EACCES, false)] {
        let error = OpenError::File { path: path("x"), source: io::Error::from_raw_os_error(errno) };
        assert_eq!(error.may_pass(), may_pass);
    }
}

#[test]
fn a_file_is_rotated_at_a_line_end_and_old_ones_are_numbered() {
    let folder = TempDir::new().unwrap();
    let mut log = writer(&folder, 10, 2, None);
    write(&mut log, b"one\ntwo\nthree\nfour\nfive\nsix\n");
    assert_eq!(kept(&folder), [&b"three\n"[..], b"four\nfive\n", b"six\n"]);
    assert!(folder.path().join("x.log.2").exists() && !folder.path().join("x.log.3").exists());
}

#[test]
fn without_backups_the_file_begins_anew() {
    let folder = TempDir::new().unwrap();
    let mut log = writer(&folder, 10, 0, None);
    write(&mut log, b"one\ntwo\nthree\n");
    assert_eq!(kept(&folder), [&b"three\n"[..]]);
}

#[test]
fn rotated_files_are_gzipped_beside_the_writer() {
    let folder = TempDir::new().unwrap();
    let compressor = Compressor::start().unwrap();
    let mut log = writer(&folder, 1000, 3, Some(&compressor));
    let lines: Vec<String> = (0..600).map(|n| format!("line {n:04}\n")).collect();
    for line in &lines {
        write(&mut log, line.as_bytes());
    }
    let gz = |n: u32| folder.path().join(format!("x.log.{n}.gz")).exists();
    let plain = |n: u32| folder.path().join(format!("x.log.{n}")).exists();
    eventually("three gzipped files", || (1..=3).all(|n| gz(n) && !plain(n)));
    assert!(!gz(4) && !folder.path().join("x.log.gz.partial").exists());
    let written = lines.concat().into_bytes();
    assert!(kept(&folder).concat() == written[written.len() - 4000..], "the last four files' worth, whole");
}

#[test]
fn what_an_earlier_run_left_uncompressed_is_compressed() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("x.log.1"), "left\n").unwrap();
    fs::write(folder.path().join("x.log.2"), "done\n").unwrap();
    let whole = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"done\n").unwrap();
        encoder.finish().unwrap()
    };
    fs::write(folder.path().join("x.log.2.gz"), whole).unwrap();
    let compressor = Compressor::start().unwrap();
    let _log = writer(&folder, 1000, 3, Some(&compressor));
    let plain = |n: u32| folder.path().join(format!("x.log.{n}")).exists();
    eventually("both are compressed", || !plain(1) && !plain(2));
    assert_eq!(kept(&folder), [&b"done\n"[..], b"left\n", b""]);
}

#[test]
fn a_missing_folder_is_made_again_and_a_removed_file_is_noticed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b/x.log");
    let config = LogConfig { path: path.clone(), maxbytes: 0, backups: 1, compress: false };
    let mut log = Writer::new(config, None);
    let begin = Instant::now();
    log.write(b"one\n", begin);
    fs::remove_dir_all(folder.path().join("a")).unwrap();
    log.write(b"two\n", begin + CHECK_INTERVAL);
    assert_eq!(fs::read(&path).unwrap(), b"two\n");
    fs::rename(&path, folder.path().join("moved")).unwrap();
    log.write(b"three\n", begin + 2 * CHECK_INTERVAL);
    assert_eq!(fs::read(&path).unwrap(), b"three\n");
}

#[test]
fn a_full_disk_is_told_once_and_writing_resumes_with_a_whole_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut log = writer(&folder, 10, 1, None);
    let begin = Instant::now();
    assert!(
        matches!(log.write(b"lost\n", begin), Outcome::Failed(error) if error.raw_os_error() == Some(28))
    );
    assert!(matches!(log.write(b"lost, and half a l", begin), Outcome::Quiet));
    fs::remove_file(&path).unwrap();
    // The other half of that line is lost too.
    assert!(matches!(log.write(b"ine\nkept\n", begin), Outcome::Resumed { lost: 23 }));
    assert_eq!(fs::read(&path).unwrap(), b"kept\n");
    assert!(matches!(log.write(b"more\n", begin), Outcome::Quiet));
}

#[test]
fn a_rotation_that_fails_is_told_once_and_costs_no_output() {
    let folder = TempDir::new().unwrap();
    let mut log = writer(&folder, 10, 1, None);
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("x.log.1")).unwrap();
    let begin = Instant::now();
    let first = log.write(b"one\ntwo\nthree\n", begin);
    assert!(matches!(first, Outcome::NotRotated(error) if error.raw_os_error() == Some(21)));
    assert!(matches!(log.write(b"four\n", begin), Outcome::Quiet));
    assert!(matches!(log.write(b"five\n", begin + CHECK_INTERVAL), Outcome::Quiet));
    assert_eq!(fs::read(path("x.log")).unwrap(), b"one\ntwo\nthree\nfour\nfive\n");
    fs::remove_dir(path("x.log.1")).unwrap();
    assert!(matches!(log.write(b"six\n", begin + 2 * CHECK_INTERVAL), Outcome::Quiet));
    assert_eq!(kept(&folder), [&b"one\ntwo\nthree\nfour\nfive\n"[..], b"six\n"]);
}

#[test]
fn a_line_that_never_ends_does_not_grow_a_file_without_end() {
    let folder = TempDir::new().unwrap();
    let mut log = writer(&folder, 1000, 2, None);
    let endless = vec![b'x'; 64 << 10];
    for _ in 0..100 {
        write(&mut log, &endless);
    }
    assert!(kept(&folder).iter().all(|file| file.len() <= 1000 + (1 << 20)));
}

#[test]
fn a_line_that_was_cut_short_is_not_continued_by_the_next_run() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("x.log"), "half").unwrap();
    let mut log = writer(&folder, 1000, 1, None);
    write(&mut log, b"whole\n");
    assert_eq!(kept(&folder), [&b"half\nwhole\n"[..]]);
}

#[test]
fn clearing_begins_the_file_anew_and_leaves_the_old_ones() {
    let folder = TempDir::new().unwrap();
    let mut log = writer(&folder, 10, 2, None);
    write(&mut log, b"one\ntwo\nthree\n");
    log.clear().unwrap();
    assert_eq!(kept(&folder), [&b"one\ntwo\n"[..], &b""[..]]);
}

proptest! {
    /// Whatever is written in whatever pieces: the kept files together are the end of it, cut at line ends.
    #[test]
    fn kept_files_are_the_exact_end_of_what_was_written(
        lines in prop::collection::vec("[a-z]{0,30}", 0..120),
        pieces in prop::collection::vec(1_usize..200, 1..40),
        maxbytes in 1_u64..300,
        backups in 0_usize..5,
    ) {
        let folder = TempDir::new().unwrap();
        let mut log = writer(&folder, maxbytes, backups, None);
        let written: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        let mut rest = &written[..];
        for length in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*length).min(rest.len()));
            write(&mut log, piece);
            rest = after;
        }
        let files = kept(&folder);
        prop_assert!(written.ends_with(&files.concat()));
        prop_assert!(files.len() <= backups + 1);
        for file in &files {
            prop_assert!(file.is_empty() || file.ends_with(b"\n"));
            // A line that has begun in a file is finished in it.
            let longest_line = 31;
            prop_assert!(file.len() as u64 <= maxbytes + longest_line);
        }
        let total = written.len() as u64;
        if backups > 0 && total <= maxbytes {
            prop_assert_eq!(files.concat(), written);
        }
    }
}
