//! Which publishes were accepted before: the same key within the window is the same event.
//!
//! ```text
//!   unknown ──claim──▶ pending ──settle──▶ known ──window over──▶ unknown
//!                         └────release (nothing was accepted)────▶ unknown
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{EventId, Invalid};

/// What a publisher calls one event, so that it can repeat the request without publishing twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Longest key, in characters.
    pub const CHARS_MAX: usize = 128;

    /// A key of 1 to 128 characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let chars = text.chars().count();
        if chars == 0 || chars > Self::CHARS_MAX {
            return Err(Invalid::IdempotencyKey(chars));
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: IdempotencyKey,
    /// The event that it was first used for.
    pub id: EventId,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What an event of a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// To be published.
    New,
    /// Published before, with this id.
    Known(EventId),
    /// The same as the event at this place of the batch.
    Twin(usize),
}

/// Why a batch cannot be claimed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotClaimed {
    /// Another publish with one of the keys is on its way: wait for its end.
    Pending,
    /// As many keys are remembered as may be.
    Full,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Pending,
    Known(EventId),
}

/// The keys in force. Times are those of a clock that never steps.
#[derive(Debug)]
pub struct Keys {
    window_ms: u64,
    keys_max: usize,
    states: HashMap<IdempotencyKey, State>,
    /// Known keys and when they are forgotten, earliest first.
    forget: VecDeque<(u64, IdempotencyKey)>,
}

impl Keys {
    /// Remembers at most `keys_max` keys (0: any number) for `window_ms` each.
    #[must_use]
    pub fn new(window_ms: u64, keys_max: usize) -> Self {
        Self { window_ms, keys_max, states: HashMap::new(), forget: VecDeque::new() }
    }

    /// Takes over what an earlier run left: it used each key `age_ms` ago, oldest first.
    pub fn recover(&mut self, key: IdempotencyKey, id: EventId, age_ms: u64, now_ms: u64) {
        if age_ms < self.window_ms {
            if self.states.insert(key.clone(), State::Known(id)).is_some() {
                // Used again, its window being over, and the clock put back: the earlier use counts no more.
                self.forget.retain(|(_, earlier)| *earlier != key);
            }
            self.forget.push_back((now_ms + self.window_ms - age_ms, key));
        }
    }

    /// Claims the keys of a batch, all or none; those of `New` events are pending from then on, until they
    /// are settled or released.
    pub fn claim(&mut self, batch: &[Option<IdempotencyKey>], now_ms: u64) -> Result<Vec<Claim>, NotClaimed> {
        self.forget_until(now_ms);
        let mut claims = Vec::with_capacity(batch.len());
        let mut first_at: HashMap<&IdempotencyKey, usize> = HashMap::new();
        for (n, key) in batch.iter().enumerate() {
            let claim = match key.as_ref().map(|key| (key, self.states.get(key))) {
                None => Claim::New,
                Some((_, Some(State::Known(id)))) => Claim::Known(*id),
                Some((_, Some(State::Pending))) => return Err(NotClaimed::Pending),
                Some((key, None)) => match first_at.get(key) {
                    Some(first) => Claim::Twin(*first),
                    None => {
                        first_at.insert(key, n);
                        Claim::New
                    }
                },
            };
            claims.push(claim);
        }
        if self.keys_max != 0 && !first_at.is_empty() && self.states.len() + first_at.len() > self.keys_max {
            return Err(NotClaimed::Full);
        }
        for key in first_at.into_keys() {
            self.states.insert(key.clone(), State::Pending);
        }
        Ok(claims)
    }

    /// The event of a pending key was accepted.
    pub fn settle(&mut self, key: IdempotencyKey, id: EventId, now_ms: u64) {
        self.states.insert(key.clone(), State::Known(id));
        self.forget.push_back((now_ms + self.window_ms, key));
    }

    /// Nothing was accepted under a pending key.
    pub fn release(&mut self, key: &IdempotencyKey) {
        self.states.remove(key);
    }

