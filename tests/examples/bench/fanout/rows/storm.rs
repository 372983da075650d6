//! Everybody connects at once.

use std::time::Instant;

use super::{Round, Row, TOPIC, counted, line};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::processes::cpu_micros;
use crate::fanout::servers::Tool;

/// Connects on their way at one time: what the listeners' backlogs hold.
const AT_A_TIME: usize = 2000;

const TOOLS: &[Tool] =
    &[Tool::Ours, Tool::Nginx, Tool::Nchan, Tool::NchanAuto, Tool::Gunicorn, Tool::Uvicorn];

pub(super) fn row(is_quick: bool) -> Row {
    let count = streams(is_quick);
    Row {
        key: "storm",
        tools: TOOLS,
        lines: vec![
            line(
                format!(
                    "{} connect at once ({AT_A_TIME} on their way): streams opened/s",
                    counted(count, TOOLS)
                ),
                &[],
            ),
            line("  connect to greeting p99, ms", &[]),
            line("  CPU per connect, us", &[]),
        ],
        measure,
    }
}

fn streams(is_quick: bool) -> usize {
    if is_quick { 4000 } else { 10_000 }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let count = streams(round.settings.is_quick).min(round.tool.streams_max());
    let server = round.start(count, &[])?;
    let pids = server.pids();
    let (before, began) = (cpu_micros(&pids)?, Instant::now());
    let mut crowd = Crowd::open(&Plan { at_a_time: AT_A_TIME, ..Plan::new(server.port(), count, TOPIC) })?;
    let took = began.elapsed().as_secs_f64();
    let cpu = cpu_micros(&pids)? - before;
    let stats = crowd.stats()?;
    Ok(vec![count as f64 / took, stats.opening.part_ms(0.99), cpu / count as f64])
}
