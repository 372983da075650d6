//! Limits, short enough for a test to wait for.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use stack_tests::within;
use supervisor::ctl::server::{Credentials, Limits};
use supervisor::ctl::xmlrpc::{self, Value};

use crate::server::Server;
use crate::wire::{ask, ended, millis, read_answer, request, seconds};

#[test]
fn a_call_ends_when_its_client_leaves() {
    let server = Server::start(Limits { half_closed_time: millis(100), ..Limits::default() }, None);
    let mut client = server.connect();
    client.write_all(&request("supervisor.startProcess", &["a".into()])).unwrap();
    assert!(server.left.recv_timeout(millis(300)).is_err(), "it still waits");
    drop(client);
    assert_eq!(server.left.recv_timeout(seconds(5)), Ok("a".to_owned()));

    let mut client = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    client.write_all(&request("supervisor.startProcess", &["b".into()])).unwrap();
    drop(client);
    assert_eq!(server.left.recv_timeout(seconds(5)), Ok("b".to_owned()));
}

#[test]
fn who_closes_its_half_is_answered_all_the_same() {
    let server = Server::start(Limits::default(), None);
    let mut client = server.connect();
    client.write_all(&request("supervisor.getState", &[])).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = read_answer(&mut client);
    assert!(answer.contains("<string>late</string>"), "{answer}");
    assert!(ended(&mut client));
}

#[test]
fn who_keeps_the_server_waiting_is_let_go() {
    let limits = Limits {
        head_timeout: millis(300),
        body_timeout: millis(300),
        write_timeout: millis(300),
        idle_timeout: millis(900),
        ..Limits::default()
    };
    let server = Server::start(limits, None);
    for (bytes, answered) in [
        (&b""[..], ""),
        (b"POST /RPC2 HTTP/1.1\r\n", ""),
        (b"POST /RPC2 HTTP/1.1\r\nContent-Length: 9\r\n\r\n<", "HTTP/1.1 408 Request Timeout"),
    ] {
        let mut stream = server.connect();
        let began = Instant::now();
        let answer = ask(&mut stream, bytes);
        assert!(answer.starts_with(answered) && answer.is_empty() == answered.is_empty(), "{answer}");
        assert!(ended(&mut stream));
        assert!(began.elapsed() >= millis(290) && began.elapsed() < seconds(5), "{:?}", began.elapsed());
    }
    // Between two calls there is more time.
    let mut stream = server.connect();
    ask(&mut stream, &request("supervisor.getPID", &[]));
    stream.set_read_timeout(Some(millis(500))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    let answer = ask(&mut stream, &request("supervisor.getPID", &[]));
    assert!(answer.contains("<int>7</int>"), "{answer}");
    assert!(ended(&mut stream));

    // Whoever follows a log without reading is let go, and whoever reads is not.
    fs::write(server.log(), "begin\n").unwrap();
    let (mut deaf, mut reader) = (server.connect(), server.connect());
    for stream in [&mut deaf, &mut reader] {
        stream.write_all(b"GET /mainlogtail HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_answer(stream).contains("Transfer-Encoding: chunked"));
    }
    let mut log = fs::File::options().append(true).open(server.log()).unwrap();
    log.write_all(&vec![b'x'; 5 << 20]).unwrap();
    reader.set_read_timeout(Some(millis(900))).unwrap();
    let mut read = 0;
    let quiet = loop {
        match reader.read(&mut [0; 64 << 10]) {
            Ok(0) => panic!("it was let go after {read} bytes"),
            Ok(bytes) => read += bytes,
            Err(error) => break error.kind(),
        }
    };
    assert!(read > 5 << 20 && quiet == io::ErrorKind::WouldBlock, "{read} {quiet}");
    let mut got = Vec::new();
    let _ = deaf.read_to_end(&mut got);
    assert!(got.len() < 2 << 20, "{} bytes were kept for it", got.len());
}

#[test]
fn the_oldest_idle_connection_gives_way_to_a_new_one() {
    let limits = Limits {
        connections_max: 4,
        unknown_connections_max: 4,
        settle_time: millis(0),
        ..Limits::default()
    };
    let server = Server::start(limits, None);
    // A waiting call and a kept connection outlast those that send nothing.
    let mut waiting = server.connect();
    waiting.write_all(&request("supervisor.startProcess", &["a".into()])).unwrap();
    assert_eq!(server.asked.recv_timeout(seconds(5)), Ok("a".to_owned()));
    let mut kept = server.connect();
    ask(&mut kept, &request("supervisor.getPID", &[]));
    let mut silent: Vec<_> = (0..20).map(|_| server.connect()).collect();
    server.pid_is_told();
    assert!(ended(&mut silent[0]));
    let answer = ask(&mut kept, &request("supervisor.getPID", &[]));
    assert!(answer.contains("<int>7</int>"), "{answer}");
    drop(silent);
    // Of those that were answered, the one that was so first.
    let mut idle: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            ask(&mut stream, &request("supervisor.getPID", &[]));
            stream
        })
        .collect();
    assert!(ended(&mut kept));
    assert!(ended(&mut idle[0]));
    assert!(server.left.try_recv().is_err(), "the call still waits");
    // At last the calls that wait: there is always room for one more.
    let more: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&request("supervisor.startProcess", &["b".into()])).unwrap();
            assert_eq!(server.asked.recv_timeout(seconds(5)), Ok("b".to_owned()));
            stream
        })
        .collect();
    server.pid_is_told();
    assert_eq!(server.left.recv_timeout(seconds(5)), Ok("a".to_owned()));
    drop(more);
}

