//! Plain HTTP over a socket, so that a test sees every byte and chooses its own source address.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::os::fd::AsRawFd;

/// The longest that a read may wait.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the stacks of the tests listen.
const FIRST_PORT: u16 = 20_000;
const PORTS: u32 = 10_000;

/// A connection to a port of this machine.
pub struct Connection {
    stream: TcpStream,
    /// What was read so far.
    pub seen: Vec<u8>,
}

impl Connection {
    /// Connects from this address of the loopback network.
    pub fn open(from: [u8; 4], port: u16) -> io::Result<Self> {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let [a, b, c, d] = from;
        bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
        connect(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
        let stream = TcpStream::from(fd);
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream, seen: Vec::new() })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes the request");
    }

    /// Reads until what was seen contains `text`, and returns everything seen.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        self.until_nth(text, 1)
    }

    /// Reads until what was seen contains `text` so many times, and returns everything seen.
    #[track_caller]
    pub fn until_nth(&mut self, text: &str, count: usize) -> String {
        loop {
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if seen.matches(text).count() >= count {
                return seen;
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("the connection ended before {text:?} came: {seen}"),
                Ok(n) => self.seen.extend_from_slice(&bytes[..n]),
                Err(error) => panic!("{text:?} did not come ({error}): {seen}"),
            }
        }
    }

    /// Reads until the end, if it comes, and returns everything seen.
    pub fn to_end_quietly(mut self) -> Option<String> {
        self.stream.read_to_end(&mut self.seen).ok()?;
        Some(String::from_utf8_lossy(&self.seen).into_owned())
    }

    /// Reads until the end, and returns everything seen.
    #[track_caller]
    pub fn to_end(mut self) -> String {
        self.stream.read_to_end(&mut self.seen).expect("the server ends the connection");
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body, with its chunks put together.
    pub body: String,
}

impl Answer {
    /// Takes an answer apart that was read to its end.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let head = head.to_lowercase();
        let body = if head.contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_owned() };
        Self { status, head, body }
    }

    /// The value of a header, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{}:", name.to_lowercase());
        self.head.lines().find_map(|line| Some(line.strip_prefix(&prefix)?.trim()))
    }
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || after.len() < length {
            break;
        }
        body.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
    }
    body
}

/// One request on a connection of its own, answered to its end.
#[track_caller]
pub fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let home = Ipv4Addr::LOCALHOST.octets();
    let mut connection = Connection::open(home, port).expect("the server listens");
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    connection.send(format!("{text}\r\n{body}").as_bytes());
    let answer = connection.to_end();
    Answer::parse(&answer)
}

/// A free port below those that the system gives to outgoing connections, so that no reader takes it before nginx does. Tests
/// are processes of their own: each begins to look at a place of its own.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() + CALLS.fetch_add(1, Ordering::Relaxed) * 499;
    (0..PORTS)
        .map(|step| FIRST_PORT + ((first + step) % PORTS) as u16)
        .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
        .expect("a free port")
}
