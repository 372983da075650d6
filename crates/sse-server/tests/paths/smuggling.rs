//! Requests that two servers in a row may cut differently, sent through the shipped nginx: the hub sees one request or none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use sse_server::nginx::Tls;
use stack_tests::{Connection, Process, certify, eventually, free_port, request, within};

use crate::front::in_front_with;
use crate::server::Server;

/// What a request inside another would show in the hub's log.
const INNER: &str = "GET /sse/health/live?smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

struct Pair {
    server: Server,
    _nginx: Process,
    port: u16,
    tls_port: u16,
    markers: usize,
}

impl Pair {
    fn start() -> Self {
        let server = Server::start(&[]);
        let tls_port = free_port();
        let (certificate, key) = certify(server.folder(), "a");
        let (nginx, port) = in_front_with(&server, |settings| {
            settings.tls = Some(Tls { certificate, key, port: tls_port, redirect: None, hsts_seconds: 0 });
        });
        within(Duration::from_secs(10), "nginx listens for TLS", || {
            TcpStream::connect(("127.0.0.1", tls_port)).ok()
        });
        Self { server, _nginx: nginx, port, tls_port, markers: 0 }
    }

    fn log(&self) -> Vec<String> {
        self.server.process.lines().into_iter().filter(|line| line.contains(" HTTP/1.1\" ")).collect()
    }

    /// How many requests the hub has seen since, all of them being in its log: a publish follows, over the connections that
    /// publishes share, and is answered as itself.
    #[track_caller]
    fn requests_since(&mut self, before: usize, shape: &str) -> Vec<String> {
        self.markers += 1;
        let marker = format!("/sse/publish?marker={}", self.markers);
        let answer = request(self.port, "POST", &marker, &[("Content-Type", "application/json")], "{}");
        assert_eq!(answer.status, 401, "after {shape:?} the next publish is answered as itself: {answer:?}");
        let text = format!("POST {marker} HTTP/1.1");
        eventually("the marker is in the log", || self.log().iter().any(|line| line.contains(&text)));
        let seen = self.log().split_off(before);
        seen.into_iter().filter(|line| !line.contains("marker=")).collect()
    }

    /// What is wrong with what the hub saw of a shape of which it may see `expected` requests.
    #[track_caller]
    fn check(&mut self, shape: &str, expected: usize, send: impl FnOnce(&Self)) -> Option<String> {
        let before = self.log().len();
        send(self);
        let seen = self.requests_since(before, shape);
        let is_right =
            seen.len() == expected && !seen.iter().any(|line| line.contains("GET /sse/health/live?smuggled"));
        (!is_right).then(|| format!("{shape}: {expected} expected, seen {seen:#?}"))
    }
}

