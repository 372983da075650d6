//! Splits a program's output into what belongs in its log and what it tells the listeners.

use std::borrow::Cow;

use memchr::memmem;

use super::ansi::Stripper;

/// What begins a communication (supervisor 4.3 `events.py:ProcessCommunicationEvent`).
const BEGIN: &[u8] = b"<!--XSUPERVISOR:BEGIN-->";
/// What ends it.
const END: &[u8] = b"<!--XSUPERVISOR:END-->";

/// A part of a program's output, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// For the log, and a `PROCESS_LOG` event if the program has them enabled.
    Log(Cow<'a, [u8]>),
    /// Between the tokens: not for the log, but a `PROCESS_LOG` event all the same.
    Captured(Cow<'a, [u8]>),
    /// A whole communication: a `PROCESS_COMMUNICATION` event.
    Communication(Vec<u8>),
}

/// One output of one process.
///
/// Differs from the genuine one in two places where that loses or shows bytes it should not: the last 24 bytes of
/// a captured output are not lost when the program ends, and an escape sequence cut by a read is still one.
#[derive(Debug)]
pub struct Channel {
    capture_maxbytes: usize,
    ansi: Option<Stripper>,
    /// The beginning of a token, kept until it is known to be one.
    held: Vec<u8>,
    capturing: bool,
    captured: Vec<u8>,
}

impl Channel {
    /// `capture_maxbytes` 0 means that tokens have no meaning; `strip_ansi` takes escape sequences out.
    #[must_use]
    pub fn new(capture_maxbytes: usize, strip_ansi: bool) -> Self {
        Self {
            capture_maxbytes,
            ansi: strip_ansi.then(Stripper::default),
            held: Vec::new(),
            capturing: false,
            captured: Vec::new(),
        }
    }

    /// Whether everything goes to the log as it is, so that there is nothing to do here.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.capture_maxbytes == 0 && self.ansi.is_none()
    }

    /// Takes what was read and gives the pieces that are known by now, none of them empty but a communication.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Piece<'_>)) {
        if self.capture_maxbytes == 0 {
            return self.pass(bytes, &mut sink);
        }
        let joined;
        let mut rest = bytes;
        if !self.held.is_empty() {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            joined = held;
            rest = &joined;
        }
        loop {
            let token = if self.capturing { END } else { BEGIN };
            let Some(at) = memmem::find(rest, token) else { break };
            self.pass(&rest[..at], &mut sink);
            self.flush_ansi(&mut sink);
            rest = &rest[at + token.len()..];
            if self.capturing {
                sink(Piece::Communication(std::mem::take(&mut self.captured)));
            }
            self.capturing = !self.capturing;
        }
        let token = if self.capturing { END } else { BEGIN };
        let (known, held) = rest.split_at(rest.len() - prefix_at_end(rest, token));
        self.pass(known, &mut sink);
        self.held.extend_from_slice(held);
    }

    /// The end of the output. A communication without an end is dropped, as in the genuine one.
    pub fn finish(&mut self, mut sink: impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        self.pass(&held, &mut sink);
        self.flush_ansi(&mut sink);
        self.capturing = false;
        self.captured = Vec::new();
    }

    fn pass(&mut self, bytes: &[u8], sink: &mut impl FnMut(Piece<'_>)) {
        let bytes = match &mut self.ansi {
            Some(ansi) => ansi.strip(bytes),
            None => Cow::Borrowed(bytes),
        };
        if bytes.is_empty() {
            return;
        }
        if self.capturing {
            self.keep(&bytes);
            sink(Piece::Captured(bytes));
        } else {
            sink(Piece::Log(bytes));
        }
    }

    fn flush_ansi(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        let kept = self.ansi.as_mut().map_or(&b""[..], Stripper::finish);
        if kept.is_empty() {
            return;
        }
        if self.capturing {
            self.keep(kept);
            sink(Piece::Captured(Cow::Borrowed(kept)));
        } else {
            sink(Piece::Log(Cow::Borrowed(kept)));
        }
    }

    /// Too much drops as many bytes from the front as come in (supervisor 4.3 `loggers.py:BoundIO`), so a read that
    /// is larger than the bound is still kept whole: never more than the larger of the bound and one read.
    fn keep(&mut self, bytes: &[u8]) {
        if self.captured.len() + bytes.len() > self.capture_maxbytes {
            self.captured.drain(..bytes.len().min(self.captured.len()));
        }
        self.captured.extend_from_slice(bytes);
    }
}

