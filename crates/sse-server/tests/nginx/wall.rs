//! The first wall: what nginx refuses one address, and what it never refuses.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use sse_server::nginx::{Settings, Wall};
use stack_tests::{Answer, Connection};

use crate::stack::{Request, STREAM_HEAD, Stack, assert_problem, chunk, header, ok};

/// Holds each stream open until its client leaves, and answers everything else.
fn hub(request: &Request, socket: &mut UnixStream) {
    if request.line.starts_with("GET /sse ") || request.line.starts_with("GET /events ") {
        let _ = socket.write_all(STREAM_HEAD.as_bytes());
        chunk(socket, "data: 1\n\n");
        let _ = socket.read(&mut [0; 1]);
    } else {
        ok(socket);
    }
}

fn stack(wall: Wall, more: impl FnOnce(&mut Settings)) -> Stack {
    Stack::with(
        |settings| {
            settings.wall = wall;
            more(settings);
        },
        hub,
    )
}

/// A stream that is open, or its refusal.
#[track_caller]
fn open(stack: &Stack, path: &str, from: [u8; 4], headers: &str) -> Result<Connection, (String, String)> {
    let mut connection = Connection::open(from, stack.port).unwrap();
    connection
        .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").as_bytes());
    if connection.until("\r\n").contains(" 200 ") {
        connection.until("data: 1\n\n");
        return Ok(connection);
    }
    let answer = connection.to_end();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Err((head.to_owned(), body.to_owned()))
}

#[track_caller]
fn assert_refused(answer: Result<Connection, (String, String)>) {
    let answer = answer.err().expect("it is refused");
    assert_problem(&answer, 429, "Too Many Requests");
    assert_eq!(header(&answer.0, "retry-after"), Some("1"), "{}", answer.0);
}

/// The attack: one address opens stream after stream, over both paths, and the hub has to refuse each by itself.
#[test]
fn one_address_holds_no_more_streams_than_the_wall_lets_through() {
    let stack = stack(Wall { streams_max: 2, ..Wall::default() }, |_| ());
    let from = [127, 0, 0, 9];
    let mut held: Vec<_> = (0..20)
        .map(|n| {
            open(&stack, if n % 2 == 0 { "/sse" } else { "/events" }, from, "")
                .expect("it is the hub's to refuse")
        })
        .collect();
    assert_eq!(stack.seen_count(), 20);
    assert_refused(open(&stack, "/sse", from, ""));
    assert_refused(open(&stack, "/events", from, "X-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 8.8.8.8\r\n"));
    assert_eq!(stack.seen_count(), 20, "the hub hears nothing of it");
    open(&stack, "/sse", [127, 0, 0, 10], "").expect("a neighbour gets in");
    for _ in 0..100 {
        let mut publish = Connection::open(from, stack.port).unwrap();
        publish.send(
            b"POST /sse/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        );
        assert_eq!(Answer::parse(&publish.to_end()).status, 200, "no publish is refused");
    }
    held.pop();
    stack.wait_for("a place to be free again", || open(&stack, "/sse", from, "").is_ok());
}

/// The attack: one host has 2^64 addresses of IPv6, or writes its IPv4 address in IPv6.
#[test]
fn an_address_is_what_the_hub_counts_as_one() {
    let stack = stack(Wall { streams_max: 2, ..Wall::default() }, |settings| {
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let open = |name: &str| open(&stack, "/sse", [127, 0, 0, 1], &format!("X-Forwarded-For: {name}\r\n"));
    let mut held = Vec::new();
    for n in 0..20 {
        held.push(open(&format!("2001:db8::{n}:a")).expect("below the wall"));
        held.push(open(&format!("::ffff:192.0.2.{n}")).expect("each of them is another address"));
        held.push(open("192.0.2.200").expect("below the wall"));
    }
    held.push(open("::ffff:192.0.2.99").expect("not one with the other twenty"));
    assert_refused(open("2001:db8::ffff"));
    assert_refused(open("192.0.2.200"));
    assert_refused(open("::ffff:192.0.2.200"));
    held.push(open("2001:db8:0:1::1").expect("another /64"));
    // Bytes of an address are none of a text: a line feed, a NUL, a letter.
    for name in ["2001:db8:a0a:a0a:a0a:a0a:a0a:a0a", "10.10.10.10", "0.0.0.10", "2001:db8:0:5c00::1"] {
        held.push(open(name).expect("another address"));
    }
    assert_eq!(held.len(), 66);
}

/// The attack: one address opens and closes streams as fast as it can.
#[test]
fn streams_opened_too_fast_are_refused_after_those_the_hub_lets_in() {
    let rate = 5;
    let stack = stack(Wall { opened_per_second: rate, ..Wall::default() }, |_| ());
    let ask = || stack.ask("HEAD /sse", "");
    // At once the hub lets in twice the rate.
    for n in 0..2 * rate {
        assert!(ask().0.starts_with("HTTP/1.1 200 "), "{n}");
    }
    let refused = (0..1000).map(|_| ask()).find(|(head, _)| !head.starts_with("HTTP/1.1 200 "));
    let (head, _) = refused.expect("the wall is reached");
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert_eq!(
        (header(&head, "retry-after"), header(&head, "content-type")),
        (Some("1"), Some("application/problem+json"))
    );
    assert!(stack.ask("POST /sse/publish", "Content-Length: 0\r\n").0.starts_with("HTTP/1.1 200 "));
    stack.wait_for("another one after a while", || ask().0.starts_with("HTTP/1.1 200 "));
}

/// The attack: one address tries passcodes as fast as it can.
#[test]
fn logins_tried_too_fast_are_refused_after_those_the_hub_counts() {
    let stack = stack(Wall { login_attempts_max: 5, ..Wall::default() }, |settings| settings.login = true);
    let attempt = || stack.ask("POST /login", "Content-Length: 0\r\n");
    for n in 0..5 {
        assert!(attempt().0.starts_with("HTTP/1.1 200 "), "{n}");
    }
    let refused = (0..1000).map(|_| attempt()).find(|(head, _)| !head.starts_with("HTTP/1.1 200 "));
    let refused = refused.expect("the wall is reached");
    assert_problem(&refused, 429, "Too Many Requests");
    assert_eq!(header(&refused.0, "retry-after"), Some("1"));
    for line in ["GET /login", "GET /login_status", "GET /sse/health"] {
        assert!(stack.ask(line, "").0.starts_with("HTTP/1.1 200 "), "{line}");
    }
}

#[test]
fn without_limits_there_is_no_wall() {
    let stack = stack(Wall { streams_max: 0, opened_per_second: 0, login_attempts_max: 0 }, |settings| {
        settings.login = true
    });
    let held: Vec<_> = (0..200)
        .map(|n| open(&stack, "/sse", [127, 0, 0, 1], "").unwrap_or_else(|e| panic!("{n}: {e:?}")))
        .collect();
    for _ in 0..200 {
        assert!(stack.ask("POST /login", "Content-Length: 0\r\n").0.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(held.len(), 200);
}
