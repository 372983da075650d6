//! The protocol that one listener process speaks on its stdout.

use log::Level;

use super::handler::{Judgement, ResultHandler};
use super::text::{Line, text};

/// What a listener says when it can take an event.
const READY: &[u8] = b"READY\n";
/// The length of `RESULT `; what it says is not looked at, as in the genuine one.
const RESULT_START: usize = 7;
/// A longer line before a result is a violation.
const RESULT_LINE_BYTES_MAX: usize = 4096;

/// Where a listener is (supervisor 4.3 `states.py:EventListenerStates`).
///
/// ```text
///                  READY\n              sent
///  ACKNOWLEDGED ────────────▶ READY ────────────▶ BUSY
///    │      ▲                   │                  │ │
///    │      └───────────────────│──── RESULT n\n… ─┘ │ no number
///    │ anything else            ▼ anything           │
///    └────────────────────▶ UNKNOWN ◀────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerState {
    /// It has just been started, or has answered; it has not asked for an event.
    Acknowledged,
    /// It takes an event.
    Ready,
    /// It has one.
    Busy,
    /// It broke the protocol, and is told nothing until it is started again.
    Unknown,
}

impl ListenerState {
    fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Ready => "READY",
            Self::Busy => "BUSY",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What a listener's words mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To be logged.
    Log(Line),
    /// It takes an event now.
    Ready,
    /// Whole lines for the daemon's stdout.
    Show(Vec<u8>),
    /// It is done with its event; if not `ok`, the pool is to be told that it was rejected.
    Result {
        /// Whether its handler takes it.
        ok: bool,
    },
    /// It broke the protocol; the pool gets back the event it had, if any.
    Violation,
}

/// One listener process.
#[derive(Debug)]
pub struct Listener {
    name: String,
    state: ListenerState,
    buffer: Vec<u8>,
    /// The bytes of the result that are still to come, once its line was read.
    left: Option<u64>,
    /// The bytes of the result that are there.
    length: u64,
    /// The beginning of the result, as much as its handler looks at.
    result: Vec<u8>,
}

impl Listener {
    /// `name` is the process', for the log.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: ListenerState::Acknowledged,
            buffer: Vec::new(),
            left: None,
            length: 0,
            result: Vec::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> ListenerState {
        self.state
    }

    /// It was started: nothing of what an earlier process said counts.
    pub fn begin(&mut self) {
        *self = Self::new(&self.name);
    }

    /// An event was written to its stdin.
    pub fn sent(&mut self) {
        debug_assert_eq!(self.state, ListenerState::Ready, "only a ready listener is sent an event");
        self.state = ListenerState::Busy;
    }

    /// Takes what it wrote. What these bytes complete comes out, in order, with results as `handler` judges them; the
    /// rest waits for more.
    #[must_use]
    pub fn on_stdout(&mut self, bytes: &[u8], handler: ResultHandler) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if self.state == ListenerState::Unknown {
            return outcomes;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let Some(used) = self.step(rest, handler, &mut outcomes) else { break };
            rest = &rest[used..];
        }
        self.buffer = rest.to_vec();
        outcomes
    }

    /// The number of bytes that were understood; `None` if more are needed.
    fn step(&mut self, bytes: &[u8], handler: ResultHandler, outcomes: &mut Vec<Outcome>) -> Option<usize> {
        match (self.state, self.left) {
            (ListenerState::Unknown, _) => Some(bytes.len()),
            (ListenerState::Acknowledged, _) if bytes.len() < READY.len() => None,
            (ListenerState::Acknowledged, _) if bytes.starts_with(READY) => {
                self.change(ListenerState::Ready, outcomes);
                outcomes.push(Outcome::Ready);
                Some(READY.len())
            }
            (ListenerState::Acknowledged | ListenerState::Ready, _) => Some(self.violation(bytes, outcomes)),
            (ListenerState::Busy, None) => {
                let end = memchr::memchr(b'\n', bytes);
                if end.is_none() && bytes.len() <= RESULT_LINE_BYTES_MAX {
                    return None;
                }
                let line = &bytes[..end.unwrap_or(bytes.len()).min(RESULT_LINE_BYTES_MAX)];
                let fits = end.is_some_and(|end| end <= RESULT_LINE_BYTES_MAX);
                let length = integer(line.get(RESULT_START..).unwrap_or_default()).filter(|_| fits);
                if let (Some(length), Some(end)) = (length, end) {
                    self.left = Some(length);
                    return Some(end + 1);
                }
                let text = format!("{}: bad result line: '{}'", self.name, text(line));
                outcomes.push(Outcome::Log(Line::new(Level::Warn, text)));
                Some(self.violation(bytes, outcomes))
            }
            (ListenerState::Busy, Some(left)) => {
                let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let kept = used.min(handler.bytes_max().saturating_sub(self.result.len()));
                self.result.extend_from_slice(&bytes[..kept]);
                self.length += used as u64;
                self.left = Some(left - used as u64);
                if self.left == Some(0) {
                    self.answered(handler, outcomes);
                }
                Some(used)
            }
        }
    }

    fn answered(&mut self, handler: ResultHandler, outcomes: &mut Vec<Outcome>) {
        let Judgement { ok, shown, lack } = handler.judge(&self.result, self.length);
        if !shown.is_empty() {
            outcomes.push(Outcome::Show(shown));
        }
        if let Some(lack) = lack {
            outcomes.push(Outcome::Log(Line::new(Level::Warn, format!("{}: {lack}", self.name))));
        }
        let (level, what) = if ok { (Level::Debug, "processed") } else { (Level::Warn, "rejected") };
        outcomes.push(Outcome::Log(Line::new(level, format!("{}: event was {what}", self.name))));
        self.change(ListenerState::Acknowledged, outcomes);
        outcomes.push(Outcome::Result { ok });
        self.left = None;
        self.length = 0;
        self.result = Vec::new();
    }

    /// Nothing after it counts.
    fn violation(&mut self, bytes: &[u8], outcomes: &mut Vec<Outcome>) -> usize {
        self.change(ListenerState::Unknown, outcomes);
        let text = format!(
            "{}: has entered the UNKNOWN state and will no longer receive events, this usually indicates the process \
             violated the eventlistener protocol",
            self.name
        );
        outcomes.push(Outcome::Log(Line::new(Level::Warn, text)));
        outcomes.push(Outcome::Violation);
        bytes.len()
    }

    fn change(&mut self, state: ListenerState, outcomes: &mut Vec<Outcome>) {
        let text = format!("{}: {} -> {}", self.name, self.state.name(), state.name());
        outcomes.push(Outcome::Log(Line::new(Level::Debug, text)));
        self.state = state;
    }
}

/// A length as Python's `int` reads it: blanks around, a sign, underscores between digits. Negative is no length.
fn integer(bytes: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = bytes.iter().position(|byte| !blank(byte))?;
    let end = bytes.iter().rposition(|byte| !blank(byte))?;
    let trimmed = &bytes[start..=end];
    let (negative, digits) = match trimmed {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut number = 0_u64;
    for part in digits.split(|&byte| byte == b'_') {
        if part.is_empty() {
            return None;
        }
        for byte in part {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number = number.checked_mul(10)?.checked_add(digit)?;
        }
    }
    (!negative || number == 0).then_some(number)
}

#[cfg(test)]
mod tests;