/// How many bytes at the end may be the beginning of the token.
fn prefix_at_end(bytes: &[u8], token: &[u8]) -> usize {
    (1..token.len()).rev().find(|&length| bytes.ends_with(&token[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What came out, pieces of one kind joined.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Heard {
        log: String,
        events: String,
        communications: Vec<String>,
    }

    fn hear(channel: &mut Channel, pieces: &[&[u8]]) -> Heard {
        let mut heard = Heard::default();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut sink = |piece: Piece<'_>| match piece {
            Piece::Log(bytes) => {
                assert!(!bytes.is_empty());
                heard.log += &text(&bytes);
                heard.events += &text(&bytes);
            }
            Piece::Captured(bytes) => {
                assert!(!bytes.is_empty());
                heard.events += &text(&bytes);
            }
            Piece::Communication(bytes) => heard.communications.push(text(&bytes)),
        };
        for piece in pieces {
            channel.feed(piece, &mut sink);
        }
        channel.finish(&mut sink);
        heard
    }

    #[track_caller]
    fn check(maxbytes: usize, strip: bool, said: &str, log: &str, events: &str, communications: &[&str]) {
        let said = said.replace("BEGIN", "<!--XSUPERVISOR:BEGIN-->").replace("END", "<!--XSUPERVISOR:END-->");
        let said = said.as_bytes();
        let expected = Heard {
            log: log.to_owned(),
            events: events.to_owned(),
            communications: communications.iter().map(|&text| text.to_owned()).collect(),
        };
        let fresh = || Channel::new(maxbytes, strip);
        assert_eq!(hear(&mut fresh(), &[said]), expected, "at once");
        let bytes: Vec<&[u8]> = said.chunks(1).collect();
        assert_eq!(hear(&mut fresh(), &bytes), expected, "byte by byte");
        for cut in 0..said.len() {
            assert_eq!(hear(&mut fresh(), &[&said[..cut], &said[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_between_the_tokens_is_told_and_not_logged() {
        check(100, false, "before BEGINhelloEND after", "before  after", "before hello after", &["hello"]);
        check(100, false, "BEGINaENDBEGINbEND", "", "ab", &["a", "b"]);
        check(100, false, "BEGINENDx", "x", "x", &[""]);
        check(100, false, "a END b", "a <!--XSUPERVISOR:END--> b", "a <!--XSUPERVISOR:END--> b", &[]);
        check(
            100,
            false,
            "BEGINaBEGINbENDc",
            "c",
            "a<!--XSUPERVISOR:BEGIN-->bc",
            &["a<!--XSUPERVISOR:BEGIN-->b"],
        );
    }

    #[test]
    fn nothing_is_lost_at_the_end() {
        check(100, false, "short", "short", "short", &[]);
        check(100, false, "half <!--XSUPER", "half <!--XSUPER", "half <!--XSUPER", &[]);
        check(100, false, "logBEGINnever ended", "log", "lognever ended", &[]);
    }

    #[test]
    fn without_a_bound_tokens_are_output() {
        let all = "<!--XSUPERVISOR:BEGIN-->a<!--XSUPERVISOR:END-->";
        check(0, false, "BEGINaEND", all, all, &[]);
    }

    #[test]
    fn escapes_are_stripped_outside_and_inside() {
        check(100, true, "\x1b[1ma\x1b[0mBEGIN\x1b[31mbEND\x1bc", "a\x1bc", "ab\x1bc", &["b"]);
        check(100, true, "a\x1bBEGINb\x1b[9ENDc", "a\x1bc", "a\x1bbc", &["b"]);
        check(0, true, "\x1b[1ma\x1b[0m\x1b", "a\x1b", "a\x1b", &[]);
    }

    #[test]
    fn a_large_communication_loses_its_beginning() {
        let large = |pieces: &[&[u8]]| {
            let mut all = vec![BEGIN];
            all.extend(pieces);
            all.push(END);
            hear(&mut Channel::new(10, false), &all).communications
        };
        // What the genuine BoundIO(10) keeps of the same writes.
        for (pieces, kept) in [
            (&[&b"0123456789"[..]][..], "0123456789"),
            (&[b"01234567", b"abcd"], "4567abcd"),
            (&[b"0123456789", b"a", b"b"], "23456789ab"),
            (&[b"0123", b"a larger write"], "a larger write"),
            (&[b"a larger write", b"x"], " larger writex"),
        ] {
            assert_eq!(large(pieces), [kept]);
        }
    }

    #[test]
    fn plain_output_is_not_copied() {
        let mut channel = Channel::new(0, false);
        assert!(channel.is_plain());
        channel.feed(b"bytes", |piece| assert!(matches!(piece, Piece::Log(Cow::Borrowed(b"bytes")))));
        assert!(!Channel::new(1, false).is_plain() && !Channel::new(0, true).is_plain());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            parts in proptest::collection::vec(prop_oneof![
                Just("<!--XSUPERVISOR:BEGIN-->"), Just("<!--XSUPERVISOR:END-->"), Just("<!--XSUPERVISOR:"), Just("<!--"),
                Just("<"), Just("\x1b["), Just("\x1b"), Just("1m"), Just("text\n"), Just("-->"),
            ], 0..20),
            cuts in proptest::collection::vec(0..400_usize, 0..12),
            strip in any::<bool>(),
        ) {
            let said = parts.concat();
            let said = said.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(said.len())).collect();
            cuts.extend([0, said.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &said[cut[0]..cut[1]]).collect();
            let fresh = || Channel::new(1000, strip);
            prop_assert_eq!(hear(&mut fresh(), &pieces), hear(&mut fresh(), &[said]));
        }
    }
}
