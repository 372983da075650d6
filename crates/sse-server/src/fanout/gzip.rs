//! Compression once for a whole group: text in, bytes out that fit behind whatever each of its streams was sent before.
//!
//! Every round is compressed by itself, by one compressor for the whole reactor, but with the group's last text as
//! dictionary (RFC 1951: distances may reach back 32 KiB across blocks). So a group keeps a few KiB of text instead of
//! a compressor's 256, and what went out is never needed again. A stream that joins, or comes back, has not got that text:
//! its bytes are made without a dictionary until the group begins a new span, by such a round for everybody.

use flate2::{Compress, Compression, FlushCompress};

/// What every gzip member begins with (RFC 1952, 2.3): deflate, no flags, no time, an unknown system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The longest stored block (RFC 1951, 3.2.4).
const STORED_MAX: usize = 0xffff;

/// Rounds that a stream waits outside the span while most others are in it.
const OUTSIDE_ROUNDS_MAX: u32 = 16;

/// CRC and length of a text, as the end of a gzip member names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checksum {
    crc: u32,
    bytes: u64,
}

impl Checksum {
    /// Goes on with this text.
    pub(super) fn add(&mut self, text: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial_len(self.crc, self.bytes);
        hasher.update(text);
        (self.crc, self.bytes) = (hasher.finalize(), self.bytes + text.len() as u64);
    }

    /// That of the text and then another.
    pub(super) fn then(self, other: Self) -> Self {
        Self { crc: self.moved_by(other.bytes) ^ other.crc, bytes: self.bytes + other.bytes }
    }

    /// That of what came after `earlier`, when the text was shorter.
    pub(super) fn since(self, earlier: Self) -> Self {
        let bytes = self.bytes - earlier.bytes;
        Self { crc: earlier.moved_by(bytes) ^ self.crc, bytes }
    }

    /// The CRC's part in that of a text that is so much longer.
    fn moved_by(self, bytes: u64) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial_len(self.crc, self.bytes);
        hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, bytes));
        hasher.finalize()
    }

    /// An empty last block, and the trailer (RFC 1952, 2.3.1).
    pub(super) fn ending(self) -> [u8; 10] {
        let mut ending = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ending[2..6].copy_from_slice(&self.crc.to_le_bytes());
        // The length counts modulo 2^32.
        ending[6..].copy_from_slice(&(self.bytes as u32).to_le_bytes());
        ending
    }
}

/// A text in blocks that are not compressed.
pub(super) fn store(text: &[u8], out: &mut Vec<u8>) {
    for block in text.chunks(STORED_MAX) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
}

/// The compressor of a reactor.
pub(super) struct Packer {
    /// Made when it is first needed.
    compress: Option<Compress>,
    level: u32,
    /// Shorter texts are stored.
    threshold: usize,
}

impl Packer {
    pub(super) fn new(level: u32, threshold: usize) -> Self {
        Self { compress: None, level, threshold }
    }

    /// Whole blocks that end at a byte's end. Who reads them has read `dictionary` just before.
    pub(super) fn pack(&mut self, dictionary: &[u8], text: &[u8], out: &mut Vec<u8>) {
        if text.len() < self.threshold {
            return store(text, out);
        }
        let compress =
            self.compress.get_or_insert_with(|| Compress::new(Compression::new(self.level), false));
        compress.reset();
        let begin = out.len();
        if dictionary.is_empty() || compress.set_dictionary(dictionary).is_ok() {
            loop {
                let taken = usize::try_from(compress.total_in()).unwrap_or(text.len());
                out.reserve(text.len() / 2 + 64);
                if compress.compress_vec(&text[taken..], out, FlushCompress::Sync).is_err() {
                    break;
                }
                // Room that is left means that nothing is.
                if compress.total_in() == text.len() as u64 && out.len() < out.capacity() {
                    return;
                }
            }
        }
        // A compressor that was just reset refuses nothing; if it did, this is as right.
        out.truncate(begin);
        store(text, out);
    }
}

/// What the live streams of a group were given of late.
#[derive(Debug, Default)]
pub(super) struct Span {
    /// Its texts may not be read off the length of each other: whoever can have one of them published and sees the
    /// lengths could guess the rest (BREACH).
    pub(super) is_private: bool,
    /// Streams with this number have the text.
    number: u32,
    text: Vec<u8>,
    /// All that live streams were given since the group began.
    given: Checksum,
    /// Live streams that have not got the text.
    outside: u32,
    /// Rounds that those have waited.
    waited: u32,
}

