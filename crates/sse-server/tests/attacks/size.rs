//! The attack: requests that are too large, by their body, their headers, their query, or once they are unpacked.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::poll::{PollFd, PollFlags, poll};
use stack_tests::{Answer, request};

use crate::front::in_front;
use crate::measure::{assert_growth, memory, rounds};
use crate::server::{Server, assert_problem};

const PUBLISH: &str = "POST /sse/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-token\r\n\
                       Content-Type: application/json\r\nConnection: close\r\n";
const GIB: usize = 1 << 30;
/// What may be on its way in the kernel when a server stops reading.
const UNDERWAY_MAX: usize = 32 << 20;

/// Sends a head and then pieces for as long as they are taken; the answer, and the bytes that were taken.
#[track_caller]
fn flood(port: u16, head: &str, piece: &[u8], bytes_max: usize) -> (Answer, usize) {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut sent, mut answer) = (0, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut ended, mut closed) = (false, false);
    while !ended {
        assert!(Instant::now() < deadline, "no answer after {sent} bytes");
        let mut room = [0; 4096];
        match socket.read(&mut room) {
            Ok(0) => ended = true,
            Ok(n) => answer.extend_from_slice(&room[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => ended = true,
        }
        if answer.is_empty() && sent < bytes_max && !closed {
            let from = sent % piece.len();
            match socket.write(&piece[from..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let flags = PollFlags::POLLIN | PollFlags::POLLOUT;
                    let _ = poll(&mut [PollFd::new(socket.as_fd(), flags)], 100_u8);
                }
                // It has read enough; its answer may still be on its way.
                Err(_) => closed = true,
            }
        } else {
            let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], 100_u8);
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (Answer::parse(&answer), sent)
}

#[test]
fn body_of_a_gigabyte_is_refused_early_and_costs_no_memory() {
    let server = Server::start(&[]);
    let (_nginx, proxied) = in_front(&server, &[]);
    // What a request costs once is no growth.
    assert_eq!(server.post("/sse/publish", r#"{"topic":"a","data":1}"#).status, 200);
    let before = memory(&server);
    let spaces = vec![b' '; 1 << 20];
    let chunk = [b"100000\r\n", &spaces[..], b"\r\n"].concat();
    let detail = "the body is above the limit of 4194304 bytes";
    for (port, by) in [(server.port(), "the hub"), (proxied, "nginx")] {
        let head = format!("{PUBLISH}Content-Length: {GIB}\r\n\r\n");
        let (answer, sent) = flood(port, &head, &spaces, GIB);
        assert_eq!(answer.status, 413, "{by}: {answer:?}");
        assert!(sent < UNDERWAY_MAX, "{by} took {sent} bytes of an announced gigabyte");
        let (answer, sent) =
            flood(port, &format!("{PUBLISH}Transfer-Encoding: chunked\r\n\r\n"), &chunk, GIB);
        assert_eq!(answer.status, 413, "{by}: {answer:?}");
        assert!(sent < UNDERWAY_MAX, "{by} took {sent} bytes of a body without end");
    }
    // Before any of it has come.
    let (answer, _) = flood(server.port(), &format!("{PUBLISH}Content-Length: {GIB}\r\n\r\n"), b" ", 0);
    assert_problem(&answer, 413, "Content Too Large", detail);
    let many = [(); 8].map(|()| {
        let (port, chunk) = (server.port(), chunk.clone());
        std::thread::spawn(move || {
            flood(port, &format!("{PUBLISH}Transfer-Encoding: chunked\r\n\r\n"), &chunk, GIB).0.status
        })
    });
    assert_eq!(many.map(|one| one.join().unwrap()), [413; 8]);
    assert_growth(&server, before, "bodies of 1 GB, eight at once", 64 << 10);
    assert_eq!(server.post("/sse/publish", r#"{"topic":"a","data":1}"#).status, 200);
}

#[test]
fn headers_without_end_are_refused_and_cost_no_memory() {
    let server = Server::start(&[]);
    let (_nginx, proxied) = in_front(&server, &[]);
    assert_eq!(server.ask("GET", "/sse/health/live").status, 200);
    let before = memory(&server);
    let get = "GET /sse/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let long = vec![b'a'; 1 << 16];
    let many = b"X-Header: a\r\n".repeat(1000);
    for (port, by) in [(server.port(), "the hub"), (proxied, "nginx")] {
        for _ in 0..rounds(3, 30) {
            for (head, piece) in [(format!("{get}X-Long: "), &long), (get.to_owned(), &many)] {
                let (answer, sent) = flood(port, &head, piece, 64 << 20);
                assert!((400..500).contains(&answer.status), "{by}: {answer:?}");
                assert!(sent < UNDERWAY_MAX, "{by} took {sent} bytes of headers");
            }
            let (answer, _) = flood(port, "GET /", &long, 64 << 20);
            assert!((400..500).contains(&answer.status), "{by}: {answer:?}");
        }
    }
    assert_growth(&server, before, "headers without end", 32 << 10);
    assert_eq!(server.ask("GET", "/sse/health/live").status, 200);
}

#[test]
fn query_of_10_000_parameters_is_looked_through_once() {
    let server = Server::start(&[]);
    let (_nginx, proxied) = in_front(&server, &[]);
    let ask = |query: String| request(server.port(), "HEAD", &format!("/sse?{query}"), &[], "").status;
    let began = Instant::now();
    assert_eq!(ask("x=1&".repeat(10_000)), 200, "a page's own parameters are nobody's business");
    assert_eq!(ask("topic=a&".repeat(10_000)), 400);
    assert_eq!(ask(format!("topic={}", "a,".repeat(10_000))), 400);
    assert_eq!(ask("%".repeat(10_000)), 200);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let answer = request(server.port(), "GET", &format!("/sse?{}", "topic=a&".repeat(8_000)), &[], "");
    assert_problem(&answer, 400, "Bad Request", "a stream may name at most 256 topics and types");
    let path = format!("/sse?{}", "x=1&".repeat(10_000));
    assert_eq!(request(proxied, "GET", &path, &[], "").status, 414);
}

/// The attack: a few kilobytes that become a gigabyte once they are unpacked.
#[test]
fn compressed_body_is_refused_and_not_unpacked() {
    let env = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")];
    let server = Server::start(&env);
    let (_nginx, proxied) = in_front(&server, &[]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    // One member after the other is one text.
    let bomb = gzip.finish().unwrap().repeat(1024);
    assert!(bomb.len() < 4 << 20, "{} bytes", bomb.len());
    let before = memory(&server);
    let post = |port: u16, path: &str, encoding: &str, body: &[u8]| {
        let head = PUBLISH.replace("/sse/publish", path);
        let length = body.len();
        let head = format!("{head}Content-Encoding: {encoding}\r\nContent-Length: {length}\r\n\r\n");
        flood(port, &head, body, length).0
    };
    for port in [server.port(), proxied] {
        for path in ["/sse/publish", "/events/broadcast"] {
            for encoding in ["gzip", "GZIP", "deflate", "br", "identity, gzip"] {
                let answer = post(port, path, encoding, &bomb);
                let detail =
                    format!("the content encoding {encoding:?} is not taken: send the body as it is");
                assert_problem(&answer, 415, "Unsupported Media Type", &detail);
            }
        }
        let answer = post(port, "/login", "gzip", &bomb[..1000]);
        let error = r#"the content encoding \"gzip\" is not taken: send the body as it is"#;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.body, format!("{{\"success\":false,\"error\":\"{error}\"}}"));
        let answer = post(port, "/sse/publish", "identity", br#"{"topic":"a","data":1}"#);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_growth(&server, before, "bodies that would be 1 GB", 16 << 10);
}
