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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_is_never_off_by_more_than_three_per_cent_and_buckets_are_in_order() {
        for micros in (0..5000).chain((0..60).map(|power| 3_u64 << power)).chain([u64::MAX >> 1]) {
            let is = middle(bucket(micros));
            assert!((is - micros as f64).abs() <= micros as f64 * 0.03, "{micros} is counted as {is}");
        }
        for micros in 0..5000 {
            assert!((0..=1).contains(&(bucket(micros + 1) - bucket(micros))), "{micros}");
        }
    }

    #[test]
    fn parts_are_those_of_all_that_was_counted_in_every_process() {
        let mut whole = Histogram::default();
        assert_eq!(whole.part_ms(0.5), 0.0, "of nothing");
        let mut parts = [Histogram::default(), Histogram::default()];
        for micros in 1..=1000_u64 {
            parts[(micros % 2) as usize].add(micros * 1000);
        }
        for part in &parts {
            whole.merge(&part.to_json());
        }
        for (part, ms) in [(0.001, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let is = whole.part_ms(part);
            assert!((is / ms - 1.0).abs() < 0.03, "{part} of all: {is} ms");
        }
        let mut one = Histogram::default();
        one.add(7);
        assert_eq!([one.part_ms(0.0), one.part_ms(0.5), one.part_ms(1.0)], [0.007; 3]);
    }
}
