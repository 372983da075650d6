//! The floor: one blocking `send` for each client and event, the same bytes as sse-server's, and nothing else.
//!
//! One thread. Whoever asks for a stream gets a greeting and every event from then on, whatever its topic; a publish
//! is answered when all have been sent to.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, MsgFlags, listen, send};
use stack_tests::free_port;

use super::{Family, Needs, Server};
use crate::readers::now_micros;

/// What the command line begins with, behind the path of this binary.
pub(crate) const WORD: &str = "fanout-floor";
const LISTENER: u64 = u64::MAX;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
                    transfer-encoding: chunked\r\n\r\n12\r\nevent: connected\n\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// A running one.
pub(crate) struct Floor(Family);

impl Floor {
    pub(super) fn start(needs: &Needs) -> anyhow::Result<Self> {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe()?);
        command.args([WORD, &port.to_string()]);
        Ok(Self(Family::start(command, &needs.folder, port, 1)?))
    }
}

impl Server for Floor {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn pids(&self) -> Vec<i32> {
        self.0.pids()
    }
}

/// Serves until it is killed.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [port] = words else { bail!("{WORD} PORT") };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    listen(&listener, Backlog::new(4096)?)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let (mut asking, mut clients) = (Vec::new(), Vec::new());
    let mut events = vec![EpollEvent::empty(); 64];
    let mut sequence = 0_u64;
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let number = asking.len() as u64;
                epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
                asking.push(Some((stream, Vec::new())));
                continue;
            }
            let number = event.data() as usize;
            let Some((stream, seen)) = &mut asking[number] else { continue };
            let mut bytes = [0; 16 * 1024];
            let length = stream.read(&mut bytes).unwrap_or(0);
            if length == 0 {
                asking[number] = None;
                continue;
            }
            seen.extend_from_slice(&bytes[..length]);
            if seen.starts_with(b"GET ") && seen.ends_with(b"\r\n\r\n") {
                let Some((stream, _)) = asking[number].take() else { continue };
                epoll.delete(&stream)?;
                send_all(&stream, HEAD.as_bytes())?;
                clients.push(stream);
            } else if let Some(data) = published(seen)? {
                sequence += 1;
                let event = format!("id: {}-{sequence}\ndata: {data}\n\n", now_micros() / 1000);
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                clients.retain(|client| send_all(client, chunk.as_bytes()).is_ok());
                seen.clear();
                stream.write_all(ANSWER)?;
            }
        }
    }
}

/// One call for all, unless the kernel takes less.
fn send_all(stream: &TcpStream, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        let sent = send(stream.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// The data of a publish, once it is whole.
fn published(request: &[u8]) -> anyhow::Result<Option<&str>> {
    let text = std::str::from_utf8(request)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    let length: usize = length.context("a publish without a length")?.parse()?;
    if body.len() < length {
        return Ok(None);
    }
    let (_, data) = body.split_once("\"data\":").context("a publish without data")?;
    Ok(data.strip_suffix('}'))
}
