//! What the reactors have done: added to once for each turn of their loops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::EndReason;

/// Figures over all reactors since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams ever attached.
    pub opened: AtomicU64,
    /// Streams ended, by reason.
    pub closed: Closed,
    /// Events handed to streams, replayed ones included.
    pub delivered: AtomicU64,
    /// Events handed to streams that were published before the stream began.
    pub replayed: AtomicU64,
    /// Bytes handed to the kernel.
    pub bytes_sent: AtomicU64,
    /// Compressed streams open now.
    pub gzip_streams: AtomicU64,
    /// Bytes of text that compressed streams were given.
    pub gzip_bytes_in: AtomicU64,
    /// What they were given for it.
    pub gzip_bytes_out: AtomicU64,
    /// Heartbeats sent.
    pub heartbeats: AtomicU64,
    /// Heartbeats that found nobody.
    pub heartbeat_failures: AtomicU64,
    /// When the last heartbeat was sent, in milliseconds since 1970; 0: never.
    pub heartbeat_last_ms: AtomicU64,
    /// From the arrival of an event to its last byte in the kernel, for the oldest event of each round,
    /// weighted by deliveries.
    pub delivery_latency: Histogram,
}

/// Streams ended, by reason.
#[derive(Debug, Default)]
pub struct Closed([AtomicU64; EndReason::ALL.len()]);

impl Closed {
    /// Ends for this reason.
    #[must_use]
    pub fn get(&self, reason: EndReason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, reason: EndReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Times in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Histogram::BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// The upper bounds of the buckets in microseconds; one more bucket holds what is above.
    pub const BOUNDS_US: [u64; 16] = [
        50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 10_000_000,
    ];

    /// Counts `count` times of this length.
    pub fn observe(&self, time: Duration, count: u64) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(count, Ordering::Relaxed);
        self.sum_us.fetch_add(us.saturating_mul(count), Ordering::Relaxed);
    }

    /// How many times fell into each bucket, not cumulated.
    #[must_use]
    pub fn buckets(&self) -> [u64; Self::BOUNDS_US.len() + 1] {
        std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed))
    }

    /// All times together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }
}

/// Counted during a turn, given to the counters at its end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) delivered: u64,
    pub(super) replayed: u64,
    pub(super) bytes: u64,
    pub(super) text: u64,
    pub(super) packed: u64,
}

impl Tally {
    pub(super) fn give(&mut self, counters: &Counters) {
        let Self { delivered, replayed, bytes, text, packed } = std::mem::take(self);
        for (counter, count) in [
            (&counters.delivered, delivered),
            (&counters.replayed, replayed),
            (&counters.bytes_sent, bytes),
            (&counters.gzip_bytes_in, text),
            (&counters.gzip_bytes_out, packed),
        ] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}
