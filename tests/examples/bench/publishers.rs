//! Publishers that cost the machine little: raw requests, one thread for all connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use stack_tests::TOKEN;

/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One publisher's connection.
pub(crate) struct Publisher {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Publisher {
    pub(crate) fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, seen: Vec::with_capacity(4096) })
    }

    /// Publishes and waits for the answer's body.
    pub(crate) fn publish(&mut self, body: &str) -> anyhow::Result<String> {
        self.send(&request(body))?;
        loop {
            if let Some(body) = self.receive()? {
                return Ok(body);
            }
        }
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.seen.clear();
        self.stream.write_all(request).context("cannot publish")
    }

    /// Reads once; the body, if the answer is whole by then.
    fn receive(&mut self) -> anyhow::Result<Option<String>> {
        let mut bytes = [0; 64 * 1024];
        let length = self.stream.read(&mut bytes).context("no answer to a publish")?;
        self.seen.extend_from_slice(&bytes[..length]);
        let Some(end) = self.seen.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if length == 0 { bail!("the server hung up") } else { Ok(None) };
        };
        let head = std::str::from_utf8(&self.seen[..end])?;
        let body_length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .context("an answer without a length")?;
        let Some(body) = self.seen.get(end + 4..end + 4 + body_length) else {
            return if length == 0 { bail!("the server hung up") } else { Ok(None) };
        };
        if !head.starts_with("HTTP/1.1 200 ") {
            bail!("a publish was answered {head}: {}", String::from_utf8_lossy(body));
        }
        Ok(Some(String::from_utf8(body.to_vec())?))
    }
}

/// A whole request.
fn request(body: &str) -> Vec<u8> {
    format!(
        "POST /sse/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Publishes per second that so many connections are answered, each waiting for its answer before it goes on.
pub(crate) fn rate(port: u16, connections: usize, body: &str, time: Duration) -> anyhow::Result<f64> {
    let request = request(body);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut publishers = Vec::new();
    for n in 0..connections {
        let mut publisher = Publisher::open(port)?;
        epoll.add(&publisher.stream, EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
        publisher.send(&request)?;
        publishers.push(publisher);
    }
    let warm = time / 6;
    let (mut began, mut count, mut is_warm) = (Instant::now(), 0_u64, false);
    let mut events = vec![EpollEvent::empty(); connections];
    while !is_warm || began.elapsed() < time {
        if !is_warm && began.elapsed() >= warm {
            (began, count, is_warm) = (Instant::now(), 0, true);
        }
        let ready = epoll.wait(&mut events, EpollTimeout::try_from(ANSWER_MAX)?)?;
        if ready == 0 {
            bail!("no answer to a publish within {ANSWER_MAX:?}");
        }
        for event in &events[..ready] {
            let publisher = &mut publishers[event.data() as usize];
            if publisher.receive()?.is_some() {
                count += 1;
                publisher.send(&request)?;
            }
        }
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
