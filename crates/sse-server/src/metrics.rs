//! The counters that the reactors do not keep, and all of them in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::fanout::{Counters, EndReason, Histogram};

/// The rate of events is looked at over this many seconds.
const RATE_WINDOW_SECONDS: f64 = 10.0;

/// Counted where requests are answered.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Events accepted.
    pub published: AtomicU64,
    /// Streams refused because the server is full.
    pub rejected_pool_full: AtomicU64,
    /// Streams refused because their address is full.
    pub rejected_per_ip: AtomicU64,
    /// Requests without a right token.
    pub rejected_unauthorized: AtomicU64,
    /// Requests above a rate.
    pub rejected_rate_limited: AtomicU64,
    /// From the arrival of a publish to its answer.
    pub publish_latency: Histogram,
    rate: Mutex<Rate>,
}

#[derive(Debug, Default)]
struct Rate {
    /// When it was last looked at, and how many events there were then.
    since: Option<(Instant, u64)>,
    per_second: f64,
}

impl Metrics {
    /// Counts one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Events per second, over the last seconds as far as somebody looked.
    pub fn events_per_second(&self, now: Instant) -> f64 {
        let published = self.published.load(Ordering::Relaxed);
        let mut rate = self.rate.lock();
        match rate.since {
            None => rate.since = Some((now, published)),
            Some((since, before)) => {
                let seconds = now.duration_since(since).as_secs_f64();
                if seconds >= 1.0 {
                    let fresh = (published - before) as f64 / seconds;
                    let weight = (seconds / RATE_WINDOW_SECONDS).min(1.0);
                    rate.per_second += (fresh - rate.per_second) * weight;
                    rate.since = Some((now, published));
                }
            }
        }
        (rate.per_second * 10.0).round() / 10.0
    }
}

/// A text in Prometheus' format, in the making.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A family of one or more samples: labels (`""` or `{…}`) and values.
    pub fn family<V: std::fmt::Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: &[(&str, V)],
    ) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// A histogram of times in seconds.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        let buckets = histogram.buckets();
        let mut total = 0;
        for (count, bound) in buckets.iter().zip(Histogram::BOUNDS_US) {
            total += count;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{}\"}} {total}", bound as f64 / 1e6);
        }
        total += buckets[buckets.len() - 1];
        let _ = writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {total}");
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {total}", histogram.sum_us() as f64 / 1e6);
    }

    /// The counters of the reactors.
    pub fn reactors(&mut self, counters: &Counters) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.family(
            "sse_streams_opened_total",
            "counter",
            "Streams ever opened.",
            &[("", get(&counters.opened))],
        );
        let labels = EndReason::ALL.map(|reason| format!("{{reason=\"{}\"}}", reason.as_str()));
        let closed: Vec<(&str, u64)> = labels
            .iter()
            .zip(EndReason::ALL)
            .map(|(label, reason)| (label.as_str(), counters.closed.get(reason)))
            .collect();
        self.family("sse_streams_closed_total", "counter", "Streams ended, by reason.", &closed);
        self.family(
            "sse_compression_streams",
            "gauge",
            "Compressed streams open now.",
            &[("", get(&counters.gzip_streams))],
        );
        for (name, help, counter) in [
            ("sse_events_delivered_total", "Events handed to streams.", &counters.delivered),
            ("sse_events_replayed_total", "Events handed to streams from the history.", &counters.replayed),
            ("sse_bytes_sent_total", "Bytes handed to the kernel for streams.", &counters.bytes_sent),
            (
                "sse_compression_bytes_in_total",
                "Bytes of text given to compressed streams.",
                &counters.gzip_bytes_in,
            ),
            (
                "sse_compression_bytes_out_total",
                "Bytes that compressed streams were given for it.",
                &counters.gzip_bytes_out,
            ),
            ("sse_heartbeats_sent_total", "Heartbeats sent.", &counters.heartbeats),
            ("sse_heartbeat_failures_total", "Heartbeats that found nobody.", &counters.heartbeat_failures),
        ] {
            self.family(name, "counter", help, &[("", get(counter))]);
        }
        self.histogram(
            "sse_delivery_latency_seconds",
            "From the arrival of an event to its last byte in the kernel.",
            &counters.delivery_latency,
        );
    }

    /// The whole text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}
