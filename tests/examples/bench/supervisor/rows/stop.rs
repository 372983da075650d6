//! From the order to stop to the end of the last process: the daemon's, a helper's or a program's.

use super::{Cell, Round};
use crate::supervisor::daemon::Daemon;
use crate::supervisor::plan::Plan;

const CALM: usize = 25;
const DEAF: usize = 5;

pub(super) fn measure_calm(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let daemon = Daemon::start(tool, Plan::new(folder, CALM)?)?;
        daemon.settled()?;
        Ok(Cell::of(daemon.stop()?.as_secs_f64() * 1000.0))
    })
}

pub(super) fn measure_deaf(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let daemon = Daemon::start(tool, Plan::new(folder, DEAF)?.deaf())?;
        daemon.settled()?;
        Ok(Cell::of(daemon.stop()?.as_secs_f64() * 1000.0))
    })
}