/// What one stream has been given.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// All of it; while it is live, all before that.
    sum: Checksum,
    /// What the group had been given when it became live.
    entered: Checksum,
    /// The span that it is in; 0: none.
    span: u32,
}

/// The bytes of a round, and for whom.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// What streams in this span get; with nothing in `apart`, all do, and then are in it.
    pub(super) span: u32,
    /// Whether streams outside the span need other bytes than those inside.
    pub(super) is_apart: bool,
}

impl Span {
    pub(super) fn new(is_private: bool) -> Self {
        Self { is_private, ..Self::default() }
    }

    /// The live streams are given this, packed elsewhere without a dictionary; only for a private one.
    pub(super) fn give(&mut self, text: &[u8]) {
        self.given.add(text);
    }

    /// Packs a round for `live` streams, with a dictionary of at most `window` bytes. If only few of them have not got that
    /// text, they need the round packed without one.
    pub(super) fn pack(
        &mut self,
        packer: &mut Packer,
        text: &[u8],
        (live, window): (usize, usize),
        out: &mut Vec<u8>,
    ) -> Packed {
        self.given.add(text);
        if self.is_private {
            packer.pack(&[], text, out);
            return Packed::default();
        }
        self.waited = if self.outside > 0 { self.waited + 1 } else { 0 };
        let most_are_outside = self.outside as usize * 2 >= live;
        if self.outside > 0 && (most_are_outside || self.waited > OUTSIDE_ROUNDS_MAX) {
            // Zero is no span.
            self.number = self.number.wrapping_add(1).max(1);
            (self.outside, self.waited) = (0, 0);
            self.text.clear();
        }
        packer.pack(&self.text, text, out);
        self.remember(text, window);
        Packed { span: self.number, is_apart: self.outside > 0 }
    }

    fn remember(&mut self, text: &[u8], window: usize) {
        let new = &text[text.len().saturating_sub(window)..];
        let excess = (self.text.len() + new.len()).saturating_sub(window);
        self.text.drain(..excess.min(self.text.len()));
        self.text.reserve_exact(new.len());
        self.text.extend_from_slice(new);
        if self.text.capacity() > 2 * window {
            self.text.shrink_to(window);
        }
    }

    /// A stream becomes live.
    pub(super) fn enter(&mut self, given: &mut Given) {
        given.entered = self.given;
        given.span = 0;
        self.outside += 1;
    }

    /// A stream is live no more.
    pub(super) fn leave(&mut self, given: &mut Given) {
        given.sum = given.sum.then(self.given.since(given.entered));
        // Where no span is ever begun, all stay outside.
        if given.span != self.number || self.number == 0 {
            self.outside -= 1;
        }
    }
}

impl Given {
    /// A stream that was sent so much on its own.
    pub(super) fn new(sum: Checksum) -> Self {
        Self { sum, ..Self::default() }
    }

