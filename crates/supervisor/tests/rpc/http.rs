//! Requests as HTTP has them.

use std::io::{Read, Write};
use std::thread;

use crate::daemon::{Daemon, SLEEPER};
use crate::wire::{ask, ended, millis, post, read_answer, request};

#[test]
fn requests_that_are_none_get_the_status_that_supervisord_gives() {
    let daemon = Daemon::start(SLEEPER);
    let state = "<methodCall><methodName>supervisor.getState</methodName></methodCall>";
    let to = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{state}", state.len()).into_bytes()
    };
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><methodCall><methodName>&b;</methodName></methodCall>";
    let deep =
        format!("<methodCall><methodName>a.b</methodName><params>{}", "<value><array><data>".repeat(40_000));
    for (bytes, expected) in [
        (to("/RPC2"), "200 OK"),
        (to("/RPC2/and?more"), "200 OK"),
        (to("/%52PC2"), "200 OK"),
        (to("/elsewhere"), "400 Bad Request"),
        (post(b"<methodCall><methodName></methodName></methodCall>"), "400 Bad Request"),
        (post(b"<methodCall>"), "400 Bad Request"),
        (post(b"\xff\xfe"), "400 Bad Request"),
        (post(b""), "400 Bad Request"),
        (post(laughs.as_bytes()), "400 Bad Request"),
        (post(deep.as_bytes()), "400 Bad Request"),
        (post("<a/>".repeat(100_000).as_bytes()), "400 Bad Request"),
        (b"POST /RPC2 HTTP/1.1\r\n\r\n".to_vec(), "411 Length Required"),
        (b"POST /RPC2 HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n".to_vec(), "413 Payload Too Large"),
        (
            b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
            "400 Bad Request",
        ),
        (b"GET /RPC2 HTTP/1.1\r\n\r\n".to_vec(), "400 Bad Request"),
        (b"GET /nothing HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"GET /logtail/nothing/stdout HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"GET /logtail/web/stdin HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"GET /logtail HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"DELETE /mainlogtail HTTP/1.1\r\n\r\n".to_vec(), "400 Bad Request"),
        (b"hello\r\n\r\n".to_vec(), "400 Bad Request"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)).into_bytes(), "431"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500)).into_bytes(), "431"),
    ] {
        let answer = ask(&mut daemon.connect(), &bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{shown}: {answer}");
    }
    let answer = ask(&mut daemon.connect(), b"GET / HTTP/1.1\r\n\r\n");
    assert!(
        answer.ends_with("there are no pages here: use supervisorctl, or XML-RPC at /RPC2\n"),
        "{answer}"
    );
}

#[test]
fn bodies_in_chunks_and_calls_in_a_row_are_answered() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    let call = "<methodCall><methodName>supervisor.getVersion</methodName></methodCall>";
    let mut bytes = b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in call.as_bytes().chunks(7) {
        bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend([piece, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    for _ in 0..3 {
        let answer = ask(&mut stream, &bytes);
        assert!(answer.contains("<string>3.0</string>"), "{answer}");
    }
    // Without end, in chunks, the body is refused when it becomes too long.
    let mut stream = daemon.connect();
    stream.write_all(b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
    while stream.write_all(&chunk).is_ok() {}
    let answer = read_answer(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");

    // HTTP/1.0 gets its answer and the end, or is kept if it asks for that.
    for (header, kept) in [("", false), ("Connection: keep-alive\r\n", true)] {
        let mut stream = daemon.connect();
        let bytes = format!("POST /RPC2 HTTP/1.0\r\n{header}Content-Length: {}\r\n\r\n{call}", call.len());
        for _ in 0..=usize::from(kept) {
            let answer = ask(&mut stream, bytes.as_bytes());
            assert!(answer.starts_with("HTTP/1.0 200"), "{header} {answer}");
        }
        stream.set_read_timeout(Some(millis(200))).unwrap();
        assert_eq!(ended(&mut stream), !kept);
    }
}

#[test]
fn answers_without_a_body_leave_nothing_behind() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    for number in 0..3000 {
        stream.write_all(b"HEAD /nothing HTTP/1.1\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{number}: {error}"));
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 404"), "{number}");
    }
}

#[test]
fn a_thousand_calls_in_one_go_are_all_answered() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    let mut writer = stream.try_clone().unwrap();
    let calls = request("supervisor.getPID", &[]).repeat(1000);
    let writing = thread::spawn(move || writer.write_all(&calls).unwrap());
    let expected = format!("<int>{}</int>", daemon.child.id());
    for number in 0..1000 {
        let answer = read_answer(&mut stream);
        assert!(answer.contains(&expected), "{number}: {answer}");
    }
    writing.join().unwrap();
}
