//! How many events a stream got, or was to get, and their numbers added up.

use anyhow::bail;

/// Counted from the last reset on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many.
    pub(crate) events: u64,
    /// Their numbers added up.
    pub(crate) sum: u64,
}

impl Tally {
    /// Counts one.
    pub(crate) fn add(&mut self, number: u64) {
        self.events += 1;
        self.sum = self.sum.wrapping_add(number);
    }
}

/// Fails unless each stream got what was published to its topic: the streams take the topics in turn.
pub(crate) fn compare(streams: &[Tally], topics: &[Tally]) -> anyhow::Result<()> {
    for ((stream, got), wanted) in streams.iter().enumerate().zip(topics.iter().cycle()) {
        if got.events != wanted.events {
            bail!("stream {stream} got {} events of {}", got.events, wanted.events);
        }
        if got.sum != wanted.sum {
            bail!("stream {stream} got the right number of events, but not the right ones");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: &[u64]) -> Tally {
        let mut tally = Tally::default();
        numbers.iter().for_each(|number| tally.add(*number));
        tally
    }

    #[track_caller]
    fn check(streams: &[&[u64]], topics: &[&[u64]], expected: &str) {
        let tallies = |all: &[&[u64]]| all.iter().map(|numbers| tally(numbers)).collect::<Vec<_>>();
        let said =
            compare(&tallies(streams), &tallies(topics)).map_or_else(|e| e.to_string(), |()| String::new());
        assert_eq!(said, expected);
    }

    #[test]
    fn what_one_stream_lacks_is_not_made_up_by_what_another_has_too_many() {
        check(&[&[1, 2], &[1, 2]], &[&[1, 2]], "");
        check(&[&[1, 2], &[1], &[1, 2, 2]], &[&[1, 2]], "stream 1 got 1 events of 2");
        check(
            &[&[1, 2], &[1, 3]],
            &[&[1, 2]],
            "stream 1 got the right number of events, but not the right ones",
        );
    }

    #[test]
    fn each_stream_is_compared_with_its_own_topic() {
        check(&[&[1, 3], &[2], &[1, 3]], &[&[1, 3], &[2]], "");
        check(
            &[&[1, 3], &[3]],
            &[&[1, 3], &[2]],
            "stream 1 got the right number of events, but not the right ones",
        );
        check(&[&[2], &[1, 3]], &[&[1, 3], &[2]], "stream 0 got 1 events of 2");
    }
}
