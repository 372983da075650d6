//! How long it takes to learn the state of all programs: with the tool's own client, and with the same for all.

use std::time::Instant;

use anyhow::bail;

use super::{Cell, Round};
use crate::machine::median;
use crate::supervisor::daemon::Daemon;
use crate::supervisor::plan::Plan;
use crate::supervisor::tools::Tool;
use crate::supervisor::xmlrpc::all_process_info;

const PROGRAMS: usize = 2;
/// Questions in a round, after one that does not count.
const TIMES: usize = 15;

pub(super) fn measure_client(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    measure(round, |tool, plan| {
        let Some(mut status) = tool.status(plan) else { return Ok(None) };
        let out = status.output()?;
        if !out.status.success() {
            bail!("status said {}", String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).trim());
        }
        Ok(Some(()))
    })
}

pub(super) fn measure_call(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    measure(round, |tool, plan| {
        let Some(socket) = tool.socket(plan) else { return Ok(None) };
        if all_process_info(&socket)?.matches("RUNNING").count() < PROGRAMS {
            bail!("not all programs are RUNNING");
        }
        Ok(Some(()))
    })
}

fn measure(
    round: &Round<'_>,
    ask: impl Fn(&dyn Tool, &Plan) -> anyhow::Result<Option<()>>,
) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let daemon = Daemon::start(tool, Plan::new(folder, PROGRAMS)?)?;
        daemon.settled()?;
        if ask(tool, daemon.plan())?.is_none() {
            return Ok(Cell::none("has no such thing: no XML-RPC, or no client with it"));
        }
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            ask(tool, daemon.plan())?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(Cell::of(median(times)))
    })
}
