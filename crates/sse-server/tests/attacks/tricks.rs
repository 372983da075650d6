//! The attack: a path that means one thing to who guards the door and another to who answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::front::in_front;
use crate::server::Server;

/// What leads, by some reading or other, to the figures, the streams, the list of them, or a page.
const TRICKS: [&str; 40] = [
    "/metrics",
    "//metrics",
    "/./metrics",
    "/metrics/",
    "/metrics;x",
    "/metrics%00",
    "/metrics%20",
    "/metrics?/sse/health",
    "/%6detrics",
    "/METRICS",
    "/sse/../metrics",
    "/sse/%2e%2e/metrics",
    "/sse/.%2e/metrics",
    "/sse/..%2fmetrics",
    "/sse/..%5cmetrics",
    "/sse/..;/metrics",
    "/sse/%252e%252e/metrics",
    "/sse/health/../connections",
    "/sse/health/%2e%2e/connections",
    "/sse/health/..%2fconnections",
    "/sse/health%2f..%2fconnections",
    "/sse/health;/../connections",
    "/sse/health%00/../connections",
    "/sse/health/live/../../connections",
    "/login/../sse/connections",
    "/login/%2e%2e/sse/connections",
    "/login_status/../events/status",
    "/login//../events/status",
    "//sse",
    "//sse/connections",
    "/sse//connections",
    "/sse/",
    "/sse%00",
    "/sse%2f",
    "/SSE",
    "/%73se/connections",
    "/sse/connections/../connections",
    "/events//status",
    "/events/./status",
    "/logout/../metrics",
];

/// Marks of what only those inside may see.
const INSIDE: [&str; 4] = ["# TYPE ", "\"connections\":[", "event: connected", "\"total_connections\""];

/// The answer to a request line, or as much of it as comes before a stream would fall silent.
fn ask(port: u16, target: &str) -> String {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let (mut seen, mut room) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = socket.read(&mut room) {
        seen.extend_from_slice(&room[..n]);
        if String::from_utf8_lossy(&seen).contains("event: connected") {
            break;
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn is_inside(answer: &str) -> bool {
    INSIDE.iter().any(|mark| answer.contains(mark))
}

#[test]
fn no_path_leads_around_the_login() {
    let server = Server::start(&[("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")]);
    let (_nginx, proxied) = in_front(&server, &[]);
    for port in [server.port(), proxied] {
        for path in TRICKS {
            for target in
                [path.to_owned(), format!("http://x{path}"), format!("http://x/sse/health/..{path}")]
            {
                let answer = ask(port, &target);
                let status = answer.split(' ').nth(1).unwrap_or_default();
                let is_health = answer.contains("\"status\":\"healthy\"") || answer.ends_with("live");
                assert!(["400", "401", "403", "404"].contains(&status) || is_health, "{target}: {answer}");
                assert!(!is_inside(&answer), "{target}: {answer}");
            }
        }
    }
}

/// Without a login nginx is what keeps the figures inside.
#[test]
fn no_path_leads_through_nginx_to_the_figures() {
    let server = Server::start(&[]);
    let (_nginx, proxied) = in_front(&server, &[]);
    assert!(is_inside(&ask(server.port(), "/metrics")), "they are there");
    for path in TRICKS {
        for target in [
            path.to_owned(),
            format!("http://x{path}"),
            format!("/sse/..{path}"),
            format!("/events/%2e%2e{path}"),
        ] {
            let answer = ask(proxied, &target);
            assert!(!answer.contains("# TYPE "), "{target}: {answer}");
            // The list of streams takes the token; what is open to everybody may be found by its own name alone.
            assert!(!answer.contains("\"connections\":[{\"id\""), "{target}: {answer}");
        }
    }
}
