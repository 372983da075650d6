//! What runs in a process of its own, because it is killed, measured or dies.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::store::{Kind, Store, Writer};
use crate::{event, faults, memory, recover};

pub fn command(kind: Kind, folder: &Path, task: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["child", kind.name()]).arg(folder).arg(task);
    command
}

/// What the child printed: figures.
pub fn figures<const N: usize>(kind: Kind, folder: &Path, task: &str) -> Result<[f64; N]> {
    let text = output(kind, folder, task)?;
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    figures.try_into().map_err(|_| anyhow!("{} {task}: {text}", kind.name()))
}

/// What the child printed: its words, or how it died.
pub fn output(kind: Kind, folder: &Path, task: &str) -> Result<String> {
    let output = command(kind, folder, task).env("RUST_BACKTRACE", "0").output()?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors = match errors.split_once("panicked at ") {
        Some((_, panic)) => format!("panics: {}", panic.lines().nth(1).unwrap_or_default()),
        None => errors.trim().replace('\n', " "),
    };
    Ok(match output.status.signal() {
        Some(signal) => format!("killed by signal {signal} {printed} {errors}"),
        None if output.status.success() => printed,
        None => format!("{printed} {errors}"),
    })
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let [kind, folder, task, rest @ ..] = args else { bail!("child <candidate> <folder> <task>") };
    let (kind, folder) = (Kind::parse(kind)?, Path::new(folder));
    match task.as_str() {
        "write" => recover::write(kind, folder, rest.first().context("how many")?.parse()?)?,
        "open" => open(kind, folder)?,
        "verify" => verify(kind, folder)?,
        "memory" => memory::measure(kind, folder)?,
        "fill" => faults::fill(kind, folder)?,
        _ => bail!("no task {task}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn open(kind: Kind, folder: &Path) -> Result<()> {
    let start = Instant::now();
    let store = kind.open(folder)?;
    let opened = start.elapsed();
    let start = Instant::now();
    let seen = scan(&*store)?;
    let scanned = start.elapsed();
    let start = Instant::now();
    for at in 0..1000 {
        let mut count = 0;
        store.scan(seen.whole - 10_000 + at * 7, 100, &mut |_, _| count += 1)?;
        assert_eq!(count, 100);
    }
    let resumes = start.elapsed();
    let ms = 1e3;
    println!(
        "{} {} {} {}",
        opened.as_secs_f64() * ms,
        scanned.as_secs_f64() * ms,
        resumes.as_secs_f64() * ms,
        seen.whole
    );
    Ok(())
}

/// Opens, scans and writes on; tells how far it came.
fn verify(kind: Kind, folder: &Path) -> Result<()> {
    let store = match kind.open(folder) {
        Ok(store) => store,
        Err(error) => {
            println!("open fails: {error:#}");
            return Ok(());
        }
    };
    print!("opens; ");
    match scan(&*store) {
        Ok(seen) => {
            print!("{} whole, {} damaged, last {:?}; ", seen.whole, seen.damaged, seen.last);
            let next = seen.last.map_or(0, |last| last + 1);
            let mut writer = Writer { store: &*store, size: 300, bound: u64::MAX, oldest: 0, next };
            match writer.append(1) {
                Ok(()) => println!("writes"),
                Err(error) => println!("write fails: {error:#}"),
            }
        }
        Err(error) => println!("scan fails: {error:#}"),
    }
    Ok(())
}

pub struct Seen {
    pub whole: u64,
    pub damaged: u64,
    pub last: Option<u64>,
}

pub fn scan(store: &dyn Store) -> Result<Seen> {
    let mut seen = Seen { whole: 0, damaged: 0, last: None };
    store.scan(0, usize::MAX, &mut |ordinal, bytes| {
        if event::is_whole(ordinal, bytes) {
            seen.whole += 1;
        } else {
            seen.damaged += 1;
        }
        seen.last = Some(ordinal);
    })?;
    Ok(seen)
}
