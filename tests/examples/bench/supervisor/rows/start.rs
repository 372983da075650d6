//! From the daemon's exec to the first instruction of its program.

use super::{Cell, Round};
use crate::supervisor::daemon::Daemon;
use crate::supervisor::plan::Plan;

const NS_PER_MS: f64 = 1e6;

pub(super) fn measure(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let daemon = Daemon::start(tool, Plan::new(folder, 1)?)?;
        let name = daemon.plan().names().next().unwrap_or_default();
        let (started_ns, _) = daemon.started(&name, 1)?;
        Ok(Cell::of((started_ns - daemon.began_ns()) as f64 / NS_PER_MS))
    })
}
