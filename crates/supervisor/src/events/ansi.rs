//! Takes the ANSI escape sequences out of a program's output.

use std::borrow::Cow;

/// What begins a sequence.
const BEGIN: &[u8] = b"\x1b[";
/// The bytes that end one (supervisor 4.3 `dispatchers.py:ANSI_TERMINATORS`).
const TERMINATORS: &[u8] = b"HfABCDRsuJKhlpm";

/// Where one output is: outside or inside a sequence. A sequence may be cut by any number of reads.
#[derive(Debug, Default)]
pub struct Stripper {
    inside: bool,
    /// An escape byte that may begin a sequence is kept until the next byte.
    escape: bool,
}

impl Stripper {
    /// The bytes without sequences.
    #[must_use]
    pub fn strip<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.inside && !self.escape && memchr::memchr(BEGIN[0], bytes).is_none() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        loop {
            if self.inside {
                let Some(end) = rest.iter().position(|byte| TERMINATORS.contains(byte)) else { break };
                self.inside = false;
                rest = &rest[end + 1..];
            }
            if self.escape && !rest.is_empty() {
                self.escape = false;
                if rest[0] == BEGIN[1] {
                    self.inside = true;
                    rest = &rest[1..];
                    continue;
                }
                out.push(BEGIN[0]);
            }
            let Some(at) = memchr::memchr(BEGIN[0], rest) else {
                out.extend_from_slice(rest);
                break;
            };
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            self.escape = true;
            if rest.is_empty() {
                break;
            }
        }
        Cow::Owned(out)
    }

    /// The end of the output, or of a part of it: what was kept for the next byte. A sequence without an end is over.
    pub fn finish(&mut self) -> &'static [u8] {
        self.inside = false;
        if std::mem::take(&mut self.escape) { &BEGIN[..1] } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule of `dispatchers.py:stripEscapes`, which sees everything at once.
    fn at_once(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while let Some(at) = memchr::memmem::find(rest, BEGIN) {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + 2..];
            match rest.iter().position(|byte| TERMINATORS.contains(byte)) {
                Some(end) => rest = &rest[end + 1..],
                None => return out,
            }
        }
        out.extend_from_slice(rest);
        out
    }

    fn in_pieces(pieces: &[&[u8]]) -> Vec<u8> {
        let mut stripper = Stripper::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&stripper.strip(piece));
        }
        out.extend_from_slice(stripper.finish());
        out
    }

    #[test]
    fn sequences_are_taken_out_and_nothing_else() {
        for (bytes, expected) in [
            (&b"plain\n"[..], &b"plain\n"[..]),
            (b"\x1b[31mred\x1b[0m", b"red"),
            (b"\x1b[2J\x1b[1;1Htop", b"top"),
            (b"alone \x1b", b"alone \x1b"),
            (b"\x1b\x1b[0mtwice", b"\x1btwice"),
            (b"\x1bM other", b"\x1bM other"),
            (b"\x1b[?25l\x1b[?25hcursor", b"cursor"),
            (b"\x1b[5nmore", b"ore"),
            (b"no end \x1b[123", b"no end "),
        ] {
            assert_eq!(in_pieces(&[bytes]), expected, "{bytes:?}");
            assert_eq!(at_once(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn output_without_a_sequence_is_not_copied() {
        assert!(matches!(Stripper::default().strip(b"plain"), Cow::Borrowed(b"plain")));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            bytes in proptest::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'm'), Just(b'3'), Just(b'x')], 0..40),
            cuts in proptest::collection::vec(0..40_usize, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(in_pieces(&pieces), at_once(&bytes));
        }
    }
}
