//! From the daemon's exec until a thousand programs are RUNNING, as its log says and a call confirms.

use anyhow::bail;

use super::{Cell, Round};
use crate::supervisor::daemon::{Daemon, PATIENCE};
use crate::supervisor::plan::Plan;
use crate::supervisor::program::now_ns;
use crate::supervisor::tools::Tool;
use crate::supervisor::wait::{pass, until};
use crate::supervisor::xmlrpc::all_process_info;

const PROGRAMS: usize = 1000;
/// Coarser than elsewhere, for to look costs.
const STEP: std::time::Duration = std::time::Duration::from_millis(10);
const NS_PER_MS: f64 = 1e6;

pub(super) fn measure(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    round.each(|tool, folder| {
        let daemon = Daemon::start(tool, Plan::new(folder, PROGRAMS)?)?;
        if tool.running(daemon.plan()).is_some() {
            return all_running(tool, &daemon);
        }
        let mut last_ns = 0;
        for name in daemon.plan().names() {
            last_ns = last_ns.max(daemon.started(&name, 1)?.0);
        }
        let note = "knows no startsecs: until the last of the 1000 has started";
        Ok(Cell::noted((last_ns - daemon.began_ns()) as f64 / NS_PER_MS, note))
    })
}

fn all_running(tool: &dyn Tool, daemon: &Daemon<'_>) -> anyhow::Result<Cell> {
    let end_ns = until(PATIENCE, &daemon.words("1000 programs RUNNING"), || {
        daemon.check()?;
        pass(STEP);
        Ok((tool.running(daemon.plan()) >= Some(PROGRAMS)).then(now_ns))
    })?;
    if let Some(socket) = tool.socket(daemon.plan()) {
        let running = all_process_info(&socket)?.matches("<string>RUNNING</string>").count();
        if running != PROGRAMS {
            bail!("{} calls {running} programs RUNNING", tool.name());
        }
    }
    Ok(Cell::of((end_ns - daemon.began_ns()) as f64 / NS_PER_MS))
}
