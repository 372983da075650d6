//! Asks a program whether it serves: until it does, and then until it does no more.

mod check;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use check::Running;

use crate::config::{Alive, Check};
use check::attempt;

/// The longest that one try of a readiness check may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest time from one try to the next, whatever the configuration says.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A timer that is later than this was not late by itself: the daemon was stopped, or the machine asleep.
const LATE_MAX: Duration = Duration::from_millis(100);

/// Why the last try failed, for whoever gives up waiting.
#[derive(Debug, Clone, Default)]
pub struct LastFailure(Rc<RefCell<Option<String>>>);

impl LastFailure {
    /// The sentence, such as `http http://127.0.0.1:5001/ answered 503`; none if no try has failed yet.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    fn set(&self, why: String) {
        *self.0.borrow_mut() = Some(why);
    }
}

/// Tries until the check succeeds. `exec` starts a command.
///
/// A check that is [`Check::Notify`] is not asked for, so that this never returns.
pub async fn until_ready<F>(
    check: &Check,
    interval: Duration,
    last: &LastFailure,
    exec: impl Fn(Vec<String>) -> F,
) where
    F: Future<Output = Result<Running, String>>,
{
    if *check == Check::Notify {
        last.set("it did not say READY=1".to_owned());
        std::future::pending::<()>().await;
    }
    loop {
        match attempt(check, TRY_TIMEOUT, &exec).await {
            Ok(()) => return,
            Err(why) => last.set(why),
        }
        tokio::time::sleep(interval.max(INTERVAL_MIN)).await;
    }
}

/// Tries every `interval` until `failures` tries in a row have failed; says why the last of them did.
///
/// For [`Check::Notify`] there is [`until_silent`].
pub async fn until_unhealthy<F>(alive: &Alive, exec: impl Fn(Vec<String>) -> F) -> String
where
    F: Future<Output = Result<Running, String>>,
{
    let interval = alive.interval.max(INTERVAL_MIN);
    let mut next = Instant::now() + interval;
    let mut failures = 0;
    loop {
        tokio::time::sleep_until(next).await;
        let began = Instant::now();
        match attempt(&alive.check, alive.timeout, &exec).await {
            Ok(()) => failures = 0,
            Err(why) => {
                failures += 1;
                if failures >= alive.failures {
                    return why;
                }
            }
        }
        next = (began + interval).max(Instant::now() + INTERVAL_MIN);
    }
}

/// Waits until there was no `beat` for longer than `timeout`; says so. A beat is a `notify_one` for each
/// `WATCHDOG=1`.
pub async fn until_silent(timeout: Duration, beat: &Notify) -> String {
    let mut excused = false;
    loop {
        let deadline = Instant::now() + timeout;
        if tokio::time::timeout_at(deadline, beat.notified()).await.is_ok() {
            excused = false;
        } else if !excused && Instant::now() > deadline + LATE_MAX {
            // What the program said meanwhile may still wait to be read.
            excused = true;
        } else {
            return format!("it did not say WATCHDOG=1 within {} s", timeout.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