    /// Keys remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn forget_until(&mut self, now_ms: u64) {
        while let Some((_, key)) = self.forget.pop_front_if(|(until, _)| *until <= now_ms) {
            self.states.remove(&key);
        }
        if self.forget.is_empty() && self.states.capacity() > 1024 {
            self.states.shrink_to_fit();
            self.forget.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<IdempotencyKey> {
        (!text.is_empty()).then(|| IdempotencyKey::parse(text).unwrap())
    }

    fn id(ms: u64) -> EventId {
        EventId { ms, seq: 0 }
    }

    #[track_caller]
    fn claim(keys: &mut Keys, now_ms: u64, batch: &[&str], expected: Result<&[Claim], NotClaimed>) {
        let batch: Vec<_> = batch.iter().map(|text| key(text)).collect();
        assert_eq!(keys.claim(&batch, now_ms), expected.map(<[Claim]>::to_vec));
    }

    #[test]
    fn keys_have_1_to_128_characters() {
        for good in ["a", "ä b\n", &"ö".repeat(128)] {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", &"x".repeat(129)] {
            let said = IdempotencyKey::parse(bad).unwrap_err().to_string();
            assert_eq!(said, format!("{} characters are not 1 to 128", bad.len()));
        }
    }

    #[test]
    fn same_key_is_the_same_event_until_its_window_ends() {
        use Claim::{Known, New};
        let mut keys = Keys::new(100, 0);
        claim(&mut keys, 0, &["a", "", "b"], Ok(&[New, New, New]));
        claim(&mut keys, 1, &["a"], Err(NotClaimed::Pending));
        claim(&mut keys, 1, &["c", "b"], Err(NotClaimed::Pending));
        keys.settle(key("a").unwrap(), id(7), 2);
        keys.release(&key("b").unwrap());
        claim(&mut keys, 3, &["c", "b", "a"], Ok(&[New, New, Known(id(7))]));
        keys.settle(key("b").unwrap(), id(8), 50);
        claim(&mut keys, 101, &["a", "b"], Ok(&[Known(id(7)), Known(id(8))]));
        claim(&mut keys, 102, &["a", "b"], Ok(&[New, Known(id(8))]));
        assert_eq!(keys.len(), 3, "a and c are pending, b is known");
    }

    #[test]
    fn same_key_twice_in_a_batch_is_one_event() {
        use Claim::{Known, New, Twin};
        let mut keys = Keys::new(100, 0);
        claim(&mut keys, 0, &["a", "b", "a", "", "b"], Ok(&[New, New, Twin(0), New, Twin(1)]));
        keys.settle(key("a").unwrap(), id(1), 0);
        keys.settle(key("b").unwrap(), id(2), 0);
        claim(&mut keys, 0, &["a", "a"], Ok(&[Known(id(1)), Known(id(1))]));
    }

    #[test]
    fn as_many_keys_as_may_be_are_remembered_and_none_is_forgotten_for_another() {
        let mut keys = Keys::new(100, 2);
        claim(&mut keys, 0, &["a", "b", "c"], Err(NotClaimed::Full));
        claim(&mut keys, 0, &["a", "b"], Ok(&[Claim::New, Claim::New]));
        keys.settle(key("a").unwrap(), id(1), 0);
        keys.settle(key("b").unwrap(), id(2), 10);
        claim(&mut keys, 99, &["c"], Err(NotClaimed::Full));
        claim(&mut keys, 99, &["a", ""], Ok(&[Claim::Known(id(1)), Claim::New]));
        claim(&mut keys, 100, &["c"], Ok(&[Claim::New]));
    }

    #[test]
    fn keys_of_an_earlier_run_stay_for_the_rest_of_their_window() {
        let mut keys = Keys::new(100, 0);
        for (name, age_ms) in [("old", 100), ("a", 90), ("b", 0)] {
            keys.recover(key(name).unwrap(), id(1), age_ms, 1000);
        }
        assert_eq!(keys.len(), 2);
        claim(&mut keys, 1009, &["a", "b"], Ok(&[Claim::Known(id(1)); 2]));
        claim(&mut keys, 1010, &["a", "b"], Ok(&[Claim::New, Claim::Known(id(1))]));
    }

    #[test]
    fn key_that_an_earlier_run_used_twice_stays_for_the_window_of_its_last_use() {
        let mut keys = Keys::new(100, 0);
        keys.recover(key("a").unwrap(), id(1), 90, 1000);
        keys.recover(key("a").unwrap(), id(2), 20, 1000);
        claim(&mut keys, 1079, &["a"], Ok(&[Claim::Known(id(2))]));
        claim(&mut keys, 1080, &["a"], Ok(&[Claim::New]));
    }
}
