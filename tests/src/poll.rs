//! Waiting for what must happen, with a deadline and never for a fixed time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Looks again and again until `look` finds something. Panics with `what` when the time is over.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        let _ = nix::poll::poll(&mut [], 5_u16);
    }
}

/// The same for something that holds or not, within 20 seconds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within(Duration::from_secs(20), what, || holds().then_some(()));
}

/// Waits for a moment that a load is timed by, or until it is told to stop.
pub fn wait_until(moment: Instant, stop: &AtomicBool) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let left = left.min(Duration::from_millis(20));
        let _ = nix::poll::ppoll(&mut [], Some(left.into()), None);
    }
}
