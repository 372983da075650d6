//! A publisher's connection: kept alive while it can be, every failure with a name.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not connected.
    Connect(ErrorKind),
    /// The connection ended or broke. `is_kept`: it had carried an answer before.
    Broken { how: ErrorKind, is_kept: bool },
    /// What came is no answer.
    Malformed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(how) => write!(f, "connect: {how}"),
            Self::Broken { how, is_kept } => {
                write!(f, "{how} on a {} connection", if *is_kept { "kept" } else { "new" })
            }
            Self::Malformed(what) => write!(f, "malformed: {what}"),
        }
    }
}

/// A connection that is opened when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    port: u16,
    stream: Option<TcpStream>,
    is_kept: bool,
    seen: Vec<u8>,
}

impl Link {
    pub(super) fn new(port: u16) -> Self {
        Self { port, stream: None, is_kept: false, seen: Vec::new() }
    }

    /// Sends a request, on a new connection if there is none.
    pub(super) fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        if self.stream.is_none() {
            self.stream = Some(connect(self.port).map_err(|error| Failure::Connect(error.kind()))?);
            self.is_kept = false;
        }
        let mut stream = self.stream.as_ref().expect("opened above");
        let sent = stream.write_all(request);
        sent.map_err(|error| self.broken(error.kind()))
    }

    /// Reads the answer to what was sent last.
    pub(super) fn receive(&mut self) -> Result<Reply, Failure> {
        self.seen.clear();
        loop {
            if let Some((reply, closes)) = parse(&self.seen).map_err(|what| {
                self.stream = None;
                Failure::Malformed(what)
            })? {
                self.is_kept = true;
                if closes {
                    self.stream = None;
                }
                return Ok(reply);
            }
            let Some(mut stream) = self.stream.as_ref() else {
                return Err(Failure::Connect(ErrorKind::NotConnected));
            };
            let mut bytes = [0; 16 * 1024];
            match stream.read(&mut bytes) {
                Ok(0) => return Err(self.broken(ErrorKind::UnexpectedEof)),
                Ok(length) => self.seen.extend_from_slice(&bytes[..length]),
                Err(error) => return Err(self.broken(error.kind())),
            }
        }
    }

    fn broken(&mut self, how: ErrorKind) -> Failure {
        self.stream = None;
        // What a read that takes too long is called differs from system to system.
        let how = if how == ErrorKind::WouldBlock { ErrorKind::TimedOut } else { how };
        Failure::Broken { how, is_kept: self.is_kept }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

/// The answer and whether the connection ends with it, once all of it is there.
fn parse(seen: &[u8]) -> Result<Option<(Reply, bool)>, String> {
    let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let value = |name: &str| head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
    let length = value("content-length:").and_then(|length| length.parse::<usize>().ok());
    let (Some(status), Some(length)) = (status, length) else { return Err(head) };
    let Some(body) = seen[end + 4..].get(..length) else { return Ok(None) };
    let body = String::from_utf8_lossy(body).into_owned();
    Ok(Some((Reply { status, body }, value("connection:") == Some("close"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_whole_or_not_there_yet() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        for length in 0..answer.len() {
            assert!(parse(&answer[..length]).expect("nothing is wrong").is_none());
        }
        let (reply, closes) = parse(answer).expect("nothing is wrong").expect("whole");
        assert_eq!((reply.status, reply.body.as_str(), closes), (503, "{}", true));
        assert!(
            parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err(),
            "an answer without a length cannot be kept alive"
        );
    }
}
