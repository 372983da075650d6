//! The same load for clients that ask for compression: what it saves and what it costs.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Bar, Measure, Round, Row, STREAMS, TOPIC, delivered, line, warm_up};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::event;
use crate::fanout::processes::{cpu_micros, pss_kib};
use crate::fanout::publishers::Publishers;
use crate::fanout::servers::Tool;

/// The lengths that the targets name.
pub(super) const SHORT: usize = 170;
pub(super) const LONG: usize = 800;
const RATE: f64 = 50.0;
const WARM: usize = 100;
/// The framing of a chunk of less than 256 bytes.
const CHUNK_BYTES: usize = 6;

/// For each length of an event: without, with, and what that saves.
pub(super) fn row(event_bytes: usize) -> Row {
    let (key, measure): (_, Measure) = if event_bytes == SHORT {
        ("gzip", |round| measure(round, SHORT))
    } else {
        ("gzip-long", |round| measure(round, LONG))
    };
    let ratio = if event_bytes == SHORT { 3.4 } else { 4.5 };
    Row {
        key,
        tools: if event_bytes == SHORT { &[Tool::Ours, Tool::Nginx] } else { &[Tool::Ours] },
        lines: vec![
            line(
                format!("gzip, {event_bytes}-byte events, {STREAMS} x {RATE}/s: bytes plain / compressed"),
                &[Bar::Least(Tool::Ours, ratio)],
            ),
            line("  the same with a compressor for each stream (computed)", &[]),
            line("  CPU per delivery, compressed / plain", &[Bar::Most(Tool::Ours, 1.0)]),
            line("  CPU per delivery, compressed, us", &[]),
            line("  memory per idle stream, compressed, KiB", &[Bar::Most(Tool::Ours, 1.2)]),
            line("  latency p99, compressed, ms", &[]),
        ],
        measure,
    }
}

/// What one compressor that keeps its window for ever and flushes every event makes of such events.
fn alone(event_bytes: usize) -> anyhow::Result<f64> {
    const EVENTS: u64 = 400;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut plain = 0;
    for n in 0..EVENTS {
        let micros = 1_700_000_000_000_000 + n * 20_000;
        let data = event::data(event::NUMBER_FIRST + n, micros, event_bytes);
        let event = format!("id: {}-0\ndata: {data}\n\n", micros / 1000);
        gzip.write_all(event.as_bytes())?;
        gzip.flush()?;
        plain += event.len() + CHUNK_BYTES;
    }
    Ok(plain as f64 / (gzip.get_ref().len() + EVENTS as usize * CHUNK_BYTES) as f64)
}

/// What a delivery and a stream cost.
pub(super) struct Cost {
    pub(super) bytes: f64,
    pub(super) cpu: f64,
    pub(super) memory_kib: f64,
    pub(super) p99_ms: f64,
}

/// The load that is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) streams: usize,
    /// Events a second.
    pub(super) rate: f64,
    pub(super) event_bytes: usize,
    pub(super) wants_gzip: bool,
    pub(super) time: Duration,
}

fn measure(round: &Round<'_>, event_bytes: usize) -> anyhow::Result<Vec<f64>> {
    let load =
        Load { streams: STREAMS, rate: RATE, event_bytes, wants_gzip: false, time: round.settings.time() };
    let plain = cost(round, load)?;
    let gzip = cost(round, Load { wants_gzip: true, ..load })?;
    Ok(vec![
        plain.bytes / gzip.bytes,
        alone(event_bytes)?,
        gzip.cpu / plain.cpu,
        gzip.cpu,
        gzip.memory_kib,
        gzip.p99_ms,
    ])
}

pub(super) fn cost(round: &Round<'_>, load: Load) -> anyhow::Result<Cost> {
    let Load { streams, rate, event_bytes, wants_gzip, time } = load;
    let server = round.start(streams + WARM, &[])?;
    let pids = server.pids();
    let plan =
        |first, count| Plan { first, event_bytes, wants_gzip, ..Plan::new(server.port(), count, TOPIC) };
    let mut publishers = Publishers::open(server.port(), server.wording(), 1, TOPIC, 1, event_bytes)?;
    {
        let mut warm = Crowd::open(&plan(streams, WARM))?;
        warm_up(&mut warm, &mut publishers)?;
    }
    let before = pss_kib(&pids)?;
    let mut crowd = Crowd::open(&plan(0, streams))?;
    let memory_kib = (pss_kib(&pids)? - before) / streams as f64;
    warm_up(&mut crowd, &mut publishers)?;
    let before = cpu_micros(&pids)?;
    let published = publishers.paced(rate, time)?;
    let stats = delivered(&mut crowd, &published)?;
    let (events, cpu) = (stats.events as f64, cpu_micros(&pids)? - before);
    // Of all rows and servers only here a stream comes to an end, which has the sum of all that was compressed.
    if wants_gzip && round.tool == Tool::Ours {
        crowd.end(|| Ok(pids.iter().try_for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGTERM))?))?;
    }
    Ok(Cost {
        bytes: stats.bytes as f64 / events,
        cpu: cpu / events,
        memory_kib,
        p99_ms: stats.times.part_ms(0.99),
    })
}
