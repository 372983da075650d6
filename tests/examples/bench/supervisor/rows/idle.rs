//! How often a daemon or a helper of its runs while nothing happens: all tools at the same time, since they sleep.

use std::time::Duration;

use super::{Cell, Round};
use crate::supervisor::daemon::Daemon;
use crate::supervisor::plan::Plan;
use crate::supervisor::processes::{of_the_tool, switches};
use crate::supervisor::tools::OURS;
use crate::supervisor::wait::pass;

const PROGRAMS: usize = 2;
/// For what follows a start.
const REST: Duration = Duration::from_secs(3);
const TIME: Duration = Duration::from_secs(20);

pub(super) fn measure(round: &Round<'_>) -> anyhow::Result<Vec<Cell>> {
    let mut daemons = Vec::new();
    for tool in round.tools() {
        let daemon = Daemon::start(tool, Plan::new(&round.folder()?, PROGRAMS)?);
        daemons.push(match daemon.and_then(|daemon| daemon.settled().map(|()| daemon)) {
            Err(error) if tool.name() == OURS => return Err(error),
            settled => settled,
        });
    }
    pass(REST);
    let look = |daemon: &anyhow::Result<Daemon<'_>>| {
        let daemon = daemon.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        daemon.check()?;
        of_the_tool(daemon.folder()).into_iter().map(switches).sum::<anyhow::Result<u64>>()
    };
    let before: Vec<_> = daemons.iter().map(look).collect();
    pass(TIME);
    let after: Vec<_> = daemons.iter().map(look).collect();
    drop(daemons);
    let cell = |(before, after): (anyhow::Result<u64>, anyhow::Result<u64>)| match (before, after) {
        (Ok(before), Ok(after)) => Cell::of(after.saturating_sub(before) as f64),
        (Err(error), _) | (_, Err(error)) => Cell::failed(&error),
    };
    Ok(before.into_iter().zip(after).map(cell).collect())
}
