//! How cost grows with the number of streams, and with the number of topics they are spread over.

use super::{Growth, Line, Round, Row, TOPIC, delivered, line, warm_up_with};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::event;
use crate::fanout::processes::{cpu_micros, pss_kib};
use crate::fanout::publishers::Publishers;
use crate::fanout::servers::Tool;

/// Deliveries a second at every size, so that none has more to gain by doing several at a time.
const DELIVERIES: f64 = 20_000.0;
/// Publishes a second at most.
const PUBLISHES_MAX: f64 = 4000.0;
/// Streams before it is looked for the first time, on a topic of their own.
const WARM: usize = 50;

/// The streams that all have the same topic.
pub(super) fn streams(is_quick: bool) -> Row {
    Row {
        key: "growth-streams",
        tools: &[Tool::Floor, Tool::Ours, Tool::Nginx, Tool::Nchan],
        lines: lines("streams", "streams", counts(is_quick)),
        measure: |round| {
            let counts = counts(round.settings.is_quick);
            figures(counts.iter().map(|count| (*count, 1)), round)
        },
    }
}

/// The topics that the streams are spread over.
pub(super) fn topics(is_quick: bool) -> Row {
    Row {
        key: "growth-topics",
        tools: &[Tool::Ours, Tool::Nchan],
        lines: lines("topics", &format!("topics of {} streams", spread(is_quick)), spreads(is_quick)),
        measure: |round| {
            let spreads = spreads(round.settings.is_quick);
            figures(spreads.iter().map(|topics| (spread(round.settings.is_quick), *topics)), round)
        },
    }
}

fn counts(is_quick: bool) -> &'static [usize] {
    if is_quick { &[100, 4000] } else { &[100, 1000, 10_000, 18_000] }
}

/// Streams while the topics grow.
fn spread(is_quick: bool) -> usize {
    if is_quick { 2000 } else { 10_000 }
}

fn spreads(is_quick: bool) -> &'static [usize] {
    if is_quick { &[1, 2000] } else { &[1, 100, 10_000] }
}

fn lines(of: &'static str, words: &str, numbers: &[usize]) -> Vec<Line> {
    let pair = |number: &usize| {
        let growth = |what| Some(Growth { what, of, at: *number });
        [
            Line {
                growth: growth("CPU per delivery, us"),
                ..line(format!("{number} {words}: CPU per delivery, us"), &[])
            },
            Line { growth: growth("memory per stream, KiB"), ..line("  memory per stream, KiB", &[]) },
        ]
    };
    numbers.iter().flat_map(pair).collect()
}

fn figures(sizes: impl Iterator<Item = (usize, usize)>, round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let mut figures = Vec::new();
    for (n, (streams, topics)) in sizes.enumerate() {
        // A size beyond the tool's reach has no figure, and of a peer every second is enough for a curve.
        let pair = if streams > round.tool.streams_max() || is_left_out(round, n) {
            [f64::NAN; 2]
        } else {
            measure(round, streams, topics)?
        };
        figures.extend(pair);
    }
    Ok(figures)
}

fn is_left_out(round: &Round<'_>, n: usize) -> bool {
    !round.settings.is_quick && n % 2 == 1 && !matches!(round.tool, Tool::Ours | Tool::Nginx)
}

fn measure(round: &Round<'_>, streams: usize, topics: usize) -> anyhow::Result<[f64; 2]> {
    let server = round.start(streams + WARM, &[])?;
    let pids = server.pids();
    let _warm = Crowd::open(&Plan { first: streams, ..Plan::new(server.port(), WARM, "warm") })?;
    let before = pss_kib(&pids)?;
    let topic = format!("{TOPIC}:#");
    let mut crowd = Crowd::open(&Plan { topics, ..Plan::new(server.port(), streams, &topic) })?;
    let memory = (pss_kib(&pids)? - before) / streams as f64;
    let mut publishers = Publishers::open(server.port(), server.wording(), 1, &topic, topics, event::BYTES)?;
    let each = (streams / topics) as u64;
    let rate = (DELIVERIES / each as f64).min(PUBLISHES_MAX);
    warm_up_with(&mut crowd, &mut publishers, (2000 / each).clamp(5, 2000))?;
    let before = cpu_micros(&pids)?;
    let published = publishers.paced(rate, round.settings.time_short())?;
    let stats = delivered(&mut crowd, &published)?;
    let cpu = cpu_micros(&pids)? - before;
    // The floor keeps nothing of a stream but its descriptor.
    let memory = if round.tool == Tool::Floor { f64::NAN } else { memory };
    Ok([cpu / stats.events as f64, memory])
}
