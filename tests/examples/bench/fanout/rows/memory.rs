//! What a stream costs on which nothing happens.

use super::{Bar, Round, Row, TOPIC, counted, line, publishers, subscribe, warm_up};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::processes::pss_kib;
use crate::fanout::servers::Tool;

/// Streams before it is looked for the first time.
const WARM: usize = 100;

const TOOLS: &[Tool] =
    &[Tool::Ours, Tool::Nginx, Tool::Nchan, Tool::NchanAuto, Tool::Gunicorn, Tool::Uvicorn];

pub(super) fn row(is_quick: bool) -> Row {
    let title = format!("memory per idle stream of {}, KiB", counted(streams(is_quick), TOOLS));
    let bars = [Bar::Most(Tool::Ours, 1.0), Bar::Most(Tool::Nginx, 10.0)];
    let lines = vec![line(title, &bars)];
    Row { key: "memory", tools: TOOLS, lines, measure }
}

fn streams(is_quick: bool) -> usize {
    if is_quick { 2000 } else { 10_000 }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let count = streams(round.settings.is_quick).min(round.tool.streams_max());
    let server = round.start(count + WARM, &[])?;
    let mut warm = subscribe(&*server, WARM)?;
    warm_up(&mut warm, &mut publishers(&*server, 1)?)?;
    let before = pss_kib(&server.pids())?;
    // Other topics, so that a stream's own are its own.
    let _idle = Crowd::open(&Plan { first: WARM, ..Plan::new(server.port(), count, &format!("{TOPIC}:#")) })?;
    let after = pss_kib(&server.pids())?;
    Ok(vec![(after - before) / count as f64])
}
