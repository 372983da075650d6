//! One answer's bytes to the lines of its event stream, framed and compressed as its head says.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use flate2::write::GzDecoder;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is read next of a chunked body.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    Size(usize),
    /// The rest of a size's line.
    Extension(usize),
    Data(usize),
    /// The line's end behind the data.
    End(usize),
    Over,
}

/// An answer that is being read.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Until the head is whole.
    head: Option<Vec<u8>>,
    chunk: Option<Chunk>,
    gzip: Option<Box<GzDecoder<Vec<u8>>>>,
    line: Vec<u8>,
    has_body: bool,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { head: Some(Vec::new()), chunk: None, gzip: None, line: Vec::new(), has_body: false }
    }

    /// Whether the head and some of the body have come.
    pub(crate) fn is_open(&self) -> bool {
        self.has_body
    }

    /// Whether the answer is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.gzip.is_some()
    }

    /// Whether the answer has come to its end: its last chunk, and that of a compressed one with the length and the sum
    /// of all that was read.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.chunk, Some(Chunk::Over))
    }

    /// Takes bytes as they came, and hands on every line that is whole.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut on: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let Some(head) = &mut self.head else { return self.body(bytes, &mut on) };
        head.extend_from_slice(bytes);
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if head.len() > HEAD_BYTES_MAX { bail!("a head without an end") } else { Ok(()) };
        };
        let whole = self.head.take().unwrap_or_default();
        let (head, body) = whole.split_at(end + 4);
        let head = std::str::from_utf8(head).context("a head that is not UTF-8")?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            let words = format!("{head} {}", String::from_utf8_lossy(body));
            bail!("no stream: {}", words.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        self.chunk = head.contains("\r\ntransfer-encoding: chunked\r\n").then_some(Chunk::Size(0));
        if head.contains("\r\ncontent-encoding: gzip\r\n") {
            self.gzip = Some(Box::new(GzDecoder::new(Vec::new())));
        }
        self.body(body, &mut on)
    }

    fn body(&mut self, mut bytes: &[u8], on: &mut impl FnMut(&[u8])) -> anyhow::Result<()> {
        let Some(mut chunk) = self.chunk else { return self.payload(bytes, on) };
        while let Some((first, rest)) = bytes.split_first() {
            match chunk {
                Chunk::Data(left) => {
                    let (data, rest) = bytes.split_at(left.min(bytes.len()));
                    self.payload(data, on)?;
                    bytes = rest;
                    chunk = if data.len() == left { Chunk::End(2) } else { Chunk::Data(left - data.len()) };
                    continue;
                }
                Chunk::End(left) => chunk = if left > 1 { Chunk::End(left - 1) } else { Chunk::Size(0) },
                Chunk::Size(size) | Chunk::Extension(size) if *first == b'\n' => {
                    chunk = if size == 0 { Chunk::Over } else { Chunk::Data(size) };
                    if size == 0 {
                        self.trailer()?;
                    }
                }
                Chunk::Size(size) if first.is_ascii_hexdigit() => {
                    let digit = char::from(*first).to_digit(16).unwrap_or_default() as usize;
                    chunk = Chunk::Size(size * 16 + digit);
                }
                Chunk::Size(size) if matches!(first, b'\r' | b';') => chunk = Chunk::Extension(size),
                Chunk::Extension(_) => {}
                Chunk::Size(_) => bail!("a chunk's size with {:?} in it", char::from(*first)),
                Chunk::Over => break,
            }
            bytes = rest;
        }
        self.chunk = Some(chunk);
        Ok(())
    }

    fn trailer(&mut self) -> anyhow::Result<()> {
        let Some(gzip) = &mut self.gzip else { return Ok(()) };
        gzip.try_finish().context("a compressed answer without its right end")
    }

    fn payload(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> anyhow::Result<()> {
        self.has_body |= !bytes.is_empty();
        let Some(gzip) = &mut self.gzip else {
            lines(&mut self.line, bytes, on);
            return Ok(());
        };
        gzip.write_all(bytes).context("bytes that are not gzip")?;
        gzip.flush().context("bytes that are not gzip")?;
        let mut plain = std::mem::take(gzip.get_mut());
        lines(&mut self.line, &plain, on);
        plain.clear();
        *gzip.get_mut() = plain;
        Ok(())
    }
}

