//! Waiting for what a figure ends with, finely enough not to be seen in it.

use std::time::{Duration, Instant};

use anyhow::bail;

/// How often it is looked.
const STEP: Duration = Duration::from_micros(500);

/// Looks again and again until there is something, and fails with `what` when the time is over.
pub(crate) fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("not within {limit:?}: {what}");
        }
        pass(STEP);
    }
}

/// Lets time pass that belongs to a figure.
pub(crate) fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let _ = nix::poll::ppoll(&mut [], Some(left.into()), None);
    }
}
