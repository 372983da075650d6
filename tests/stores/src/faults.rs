//! A full disk, damaged files, a second process, a format of the future.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::store::{Kind, Writer, clear};
use crate::table::words;
use crate::{child, event, recover};

const EVENTS: u64 = 20_000;
const SECTOR: usize = 512;
const TORN_ROUNDS: u64 = 10;
const TORN_TRIES: u64 = 20;

pub fn print(folder: &Path) -> Result<()> {
    for kind in Kind::ALL {
        second_process(kind, folder)?;
        full_disk(kind, folder)?;
        for clean in [false, true] {
            damaged(kind, folder, clean)?;
        }
        if matches!(kind, Kind::Redb | Kind::RedbLean | Kind::Fjall) {
            torn(kind, folder)?;
        }
        future_format(kind, folder)?;
    }
    Ok(())
}

fn second_process(kind: Kind, folder: &Path) -> Result<()> {
    clear(folder)?;
    let store = kind.open(folder)?;
    Writer::new(&*store, 300).fill(10)?;
    words("a second process", kind, &child::output(kind, folder, "verify")?);
    Ok(())
}

fn full_disk(kind: Kind, folder: &Path) -> Result<()> {
    clear(folder)?;
    fs::create_dir_all(folder)?;
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("size=16m"))
        .context("a 16 MB file system")?;
    let output = child::output(kind, folder, "fill");
    umount2(folder, MntFlags::MNT_DETACH)?;
    for line in output?.lines() {
        words("a full disk", kind, line);
    }
    Ok(())
}

/// The child's part: fills a small file system, makes room, tries again.
pub fn fill(kind: Kind, folder: &Path) -> Result<()> {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; 4 << 20])?;
    let mut store = kind.open(&folder.join("store"))?;
    let mut writer = Writer::new(&*store, 300);
    let error = loop {
        if let Err(error) = writer.append(64) {
            break error;
        }
    };
    let acked = writer.next;
    println!("after {acked} events: {error:#}");
    tell("the same again", writer.append(64));
    tell_read("reading", child::scan(&*store), acked);
    fs::remove_file(ballast)?;
    let mut writer = Writer { store: &*store, size: 300, bound: u64::MAX, oldest: 0, next: acked };
    let healed = writer.append(64);
    let next = writer.next;
    tell("the same with space", healed);
    drop(store);
    store = kind.open(&folder.join("store"))?;
    tell_read("reopened", child::scan(&*store), next);
    let mut writer = Writer { store: &*store, size: 300, bound: u64::MAX, oldest: 0, next };
    tell("the same, reopened", writer.append(64));
    Ok(())
}

fn tell(what: &str, result: Result<()>) {
    match result {
        Ok(()) => println!("{what}: works"),
        Err(error) => println!("{what}: {error:#}"),
    }
}

fn tell_read(what: &str, seen: Result<child::Seen>, acked: u64) {
    match seen {
        Ok(seen) => println!("{what}: {} of {acked} answered events, {} damaged", seen.whole, seen.damaged),
        Err(error) => println!("{what}: {error:#}"),
    }
}

type Damage = fn(&Path) -> Result<()>;

fn damaged(kind: Kind, folder: &Path, clean: bool) -> Result<()> {
    let (base, copy) = (folder.join("base"), folder.join("copy"));
    clear(folder)?;
    let ending = if clean {
        let store = kind.open(&base)?;
        Writer::new(&*store, 300).fill(EVENTS)?;
        "closed"
    } else {
        recover::killed(kind, &base, EVENTS)?;
        "killed"
    };
    let damages: [(&str, Damage); 7] = [
        ("nothing", |_| Ok(())),
        ("last 100 bytes cut", |file| cut(file, 100)),
        ("last 5000 bytes cut", |file| cut(file, 5000)),
        ("last 5000 bytes zeroed", |file| zero(file, 5000)),
        ("half of the file cut", |file| cut(file, fs::metadata(file)?.len() / 2)),
        ("a byte flipped in the middle event", |file| flip_event(file, EVENTS / 4)),
        ("a byte flipped in the last event", |file| flip_event(file, EVENTS - 1)),
    ];
    for (name, damage) in damages {
        for file in files(kind, &base)? {
            clear(&copy)?;
            copy_folder(&base, &copy)?;
            damage(&copy.join(&file))?;
            let label = format!("{ending}, {name} ({})", short(&file));
            words(&label, kind, &child::output(kind, &copy, "verify")?);
        }
    }
    Ok(())
}

fn short(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files with events in them: of fjall the journal and the largest table.
fn files(kind: Kind, base: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    list(base, base, &mut all)?;
    all.sort_by_key(|file| {
        std::cmp::Reverse(fs::metadata(base.join(file)).map_or(0, |metadata| metadata.len()))
    });
    let is_journal = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "jnl");
    let journal = all.iter().filter(|file| is_journal(file)).max().cloned();
    let other = all.iter().find(|file| !is_journal(file)).cloned();
    Ok(if kind == Kind::Fjall {
        journal.into_iter().chain(other).collect()
    } else {
        other.into_iter().collect()
    })
}

