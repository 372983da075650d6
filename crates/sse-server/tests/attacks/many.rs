//! The attack: never the same name twice, so that whatever is remembered for each of them fills the memory.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use stack_tests::{eventually, within};

use crate::measure::{assert_growth, memory, rounds};
use crate::server::Server;

/// A connection as nginx has them: whom it speaks for is in a header.
struct Proxy(UnixStream);

impl Proxy {
    fn new(server: &Server) -> Self {
        let socket = UnixStream::connect(server.socket()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    /// Asks for a client, and reads until what came contains `end`.
    #[track_caller]
    fn ask(&mut self, head: &str, client: u32, body: &str, end: &str) -> String {
        let [a, b, c, d] = (0x0a00_0000 + client).to_be_bytes();
        let length = body.len();
        let text = format!(
            "{head} HTTP/1.1\r\nHost: x\r\nX-Real-IP: {a}.{b}.{c}.{d}\r\nAuthorization: Bearer the-token\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(text.as_bytes()).unwrap();
        let (mut seen, mut room) = (Vec::new(), [0; 4096]);
        loop {
            let n = self.0.read(&mut room).unwrap();
            assert!(n > 0, "it ended after {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&room[..n]);
            let text = String::from_utf8_lossy(&seen);
            if text.contains(end) {
                return text.into_owned();
            }
        }
    }
}

/// A stream, greeted and left.
fn visit(server: &Server, client: u32, query: &str) {
    Proxy::new(server).ask(&format!("GET /sse?{query}"), client, "", "event: connected\n");
}

/// The attack: clients that go at once, each with a body that nobody wants and whose end the hub would wait for.
#[test]
fn clients_that_leave_a_body_behind_cost_no_descriptors() {
    let count = rounds(2000, 20_000);
    let server = Server::start(&[]);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.process.pid())).unwrap().count();
    let before = open();
    let mut most = before;
    for n in 0..count {
        let mut socket = UnixStream::connect(server.socket()).unwrap();
        socket.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        // Its answer has begun.
        socket.read_exact(&mut [0; 12]).unwrap();
        if n % 100 == 99 {
            most = most.max(open());
        }
    }
    assert!(most - before < 400, "{before} descriptors before, {most} at most");
    assert_eq!(server.ask("GET", "/sse/health/live").status, 200);
}

#[test]
fn topics_without_end_cost_no_memory() {
    let count = rounds(20_000, 100_000);
    let env = [
        ("SSE_PUBLISH_RATE", "0"),
        ("SSE_HISTORY_EVENTS", "1000"),
        ("SSE_MAX_CONNECTIONS", "0"),
        ("SSE_MAX_CONNECTIONS_PER_IP", "0"),
    ];
    let server = Server::start(&env);
    let batch = |first: usize| {
        let events = (first..first + 1000).map(|n| json!({"topic": format!("job:{n}"), "data": n}));
        let events = Value::from_iter(events).to_string();
        Proxy::new(&server).ask("POST /sse/publish", 1, &events, "\"receivers\":");
    };
    let subscribe = |first: usize| {
        for first in (first..first + 1000).step_by(200) {
            let topics: Vec<String> = (first..first + 200).map(|n| format!("job:{n}")).collect();
            visit(&server, 1, &format!("topic={}", topics.join(",")));
        }
    };
    let both = |first: usize| {
        batch(first);
        subscribe(first);
    };
    // The history is full, and the tables have their size.
    (0..5).for_each(|n| both(count + 1000 * n));
    let before = memory(&server);
    (0..count).step_by(1000).for_each(both);
    eventually("they are gone", || server.health()["connections"]["active"] == 0);
    assert_growth(&server, before, &format!("{count} topics, published to and read"), 16 << 10);
}

/// Streams with other filters get bytes of their own, even of one event for all of them.
#[test]
fn large_event_for_many_filters_is_not_in_memory_for_each_of_them() {
    let count = u32::try_from(rounds(1000, 5000)).unwrap();
    let env = [("SSE_MAX_CONNECTIONS", "0"), ("SSE_MAX_CONNECTIONS_PER_IP", "0")];
    let server = Server::start(&env);
    let open = |client| {
        let mut stream = Proxy::new(&server);
        stream.ask(&format!("GET /sse?topic=t,other:{client}"), client, "", "event: connected\n");
        stream
    };
    let mut streams: Vec<Proxy> = (0..count).map(open).collect();
    // As much as the kernel takes at once for each.
    let length = 100 << 10;
    let event = json!({"topic": "t", "data": "x".repeat(length)}).to_string();
    let before = memory(&server);
    let answer = Proxy::new(&server).ask("POST /sse/publish", 0, &event, "}");
    assert!(answer.contains(&format!("\"receivers\":{count}")), "{answer}");
    for stream in &mut streams {
        let (mut seen, mut room) = (0, [0; 64 << 10]);
        while seen < length {
            let n = stream.0.read(&mut room).unwrap();
            assert!(n > 0, "it ended after {seen} bytes");
            seen += n;
        }
    }
    assert_growth(&server, before, &format!("100 KiB for {count} filters"), 16 << 10);
}

#[test]
fn addresses_without_end_cost_no_memory() {
    let count = u32::try_from(rounds(20_000, 100_000)).unwrap();
    let env = [
        ("SSE_CONNECT_RATE", "1"),
        ("SSE_MAX_CONNECTIONS", "0"),
        ("LOGIN_ENABLED", "true"),
        ("LOGIN_CODE", "open sesame"),
    ];
    let server = Server::start(&env);
    let mut logins = Proxy::new(&server);
    let mut guess = |client: u32| {
        let seen = logins.ask("POST /login", client, r#"{"passcode":"guess"}"#, "}");
        let status = seen.split(' ').nth(1).unwrap().to_owned();
        assert!(["401", "429"].contains(&&*status), "{seen}");
        status == "429"
    };
    let mut full = 0;
    let mut both = |client: u32| {
        full += u32::from(guess(client));
        // Some connect as well: each takes a connection of its own.
        if client.is_multiple_of(10) {
            visit(&server, client, "topic=a");
        }
    };
    (count..count + 1000).for_each(&mut both);
    let before = memory(&server);
    (0..count).for_each(&mut both);
    assert!(full >= count - 10_000, "10,000 addresses are remembered, and {full} newcomers had to wait");
    within(Duration::from_secs(20), "they are gone", || {
        (server.health()["connections"]["active"] == 0).then_some(())
    });
    assert_growth(&server, before, &format!("{count} addresses, with wrong passcodes and streams"), 16 << 10);
    let journal = std::fs::metadata(server.folder().join("login.journal")).unwrap().len();
    assert!(journal < 4 << 20, "the journal has {journal} bytes");
}
