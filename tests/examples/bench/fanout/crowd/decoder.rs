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
