//! How long a program waits before it is tried again.

use std::time::Duration;

/// The rule of waiting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Backoff {
    /// 1, 2, 3 … seconds, as supervisord waits.
    Linear,
    /// From `initial` by `factor` up to `max`, varied by `jitter`.
    Exponential {
        /// Before the second try.
        initial: Duration,
        /// From one wait to the next.
        factor: f64,
        /// The longest wait.
        max: Duration,
        /// Part of the wait by which it varies, 0 to 1.
        jitter: f64,
    },
}

impl Backoff {
    /// The wait after the `failures`-th failure in a row, from 1. `chance` is from 0 to 1.
    #[must_use]
    pub fn wait(&self, failures: u32, chance: f64) -> Duration {
        match *self {
            Self::Linear => Duration::from_secs(u64::from(failures)),
            Self::Exponential { initial, factor, max, jitter } => {
                let power = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
                let seconds = (initial.as_secs_f64() * factor.powi(power)).min(max.as_secs_f64());
                let varied = seconds * (1.0 + jitter * (2.0 * chance - 1.0));
                Duration::try_from_secs_f64(varied).unwrap_or(max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supervisord_waits_one_second_more_each_time() {
        let waits: Vec<_> = (1..=4).map(|n| Backoff::Linear.wait(n, 0.3).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 4]);
    }

    #[test]
    fn an_exponential_wait_grows_to_its_maximum_and_varies_within_its_jitter() {
        let ms = Duration::from_millis;
        let rule = Backoff::Exponential { initial: ms(100), factor: 2.0, max: ms(500), jitter: 0.1 };
        let waits: Vec<_> = [1, 2, 3, 4, 4_000_000_000].map(|n| rule.wait(n, 0.5)).into();
        assert_eq!(waits, [ms(100), ms(200), ms(400), ms(500), ms(500)]);
        assert_eq!((rule.wait(1, 0.0), rule.wait(1, 1.0)), (ms(90), ms(110)));
    }
}
