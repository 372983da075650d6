//! The process that holds streams, reads them with one thread, and answers questions about them on its standard input.
//!
//! `count` answers how many events came; `stats` everything; `reset` counts from zero; `ending` allows streams to come to
//! their proper end; the end of the input ends it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use serde_json::json;

use super::check::Check;
use super::decoder::Decoder;
use super::expected::Expected;
use super::histogram::Histogram;
use super::plan::Plan;
use super::tally::Tally;
use crate::readers::now_micros;

/// What the command line begins with, behind the path of this binary.
pub(crate) const WORD: &str = "fanout-readers";
/// The question's own place among the events.
const STDIN: u64 = u64::MAX;
/// Streams of one source address.
const PER_ADDRESS: usize = 2000;
/// The receive buffer of streams that stop reading.
const SLOW_BUFFER_BYTES: usize = 4096;

struct Stream {
    socket: TcpStream,
    decoder: Decoder,
    check: Check,
    is_asked: bool,
    tally: Tally,
}

#[derive(Default)]
struct Counters {
    open: usize,
    compressed: usize,
    events: u64,
    bytes: u64,
    heartbeats: u64,
    times: Histogram,
    /// Streams that are over, and why the first is.
    broken: usize,
    why: String,
    opening: Histogram,
    /// Streams that ended as they should.
    ended: usize,
}

/// Runs until its standard input ends.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [plan] = words else { bail!("{WORD} PLAN") };
    let plan = Plan::from_json(plan)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(std::io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, STDIN))?;
    let mut crowd = Crowd {
        epoll,
        streams: Vec::with_capacity(plan.count),
        began: Vec::with_capacity(plan.count),
        counters: Counters::default(),
        expected: Expected::new(plan.event_bytes),
        plan,
        may_end: false,
        buffer: vec![0; 256 * 1024],
    };
    crowd.run()
}

struct Crowd {
    plan: Plan,
    epoll: Epoll,
    streams: Vec<Option<Stream>>,
    began: Vec<u64>,
    counters: Counters,
    expected: Expected,
    may_end: bool,
    buffer: Vec<u8>,
}

impl Crowd {
    fn run(&mut self) -> anyhow::Result<()> {
        let mut events = vec![EpollEvent::empty(); 1024];
        let mut asked = VecDeque::new();
        loop {
            while self.streams.len() < self.plan.count
                && self.streams.len() < self.counters.open + self.counters.broken + self.plan.at_a_time
            {
                self.open()?;
            }
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for event in &events[..ready] {
                if event.data() == STDIN {
                    let length = std::io::stdin().read(&mut self.buffer)?;
                    if length == 0 {
                        return Ok(());
                    }
                    asked.extend(&self.buffer[..length]);
                    while let Some(end) = asked.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = asked.drain(..=end).collect();
                        self.answer(&line)?;
                    }
                } else {
                    self.on(event.data() as usize);
                }
            }
        }
    }

    /// Begins one more.
    fn open(&mut self) -> anyhow::Result<()> {
        let index = self.streams.len();
        let number = self.plan.first + index;
        let fd: OwnedFd = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("no socket for one more stream")?;
        if self.plan.is_slow {
            setsockopt(&fd, sockopt::RcvBuf, &SLOW_BUFFER_BYTES)?;
        }
        let source = Ipv4Addr::new(127, 0, 1, 1 + (number / PER_ADDRESS) as u8);
        bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
        let to = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.plan.port));
        match connect(fd.as_raw_fd(), &to) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
        self.epoll.add(fd.as_fd(), EpollEvent::new(flags, index as u64))?;
        self.began.push(now_micros());
        self.streams.push(Some(Stream {
            socket: TcpStream::from(fd),
            decoder: Decoder::new(),
            check: Check::new(),
            is_asked: false,
            tally: Tally::default(),
        }));
        Ok(())
    }

    fn on(&mut self, index: usize) {
        if let Err(error) = self.step(index) {
            if self.counters.broken == 0 {
                self.counters.why = format!("stream {}: {error:#}", self.plan.first + index);
            }
            let gone = self.streams[index].take();
            self.counters.broken += 1;
            self.counters.open -= usize::from(gone.is_some_and(|stream| stream.decoder.is_open()));
        }
    }

    fn step(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(stream) = &mut self.streams[index] else { return Ok(()) };
        if !stream.is_asked {
            let request = self.plan.request(self.plan.first + index);
            // It fits into an empty buffer.
            match stream.socket.write(request.as_bytes()) {
                Ok(length) if length == request.len() => {}
                Ok(_) => bail!("a request that does not fit"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot connect"),
            }
            stream.is_asked = true;
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            self.epoll.modify(&stream.socket, &mut event)?;
            return Ok(());
        }
        let length = match stream.socket.read(&mut self.buffer) {
            Ok(0) if self.may_end && stream.decoder.is_over() => {
                self.streams[index] = None;
                self.counters.ended += 1;
                return Ok(());
            }
            Ok(0) => bail!("it ended"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("it broke"),
        };
        let (now, was_open) = (now_micros(), stream.decoder.is_open());
        let counters = &mut self.counters;
        counters.bytes += length as u64;
        let mut checked = Ok(());
        stream.decoder.feed(&self.buffer[..length], |line| {
            match stream.check.line(line, &mut self.expected) {
                Ok(Some((number, time))) => {
                    stream.tally.add(number);
                    counters.events += 1;
                    counters.times.add(now.saturating_sub(time));
                }
                Ok(None) => counters.heartbeats += u64::from(line == b"event: heartbeat"),
                Err(error) if checked.is_ok() => checked = Err(error),
                Err(_) => {}
            }
        })?;
        checked?;
        if !was_open && stream.decoder.is_open() {
            counters.open += 1;
            counters.compressed += usize::from(stream.decoder.is_compressed());
            counters.opening.add(now.saturating_sub(self.began[index]));
            if self.plan.is_slow {
                // From now on its bytes stay where they are.
                self.epoll.delete(&stream.socket)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, question: &[u8]) -> anyhow::Result<()> {
        let counters = &mut self.counters;
        let mut answer = json!({
            "open": counters.open, "events": counters.events, "broken": counters.broken, "why": counters.why,
            "ended": counters.ended
        });
        match question.trim_ascii() {
            b"count" => {}
            b"ending" => self.may_end = true,
            b"stats" => {
                let tally =
                    |stream: &Option<Stream>| stream.as_ref().map_or(Tally::default(), |stream| stream.tally);
                let own = self.streams.iter().map(tally);
                answer["streams"] = own.map(|tally| json!([tally.events, tally.sum])).collect();
                answer["bytes"] = counters.bytes.into();
                answer["heartbeats"] = counters.heartbeats.into();
                answer["compressed"] = counters.compressed.into();
                answer["times"] = counters.times.to_json();
                answer["opening"] = counters.opening.to_json();
            }
            b"reset" => {
                (counters.events, counters.bytes, counters.heartbeats) = (0, 0, 0);
                counters.times = Histogram::default();
                for stream in self.streams.iter_mut().flatten() {
                    stream.tally = Tally::default();
                }
            }
            other => bail!("no question: {}", String::from_utf8_lossy(other)),
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        Ok(out.flush()?)
    }
}