#[test]
fn large_answers_that_nobody_reads_are_bounded() {
    let server = Server::start(Limits { held_bytes_max: 10 << 20, ..Limits::default() }, None);
    let read = request("supervisor.readLog", &[Value::Int(0), Value::Int(0)]);
    let mut unread: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&read).unwrap();
            within(seconds(5), "the answer begins", || {
                let mut byte = [0];
                (stream.read(&mut byte).unwrap() == 1).then_some(())
            });
            stream
        })
        .collect();
    let sizes: Vec<_> = unread
        .iter_mut()
        .map(|stream| {
            let mut bytes = Vec::new();
            stream.set_read_timeout(Some(seconds(2))).unwrap();
            let _ = stream.read_to_end(&mut bytes);
            bytes.len() > 4 << 20
        })
        .collect();
    assert_eq!(sizes, [false, false, true, true]);
    // One connection cannot gather answers without reading them either.
    let mut stream = server.connect();
    stream.write_all(&read.repeat(10)).unwrap();
    let mut read = 0;
    for _ in 0..10 {
        read += read_answer(&mut stream).len();
    }
    assert!(read > 40 << 20, "{read}");
}

#[test]
fn only_who_knows_the_password_gets_in_over_tcp() {
    let credentials = Credentials {
        username: "u".to_owned(),
        password: "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d".to_owned(),
    };
    let server = Server::start(Limits::default(), Some(credentials));
    let ask_with = |header: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let body = xmlrpc::write_call("supervisor.getPID", &[]);
        let head = format!("POST /RPC2 HTTP/1.1\r\n{header}Content-Length: {}\r\n\r\n", body.len());
        ask(&mut stream, (head + &body).as_bytes())
    };
    let answer = ask_with("Authorization: Basic dTp0aGVwYXNzd29yZA==\r\n");
    assert!(answer.contains("<int>7</int>"), "{answer}");
    for header in
        ["", "Authorization: Basic dTp4\r\n", "Authorization: Basic dQ==\r\n", "Authorization: %\r\n"]
    {
        let answer = ask_with(header);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{header} {head}");
        assert!(head.contains("\r\nWww-Authenticate: Basic realm=\"default\""), "{head}");
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert!(body.contains("<p>Message: Unauthorized."), "{body}");
    }
    // Nothing is told without it, not even what there is.
    for path in ["/", "/nothing", "/mainlogtail", "/logtail/a"] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let answer = ask(&mut stream, format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 401"), "{path} {answer}");
    }
}

#[test]
fn a_log_is_followed_through_truncation_and_rotation() {
    let server = Server::start(Limits { followers_max: 2, ..Limits::default() }, None);
    fs::write(server.log(), [&[b'o'; 1000][..], &[b'n'; 1024]].concat()).unwrap();
    let follow = || {
        let mut stream = server.connect();
        stream.write_all(b"GET /mainlogtail HTTP/1.1\r\n\r\n").unwrap();
        stream
    };
    let mut stream = follow();
    let head = read_answer(&mut stream);
    assert!(head.contains("\r\nContent-Type: text/plain;charset=utf-8\r\n"), "{head}");
    assert!(head.contains("\r\nLast-Modified: ") && head.contains(" GMT\r\n"), "{head}");
    let chunk = |stream: &mut UnixStream| {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
        let mut text = vec![0; length + 2];
        stream.read_exact(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert_eq!(chunk(&mut stream), "n".repeat(1024));
    let append = |text: &str| {
        fs::File::options()
            .append(true)
            .create(true)
            .open(server.log())
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    append("more\n");
    assert_eq!(chunk(&mut stream), "more\n");
    fs::write(server.log(), "").unwrap();
    assert_eq!(chunk(&mut stream), "==> File truncated <==\n");
    append("again\n");
    assert_eq!(chunk(&mut stream), "again\n");
    append("last of the old\n");
    fs::rename(server.log(), server.folder.path().join("log.1")).unwrap();
    append("first of the new\n");
    assert_eq!(chunk(&mut stream), "last of the old\n");
    assert_eq!(chunk(&mut stream), "first of the new\n");

    let mut second = follow();
    assert!(read_answer(&mut second).starts_with("HTTP/1.1 200"));
    let refused = read_answer(&mut follow());
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.ends_with("too many clients follow logs, try again when one has ended\n"), "{refused}");
    drop(second);
    within(seconds(5), "its place is free again", || {
        read_answer(&mut follow()).starts_with("HTTP/1.1 200").then_some(())
    });
}
