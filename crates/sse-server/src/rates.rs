//! What happened between two looks at the counters: rates, percentiles, refusals.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::fanout::{Counters, Histogram};
use crate::metrics::Metrics;

/// The bounds of the buckets, and what is above.
const BUCKETS: usize = Histogram::BOUNDS_US.len() + 1;

/// The counters at one time.
#[derive(Debug, Clone)]
pub struct Look {
    at: Instant,
    published: u64,
    delivered: u64,
    bytes_sent: u64,
    text: u64,
    packed: u64,
    refused: Refused,
    delivery: [u64; BUCKETS],
    publish: [u64; BUCKETS],
}

/// What happened from one look to the next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rates {
    /// The time between them.
    pub seconds: f64,
    /// Events accepted, a second.
    pub events_per_second: f64,
    /// Events handed to streams, a second.
    pub deliveries_per_second: f64,
    /// Bytes handed to the kernel, a second.
    pub bytes_per_second: f64,
    /// From the arrival of an event to its last byte in the kernel.
    pub delivery_ms: Percentiles,
    /// From the arrival of a publish to its answer.
    pub publish_ms: Percentiles,
    /// What compression saved of the text, in percent; none if nothing was compressed.
    pub saved_percent: Option<f64>,
    /// Requests refused.
    pub refused: Refused,
}

/// Times in milliseconds, interpolated within the buckets of a histogram; none if nothing was timed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them took no longer.
    pub p50: Option<f64>,
    /// Of a hundred, 99 took no longer.
    pub p99: Option<f64>,
}

/// Requests refused, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The server is full.
    pub pool_full: u64,
    /// The address is full.
    pub per_ip: u64,
    /// No right token.
    pub unauthorized: u64,
    /// Above a rate.
    pub rate_limited: u64,
}

impl Look {
    /// The counters as they are.
    #[must_use]
    pub fn take(metrics: &Metrics, counters: &Counters, at: Instant) -> Self {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            at,
            published: get(&metrics.published),
            delivered: get(&counters.delivered),
            bytes_sent: get(&counters.bytes_sent),
            text: get(&counters.gzip_bytes_in),
            packed: get(&counters.gzip_bytes_out),
            refused: Refused {
                pool_full: get(&metrics.rejected_pool_full),
                per_ip: get(&metrics.rejected_per_ip),
                unauthorized: get(&metrics.rejected_unauthorized),
                rate_limited: get(&metrics.rejected_rate_limited),
            },
            delivery: counters.delivery_latency.buckets(),
            publish: metrics.publish_latency.buckets(),
        }
    }

    /// What has happened since an earlier look.
    #[must_use]
    pub fn since(&self, before: &Self) -> Rates {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        let per_second = |now: u64, then: u64| match seconds > 0.0 {
            true => rounded(now.saturating_sub(then) as f64 / seconds, 10.0),
            false => 0.0,
        };
        let (text, packed) =
            (self.text.saturating_sub(before.text), self.packed.saturating_sub(before.packed));
        Rates {
            seconds: rounded(seconds, 1000.0),
            events_per_second: per_second(self.published, before.published),
            deliveries_per_second: per_second(self.delivered, before.delivered),
            bytes_per_second: per_second(self.bytes_sent, before.bytes_sent),
            delivery_ms: Percentiles::of(&between(&self.delivery, &before.delivery)),
            publish_ms: Percentiles::of(&between(&self.publish, &before.publish)),
            saved_percent: (text > 0).then(|| rounded((1.0 - packed as f64 / text as f64) * 100.0, 10.0)),
            refused: Refused {
                pool_full: self.refused.pool_full.saturating_sub(before.refused.pool_full),
                per_ip: self.refused.per_ip.saturating_sub(before.refused.per_ip),
                unauthorized: self.refused.unauthorized.saturating_sub(before.refused.unauthorized),
                rate_limited: self.refused.rate_limited.saturating_sub(before.refused.rate_limited),
            },
        }
    }
}

impl Percentiles {
    fn of(buckets: &[u64; BUCKETS]) -> Self {
        Self { p50: percentile_ms(buckets, 0.5), p99: percentile_ms(buckets, 0.99) }
    }
}

/// The time below which this part of all times lies, evenly spread within each bucket; what is above the last bound
/// counts as the last bound, for nothing says how far above it is.
fn percentile_ms(buckets: &[u64; BUCKETS], part: f64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    let wanted = total as f64 * part;
    let (mut below, mut low) = (0.0, 0.0);
    for (count, high) in buckets.iter().zip(Histogram::BOUNDS_US.map(|bound| bound as f64)) {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            return Some(rounded((low + (high - low) * (wanted - below) / count) / 1000.0, 1000.0));
        }
        (below, low) = (below + count, high);
    }
    (total > 0).then(|| low / 1000.0)
}

fn between(now: &[u64; BUCKETS], then: &[u64; BUCKETS]) -> [u64; BUCKETS] {
    std::array::from_fn(|n| now[n].saturating_sub(then[n]))
}

fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (metrics, counters, start) = (Metrics::default(), Counters::default(), Instant::now());
        let add = |counter: &AtomicU64, count| counter.fetch_add(count, Ordering::Relaxed);
        add(&metrics.published, 1000);
        add(&metrics.rejected_per_ip, 5);
        counters.delivery_latency.observe(Duration::from_secs(5), 1000);
        let first = Look::take(&metrics, &counters, start);
        add(&metrics.published, 50);
        add(&metrics.rejected_per_ip, 2);
        add(&counters.delivered, 5000);
        add(&counters.bytes_sent, 1_000_000);
        add(&counters.gzip_bytes_in, 1000);
        add(&counters.gzip_bytes_out, 250);
        counters.delivery_latency.observe(Duration::from_micros(400), 100);
        let rates = Look::take(&metrics, &counters, start + Duration::from_secs(2)).since(&first);
        let expected = Rates {
            seconds: 2.0,
            events_per_second: 25.0,
            deliveries_per_second: 2500.0,
            bytes_per_second: 500_000.0,
            // Between the bounds of 250 and 500 µs.
            delivery_ms: Percentiles { p50: Some(0.375), p99: Some(0.498) },
            publish_ms: Percentiles { p50: None, p99: None },
            saved_percent: Some(75.0),
            refused: Refused { per_ip: 2, ..Refused::default() },
        };
        assert_eq!(rates, expected);
        let nothing = first.since(&first);
        assert_eq!((nothing.events_per_second, nothing.saved_percent), (0.0, None));
    }

    #[test]
    fn percentiles_lie_in_the_bucket_that_holds_them() {
        for (times_us, p50, p99) in [
            (&[][..], None, None),
            (&[(10, 1)], Some(0.025), Some(0.05)),
            (&[(40, 50), (900, 50)], Some(0.05), Some(0.99)),
            (&[(40, 98), (2_000_000, 2)], Some(0.026), Some(1750.0)),
            // Above the last bound.
            (&[(60_000_000, 3)], Some(10_000.0), Some(10_000.0)),
        ] {
            let histogram = Histogram::default();
            for (us, count) in times_us {
                histogram.observe(Duration::from_micros(*us), *count);
            }
            assert_eq!(Percentiles::of(&histogram.buckets()), Percentiles { p50, p99 }, "{times_us:?}");
        }
    }
}
