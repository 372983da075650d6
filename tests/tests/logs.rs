//! A program's output under rotation, as somebody who tails it and somebody who reads the files later sees it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use stack_tests::{Process, eventually, target, within};
use tempfile::TempDir;

/// Bytes of one line, its end included.
const LINE_BYTES: usize = 100;
/// Lines in all: 50 MB.
const LINES: usize = 500_000;
/// Bytes written per second.
const RATE: usize = 5_000_000;

/// Writes `LINES` numbered lines at `RATE`, a hundredth of a second's worth at a time.
fn script() -> String {
    format!(
        "import sys, time\n\
         begin, step = time.monotonic(), {step}\n\
         for first in range(0, {LINES}, step):\n\
         \x20   sys.stdout.write(''.join('%09d %s\\n' % (n, 'x' * {padding}) for n in range(first, min(first + step, {LINES}))))\n\
         \x20   sys.stdout.flush()\n\
         \x20   time.sleep(max(0, begin + (first + step) * {LINE_BYTES} / {RATE} - time.monotonic()))\n",
        step = RATE / LINE_BYTES / 100,
        padding = LINE_BYTES - 11,
    )
}

fn numbers(bytes: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(bytes).expect("ASCII");
    assert!(text.is_empty() || text.ends_with('\n'), "the file ends with a whole line");
    text.lines()
        .map(|line| {
            assert_eq!(line.len(), LINE_BYTES - 1, "a whole line: {line:?}");
            line[..9].parse().expect("a number")
        })
        .collect()
}

fn read(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("it can be read");
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut plain = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("whole gzip");
    plain
}

#[test]
fn no_line_is_lost_or_torn_by_rotation_and_tail_sees_every_one() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("writer.py"), script()).expect("written");
    let config = format!(
        "[supervisord]\nlogfile = \"{0}/s.log\"\npidfile = \"{0}/s.pid\"\n\
         [program.writer]\ncommand = [\"python3\", \"{0}/writer.py\"]\nautorestart = false\n\
         stdout_logfile = \"{0}/w.log\"\nstdout_logfile_maxbytes = \"1MB\"\nstdout_logfile_backups = 3\n\
         logfile_compress = true\n",
        folder.path().display()
    );
    fs::write(path("s.toml"), config).expect("written");
    fs::write(path("w.log"), "").expect("written");
    let tailed = fs::File::create(path("tailed")).expect("a file");
    let mut tail = Command::new("tail")
        .args(["-n", "+1", "-F"])
        .arg(path("w.log"))
        .stdout(tailed)
        .spawn()
        .expect("tail");
    let began = Instant::now();
    let mut daemon = Process::start(
        Command::new(target().join("release/supervisord")).args(["-n", "-c"]).arg(path("s.toml")),
    );
    within(Duration::from_secs(60), "the writer has written everything", || {
        daemon
            .lines()
            .iter()
            .any(|line| line.contains("exited: writer (exit status 0; expected)"))
            .then_some(())
    });
    let took = began.elapsed();
    let last = |path: &Path| {
        fs::read(path)
            .is_ok_and(|bytes| bytes.ends_with(format!("{}\n", "x".repeat(LINE_BYTES - 11)).as_bytes()))
    };
    let has_all = || {
        fs::metadata(path("tailed")).is_ok_and(|m| m.len() as usize == LINES * LINE_BYTES)
            && last(&path("tailed"))
    };
    eventually("tail has seen the last line", has_all);
    eventually("the old files are compressed", || {
        (1..=3).all(|n| path(&format!("w.log.{n}.gz")).exists() && !path(&format!("w.log.{n}")).exists())
    });
    daemon.signal(nix::sys::signal::SIGTERM);
    assert!(daemon.wait(Duration::from_secs(10)).success());
    tail.kill().expect("ours");
    tail.wait().expect("ours");

    let files = ["w.log.3.gz", "w.log.2.gz", "w.log.1.gz", "w.log"].map(path);
    let kept: Vec<usize> = files.iter().flat_map(|file| numbers(&read(file))).collect();
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "no line is missing between the kept files");
    assert_eq!(kept.last(), Some(&(LINES - 1)));
    let seen = numbers(&fs::read(path("tailed")).expect("it can be read"));
    assert!(seen.iter().copied().eq(0..LINES), "tail saw {} lines", seen.len());
    println!(
        "{} MB in {took:?}: {} lines kept in 4 files, {} seen by tail -F",
        LINES * LINE_BYTES / 1_000_000,
        kept.len(),
        seen.len()
    );
}
