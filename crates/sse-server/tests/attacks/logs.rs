//! The attack: a request that writes a line of its own into a log, or commands for the terminal of whoever reads it.

use std::collections::HashMap;

use stack_tests::{Connection, eventually};

use crate::front::in_front;
use crate::server::Server;

const FORGED: &str = "10.9.8.7 [2026-01-01T00:00:00.000Z] \\\"GET /forged";

/// Requests with control characters wherever a client may have a say.
fn hostile() -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for path in
        ["/sse/%0a10.9.8.7%20[forged", "/nothing?%1b[31m", "/nothing?a=\"b\\", "/\u{1b}[31m", "/\u{e9}%00"]
    {
        requests.push(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes());
    }
    for name in
        ["User-Agent", "Referer", "X-Forwarded-For", "Last-Event-ID", "Cookie", "Authorization", "X-Real-IP"]
    {
        for value in ["a\tb\"c\\d", "\u{e9}\u{1b}[2J", "a\x7fb", &"x".repeat(4000)] {
            let text =
                format!("GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{name}: {value}\r\n\r\n");
            requests.push(text.into_bytes());
        }
    }
    requests.push(b"G\x1bET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    requests.push(b"GET /nothing HTTP/1.1\r\nHost: x\x1b[31m\r\nConnection: close\r\n\r\n".to_vec());
    requests.push(b"POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 23\r\n\r\n{\"passcode\":\"\\n\\u001b\"}".to_vec());
    requests
}

#[test]
fn no_request_writes_a_line_of_its_own_or_a_control_character() {
    let server = Server::start(&[("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")]);
    let (nginx, proxied) = in_front(&server, &[]);
    let mut statuses: HashMap<String, usize> = HashMap::new();
    for port in [server.port(), proxied] {
        for request in hostile() {
            let mut connection = Connection::open([127, 0, 0, 1], port).unwrap();
            connection.send(&request);
            let seen = connection.to_end_quietly().unwrap_or_default();
            *statuses.entry(seen.split(' ').nth(1).unwrap_or("none").to_owned()).or_default() += 1;
        }
        let mut last = Connection::open([127, 0, 0, 1], port).unwrap();
        last.send(format!("GET /the-end-{port} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        last.to_end();
    }
    assert!(statuses.keys().all(|status| ["400", "401"].contains(&&**status)), "{statuses:?}");
    let end = format!("/the-end-{proxied}");
    eventually("both have written everything", || {
        [&server.process, &nginx].iter().all(|log| log.lines().iter().any(|line| line.contains(&end)))
    });
    for line in server.process.lines().into_iter().chain(nginx.lines()) {
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(!line.starts_with("10.9.8.7") && !line.starts_with(FORGED), "{line:?}");
        // Whoever is logged is who came.
        let is_access = line.contains(" HTTP/1.");
        let known = ["127.0.0.1 ", "20", "[20"].iter().any(|start| line.starts_with(start));
        assert!(!is_access || known, "{line:?}");
        assert!(line.len() < 9000, "{} bytes", line.len());
    }
}
