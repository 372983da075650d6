//! A subscriber that comes back as an EventSource does, and remembers everything.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::id::Id;
use super::stream::{Block, Item, StreamReader};
use crate::poll::wait_until;

/// How often a reader that waits looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is waited at least before coming back.
const RETURN_AFTER_MIN: Duration = Duration::from_millis(5);
/// How long to wait before the server has said it (WHATWG HTML 9.2: "a few seconds"), scaled like the rest.
const RETRY_MS: u64 = 3000;

/// How subscribers read.
#[derive(Debug, Clone)]
pub struct Subscribing {
    /// Where from: the server's own port or nginx's.
    pub port: u16,
    /// How many streams.
    pub subscribers: u32,
    /// What the server says about the time to come back in is multiplied by this; 1 is as told.
    pub patience: f64,
    /// The `Last-Event-ID` of the very first request.
    pub after: Option<String>,
}

/// An event as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its publisher.
    pub p: u32,
    /// Its number there.
    pub n: u32,
    /// Its id.
    pub id: Id,
}

/// A way back: when a stream was gone, and when the next one greeted.
#[derive(Debug, Clone, Copy)]
pub struct Return {
    /// The stream ended.
    pub left: Instant,
    /// The next one greeted.
    pub greeted: Instant,
}

/// Everything that one subscriber saw.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The events, in the order in which they came.
    pub seen: Vec<Seen>,
    /// Where the first stream started.
    pub start: Option<Id>,
    /// Where it would come back with.
    pub position: Option<Id>,
    /// The data of every `reset`.
    pub resets: Vec<String>,
    /// What the streams may not do.
    pub breaches: Vec<String>,
    /// Requests that opened no stream, by kind.
    pub refusals: BTreeMap<String, u64>,
    /// Requests answered 200, but only to say when to come back.
    pub put_off: u64,
    /// The `retry_ms` of every `shutdown`.
    pub goodbyes: Vec<u64>,
    /// Streams that ended without a `shutdown`.
    pub cuts: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// Greetings.
    pub greetings: u64,
    /// The ways back.
    pub returns: Vec<Return>,
}

/// One subscriber, on its own thread.
pub(super) struct Subscriber {
    pub(super) plan: Subscribing,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) trace: Arc<Mutex<Trace>>,
}

/// What one stream was.
#[derive(Debug, Default)]
struct Visit {
    status: Option<u16>,
    greeted: bool,
    goodbye: bool,
}

impl Subscriber {
    /// Reads and comes back until it is told to stop.
    pub(super) fn run(self) {
        let mut retry_ms = RETRY_MS;
        let mut left = None;
        while !self.stop.load(Ordering::SeqCst) {
            let visit = self.visit(&mut retry_ms, left);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let ended = Instant::now();
            if visit.greeted {
                left = Some(ended);
                self.trace().cuts += u64::from(!visit.goodbye);
            }
            let pause = Duration::from_secs_f64(retry_ms as f64 * self.plan.patience / 1000.0);
            wait_until(ended + pause.max(RETURN_AFTER_MIN), &self.stop);
        }
    }

    fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().expect("no subscriber panics")
    }

    fn refused(&self, how: &str) {
        *self.trace().refusals.entry(how.to_owned()).or_default() += 1;
    }

    /// One request, and its stream to the end.
    fn visit(&self, retry_ms: &mut u64, left: Option<Instant>) -> Visit {
        let mut visit = Visit::default();
        let position = self.trace().position.map(|id| id.to_string()).or_else(|| self.plan.after.clone());
        let mut stream = match self.open(position.as_deref()) {
            Ok(stream) => stream,
            Err(kind) => {
                self.refused(&format!("connect: {kind}"));
                return visit;
            }
        };
        let mut reader = StreamReader::new();
        let mut bytes = [0; 64 * 1024];
        let why = loop {
            let length = match stream.read(&mut bytes) {
                Ok(0) => break "the end".to_owned(),
                Ok(length) => length,
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                    if self.stop.load(Ordering::SeqCst) {
                        return visit;
                    }
                    continue;
                }
                Err(error) => break error.kind().to_string(),
            };
            let mut trace = self.trace();
            let fed = reader.feed(&bytes[..length], &mut |item| match item {
                Item::Head { status, is_event_stream } => {
                    visit.status = Some(status);
                    if status == 200 && !is_event_stream {
                        trace.breaches.push("200, but no event stream".to_owned());
                    }
                }
                // What a problem says is not for an EventSource.
                Item::Block(_) if visit.status != Some(200) => {}
                Item::Block(block) => {
                    *retry_ms = block.retry_ms.unwrap_or(*retry_ms);
                    take(block, &mut trace, &mut visit, position.as_deref(), left);
                }
            });
            match fed {
                Err(why) if visit.status == Some(200) => {
                    trace.breaches.push(why);
                    break "a breach".to_owned();
                }
                Err(_) => break "no stream".to_owned(),
                Ok(()) if reader.is_ended() => break "the end".to_owned(),
                Ok(()) => {}
            }
        };
        match visit.status {
            Some(200) if visit.greeted => {}
            Some(200) if reader.is_ended() => self.trace().put_off += 1,
            Some(200) => self.refused(&format!("{why} before the greeting")),
            Some(status) => self.refused(&status.to_string()),
            None => self.refused(&format!("{why} before the answer")),
        }
        visit
    }

    fn open(&self, position: Option<&str>) -> Result<TcpStream, ErrorKind> {
        let open = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.plan.port))?;
            stream.set_read_timeout(Some(LOOK_EVERY))?;
            let after = position.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
            let head = "GET /sse?topic=load:* HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n";
            stream.write_all(format!("{head}{after}\r\n").as_bytes())?;
            Ok(stream)
        };
        open().map_err(|error: std::io::Error| error.kind())
    }
}

/// Takes one block of a stream into the trace.
fn take(block: &Block, trace: &mut Trace, visit: &mut Visit, position: Option<&str>, left: Option<Instant>) {
    // It moves whatever the event is (WHATWG HTML 9.2.6, dispatch).
    trace.position = block.id.or(trace.position);
    let Some(data) = &block.data else {
        if block.retry_ms.is_none() {
            trace.breaches.push(format!("an event without data: {block:?}"));
        }
        return;
    };
    if !visit.greeted && block.event != "connected" {
        trace.breaches.push(format!("an event before the greeting: {block:?}"));
    }
    if block.id.is_none() && !["reset", "shutdown"].contains(&block.event.as_str()) {
        trace.breaches.push(format!("an event without id: {block:?}"));
    }
    match block.event.as_str() {
        "connected" => {
            visit.greeted = true;
            trace.greetings += 1;
            let at = block.id.map(|id| id.to_string());
            match position.filter(|id| *id != "earliest") {
                Some(given) if at.as_deref() != Some(given) => {
                    trace.breaches.push(format!("came back with {given}, greeted at {at:?}"));
                }
                _ => {}
            }
            trace.start = trace.start.or(block.id);
            trace.returns.extend(left.map(|left| Return { left, greeted: Instant::now() }));
        }
        "heartbeat" => trace.heartbeats += 1,
        "reset" => trace.resets.push(data.clone()),
        "shutdown" => {
            visit.goodbye = true;
            let told = data.strip_prefix("{\"retry_ms\":").and_then(|rest| rest.strip_suffix('}'));
            match told.and_then(|ms| ms.parse().ok()) {
                Some(ms) if block.retry_ms == Some(ms) => trace.goodbyes.push(ms),
                _ => trace.breaches.push(format!("a goodbye without its time: {block:?}")),
            }
        }
        "tick" => match (event(data), block.id) {
            (Some((p, n)), Some(id)) => trace.seen.push(Seen { p, n, id }),
            _ => trace.breaches.push(format!("nobody published {block:?}")),
        },
        _ => trace.breaches.push(format!("nobody published {block:?}")),
    }
}

/// The publisher and number of an event.
fn event(data: &str) -> Option<(u32, u32)> {
    let (p, n) = data.strip_prefix("{\"p\":")?.strip_suffix('}')?.split_once(",\"n\":")?;
    Some((p.parse().ok()?, n.parse().ok()?))
}
