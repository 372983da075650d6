//! From the SIGKILL that a program gets to the first instruction of the next one.

use std::time::Duration;

use super::{Cell, Round};
use crate::supervisor::daemon::Daemon;
use crate::supervisor::plan::Plan;
use crate::supervisor::program::now_ns;
use crate::supervisor::wait::pass;

/// How long the program has been up: no start of a loop.
const UP: Duration = Duration::from_secs(3);
const NS_PER_MS: f64 = 1e6;

pub(super) fn measure(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let daemon = Daemon::start(tool, Plan::new(folder, 1)?)?;
        let name = daemon.plan().names().next().unwrap_or_default();
        let (started_ns, pid) = daemon.started(&name, 1)?;
        pass(UP.saturating_sub(Duration::from_nanos(now_ns() - started_ns)));
        let killed_ns = daemon.kill(pid)?;
        let (again_ns, _) = daemon.started(&name, 2)?;
        Ok(Cell::of((again_ns - killed_ns) as f64 / NS_PER_MS))
    })
}
