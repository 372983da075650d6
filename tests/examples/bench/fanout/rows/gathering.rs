//! Events that are gathered, `SSE_FLUSH_INTERVAL`: what it saves and what it costs.

use super::{Round, Row, STREAMS, delivered, line, publishers, subscribe, warm_up};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

const RATE: f64 = 200.0;
const INTERVAL_MS: &str = "50";

pub(super) fn row() -> Row {
    Row {
        key: "gathering",
        tools: &[Tool::Ours],
        lines: vec![
            line(
                format!(
                    "{STREAMS} x {RATE}/s, gathered for {INTERVAL_MS} ms: CPU per delivery, gathered / not"
                ),
                &[],
            ),
            line("  CPU per delivery, gathered, us", &[]),
            line("  latency p50, gathered, ms", &[]),
            line("  latency p50, not gathered, ms", &[]),
        ],
        measure,
    }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let [(cpu, p50), (cpu_gathered, p50_gathered)] = [cost(round, "0")?, cost(round, INTERVAL_MS)?];
    Ok(vec![cpu_gathered / cpu, cpu_gathered, p50_gathered, p50])
}

/// CPU for a delivery and the middle latency.
fn cost(round: &Round<'_>, interval_ms: &str) -> anyhow::Result<(f64, f64)> {
    let server = round.start(STREAMS, &[("SSE_FLUSH_INTERVAL", interval_ms)])?;
    let mut crowd = subscribe(&*server, STREAMS)?;
    let mut publishers = publishers(&*server, 1)?;
    warm_up(&mut crowd, &mut publishers)?;
    let pids = server.pids();
    let before = cpu_micros(&pids)?;
    let published = publishers.paced(RATE, round.settings.time())?;
    let stats = delivered(&mut crowd, &published)?;
    Ok(((cpu_micros(&pids)? - before) / stats.events as f64, stats.times.part_ms(0.5)))
}
