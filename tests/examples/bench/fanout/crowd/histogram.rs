//! Times in microseconds, counted in steps of three per cent, so that millions of them cost nothing and add up over processes.

use serde_json::{Value, json};

/// Buckets of one doubling.
const PER_DOUBLING: u64 = 32;

/// How often each time occurred.
#[derive(Debug, Default, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn add(&mut self, micros: u64) {
        self.add_many(bucket(micros), 1);
    }

    fn add_many(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
    }

    /// Takes those of another process along.
    pub(crate) fn merge(&mut self, value: &Value) {
        for pair in value.as_array().into_iter().flatten() {
            if let (Some(bucket), Some(count)) = (pair[0].as_u64(), pair[1].as_u64()) {
                self.add_many(bucket as usize, count);
            }
        }
    }

    /// As another process reads it.
    pub(crate) fn to_json(&self) -> Value {
        let some = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Value::Array(some.map(|(bucket, count)| json!([bucket, count])).collect())
    }

    /// The time in milliseconds that `part` of all do not exceed.
    pub(crate) fn part_ms(&self, part: f64) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let (wanted, mut seen) = ((all as f64 * part).ceil() as u64, 0);
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return middle(bucket) / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(micros: u64) -> usize {
    let shift = u64::from((micros | 1).ilog2().saturating_sub(PER_DOUBLING.ilog2()));
    (shift * PER_DOUBLING + (micros >> shift)) as usize
}

/// The middle of what a bucket counts.
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < 2 * PER_DOUBLING {
        return bucket as f64;
    }
    let shift = bucket / PER_DOUBLING - 1;
    (((bucket % PER_DOUBLING + PER_DOUBLING) << shift) as f64) + (1_u64 << shift) as f64 / 2.0
}
