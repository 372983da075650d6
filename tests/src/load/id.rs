//! Event ids, as they are compared: pairs of numbers.

use std::fmt;
use std::str::FromStr;

/// `<ms>-<seq>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Id {
    /// Milliseconds since 1970, or later.
    pub ms: u64,
    /// The place within the millisecond.
    pub seq: u64,
}

impl FromStr for Id {
    type Err = String;

    /// Decimal, without a sign, nothing before and nothing after.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
        };
        text.split_once('-')
            .and_then(|(ms, seq)| Some(Self { ms: number(ms)?, seq: number(seq)? }))
            .ok_or_else(|| format!("{text:?} is no event id"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_pairs_and_nothing_else_is_one() {
        let id = |text: &str| text.parse::<Id>().expect("an id");
        assert!(id("9-9") < id("10-0") && id("10-2") < id("10-10"));
        assert_eq!(id("1795468560833-7").to_string(), "1795468560833-7");
        for text in ["", "-", "1", "1-", "-1", "+1-0", "1-0 ", "1-0-0", "x-1", "99999999999999999999-0"] {
            assert!(text.parse::<Id>().is_err(), "{text:?}");
        }
    }
}
