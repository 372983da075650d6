//! The same load with streams beside it that have stopped reading, and that are megabytes behind.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use stack_tests::{TOKEN, request};

use super::{Round, Row, STREAMS, TOPIC, delivered, line, publishers, subscribe, warm_up};
use crate::fanout::crowd::{Crowd, Plan};
use crate::fanout::processes::{cpu_micros, pss_kib};
use crate::fanout::publishers::Publishers;
use crate::fanout::servers::{Server, Tool};
use crate::fanout::sockets::unread;

const RATE: f64 = 50.0;
const SLOW: usize = 100;
/// What they are behind: far more than the kernel takes for one of them, less than a history keeps.
const BEHIND_EVENTS: u64 = 400;
const BEHIND_EVENT_BYTES: usize = 16 * 1024;
/// Streams that the server lists at a time.
const PAGE: usize = 1000;

pub(super) fn row() -> Row {
    let bytes = BEHIND_EVENTS as f64 * BEHIND_EVENT_BYTES as f64 / 1e6;
    Row {
        key: "slow",
        tools: &[Tool::Ours, Tool::Nginx, Tool::Nchan, Tool::NchanAuto],
        lines: vec![
            line(
                format!("{STREAMS} x {RATE}/s beside {SLOW} that are {bytes:.1} MB behind: latency p99, ms"),
                &[],
            ),
            line("  CPU per delivery, us", &[]),
            line("  memory grown by, KiB (of nchan it is not seen whether it kept them all)", &[]),
        ],
        measure,
    }
}

fn measure(round: &Round<'_>) -> anyhow::Result<Vec<f64>> {
    let server = round.start(STREAMS + SLOW, &[])?;
    let _slow =
        Crowd::open(&Plan { first: STREAMS, is_slow: true, ..Plan::new(server.port(), SLOW, TOPIC) })?;
    // Before the others come, who are not to read all this.
    Publishers::open(server.port(), server.wording(), 1, TOPIC, 1, BEHIND_EVENT_BYTES)?
        .count(BEHIND_EVENTS)?;
    let mut crowd = subscribe(&*server, STREAMS)?;
    let mut publishers = publishers(&*server, 1)?;
    warm_up(&mut crowd, &mut publishers)?;
    let pids = server.pids();
    let (before, empty) = (cpu_micros(&pids)?, pss_kib(&pids)?);
    let published = publishers.paced(RATE, round.settings.time())?;
    let stats = delivered(&mut crowd, &published)?;
    let (cpu, grown) = (cpu_micros(&pids)? - before, pss_kib(&pids)? - empty);
    all_stuck(&unread(server.port())?)?;
    if !Tool::Nchan.forms().contains(&round.tool) {
        all_behind(&lags(&*server)?)?;
    }
    Ok(vec![stats.times.part_ms(0.99), cpu / stats.events as f64, grown])
}

/// Fails unless the kernel has bytes for each of the slow ones that they do not read, and fewer than were published: the
/// rest is behind at the server.
fn all_stuck(unread: &[u64]) -> anyhow::Result<()> {
    ensure!(unread.len() == SLOW, "{} streams have bytes before them, not {SLOW}", unread.len());
    let most = unread.iter().max().copied().unwrap_or_default();
    let published = BEHIND_EVENTS * BEHIND_EVENT_BYTES as u64;
    ensure!(most < published, "the kernel took {most} bytes for one stream, all that was published");
    Ok(())
}

/// Fails unless so many streams are behind, at the server itself.
fn all_behind(lags: &[u64]) -> anyhow::Result<()> {
    let behind = lags.iter().filter(|lag| **lag > 0).count();
    ensure!(behind == SLOW, "{behind} of {} streams are behind, not {SLOW}", lags.len());
    Ok(())
}

/// Events that each open stream is behind, as the server lists them.
fn lags(server: &dyn Server) -> anyhow::Result<Vec<u64>> {
    let authorization = format!("Bearer {TOKEN}");
    let (mut lags, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/sse/connections?limit={PAGE}{after}");
        let answer = request(server.port(), "GET", &path, &[("Authorization", &authorization)], "");
        ensure!(answer.status == 200, "the streams are not listed: {} {}", answer.status, answer.body);
        let page: Value = serde_json::from_str(&answer.body)?;
        for stream in page["connections"].as_array().context("no streams are listed")? {
            lags.push(stream["lag"].as_u64().context("a stream without lag")?);
        }
        let Some(next) = page["next"].as_str() else { return Ok(lags) };
        after = format!("&after={next}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_the_kernel_reads_for_are_not_slow() {
        let said =
            |unread: &[u64]| all_stuck(unread).map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(said(&[90_000; SLOW]), "");
        assert_eq!(said(&[90_000; SLOW - 1]), "99 streams have bytes before them, not 100");
        let all = [6_553_600; SLOW];
        assert_eq!(said(&all), "the kernel took 6553600 bytes for one stream, all that was published");
    }

    #[test]
    fn streams_that_the_server_has_done_with_are_not_slow() {
        let lags: Vec<u64> = (0..STREAMS + SLOW).map(|n| u64::from(n < SLOW)).collect();
        assert!(all_behind(&lags).is_ok());
        let error = all_behind(&lags[1..]).expect_err("one too few");
        assert_eq!(error.to_string(), "99 of 1099 streams are behind, not 100");
    }
}
