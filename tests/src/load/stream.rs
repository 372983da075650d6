//! A stream's bytes, taken strictly: the head of the answer, the framing of its body, its events.

use super::id::Id;

/// A head or the size line of a chunk may not be longer.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// What the bytes say.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// The answer begins.
    Head { status: u16, is_event_stream: bool },
    /// Everything up to an empty line.
    Block(&'a Block),
}

/// The fields between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) id: Option<Id>,
    pub(super) event: String,
    pub(super) data: Option<String>,
    pub(super) retry_ms: Option<u64>,
}

/// Where the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// In a body that is not chunked; what is left of it, if that is known.
    Body(Option<usize>),
    /// At the size line of a chunk.
    Size,
    /// In a chunk.
    Chunk(usize),
    /// After a chunk's bytes.
    ChunkEnd,
    /// After the last chunk.
    LastEnd,
    Ended,
}

/// Takes one answer apart, piece by piece.
#[derive(Debug)]
pub(super) struct StreamReader {
    state: State,
    /// What came and is not taken yet.
    rest: Vec<u8>,
    line: Vec<u8>,
    block: Block,
    /// Whether the block has a field.
    is_begun: bool,
}

impl StreamReader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Head,
            rest: Vec::new(),
            line: Vec::new(),
            block: Block::default(),
            is_begun: false,
        }
    }

    /// Whether the answer was complete: its last chunk or byte came.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes bytes, and tells `on` what they complete. An error says which rule they break.
    pub(super) fn feed(&mut self, bytes: &[u8], on: &mut impl FnMut(Item<'_>)) -> Result<(), String> {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(taken) = self.step(&rest[at..], on)? {
            at += taken;
        }
        rest.drain(..at);
        self.rest = rest;
        Ok(())
    }

    /// How many bytes were taken; nothing if more are needed.
    fn step(&mut self, rest: &[u8], on: &mut impl FnMut(Item<'_>)) -> Result<Option<usize>, String> {
        match self.state {
            State::Head => {
                let Some(length) = find(rest, b"\r\n\r\n")? else { return Ok(None) };
                let head = std::str::from_utf8(&rest[..length]).map_err(|_| "the head is not UTF-8")?;
                self.head(head, on)?;
                Ok(Some(length + 4))
            }
            State::Size => {
                let Some(length) = find(rest, b"\r\n")? else { return Ok(None) };
                let text = std::str::from_utf8(&rest[..length]).unwrap_or_default();
                let size =
                    usize::from_str_radix(text, 16).map_err(|_| format!("{text:?} is no chunk size"))?;
                self.state = if size == 0 { State::LastEnd } else { State::Chunk(size) };
                Ok(Some(length + 2))
            }
            State::ChunkEnd | State::LastEnd => {
                if rest.len() < 2 {
                    return Ok(None);
                }
                if &rest[..2] != b"\r\n" {
                    return Err(format!("a chunk ends with {:?}", String::from_utf8_lossy(&rest[..2])));
                }
                self.state = if self.state == State::LastEnd { State::Ended } else { State::Size };
                Ok(Some(2))
            }
            State::Chunk(left) => {
                let taken = left.min(rest.len());
                if taken == 0 {
                    return Ok(None);
                }
                self.text(&rest[..taken], on)?;
                self.state = if taken == left { State::ChunkEnd } else { State::Chunk(left - taken) };
                Ok(Some(taken))
            }
            State::Body(left) => {
                let taken = left.unwrap_or(usize::MAX).min(rest.len());
                if taken == 0 {
                    return Ok(None);
                }
                self.text(&rest[..taken], on)?;
                let left = left.map(|left| left - taken);
                self.state = if left == Some(0) { State::Ended } else { State::Body(left) };
                Ok(Some(taken))
            }
            State::Ended if rest.is_empty() => Ok(None),
            State::Ended => Err("bytes come after the end of the answer".to_owned()),
        }
    }

    fn head(&mut self, head: &str, on: &mut impl FnMut(Item<'_>)) -> Result<(), String> {
        let head = head.to_ascii_lowercase();
        let status = head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no answer: {head:?}"))?;
        let value = |name: &str| head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
        let is_event_stream =
            value("content-type:").is_some_and(|kind| kind.starts_with("text/event-stream"));
        self.state = if value("transfer-encoding:") == Some("chunked") {
            State::Size
        } else {
            match value("content-length:").map(str::parse) {
                Some(Ok(0)) => State::Ended,
                Some(Ok(length)) => State::Body(Some(length)),
                Some(Err(_)) => return Err("the content-length is no number".to_owned()),
                None => State::Body(None),
            }
        };
        on(Item::Head { status, is_event_stream });
        Ok(())
    }

    fn text(&mut self, mut bytes: &[u8], on: &mut impl FnMut(Item<'_>)) -> Result<(), String> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                self.take_line(&bytes[..end], on)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                self.take_line(&line, on)?;
            }
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// WHATWG HTML 9.2.6, without what the hub never sends: comments, carriage returns, other fields.
    fn take_line(&mut self, line: &[u8], on: &mut impl FnMut(Item<'_>)) -> Result<(), String> {
        let line = std::str::from_utf8(line).map_err(|_| "a line is not UTF-8")?;
        if line.is_empty() {
            if !std::mem::take(&mut self.is_begun) {
                return Err("an empty line with nothing before it".to_owned());
            }
            on(Item::Block(&self.block));
            self.block.event.clear();
            (self.block.id, self.block.data, self.block.retry_ms) = (None, None, None);
            return Ok(());
        }
        self.is_begun = true;
        match line.split_once(": ") {
            Some(("id", value)) => self.block.id = Some(value.parse()?),
            Some(("event", value)) => value.clone_into(&mut self.block.event),
            Some(("data", value)) => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.block.data = Some(value.to_owned()),
            },
            Some(("retry", value)) => {
                let ms = value.parse().map_err(|_| format!("retry {value:?} is no number"))?;
                self.block.retry_ms = Some(ms);
            }
            _ => return Err(format!("{line:?} is no field of the hub")),
        }
        Ok(())
    }
}

fn find(bytes: &[u8], end: &[u8]) -> Result<Option<usize>, String> {
    let found = bytes.windows(end.len()).position(|window| window == end);
    if found.is_none() && bytes.len() > LINE_BYTES_MAX {
        return Err(format!("no end of the line in {LINE_BYTES_MAX} bytes"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

    /// What came of an answer that arrives `step` bytes at a time.
    fn read(answer: &str, step: usize) -> (Vec<String>, Result<bool, String>) {
        let mut reader = StreamReader::new();
        let mut said = Vec::new();
        for piece in answer.as_bytes().chunks(step) {
            let fed = reader.feed(piece, &mut |item| {
                said.push(match item {
                    Item::Head { status, is_event_stream } => format!("{status} {is_event_stream}"),
                    Item::Block(b) => {
                        let id = b.id.map(|id| id.to_string());
                        format!("{:?} {} {:?} {:?}", id, b.event, b.data, b.retry_ms)
                    }
                });
            });
            if let Err(why) = fed {
                return (said, Err(why));
            }
        }
        (said, Ok(reader.is_ended()))
    }

    #[test]
    fn chunks_and_lines_may_be_cut_anywhere() {
        let body = "1b\r\nretry: 7\nid: 1-2\nevent: a\nd\r\nf\r\nata: x\ndata: y\n\r\n1\r\n\n\r\n0\r\n\r\n";
        let answer = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{body}");
        for step in 1..=answer.len() {
            let (said, ended) = read(&answer, step);
            let expected = ["200 true", "Some(\"1-2\") a Some(\"x\\ny\") Some(7)"];
            assert_eq!((said, ended), (expected.map(str::to_owned).to_vec(), Ok(true)), "{step}");
        }
    }

    #[test]
    fn a_body_of_known_length_ends_with_it() {
        let (said, ended) = read(&format!("{HEAD}content-length: 13\r\n\r\nretry: 3000\n\n"), 5);
        assert_eq!((said.len(), ended), (2, Ok(true)));
    }

    #[test]
    fn an_event_that_was_cut_is_none() {
        let (said, ended) = read(&format!("{HEAD}\r\nid: 1-1\ndata: x\n"), 100);
        assert_eq!((said.len(), ended), (1, Ok(false)));
    }

    #[test]
    fn broken_rules_are_named() {
        for (body, why) in [
            ("\r\nidd: 1-1\n\n", "\"idd: 1-1\" is no field of the hub"),
            ("\r\n: comment\n\n", "\": comment\" is no field of the hub"),
            ("\r\nid: 1\n\n", "\"1\" is no event id"),
            ("\r\n\n", "an empty line with nothing before it"),
            ("transfer-encoding: chunked\r\n\r\nxyz\r\n", "\"xyz\" is no chunk size"),
            ("transfer-encoding: chunked\r\n\r\n1\r\nabc", "a chunk ends with \"bc\""),
            ("transfer-encoding: chunked\r\n\r\n0\r\n\r\nx", "bytes come after the end of the answer"),
        ] {
            assert_eq!(read(&format!("{HEAD}{body}"), 1000).1, Err(why.to_owned()));
        }
    }
}
