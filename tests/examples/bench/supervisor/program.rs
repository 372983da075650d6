//! The program that every daemon runs: it says when it started, writes what it is told to, and waits.
//!
//! `bench program FILE calm|deaf BYTES LINES` adds `started NS PID` to the file, with a time of `CLOCK_MONOTONIC`;
//! writes so many lines of so many bytes, each in one write; adds `wrote NS`, when it began to; and sleeps until
//! a signal ends it, which SIGTERM does not if it is deaf.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{pause, write};

/// What the command line begins with, behind the path of this binary.
pub(crate) const WORD: &str = "program";

/// Nanoseconds of the clock that all processes share.
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills a structure that lives through it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Runs until a signal ends it.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [file, kind, bytes, lines] = words else { bail!("program FILE calm|deaf BYTES LINES") };
    let (bytes, lines) = (bytes.parse()?, lines.parse()?);
    if *kind == "deaf" {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    }
    say(Path::new(file), &format!("started {} {}\n", now_ns(), std::process::id()))?;
    if lines > 0 {
        let began = now_ns();
        write_lines(bytes, lines)?;
        say(Path::new(file), &format!("wrote {began}\n"))?;
    }
    loop {
        pause();
    }
}

fn say(file: &Path, line: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file).context("cannot say so")?;
    Ok(file.write_all(line.as_bytes())?)
}

/// Digits of a line's number, which stands at its beginning and at its end.
pub(crate) const DIGITS: usize = 10;

/// A line without its end: its number, and the same number again at its end.
pub(crate) fn line(number: u64, bytes: usize) -> Vec<u8> {
    let mut line = vec![b'.'; bytes - 1];
    fill(&mut line, number);
    line
}

fn fill(line: &mut [u8], number: u64) {
    let text = format!("{number:0DIGITS$}");
    let end = line.len() - DIGITS;
    line[..DIGITS].copy_from_slice(text.as_bytes());
    line[end..].copy_from_slice(text.as_bytes());
}

fn write_lines(bytes: usize, lines: u64) -> anyhow::Result<()> {
    let mut line = line(0, bytes);
    line.push(b'\n');
    let stdout = std::io::stdout();
    for number in 0..lines {
        fill(&mut line[..bytes - 1], number);
        let mut rest = &line[..];
        while !rest.is_empty() {
            let written = write(stdout.as_fd(), rest)?;
            rest = &rest[written..];
        }
    }
    Ok(())
}
