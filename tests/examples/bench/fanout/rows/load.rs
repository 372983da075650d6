//! A thousand streams and fifty events a second: what a delivery costs and how long it takes.

use super::{Bar, Round, Row, STREAMS, delivered, line, publishers, subscribe, warm_up};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

const RATE: f64 = 50.0;
/// What the Python servers keep up with.
const RATE_SLOW: f64 = 10.0;

pub(super) fn row() -> Row {
    Row {
        key: "load",
        tools: &Tool::ALL,
        lines: vec![
            line(
                format!("CPU per delivery, {STREAMS} x {RATE}/s (Python {RATE_SLOW}/s), us"),
                &[Bar::MostOf(Tool::Ours, 1.15, Tool::Floor), Bar::MostOf(Tool::Nginx, 1.25, Tool::Nchan)],
            ),
            line("  latency p50, ms", &[Bar::MostOf(Tool::Ours, 1.0, Tool::Nchan)]),
            line("  latency p99, ms", &[Bar::MostOf(Tool::Ours, 1.0, Tool::Nchan)]),
            line("  bytes on the wire per delivery", &[]),
        ],
        measure,
    }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS, &[])?;
    let mut crowd = subscribe(&*server, STREAMS)?;
    let mut publishers = publishers(&*server, 1)?;
    warm_up(&mut crowd, &mut publishers)?;
    let rate = if matches!(round.tool, Tool::Gunicorn | Tool::Uvicorn) { RATE_SLOW } else { RATE };
    let pids = server.pids();
    let before = cpu_micros(&pids)?;
    let published = publishers.paced(rate, round.settings.time())?;
    let stats = delivered(&mut crowd, &published)?;
    let cost = (cpu_micros(&pids)? - before) / stats.events as f64;
    let bytes = stats.bytes as f64 / stats.events as f64;
    Ok(vec![cost, stats.times.part_ms(0.5), stats.times.part_ms(0.99), bytes])
}
