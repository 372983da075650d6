//! A thousand streams and as many events a second as nobody is slowed down by: what is delivered in time.

use std::time::Instant;

use super::{Bar, Round, Row, STREAMS, TOPIC, delivered, line, publishers, warm_up};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

/// More than twenty times what a peer reaches at its best.
const RATE: f64 = 2500.0;
/// Nearly what nginx can pass on, and what two processors can decompress beside it.
const RATE_LOW: f64 = 1000.0;
const PUBLISHERS: usize = 8;
/// The row with what a peer reaches at its best.
const SATURATION: &str = "saturation";

pub(super) fn row() -> Row {
    Row {
        key: "pressed",
        tools: &[Tool::Ours, Tool::Nginx],
        lines: vec![
            line(
                format!("{STREAMS} x {RATE}/s (nginx {RATE_LOW}/s): deliveries/s, thousands"),
                &[
                    Bar::LeastOfRow(Tool::Ours, 20.0, Tool::Nchan, SATURATION),
                    Bar::LeastOfRow(Tool::Nginx, 5.0, Tool::Nchan, SATURATION),
                ],
            ),
            line("  latency p99, ms", &[Bar::Most(Tool::Ours, 1000.0), Bar::Most(Tool::Nginx, 1000.0)]),
            line("  latency p50, ms", &[]),
            line("  CPU per delivery, us", &[]),
        ],
        measure: |round| measure(round, false),
    }
}

/// For clients that ask for compression.
pub(super) fn gzip() -> Row {
    Row {
        key: "pressed-gzip",
        tools: &[Tool::Ours, Tool::Nginx],
        lines: vec![
            line(format!("{STREAMS} x {RATE_LOW}/s, compressed: deliveries/s, thousands"), &[]),
            line("  latency p99, ms", &[]),
            line("  latency p50, ms", &[]),
            line("  CPU per delivery, us", &[]),
        ],
        measure: |round| measure(round, true),
    }
}

fn measure(round: &Round<'_>, wants_gzip: bool) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS, &[])?;
    let mut crowd = Crowd::open(&Plan { wants_gzip, ..Plan::new(server.port(), STREAMS, TOPIC) })?;
    let mut publishers = publishers(&*server, PUBLISHERS)?;
    warm_up(&mut crowd, &mut publishers)?;
    let pids = server.pids();
    let (before, began) = (cpu_micros(&pids)?, Instant::now());
    let rate = if wants_gzip || round.tool == Tool::Nginx { RATE_LOW } else { RATE };
    let published = publishers.paced(rate, round.settings.time())?;
    crowd.receive(published.deliveries(crowd.len()))?;
    let took = began.elapsed().as_secs_f64();
    let stats = delivered(&mut crowd, &published)?;
    let events = stats.events as f64;
    let cpu = (cpu_micros(&pids)? - before) / events;
    Ok(vec![events / took / 1000.0, stats.times.part_ms(0.99), stats.times.part_ms(0.5), cpu])
}