/// The attacks: bytes that nginx takes for a body and the hub for a request, or the other way round.
#[test]
fn no_request_hides_in_another_over_http_1_1() {
    let mut pair = Pair::start();
    let long = INNER.len();
    let publish = "POST /sse/publish HTTP/1.1\r\nHost: a\r\n";
    let live = "GET /sse/health/live HTTP/1.1\r\nHost: a\r\n";
    let chunk = format!("{long:x}\r\n{INNER}\r\n0\r\n\r\n");
    #[rustfmt::skip]
    let shapes = [
        // name, bytes, and how many requests the hub sees: one where the shape is allowed, or none
        ("CL.TE", format!("{publish}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}", long + 5), 0),
        ("TE.CL", format!("{publish}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}"), 0),
        ("two lengths, the first one right", format!("{publish}Content-Length: {long}\r\nContent-Length: 0\r\n\r\n{INNER}"), 0),
        ("two lengths, the second one right", format!("{publish}Content-Length: 0\r\nContent-Length: {long}\r\n\r\n{INNER}"), 0),
        ("the same length twice", format!("{publish}Content-Length: {long}\r\nContent-Length: {long}\r\n\r\n{INNER}"), 0),
        ("a list of lengths", format!("{publish}Content-Length: {long}, {long}\r\n\r\n{INNER}"), 0),
        ("a length with a sign", format!("{publish}Content-Length: +{long}\r\n\r\n{INNER}"), 0),
        ("a length in hex", format!("{publish}Content-Length: 0x{long:x}\r\n\r\n{INNER}"), 0),
        ("a length on the next line (obs-fold)", format!("{publish}X: y\r\n Content-Length: 0\r\nContent-Length: {long}\r\nConnection: close\r\n\r\n{INNER}"), 0),
        ("a space before the colon", format!("{publish}Transfer-Encoding : chunked\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{chunk}", chunk.len()), 0),
        ("a tab after the colon", format!("{publish}Transfer-Encoding:\tchunked\r\nConnection: close\r\n\r\n{chunk}"), 0),
        ("a vertical tab before chunked", format!("{publish}Transfer-Encoding: \x0bchunked\r\n\r\n{chunk}"), 0),
        ("chunked twice", format!("{publish}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), 0),
        ("chunked and identity", format!("{publish}Transfer-Encoding: chunked, identity\r\n\r\n{chunk}"), 0),
        ("another encoding", format!("{publish}Transfer-Encoding: xchunked\r\n\r\n{chunk}"), 0),
        ("chunks", format!("{publish}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), 1),
        ("chunk extensions", format!("{publish}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{long:x};a=b;c=\"d\"\r\n{INNER}\r\n0;e\r\n\r\n"), 1),
        ("trailers", format!("{publish}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{long:x}\r\n{INNER}\r\n0\r\nContent-Length: 5\r\n\r\n"), 1),
        ("a chunk too long for a number", format!("{publish}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{INNER}"), 0),
        ("a negative chunk", format!("{publish}Transfer-Encoding: chunked\r\n\r\n-1\r\n{INNER}"), 0),
        ("chunked in HTTP/1.0", format!("POST /sse/publish HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), 0),
        ("bare line feeds", "GET /sse/health/live HTTP/1.1\nHost: a\nConnection: close\n\n".to_owned(), 1),
        ("a bare line feed inside a value", format!("{live}X: y\nConnection: close\r\n\r\n"), 1),
        ("a bare carriage return inside a value", format!("{live}X: y\rGET /sse/health/live?smuggled HTTP/1.1\r\nConnection: close\r\n\r\n"), 0),
        ("a NUL inside a value", format!("{live}X: y\0z\r\nConnection: close\r\n\r\n"), 0),
        ("headers with underscores", format!("{publish}Content_Length: 3\r\nTransfer_Encoding: chunked\r\nContent-Length: {long}\r\nConnection: close\r\n\r\n{INNER}"), 1),
        ("an absolute form with another host", "GET http://other.example/sse/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 1),
        ("two hosts", format!("{live}Host: b\r\nConnection: close\r\n\r\n"), 0),
        ("HTTP/0.9", "GET /sse/health/live\r\n".to_owned(), 1),
        ("a version that there is not", "GET /sse/health/live HTTP/1.10\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 1),
        ("a GET with a body", format!("{live}Content-Length: {long}\r\nConnection: close\r\n\r\n{INNER}"), 1),
        ("a GET with a body in chunks", format!("{live}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}"), 1),
        ("an upgrade with a body", format!("{live}Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: {long}\r\n\r\n{INNER}"), 1),
        ("connection names other headers", format!("{publish}Connection: close, Content-Length\r\nContent-Length: {long}\r\n\r\n{INNER}"), 1),
        ("a request line inside a path", "GET /sse/health/live?%20HTTP/1.1%0d%0a%0d%0aGET%20/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 1),
    ];
    let count = shapes.len();
    let mut wrong = Vec::new();
    for (name, bytes, expected) in shapes {
        wrong.extend(pair.check(name, expected, |pair| {
            let mut connection = Connection::open([127, 0, 0, 1], pair.port).unwrap();
            connection.send(bytes.as_bytes());
            // nginx closes what it refuses, and what asked to be closed.
            connection.to_end_quietly();
        }));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{count} shapes over HTTP/1.1");
}

/// One frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Headers as literals that are not compressed (RFC 7541, 6.2.2), whatever they hold.
fn literals(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A name, headers, a body, and how many requests the hub sees.
type Shape<'a> = (&'static str, Vec<(&'a str, &'a str)>, Option<&'static str>, usize);

/// TLS by openssl, HTTP/2 by hand.
struct H2(Child);

impl Drop for H2 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl H2 {
    fn send(port: u16, frames: &[Vec<u8>]) {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-alpn", "h2", "-connect", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let _child = H2(child);
        to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        to.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        for frame in frames {
            // nginx may have hung up.
            let _ = to.write_all(frame);
        }
        let _ = to.flush();
        answered(from);
    }
}

/// Reads until the first stream has ended, one way or another.
fn answered(mut from: ChildStdout) {
    let mut head = [0; 9];
    while from.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if from.read_exact(&mut payload).is_err() {
            return;
        }
        let (kind, flags) = (head[3], head[4]);
        let has_ended = stream == 1 && (kind == RST_STREAM || kind <= HEADERS && flags & END_STREAM != 0);
        if has_ended || kind == GOAWAY {
            return;
        }
    }
}

/// The attacks: what HTTP/2 can carry and HTTP/1.1, which nginx speaks to the hub, would read as something else.
#[test]
fn no_request_hides_in_another_over_h2() {
    let mut pair = Pair::start();
    let long = INNER.len().to_string();
    let post = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/sse/publish")];
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/sse/health/live")];
    let line = "y\r\nX: z\r\n\r\nGET /sse/health/live?smuggled HTTP/1.1\r\nHost: a";
    let mut path = get;
    path[3].1 = "/sse/health/live HTTP/1.1\r\n\r\nGET /sse/health/live?smuggled";
    let mut spaced = get;
    spaced[3].1 = "/sse/health/live?smuggled HTTP/1.1 x";
    let mut method = get;
    method[0].1 = "GET /sse/health/live?smuggled HTTP/1.1\r\n\r\nGET";
    let mut authority = get;
    authority[2].1 = "a\r\n\r\nGET /sse/health/live?smuggled HTTP/1.1";
    let mut scheme = get;
    scheme[1].1 = "https\r\n\r\nGET /sse/health/live?smuggled HTTP/1.1";
    #[rustfmt::skip]
    let shapes: [Shape<'_>; 21] = [
        ("a plain GET", get.to_vec(), None, 1),
        ("a plain POST", post.to_vec(), Some(INNER), 1),
        ("the right length", [&post[..], &[("content-length", &long)]].concat(), Some(INNER), 1),
        ("a length too short", [&post[..], &[("content-length", "0")]].concat(), Some(INNER), 0),
        ("a length too short by much", [&post[..], &[("content-length", "5")]].concat(), Some(INNER), 0),
        ("a length too long", [&post[..], &[("content-length", "1000")]].concat(), Some(INNER), 0),
        ("two lengths", [&post[..], &[("content-length", &long), ("content-length", "0")]].concat(), Some(INNER), 0),
        ("a length that is no number", [&post[..], &[("content-length", "5, 5")]].concat(), Some(INNER), 0),
        ("transfer-encoding", [&post[..], &[("transfer-encoding", "chunked")]].concat(), Some("0\r\n\r\nGET /sse/health/live?smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), 1),
        ("transfer-encoding and a length", [&post[..], &[("transfer-encoding", "chunked"), ("content-length", &long)]].concat(), Some(INNER), 0),
        ("a line break in a value", [&get[..], &[("x", line)]].concat(), None, 0),
        ("a line feed in a value", [&get[..], &[("x", "y\nGET /sse/health/live?smuggled HTTP/1.1")]].concat(), None, 0),
        ("a NUL in a value", [&get[..], &[("x", "y\0z")]].concat(), None, 0),
        ("a line break in a name", [&get[..], &[("x: y\r\ntransfer-encoding", "chunked")]].concat(), None, 0),
        ("a colon in a name", [&get[..], &[("transfer-encoding: chunked", "x")]].concat(), None, 0),
        ("a line break in the path", path.to_vec(), None, 0),
        ("a space in the path", spaced.to_vec(), None, 0),
        ("a line break in the method", method.to_vec(), None, 0),
        ("a line break in the host", authority.to_vec(), None, 0),
        ("a line break in the scheme", scheme.to_vec(), None, 0),
        ("a body with a GET", get.to_vec(), Some(INNER), 1),
    ];
    let count = shapes.len();
    let mut wrong = Vec::new();
    for (name, headers, body, expected) in shapes {
        let block = literals(&headers);
        let mut frames =
            vec![frame(HEADERS, END_HEADERS | if body.is_none() { END_STREAM } else { 0 }, 1, &block)];
        frames.extend(body.map(|body| frame(DATA, END_STREAM, 1, body.as_bytes())));
        wrong.extend(pair.check(name, expected, |pair| H2::send(pair.tls_port, &frames)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{count} shapes over HTTP/2");
}
