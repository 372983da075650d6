//! What a reader that stops, a long replay and a long history cost the server and its other readers.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use stack_tests::{Hub, HubPlan, wait_until, within};
use tempfile::TempDir;

use crate::machine::{folder, median, part_ms};
use crate::publishers::Publisher;
use crate::readers::{Readers, TIMED, ask, lines, now_micros, open, published};

/// Events that pass a reader that has stopped, and events of a replay.
const EVENTS: u64 = 100_000;
/// Events of the long history.
const MANY: u64 = 1_000_000;
/// Bytes of an event's data.
const EVENT_BYTES: usize = 1000;
/// Events per second while latencies are taken.
const RATE: u64 = 4000;
/// What a publisher that keeps a rate sends at one time.
const STEP: Duration = Duration::from_millis(5);
/// Readers beside the one that has stopped.
const READERS: usize = 20;
/// How far before the end a reader comes back.
const LAG: u64 = 100;
/// How often a short time is taken.
const TIMES: usize = 9;

/// All three.
pub(crate) fn run() -> anyhow::Result<()> {
    let folder = folder()?;
    let history = std::env::var("HISTORY").unwrap_or_else(|_| "disk".to_owned());
    stopped_reader(&folder, &history)?;
    long_replay(&folder, &history)?;
    long_history(&folder, &history)
}

fn start(folder: &TempDir, history: &str, unlimited: bool) -> anyhow::Result<(Hub, TempDir)> {
    let data = TempDir::new_in(folder.path())?;
    let mut env = vec![("SSE_HISTORY", history)];
    if unlimited {
        env.extend([("SSE_HISTORY_EVENTS", "0"), ("SSE_HISTORY_BYTES", "0")]);
    }
    Ok((Hub::start(HubPlan::new(&data.path().join("data"), &env)), data))
}

/// A batch of so many events that say when they were published; at 0 they say that they are not timed.
fn batch(count: u64, at: u64, bytes: usize) -> String {
    let padding = "x".repeat(bytes.saturating_sub(TIMED.len() + 24));
    let event =
        format!("{{\"topic\":\"bench\",\"event\":\"tick\",\"data\":{TIMED}{at},\"x\":\"{padding}\"}}}}");
    format!("[{}]", vec![event; count as usize].join(","))
}

/// Publishes at a rate until it is told to stop or has published enough.
fn publish_timed(port: u16, rate: u64, count: u64, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(port)?;
    let step = (rate as f64 * STEP.as_secs_f64()) as u64;
    let (mut due, mut sent) = (Instant::now(), 0);
    while sent < count && !stop.load(Ordering::Relaxed) {
        publisher.publish(&batch(step, now_micros(), EVENT_BYTES))?;
        sent += step;
        due += STEP;
        wait_until(due, stop);
    }
    Ok(())
}

/// Fills the history as fast as it goes, and returns the ids.
fn prefill(port: u16, events: u64, bytes: usize) -> anyhow::Result<Vec<String>> {
    let mut publisher = Publisher::open(port)?;
    let count = 500;
    let body = batch(count, 0, bytes);
    let mut ids = Vec::new();
    for _ in 0..events / count {
        let answer: serde_json::Value = serde_json::from_str(&publisher.publish(&body)?)?;
        let new = answer["ids"].as_array().context("ids")?;
        ids.extend(new.iter().filter_map(|id| id.as_str()).map(str::to_owned));
    }
    Ok(ids)
}

/// The largest share of memory while `work` runs, looked at every 100 ms.
fn peak_kib<T>(hub: &Hub, work: impl FnOnce() -> T) -> (T, u64) {
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(hub.pss_kib()));
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(hub.pss_kib(), Ordering::Relaxed);
                let _ = nix::poll::poll(&mut [], 100_u16);
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    (result, peak.load(Ordering::Relaxed))
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn latencies(found: &[(u64, u32)]) -> Vec<u32> {
    found.iter().map(|(_, took)| *took).collect()
}

fn stopped_reader(folder: &TempDir, history: &str) -> anyhow::Result<()> {
    println!(
        "a reader stops while {EVENTS} events of {EVENT_BYTES} bytes pass, {RATE} a second, {READERS} others read ({history} history)"
    );
    for is_stopped in [false, true] {
        let (hub, _data) = start(folder, history, false)?;
        let readers = Readers::start(hub.port(), READERS)?;
        let stopped = if is_stopped { Some(open(hub.port(), None)?) } else { None };
        let before = hub.pss_kib();
        let (done, peak) = peak_kib(&hub, || -> anyhow::Result<()> {
            publish_timed(hub.port(), RATE, EVENTS, &AtomicBool::new(false))?;
            let all = EVENTS * READERS as u64;
            within(Duration::from_secs(60), "everybody has everything", || {
                (readers.seen() >= all).then_some(())
            });
            Ok(())
        });
        done?;
        let closed = hub.health()["connections"]["closed"].clone();
        drop(stopped);
        within(Duration::from_secs(10), "its place is free", || {
            (hub.health()["connections"]["active"] == READERS).then_some(())
        });
        let after = hub.pss_kib();
        let micros = latencies(&readers.finish()?);
        println!(
            "  {:<16} memory {:>6.1} MiB before, {:>6.1} peak, {:>6.1} after; others p50 {:.2} ms, p99 {:.2} ms, worst {:.1} ms; closed {closed}",
            if is_stopped { "one has stopped" } else { "all read" },
            mib(before),
            mib(peak),
            mib(after),
            part_ms(&micros, 0.5),
            part_ms(&micros, 0.99),
            part_ms(&micros, 1.0),
        );
    }
    Ok(())
}

