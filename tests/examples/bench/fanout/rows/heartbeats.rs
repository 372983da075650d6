//! Streams on which nothing happens but heartbeats.

use std::time::{Duration, Instant};

use super::{Bar, Round, Row, TOPIC, counted, line, pass};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

pub(super) fn row(is_quick: bool) -> Row {
    let (count, interval) = size(is_quick);
    let tools: &[Tool] = if is_quick { &[Tool::Ours] } else { &[Tool::Ours, Tool::Nginx] };
    Row {
        key: "heartbeats",
        tools,
        lines: vec![
            line(
                format!(
                    "heartbeats alone, {} streams every {interval} s: CPU, % of a core",
                    counted(count, tools)
                ),
                &[Bar::Most(Tool::Ours, 1.0)],
            ),
            line(
                "  bytes on the wire per heartbeat",
                &[Bar::Most(Tool::Ours, 100.0), Bar::Most(Tool::Nginx, 100.0)],
            ),
        ],
        measure,
    }
}

/// The quick form has as many heartbeats a second as the whole one.
fn size(is_quick: bool) -> (usize, u64) {
    if is_quick { (1000, 3) } else { (10_000, 30) }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let (count, interval) = size(round.settings.is_quick);
    let count = count.min(round.tool.streams_max());
    let server = round.start(count, &[("SSE_HEARTBEAT_INTERVAL", &interval.to_string())])?;
    let mut crowd = Crowd::open(&Plan::new(server.port(), count, &format!("{TOPIC}:#")))?;
    let interval = Duration::from_secs(interval);
    // All opened at about one time, so all beat at about one time: the window begins and ends half way between.
    pass(interval * 3 / 2);
    let window = if round.settings.is_quick { 2 * interval } else { interval };
    crowd.reset()?;
    let pids = server.pids();
    let (before, began) = (cpu_micros(&pids)?, Instant::now());
    pass(window);
    let (cpu, took) = (cpu_micros(&pids)? - before, began.elapsed());
    let stats = crowd.stats()?;
    let heartbeats = stats.heartbeats as f64;
    let due = count as f64 * took.as_secs_f64() / interval.as_secs_f64();
    anyhow::ensure!((0.9..1.1).contains(&(heartbeats / due)), "{heartbeats} heartbeats, {due:.0} were due");
    Ok(vec![cpu / took.as_secs_f64() / 1e6 * 100.0, stats.bytes as f64 / heartbeats])
}
