//! The same load with streams beside it that have stopped reading.

use super::{Round, Row, STREAMS, TOPIC, delivered, line, publishers, subscribe, warm_up};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::processes::{cpu_micros, pss_kib};
use crate::fanout::servers::Tool;

const RATE: f64 = 50.0;
const SLOW: usize = 100;

pub(super) fn row() -> Row {
    Row {
        key: "slow",
        tools: &[Tool::Ours, Tool::Nginx, Tool::Nchan],
        lines: vec![
            line(format!("{STREAMS} x {RATE}/s beside {SLOW} that do not read: latency p99, ms"), &[]),
            line("  CPU per delivery, us", &[]),
            line("  memory grown by, KiB", &[]),
        ],
        measure,
    }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS + SLOW, &[])?;
    let mut crowd = subscribe(&*server, STREAMS)?;
    let _slow =
        Crowd::open(&Plan { first: STREAMS, is_slow: true, ..Plan::new(server.port(), SLOW, TOPIC) })?;
    let mut publishers = publishers(&*server, 1)?;
    warm_up(&mut crowd, &mut publishers)?;
    let pids = server.pids();
    let (before, empty) = (cpu_micros(&pids)?, pss_kib(&pids)?);
    let published = publishers.paced(RATE, round.settings.time())?;
    let stats = delivered(&mut crowd, &published)?;
    let cpu = cpu_micros(&pids)? - before;
    Ok(vec![stats.times.part_ms(0.99), cpu / stats.events as f64, pss_kib(&pids)? - empty])
}