/// When the first byte and the last of so many events came.
fn replay(stream: &mut TcpStream, began: Instant, events: u64) -> anyhow::Result<(Duration, Duration)> {
    let (mut bytes, mut rest) = (vec![0; 256 * 1024], Vec::new());
    let (mut first, mut count) = (None, 0);
    while count < events {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            bail!("the stream ended after {count} events");
        }
        first = first.or_else(|| Some(began.elapsed()));
        lines(&mut rest, &bytes[..length], |line| count += u64::from(published(line).is_some()));
    }
    Ok((first.unwrap_or_default(), began.elapsed()))
}

fn long_replay(folder: &TempDir, history: &str) -> anyhow::Result<()> {
    let (hub, _data) = start(folder, history, true)?;
    let empty = hub.pss_kib();
    prefill(hub.port(), EVENTS, EVENT_BYTES)?;
    let full = hub.pss_kib();
    println!(
        "replay of {EVENTS} kept events of {EVENT_BYTES} bytes; memory {:.1} MiB empty, {:.1} MiB full",
        mib(empty),
        mib(full)
    );
    let rate = 1000;
    let readers = Readers::start(hub.port(), 1)?;
    let stop = Arc::<AtomicBool>::default();
    let (port, told) = (hub.port(), Arc::clone(&stop));
    let publisher = thread::spawn(move || publish_timed(port, rate, u64::MAX, &told));
    let enough = 5 * rate;
    within(Duration::from_secs(30), "latencies without a replay", || {
        (readers.seen() >= enough).then_some(())
    });
    let (mut windows, mut firsts, mut lasts) = (Vec::new(), Vec::new(), Vec::new());
    let (done, peak) = peak_kib(&hub, || -> anyhow::Result<()> {
        for _ in 0..TIMES {
            let (began, began_micros) = (Instant::now(), now_micros());
            let mut stream = ask(hub.port(), Some("earliest"))?;
            let (first, last) = replay(&mut stream, began, EVENTS)?;
            windows.push(began_micros..now_micros());
            firsts.push(first.as_secs_f64() * 1000.0);
            lasts.push(last.as_secs_f64() * 1000.0);
        }
        Ok(())
    });
    done?;
    stop.store(true, Ordering::Relaxed);
    publisher.join().expect("no publisher panics")?;
    let after = hub.pss_kib();
    let found = readers.finish()?;
    let quiet: Vec<u32> =
        found.iter().filter(|(at, _)| *at < windows[0].start).map(|(_, took)| *took).collect();
    let during: Vec<u32> = found
        .iter()
        .filter(|(at, _)| windows.iter().any(|window| window.contains(at)))
        .map(|(_, took)| *took)
        .collect();
    println!(
        "  first byte after {:.2} ms, last after {:.1} ms (middle of {TIMES}); memory {:.1} MiB peak, {:.1} after",
        median(firsts),
        median(lasts),
        mib(peak),
        mib(after)
    );
    println!(
        "  a live reader meanwhile: p99 {:.2} ms of {} events, worst {:.1} ms; without a replay p99 {:.2} ms of {}, worst {:.1} ms",
        part_ms(&during, 0.99),
        during.len(),
        part_ms(&during, 1.0),
        part_ms(&quiet, 0.99),
        quiet.len(),
        part_ms(&quiet, 1.0),
    );
    Ok(())
}

fn long_history(folder: &TempDir, history: &str) -> anyhow::Result<()> {
    let (mut hub, _data) = start(folder, history, true)?;
    let began = Instant::now();
    let ids = prefill(hub.port(), MANY, 100)?;
    let took = began.elapsed();
    let after = &ids[ids.len() - 1 - LAG as usize];
    println!(
        "a history of {MANY} events of 100 bytes: published in {took:.1?}, memory {:.1} MiB",
        mib(hub.pss_kib())
    );
    resume(&hub, after)?;
    if history != "memory" {
        hub.kill();
        hub.restart();
        println!("  started again with it in {:.2?}, memory {:.1} MiB", hub.ready(), mib(hub.pss_kib()));
        resume(&hub, after)?;
    }
    Ok(())
}

/// How long it takes from the connect to the last of the events that were missed.
fn resume(hub: &Hub, after: &str) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let mut stream = ask(hub.port(), Some(after))?;
        let (_, last) = replay(&mut stream, began, LAG)?;
        times.push(last.as_secs_f64() * 1000.0);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!(
        "  resumed {LAG} events before the end: {:.2} ms to the last (middle of {TIMES}), worst {worst:.2} ms",
        median(times)
    );
    Ok(())
}
