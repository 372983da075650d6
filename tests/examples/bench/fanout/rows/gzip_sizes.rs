//! Compression for one subscriber, for some and for many: it is made once for all of them, so what it costs each falls.

use super::gzip::{Cost, Load, SHORT, cost};
use super::{Line, Measure, Round, Row, line};
use crate::fanout::servers::Tool;

/// Deliveries a second at every size, and events a second at most.
const DELIVERIES: f64 = 50_000.0;
const RATE_MAX: f64 = 1000.0;
/// Fewer streams are less than what the pages of memory are counted in.
const MEMORY_FROM: usize = 100;

pub(super) fn row(is_quick: bool, event_bytes: usize) -> Row {
    let measure: Measure = if event_bytes == SHORT {
        |round| measure(round, SHORT)
    } else {
        |round| measure(round, super::gzip::LONG)
    };
    Row {
        key: "gzip-sizes",
        tools: &[Tool::Ours],
        lines: sizes(is_quick).iter().flat_map(|streams| lines(*streams, event_bytes)).collect(),
        measure,
    }
}

fn sizes(is_quick: bool) -> &'static [usize] {
    if is_quick { &[1, 100, 1000] } else { &[1, 100, 5000] }
}

fn rate(streams: usize) -> f64 {
    (DELIVERIES / streams as f64).min(RATE_MAX)
}

fn lines(streams: usize, event_bytes: usize) -> [Line; 5] {
    let title =
        format!("gzip, {event_bytes}-byte events, {streams} x {}/s: bytes plain / compressed", rate(streams));
    [
        line(title, &[]),
        line("  CPU per delivery (with its part of the publish), compressed, us", &[]),
        line("  the same, plain, us", &[]),
        line("  memory per idle stream, compressed, KiB", &[]),
        line("  the same, plain, KiB", &[]),
    ]
}

fn measure(round: &Round<'_>, event_bytes: usize) -> anyhow::Result<Vec<f64>> {
    let mut figures = Vec::new();
    for streams in sizes(round.settings.is_quick) {
        let time = round.settings.time_short();
        let load = Load { streams: *streams, rate: rate(*streams), event_bytes, wants_gzip: false, time };
        let plain = cost(round, load)?;
        let gzip = cost(round, Load { wants_gzip: true, ..load })?;
        let memory = |cost: &Cost| if *streams < MEMORY_FROM { f64::NAN } else { cost.memory_kib };
        figures.extend([plain.bytes / gzip.bytes, gzip.cpu, plain.cpu, memory(&gzip), memory(&plain)]);
    }
    Ok(figures)
}
