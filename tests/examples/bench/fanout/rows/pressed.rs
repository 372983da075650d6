//! A thousand streams and a thousand events a second: nearly what nginx can pass on, at a rate that nobody slows down.

use super::{Round, Row, STREAMS, delivered, line, publishers, subscribe, warm_up};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

const RATE: f64 = 1000.0;
const PUBLISHERS: usize = 8;

pub(super) fn row() -> Row {
    Row {
        key: "pressed",
        tools: &[Tool::Ours, Tool::Nginx],
        lines: vec![
            line(format!("{STREAMS} x {RATE}/s: latency p99, ms"), &[]),
            line("  latency p50, ms", &[]),
            line("  CPU per delivery, us", &[]),
        ],
        measure,
    }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS, &[])?;
    let mut crowd = subscribe(&*server, STREAMS)?;
    let mut publishers = publishers(&*server, PUBLISHERS)?;
    warm_up(&mut crowd, &mut publishers)?;
    let pids = server.pids();
    let before = cpu_micros(&pids)?;
    let published = publishers.paced(RATE, round.settings.time())?;
    let stats = delivered(&mut crowd, &published)?;
    let cpu = (cpu_micros(&pids)? - before) / stats.events as f64;
    Ok(vec![stats.times.part_ms(0.99), stats.times.part_ms(0.5), cpu])
}
