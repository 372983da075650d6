//! As many deliveries as it can: eight publishers, each posting its next event as soon as the last is answered.

use std::time::Instant;

use super::{Bar, Round, Row, STREAMS, delivered, line, publishers, subscribe, warm_up};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

const PUBLISHERS: usize = 8;

/// With the history in memory.
pub(super) fn memory() -> Row {
    Row {
        key: "saturation",
        tools: &Tool::ALL,
        lines: vec![
            line(
                format!("deliveries/s, {STREAMS} streams, {PUBLISHERS} publishers, thousands"),
                &[Bar::LeastOf(Tool::Ours, 20.0, Tool::Nchan), Bar::LeastOf(Tool::Nginx, 5.0, Tool::Nchan)],
            ),
            line("  latency p99, ms", &[Bar::Most(Tool::Ours, 1000.0)]),
            line("  CPU per delivery, us", &[]),
        ],
        measure: |round| measure(round, "memory"),
    }
}

/// With the history on disk.
pub(super) fn disk() -> Row {
    Row {
        key: "saturation-disk",
        tools: &[Tool::Ours, Tool::Nginx],
        lines: vec![
            line("the same, history on disk: deliveries/s, thousands", &[]),
            line("  latency p99, ms", &[]),
            line("  CPU per delivery, us", &[]),
        ],
        measure: |round| measure(round, "disk"),
    }
}

fn measure(round: &Round<'_>, history: &str) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS, &[("SSE_HISTORY", history)])?;
    let mut crowd = subscribe(&*server, STREAMS)?;
    let mut publishers = publishers(&*server, PUBLISHERS)?;
    warm_up(&mut crowd, &mut publishers)?;
    let pids = server.pids();
    let (before, began) = (cpu_micros(&pids)?, Instant::now());
    let published = publishers.full(round.settings.time_short())?;
    // Until the last one has come, so that nothing is left out of the time that it took.
    crowd.receive(published.deliveries(crowd.len()))?;
    let took = began.elapsed().as_secs_f64();
    let cpu = cpu_micros(&pids)? - before;
    let stats = delivered(&mut crowd, &published)?;
    let events = stats.events as f64;
    Ok(vec![events / took / 1000.0, stats.times.part_ms(0.99), cpu / events])
}