    /// It is given this, and is not live.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.sum.add(text);
    }

    /// It is given a round of its group. Whether it needs the bytes apart.
    pub(super) fn take(&mut self, packed: &Packed) -> bool {
        if packed.is_apart {
            return self.span != packed.span;
        }
        self.span = packed.span;
        false
    }

    /// The end of its body; it is not live.
    pub(super) fn ending(&self) -> [u8; 10] {
        self.sum.ending()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::{Crc, Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;

    fn sum(text: &[u8]) -> Checksum {
        let mut sum = Checksum::default();
        sum.add(text);
        sum
    }

    /// What a reader has, who decodes whatever comes at once.
    struct Reader {
        decoder: Decompress,
        text: Vec<u8>,
        wire: Vec<u8>,
        expected: Vec<u8>,
        given: Given,
        live: bool,
    }

    impl Reader {
        fn new() -> Self {
            let greeting = b"event: connected\ndata: {}\n\n";
            let mut wire = HEADER.to_vec();
            store(greeting, &mut wire);
            let mut reader = Self {
                decoder: Decompress::new(false),
                text: Vec::new(),
                wire: HEADER.to_vec(),
                expected: greeting.to_vec(),
                given: Given::new(sum(greeting)),
                live: false,
            };
            reader.receive(&wire[HEADER.len()..]);
            reader
        }

        fn receive(&mut self, bytes: &[u8]) {
            self.wire.extend_from_slice(bytes);
            let mut taken = 0;
            loop {
                self.text.reserve(1 << 16);
                let before = self.decoder.total_in();
                self.decoder.decompress_vec(&bytes[taken..], &mut self.text, FlushDecompress::Sync).unwrap();
                taken += usize::try_from(self.decoder.total_in() - before).unwrap();
                if taken == bytes.len() && self.text.len() < self.text.capacity() {
                    break;
                }
            }
            assert_eq!(self.text, self.expected, "everything can be read as soon as it has come");
        }

        /// The whole member, as a decoder that checks its end reads it.
        fn end(mut self) -> Vec<u8> {
            self.wire.extend_from_slice(&self.given.ending());
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&*self.wire).read_to_end(&mut text).unwrap();
            assert_eq!(text, self.expected);
            text
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join,
        Leave(usize),
        Enter(usize),
        Own(usize, u8),
        Round(Vec<u8>, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Join),
            1 => any::<usize>().prop_map(Step::Leave),
            4 => any::<usize>().prop_map(Step::Enter),
            1 => any::<(usize, u8)>().prop_map(|(n, text)| Step::Own(n, text)),
            8 => (proptest::collection::vec(any::<u8>(), 1..5), 1..200_usize)
                .prop_map(|(text, times)| Step::Round(text, times)),
        ]
    }

    fn event(n: u8) -> Vec<u8> {
        format!("id: 17{n}-0\nevent: job_progress\ndata: {{\"job\":{n},\"state\":\"running\"}}\n\n")
            .into_bytes()
    }

    fn play(steps: Vec<Step>, window: usize, threshold: usize, private: bool) {
        let mut packer = Packer::new(6, threshold);
        let mut span = Span::new(private);
        let mut readers: Vec<Reader> = Vec::new();
        for step in steps {
            let count = readers.len().max(1);
            match step {
                Step::Join => readers.push(Reader::new()),
                Step::Leave(n) => {
                    if let Some(reader) = readers.get_mut(n % count).filter(|reader| reader.live) {
                        span.leave(&mut reader.given);
                        reader.live = false;
                    }
                }
                Step::Enter(n) => {
                    if let Some(reader) = readers.get_mut(n % count).filter(|reader| !reader.live) {
                        span.enter(&mut reader.given);
                        reader.live = true;
                    }
                }
                Step::Own(n, text) => {
                    if let Some(reader) = readers.get_mut(n % count).filter(|reader| !reader.live) {
                        let (text, mut bytes) = (event(text), Vec::new());
                        packer.pack(&[], &text, &mut bytes);
                        reader.given.add(&text);
                        reader.expected.extend_from_slice(&text);
                        reader.receive(&bytes);
                    }
                }
                Step::Round(text, times) => {
                    let text: Vec<u8> = text.into_iter().cycle().take(times).flat_map(event).collect();
                    let live = readers.iter().filter(|reader| reader.live).count();
                    if live == 0 {
                        continue;
                    }
                    let (mut out, mut apart) = (Vec::new(), Vec::new());
                    let packed = span.pack(&mut packer, &text, (live, window), &mut out);
                    packer.pack(&[], &text, &mut apart);
                    assert!(span.text.capacity() <= 2 * window);
                    for reader in readers.iter_mut().filter(|reader| reader.live) {
                        let bytes = if reader.given.take(&packed) { &apart } else { &out };
                        reader.expected.extend_from_slice(&text);
                        reader.receive(bytes);
                    }
                }
            }
        }
        for mut reader in readers {
            if reader.live {
                span.leave(&mut reader.given);
            }
            reader.end();
        }
        assert_eq!(span.outside, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_stream_reads_what_it_was_given_and_its_end_is_exact(
            steps in proptest::collection::vec(step(), 1..60),
            window in prop_oneof![Just(0_usize), Just(64), Just(4096)],
            threshold in prop_oneof![Just(0_usize), Just(100), Just(100_000)],
            private in any::<bool>(),
        ) {
            play(steps, window, threshold, private);
        }

        #[test]
        fn sums_are_those_of_the_whole_text(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            let whole = sum(&[a.clone(), b.clone()].concat());
            prop_assert_eq!(sum(&a).then(sum(&b)), whole);
            prop_assert_eq!(whole.since(sum(&a)), sum(&b));
            let mut crc = Crc::new();
            crc.update(&a);
            prop_assert_eq!(&sum(&a).ending()[2..6], &crc.sum().to_le_bytes());
        }
    }
}
