//! Who is due when, in buckets: a wake-up for a bucket, not for a stream.

use std::collections::VecDeque;

/// Entries by due time. Never early, and late by one bucket at most.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    bucket_ms: u64,
    /// The bucket in front ends at this time.
    front_ms: u64,
    buckets: VecDeque<Vec<T>>,
    entries: usize,
}

impl<T> Wheel<T> {
    /// `bucket_ms`: how much later than due an entry may come.
    pub(super) fn new(bucket_ms: u64) -> Self {
        let bucket_ms = bucket_ms.max(1);
        Self { bucket_ms, front_ms: bucket_ms, buckets: VecDeque::new(), entries: 0 }
    }

    /// Adds an entry, due within a small number of buckets from now.
    pub(super) fn insert(&mut self, now_ms: u64, due_ms: u64, entry: T) {
        if self.entries == 0 {
            self.buckets.clear();
            self.front_ms = (now_ms / self.bucket_ms + 1) * self.bucket_ms;
        }
        self.entries += 1;
        let bucket = due_ms.saturating_sub(self.front_ms).div_ceil(self.bucket_ms);
        let bucket = usize::try_from(bucket).expect("an entry is due within few buckets");
        while self.buckets.len() <= bucket {
            self.buckets.push_back(Vec::new());
        }
        self.buckets[bucket].push(entry);
    }

    /// Moves whatever is due into `out`.
    pub(super) fn take_due(&mut self, now_ms: u64, out: &mut Vec<T>) {
        while self.entries > 0 && self.front_ms <= now_ms {
            if let Some(mut bucket) = self.buckets.pop_front() {
                self.entries -= bucket.len();
                out.append(&mut bucket);
            }
            self.front_ms += self.bucket_ms;
        }
    }

    /// When `take_due` will have something.
    pub(super) fn next_due(&self) -> Option<u64> {
        let bucket = self.buckets.iter().position(|bucket| !bucket.is_empty())?;
        Some(self.front_ms + bucket as u64 * self.bucket_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entry_comes_at_most_one_bucket_late_and_never_early(
            bucket_ms in 1_u64..50,
            steps in prop::collection::vec((0_u64..200, prop::option::of(0_u64..300)), 1..60),
        ) {
            let mut wheel = Wheel::new(bucket_ms);
            let (mut now_ms, mut waiting, mut due) = (0, Vec::new(), Vec::new());
            for (later_ms, entry) in steps {
                now_ms += later_ms;
                wheel.take_due(now_ms, &mut due);
                for at in due.drain(..) {
                    prop_assert!(at <= now_ms, "{at} came at {now_ms}");
                    let place = waiting.iter().position(|waits| *waits == at);
                    prop_assert!(place.is_some(), "{at} came twice");
                    waiting.swap_remove(place.unwrap());
                }
                prop_assert!(waiting.iter().all(|at| at + bucket_ms > now_ms), "{waiting:?} at {now_ms}");
                prop_assert_eq!(wheel.next_due().is_some(), !waiting.is_empty());
                prop_assert!(wheel.next_due().is_none_or(|at| at > now_ms));
                if let Some(in_ms) = entry {
                    wheel.insert(now_ms, now_ms + in_ms, now_ms + in_ms);
                    waiting.push(now_ms + in_ms);
                }
            }
        }
    }
}
