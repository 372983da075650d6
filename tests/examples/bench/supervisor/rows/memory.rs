//! What a daemon and its helpers hold once two programs have written and a client has asked.

use std::time::Duration;

use super::{Cell, Round};
use crate::supervisor::daemon::Daemon;
use crate::supervisor::plan::Plan;
use crate::supervisor::processes::{of_the_tool, pss_kib};
use crate::supervisor::wait::pass;

const PROGRAMS: usize = 2;
/// What each program has written before.
const LINES: u64 = 1000;
const LINE_BYTES: usize = 100;
/// For what is done a moment after the last line.
const REST: Duration = Duration::from_secs(1);

pub(super) fn measure(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let plan = Plan::new(folder, PROGRAMS)?.writing(LINE_BYTES, LINES);
        let daemon = Daemon::start(tool, plan)?;
        for name in daemon.plan().names() {
            daemon.has_written(&name)?;
        }
        daemon.settled()?;
        if let Some(mut status) = tool.status(daemon.plan()) {
            status.output()?;
        }
        pass(REST);
        let mut kib = 0;
        for pid in of_the_tool(daemon.folder()) {
            kib += pss_kib(pid)?;
        }
        Ok(Cell::of(kib as f64 / 1024.0))
    })
}
