//! The publishers: keep-alive connections, one event a request, each waiting for its answer before it goes on.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use stack_tests::TOKEN;

use super::event;
use crate::readers::now_micros;

/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How a publish is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// Topic and data as JSON in the body, as sse-server takes it.
    Json,
    /// The topic in the query and nothing but the data in the body.
    Query,
}

/// What was published since the last reset.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Published {
    /// How many events.
    pub(crate) events: u64,
    /// Their numbers added up.
    pub(crate) sum: u64,
}

/// Connections of publishers, driven by the thread that calls.
pub(crate) struct Publishers {
    wording: Wording,
    connections: Vec<Connection>,
    epoll: Epoll,
    next: u64,
    event_bytes: usize,
    topic: String,
    topics: u64,
}

struct Connection {
    stream: TcpStream,
    seen: Vec<u8>,
    is_waiting: bool,
}

impl Publishers {
    /// Opens so many. `#` in the topic becomes a number that runs below `topics`.
    pub(crate) fn open(
        port: u16,
        wording: Wording,
        count: usize,
        topic: &str,
        topics: u64,
        event_bytes: usize,
    ) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut connections = Vec::new();
        for n in 0..count {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot publish")?;
            stream.set_nodelay(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
            connections.push(Connection { stream, seen: Vec::new(), is_waiting: false });
        }
        let event_bytes = event_bytes.max(event::BYTES_MIN);
        Ok(Self {
            wording,
            connections,
            epoll,
            next: event::NUMBER_FIRST,
            event_bytes,
            topic: topic.to_owned(),
            topics,
        })
    }

    /// Publishes so many events, as fast as answers come.
    pub(crate) fn count(&mut self, events: u64) -> anyhow::Result<Published> {
        self.drive(|done, _| if done < events { Step::Now } else { Step::End })
    }

    /// Publishes as fast as answers come.
    pub(crate) fn full(&mut self, time: Duration) -> anyhow::Result<Published> {
        self.drive(|_, since| if since < time { Step::Now } else { Step::End })
    }

    /// Publishes so many events a second, evenly.
    pub(crate) fn paced(&mut self, rate: f64, time: Duration) -> anyhow::Result<Published> {
        self.drive(|done, since| {
            if since >= time {
                return Step::End;
            }
            let due = Duration::from_secs_f64(done as f64 / rate);
            if due <= since { Step::Now } else { Step::After(due - since) }
        })
    }

    fn drive(&mut self, next: impl Fn(u64, Duration) -> Step) -> anyhow::Result<Published> {
        let (began, mut published) = (Instant::now(), Published::default());
        let mut events = vec![EpollEvent::empty(); self.connections.len()];
        loop {
            let mut wait = ANSWER_MAX;
            let mut is_over = false;
            while let Some(n) = self.connections.iter().position(|connection| !connection.is_waiting) {
                match next(published.events, began.elapsed()) {
                    Step::Now => {
                        published.events += 1;
                        published.sum = published.sum.wrapping_add(self.next);
                        self.send(n)?;
                    }
                    Step::After(time) => {
                        wait = time;
                        break;
                    }
                    Step::End => {
                        is_over = true;
                        break;
                    }
                }
            }
            if is_over && self.connections.iter().all(|connection| !connection.is_waiting) {
                return Ok(published);
            }
            let wait_ms = u16::try_from(wait.as_millis()).unwrap_or(u16::MAX);
            if wait_ms == 0 {
                let _ = nix::poll::ppoll(&mut [], Some(wait.into()), None);
            }
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(wait_ms))?;
            if ready == 0 && wait >= ANSWER_MAX {
                bail!("no answer to a publish within {ANSWER_MAX:?}");
            }
            for event in &events[..ready] {
                self.connections[event.data() as usize].receive()?;
            }
        }
    }

    fn send(&mut self, n: usize) -> anyhow::Result<()> {
        let topic = self.topic.replace('#', &(self.next % self.topics.max(1)).to_string());
        let data = event::data(self.next, now_micros(), self.event_bytes);
        self.next += 1;
        let (path, body) = match self.wording {
            Wording::Json => {
                ("/sse/publish".to_owned(), format!("{{\"topic\":\"{topic}\",\"data\":{data}}}"))
            }
            Wording::Query => (format!("/sse/publish?topic={topic}"), data),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let connection = &mut self.connections[n];
        connection.is_waiting = true;
        connection.seen.clear();
        connection.stream.write_all(request.as_bytes()).context("cannot publish")
    }
}

enum Step {
    Now,
    After(Duration),
    End,
}

impl Connection {
    /// Reads once.
    fn receive(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 8192];
        let length = self.stream.read(&mut bytes).context("no answer to a publish")?;
        if length == 0 {
            bail!("the server hung up on a publisher: {}", String::from_utf8_lossy(&self.seen));
        }
        self.seen.extend_from_slice(&bytes[..length]);
        if let Some(end) = self.seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&self.seen[..end])?.to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
                .context("an answer without a length")?;
            if self.seen.len() >= end + 4 + length {
                if !head.starts_with("http/1.1 20") {
                    let answer = String::from_utf8_lossy(&self.seen);
                    bail!(
                        "a publish was answered {}",
                        answer.split_whitespace().collect::<Vec<_>>().join(" ")
                    );
                }
                self.is_waiting = false;
            }
        }
        Ok(())
    }
}
