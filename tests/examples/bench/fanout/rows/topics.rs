//! Ten thousand topics with one subscriber each, and as many groups of one subscriber each that all get the same events.

use super::{
    Measure, Round, Row, STREAMS, TOPIC, counted, delivered, line, publishers, warm_up, warm_up_with,
};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::event;
use crate::fanout::processes::{cpu_micros, pss_kib};
use crate::fanout::publishers::Publishers;
use crate::fanout::servers::Tool;

const PUBLISHERS: usize = 8;
const RATE: f64 = 50.0;
/// Events after which a compressed stream has all the text that it keeps.
const FEW: u64 = 20;
/// Streams before it is looked for the first time.
const WARM: usize = 50;
const TOOLS: &[Tool] = &[Tool::Ours, Tool::Nginx, Tool::Nchan, Tool::NchanAuto];

/// Every event for one stream alone.
pub(super) fn row(is_quick: bool) -> Row {
    let count = topics(is_quick);
    Row {
        key: "topics",
        tools: TOOLS,
        lines: vec![
            line(format!("{} topics, one stream each: deliveries/s, thousands", counted(count, TOOLS)), &[]),
            line("  latency p99, ms", &[]),
            line("  CPU per delivery (a publish each), us", &[]),
        ],
        measure,
    }
}

/// Streams with a second topic of their own each, so that no two can share anything.
pub(super) fn groups() -> Row {
    groups_row("groups", "", |round| measure_groups(round, false))
}

/// The same, compressed: for each stream by itself.
pub(super) fn groups_gzip() -> Row {
    groups_row("groups-gzip", ", compressed", |round| measure_groups(round, true))
}

fn groups_row(key: &'static str, words: &str, measure: Measure) -> Row {
    let title =
        format!("{STREAMS} streams, each with another filter, x {RATE}/s{words}: CPU per delivery, us");
    Row {
        key,
        tools: &[Tool::Ours, Tool::Nginx],
        lines: vec![
            line(title, &[]),
            line("  latency p99, ms", &[]),
            line("  bytes on the wire per delivery", &[]),
            line("  memory per stream before its first event, KiB", &[]),
            line(format!("  memory per stream after {FEW} events, KiB"), &[]),
        ],
        measure,
    }
}

fn topics(is_quick: bool) -> usize {
    if is_quick { 2000 } else { 10_000 }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let count = topics(round.settings.is_quick).min(round.tool.streams_max());
    let server = round.start(count, &[])?;
    let topic = format!("{TOPIC}:#");
    let mut crowd = Crowd::open(&Plan::new(server.port(), count, &topic))?;
    let mut publishers =
        Publishers::open(server.port(), server.wording(), PUBLISHERS, &topic, count, event::BYTES)?;
    warm_up_with(&mut crowd, &mut publishers, count as u64)?;
    let (pids, began) = (server.pids(), std::time::Instant::now());
    let before = cpu_micros(&pids)?;
    let published = publishers.full(round.settings.time())?;
    crowd.receive(published.events)?;
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_micros(&pids)? - before);
    let stats = delivered(&mut crowd, &published)?;
    let events = stats.events as f64;
    Ok(vec![events / took / 1000.0, stats.times.part_ms(0.99), cpu / events])
}

fn measure_groups(round: &Round<'_>, wants_gzip: bool) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS + WARM, &[])?;
    let pids = server.pids();
    let mut publishers = publishers(&*server, 1)?;
    let plan = |first, count| Plan {
        first,
        wants_gzip,
        ..Plan::new(server.port(), count, &format!("{TOPIC},own:#"))
    };
    let mut warm = Crowd::open(&plan(STREAMS, WARM))?;
    warm_up(&mut warm, &mut publishers)?;
    drop(warm);
    let empty = pss_kib(&pids)?;
    let mut crowd = Crowd::open(&plan(0, STREAMS))?;
    let idle = (pss_kib(&pids)? - empty) / STREAMS as f64;
    warm_up_with(&mut crowd, &mut publishers, FEW)?;
    let few = (pss_kib(&pids)? - empty) / STREAMS as f64;
    let before = cpu_micros(&pids)?;
    let published = publishers.paced(RATE, round.settings.time())?;
    let stats = delivered(&mut crowd, &published)?;
    let cpu = cpu_micros(&pids)? - before;
    let events = stats.events as f64;
    Ok(vec![cpu / events, stats.times.part_ms(0.99), stats.bytes as f64 / events, idle, few])
}