fn list(base: &Path, folder: &Path, all: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(base, &path, all)?;
        } else {
            all.push(path.strip_prefix(base)?.to_owned());
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let mut all = Vec::new();
    list(from, from, &mut all)?;
    for file in all {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().context("a folder")?)?;
        fs::copy(from.join(&file), target)?;
    }
    Ok(())
}

/// Where written bytes end: files may be allocated ahead.
fn end(file: &Path) -> Result<u64> {
    let bytes = fs::read(file)?;
    Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1))
}

fn cut(file: &Path, count: u64) -> Result<()> {
    let end = end(file)?;
    Ok(OpenOptions::new().write(true).open(file)?.set_len(end.saturating_sub(count))?)
}

fn zero(file: &Path, count: usize) -> Result<()> {
    let from = end(file)?.saturating_sub(count as u64);
    Ok(OpenOptions::new().write(true).open(file)?.write_all_at(&vec![0; count], from)?)
}

fn flip_event(file: &Path, ordinal: u64) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let mark = event::mark(ordinal);
    let places: Vec<usize> = bytes
        .windows(mark.len())
        .enumerate()
        .filter(|(_, window)| *window == mark)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        bytes[at + 100] ^= 1;
    }
    Ok(fs::write(file, bytes)?)
}

/// A power cut during a commit of one sync: any subset of the sectors it wrote may be on the disk.
/// The others write in two steps with a sync between, which this picture does not hold apart.
fn torn(kind: Kind, folder: &Path) -> Result<()> {
    let (before, after, copy) = (folder.join("before"), folder.join("after"), folder.join("copy"));
    let mut counts = BTreeMap::<String, usize>::new();
    let mut random = 1_u64;
    for round in 0..TORN_ROUNDS {
        clear(folder)?;
        let store = kind.open(&folder.join("base"))?;
        let mut writer = Writer::new(&*store, 300);
        writer.fill(2000 + round)?;
        copy_folder(&folder.join("base"), &before)?;
        writer.append(1 + round % 3 * 20)?;
        copy_folder(&folder.join("base"), &after)?;
        drop(store);
        for _ in 0..TORN_TRIES {
            clear(&copy)?;
            copy_folder(&after, &copy)?;
            tear(&before, &copy, &mut random)?;
            let words = child::output(kind, &copy, "verify")?;
            let kept = words.contains(&format!("; {} whole, 0 damaged", 2000 + round));
            let whole = words.contains(&format!("; {} whole, 0 damaged", 2001 + round + round % 3 * 20));
            let outcome = match (kept, whole, words.ends_with("writes")) {
                (true, _, true) => "the earlier state".to_owned(),
                (_, true, true) => "the later state".to_owned(),
                _ => words,
            };
            *counts.entry(outcome).or_default() += 1;
        }
    }
    for (outcome, count) in counts {
        words("power cut while committing", kind, &format!("{count} times: {outcome}"));
    }
    Ok(())
}

/// Takes half of the sectors that the commit changed back to what they were.
fn tear(before: &Path, copy: &Path, random: &mut u64) -> Result<()> {
    let mut all = Vec::new();
    list(copy, copy, &mut all)?;
    for name in all.into_iter().filter(|name| !name.ends_with("lock.mdb")) {
        let mut new = fs::read(copy.join(&name))?;
        let mut old = fs::read(before.join(&name)).unwrap_or_default();
        old.resize(new.len(), 0);
        let changed = new.chunks_mut(SECTOR).zip(old.chunks(SECTOR)).filter(|(new, old)| new != old);
        for (new, old) in changed {
            *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if *random >> 63 == 1 {
                new.copy_from_slice(old);
            }
        }
        fs::write(copy.join(&name), new)?;
    }
    Ok(())
}

fn future_format(kind: Kind, folder: &Path) -> Result<()> {
    clear(folder)?;
    let store = kind.open(folder)?;
    Writer::new(&*store, 300).fill(10)?;
    drop(store);
    let (name, places): (_, &[u64]) = match kind {
        Kind::Redb | Kind::RedbLean | Kind::RedbQuick => ("events.redb", &[64, 192]),
        Kind::Fjall => ("version", &[3]),
        Kind::Lmdb => ("data.mdb", &[20, 28, 4096 + 20, 4096 + 28]),
    };
    let file = OpenOptions::new().read(true).write(true).open(folder.join(name))?;
    for place in places {
        let mut byte = [0];
        file.read_exact_at(&mut byte, *place)?;
        if byte != [0] {
            file.write_all_at(&[byte[0] + 1], *place)?;
        }
    }
    words("a format of the future", kind, &child::output(kind, folder, "verify")?);
    Ok(())
}