/// Hands on every line that is whole, and keeps the beginning of one that is not.
fn lines(rest: &mut Vec<u8>, mut bytes: &[u8], on: &mut impl FnMut(&[u8])) {
    while let Some(end) = memchr::memchr(b'\n', bytes) {
        if rest.is_empty() {
            on(&bytes[..end]);
        } else {
            rest.extend_from_slice(&bytes[..end]);
            on(rest);
            rest.clear();
        }
        bytes = &bytes[end + 1..];
    }
    rest.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

    fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
        [HEAD.as_bytes(), fields.as_bytes(), b"\r\n", body].concat()
    }

    fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
        let piece = |piece: &&[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        pieces.iter().flat_map(piece).collect()
    }

    /// One compressor that flushes after each piece, as a stream of events does.
    fn packed(pieces: &[&str]) -> Vec<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let piece = |piece: &&str| {
            gzip.write_all(piece.as_bytes()).expect("memory takes it");
            gzip.flush().expect("memory takes it");
            std::mem::take(gzip.get_mut())
        };
        pieces.iter().map(piece).collect()
    }

    fn feed(decoder: &mut Decoder, bytes: &[u8], lines: &mut Vec<String>) -> anyhow::Result<()> {
        decoder.feed(bytes, |line| lines.push(String::from_utf8_lossy(line).into_owned()))
    }

    /// Reads it cut in two at every place, and byte by byte.
    #[track_caller]
    fn check(bytes: &[u8], is_compressed: bool, expected: &[&str]) {
        let pairs = (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]);
        for pieces in pairs.chain([bytes.chunks(1).collect()]) {
            let (mut decoder, mut lines) = (Decoder::new(), Vec::new());
            for piece in &pieces {
                feed(&mut decoder, piece, &mut lines).expect("it can be read");
            }
            assert_eq!(lines, expected, "first piece of {}", pieces[0].len());
            assert!(decoder.is_open() && decoder.is_compressed() == is_compressed);
        }
    }

    #[test]
    fn lines_are_the_same_wherever_an_answer_is_cut() {
        let text = "id: 1-0\ndata: one\n\nid: 2-0\ndata: two\n\nid: 3";
        let lines = ["id: 1-0", "data: one", "", "id: 2-0", "data: two", ""];
        check(&answer("", text.as_bytes()), false, &lines);
        let (a, b) = text.as_bytes().split_at(21);
        let mut body = chunked(&[a, b]);
        check(&answer("Transfer-Encoding: chunked\r\n", &body), false, &lines);
        body.extend_from_slice(b"0\r\n\r\n");
        check(&answer("transfer-encoding: chunked\r\n", &body), false, &lines);
        let long = "x".repeat(300);
        let body = format!("12D;name=value\r\n{long}\n\r\nA\r\nshort one\n\r\n0\r\n\r\n");
        check(&answer("Transfer-Encoding: chunked\r\n", body.as_bytes()), false, &[&long, "short one"]);
    }

    #[test]
    fn compressed_lines_are_read_as_soon_as_their_flush_has_come() {
        let pieces = ["event: connected\n\n", "id: 1-0\ndata: one\n\n", "id: 2-0\ndata: one and two\n\n"];
        let packed = packed(&pieces);
        let body = chunked(&packed.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let fields = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n";
        let lines = ["event: connected", "", "id: 1-0", "data: one", "", "id: 2-0", "data: one and two", ""];
        check(&answer(fields, &body), true, &lines);
        // Each event by itself, not with the next.
        let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
        feed(&mut decoder, &answer(fields, b""), &mut seen).expect("a head");
        assert!(!decoder.is_open(), "no body yet");
        for (piece, count) in packed.iter().zip([2, 5, 8]) {
            feed(&mut decoder, &chunked(&[piece]), &mut seen).expect("it can be read");
            assert_eq!(seen, lines[..count]);
        }
    }

    #[test]
    fn end_of_a_compressed_answer_has_the_sum_of_all_that_was_read() {
        let fields = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n";
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"id: 1-0\ndata: one\n\n").expect("memory takes it");
        let whole = gzip.finish().expect("memory takes it");
        let end = |body: &[u8]| {
            let mut decoder = Decoder::new();
            let bytes = answer(fields, &[&chunked(&[body])[..], b"0\r\n\r\n"].concat());
            feed(&mut decoder, &bytes, &mut Vec::new()).map(|()| decoder.is_over())
        };
        assert!(end(&whole).expect("it is right"));
        for at in whole.len() - 8..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert!(end(&wrong).is_err(), "byte {at}");
        }
        let words = format!("{:#}", end(&whole[..whole.len() - 8]).expect_err("no trailer"));
        assert!(words.starts_with("a compressed answer without its right end"), "{words}");
    }

    #[test]
    fn what_is_no_stream_is_said_so() {
        let said = |bytes: &[u8]| {
            let error = feed(&mut Decoder::new(), bytes, &mut Vec::new()).expect_err("no stream");
            format!("{error:#}")
        };
        assert_eq!(
            said(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\n\r\nfull"),
            "no stream: http/1.1 503 service unavailable retry-after: 10 full"
        );
        assert_eq!(said(&[b'x'; HEAD_BYTES_MAX + 1]), "a head without an end");
        let chunk = answer("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\nz\r\n");
        assert_eq!(said(&chunk), "a chunk's size with 'z' in it");
        let plain = answer("Content-Encoding: gzip\r\n", b"not compressed at all");
        assert!(said(&plain).starts_with("bytes that are not gzip"), "{}", said(&plain));
    }
}
