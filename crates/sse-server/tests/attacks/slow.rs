//! The attack: hundreds of connections whose requests never end, a byte now and then, so that no other is answered.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use stack_tests::Connection;

use crate::front::in_front;
use crate::measure::{assert_growth, memory, rounds};
use crate::server::Server;

/// How a request begins, and how it goes on: in its head, in its body with a length and without, and in a body that nobody
/// wants, since it comes without a token or for something that takes none.
const SLOW: [(&str, &[u8]); 6] = [
    ("GET /sse HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x"),
    (
        "POST /sse/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-token\r\n\
         Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
        b" ",
    ),
    (
        "POST /sse/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-token\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNK,
    ),
    ("POST /sse/publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
    ("GET /sse/health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
    (
        "OPTIONS /sse HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        CHUNK,
    ),
];
const CHUNK: &[u8] = b"1\r\n \r\n";

/// From one byte to the next.
const DRIP_MS: u8 = 50;
/// The longest that a publish and its delivery may take meanwhile. Without slow clients it is a few milliseconds.
const DELIVERY_MAX: Duration = Duration::from_secs(2);

struct Slow {
    open: Vec<(TcpStream, &'static [u8])>,
}

impl Slow {
    /// The same number of each kind.
    fn open(port: u16, count: usize) -> Self {
        let open = (0..count).map(|n| {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let (begin, more) = SLOW[n % SLOW.len()];
            socket.write_all(begin.as_bytes()).unwrap();
            socket.set_nonblocking(true).unwrap();
            (socket, more)
        });
        Self { open: open.collect() }
    }

    /// A little more from each, and a look at who was closed.
    fn drip(&mut self) {
        self.open.retain_mut(|(socket, more)| {
            let wrote = socket.write(more);
            let mut seen = [0; 4096];
            let is_open = |result: std::io::Result<usize>| match result {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            is_open(wrote) && is_open(socket.read(&mut seen))
        });
    }

    /// Until there is more, or until one is told something.
    fn wait(&self) {
        let mut watched: Vec<PollFd<'_>> =
            self.open.iter().map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut watched, DRIP_MS);
    }
}

/// Drips until `enough`, while events are published and read; returns the longest that one of them took.
#[track_caller]
fn endure(
    server: &Server,
    slow: &mut Slow,
    reader: &mut Connection,
    mut enough: impl FnMut(&Slow, usize) -> bool,
) -> Duration {
    let mut worst = Duration::ZERO;
    let mut round = 0;
    while !enough(slow, round) {
        slow.drip();
        let began = Instant::now();
        let answer = server.post("/sse/publish", &format!(r#"{{"topic":"a","data":"event {round}."}}"#));
        assert_eq!(answer.status, 200, "{answer:?}");
        reader.until(&format!("data: event {round}.\n"));
        reader.seen.clear();
        worst = worst.max(began.elapsed());
        round += 1;
        slow.wait();
    }
    worst
}

#[test]
fn slow_requests_are_ended_in_time_and_nobody_waits_for_them() {
    let count = rounds(200, 500);
    let server = Server::start(&[("SSE_REQUEST_TIMEOUT", "2"), ("SSE_CORS_ORIGINS", "https://app.example")]);
    let (mut reader, _) = server.stream("/sse?topic=a");
    let before = memory(&server);
    let began = Instant::now();
    let mut slow = Slow::open(server.port(), count);
    let deadline = began + Duration::from_secs(30);
    let worst = endure(&server, &mut slow, &mut reader, |slow, _| {
        assert!(Instant::now() < deadline, "{} slow requests are still open", slow.open.len());
        slow.open.is_empty()
    });
    println!(
        "{count} slow clients: all closed after {:?}, the slowest delivery took {worst:?}",
        began.elapsed()
    );
    assert!(began.elapsed() >= Duration::from_secs(2), "a client that is merely slow has its time");
    assert!(worst < DELIVERY_MAX, "{worst:?}");
    assert_eq!(server.health()["connections"]["active"], 1, "none of them has a place among the streams");
    assert_growth(&server, before, "500 slow clients", 24 << 10);
}

#[test]
fn slow_requests_stay_in_nginx_and_nobody_waits_for_them() {
    let count = rounds(200, 500);
    let server = Server::start(&[]);
    let (_nginx, port) = in_front(&server, &[]);
    let server = server.behind(port);
    let (mut reader, _) = server.stream("/sse?topic=a");
    let mut slow = Slow::open(port, count);
    let worst = endure(&server, &mut slow, &mut reader, |_, round| round == rounds(20, 200));
    println!("{count} slow clients of nginx: {} open, the slowest delivery took {worst:?}", slow.open.len());
    assert!(worst < DELIVERY_MAX, "{worst:?}");
    // nginx asks the hub nothing until a request is whole: what reached it are the publishes that went on meanwhile.
    let published = server.health()["events"]["published"].as_u64().unwrap();
    assert_eq!(published, rounds(20, 200) as u64);
    let lines = server.process.lines();
    let asked = lines.iter().filter(|line| line.contains("\"POST /sse/publish")).count() as u64;
    assert!(asked <= published, "{asked} publishes reached the hub");
}
