//! Readers that cost the machine little: one thread for all, which takes the time out of every event.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// What begins the data of a timed event: microseconds since 1970 follow.
pub(crate) const TIMED: &str = "{\"t\":";

/// Microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

/// Opens a stream and reads its greeting, and nothing more.
pub(crate) fn open(port: u16, after: Option<&str>) -> anyhow::Result<TcpStream> {
    let mut stream = ask(port, after)?;
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\n\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            bail!("no stream: {}", String::from_utf8_lossy(&seen));
        }
        seen.push(byte[0]);
    }
    Ok(stream)
}

/// Asks for a stream, and reads nothing.
pub(crate) fn ask(port: u16, after: Option<&str>) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot subscribe")?;
    let after = after.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    let head = format!("GET /sse?topic=* HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{after}\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// Streams that are read until they are stopped.
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<Vec<(u64, u32)>>>,
}

impl Readers {
    /// Opens so many streams.
    pub(crate) fn start(port: u16, count: usize) -> anyhow::Result<Self> {
        let streams = (0..count).map(|_| open(port, None)).collect::<anyhow::Result<Vec<_>>>()?;
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = thread::spawn(move || read(streams, &told, &counted));
        Ok(Self { stop, seen, thread })
    }

    /// Timed events so far, summed over the streams.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// For every event: when it was published and how long it took, in microseconds.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<(u64, u32)>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no reader panics")
    }
}

fn read(mut streams: Vec<TcpStream>, stop: &AtomicBool, seen: &AtomicU64) -> anyhow::Result<Vec<(u64, u32)>> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (n, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
    }
    let mut rests = vec![Vec::new(); streams.len()];
    let mut events = vec![EpollEvent::empty(); streams.len()];
    let (mut bytes, mut found) = (vec![0; 256 * 1024], Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let ready = epoll.wait(&mut events, EpollTimeout::from(50_u16))?;
        for event in &events[..ready] {
            let n = event.data() as usize;
            let length = match streams[n].read(&mut bytes) {
                Ok(0) => bail!("a stream ended"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("a stream broke"),
            };
            let before = found.len();
            let now = now_micros();
            lines(&mut rests[n], &bytes[..length], |line| {
                if let Some(at) = published(line).filter(|at| *at > 0) {
                    found.push((at, u32::try_from(now.saturating_sub(at)).unwrap_or(u32::MAX)));
                }
            });
            seen.fetch_add((found.len() - before) as u64, Ordering::Relaxed);
        }
    }
    Ok(found)
}

/// Hands on every line that is whole; a chunk of the hub never begins within one.
pub(crate) fn lines(rest: &mut Vec<u8>, bytes: &[u8], mut on: impl FnMut(&[u8])) {
    rest.extend_from_slice(bytes);
    let mut begin = 0;
    while let Some(end) = rest[begin..].iter().position(|byte| *byte == b'\n') {
        on(&rest[begin..begin + end]);
        begin += end + 1;
    }
    rest.drain(..begin);
}

/// When the event of a `data` line was published; 0 if it is one that is not timed.
pub(crate) fn published(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"data: ")?.strip_prefix(TIMED.as_bytes())?;
    let length = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
}
