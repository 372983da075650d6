//! The shipped nginx configuration, in Debian's nginx, between raw clients and a small hub on a unix socket.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod application;
mod secrets;
mod stack;
mod tls;
mod wall;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sse_server::nginx::Settings;

use stack::{
    DEADLINE, STREAM_HEAD, Stack, assert_problem, chunk, header, nginx_command, ok, render, settings,
};

#[test]
fn nginx_itself_accepts_whatever_is_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let spaced = folder.path().join("a folder, with #1");
    fs::create_dir(&spaced).unwrap();
    let base = settings(folder.path());
    let nets = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"].map(|net| net.parse().unwrap());
    let table = [
        base.clone(),
        Settings { ipv6: true, ..base.clone() },
        Settings { run_dir: spaced, ..base.clone() },
        Settings { trusted_proxies: nets.to_vec(), ..base.clone() },
        Settings { connections_max: 0, event_bytes_max: 0, idle_timeout_seconds: 0, ..base.clone() },
        Settings { connections_max: 100_000, ..base.clone() },
        Settings { descriptors_max: 64, ..base },
    ];
    for settings in table {
        if settings.ipv6 && TcpListener::bind("[::]:0").is_err() {
            continue; // a machine without IPv6 renders none
        }
        let output = nginx_command(&render(&settings)).arg("-t").output().expect("nginx is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{settings:?}: {said}");
        assert!(!said.contains("[warn]"), "{settings:?}: {said}");
    }
}

/// The attack: a client that names another address, to dodge the limit per address or to lock somebody else out.
#[test]
fn no_header_of_a_client_says_where_it_comes_from() {
    let stack = Stack::new();
    let forged = "X-Real-IP: 9.9.9.9\r\nx-real-ip: 8.8.8.8\r\nX_Real_IP: 9.9.9.9\r\nX-Forwarded-For: 9.9.9.9, 7.7.7.7\r\n\
                  X-Forwarded-For: 6.6.6.6\r\nForwarded: for=9.9.9.9\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Port: 1\r\nX-Forwarded-Server: evil\r\nX-Client-IP: 9.9.9.9\r\nX-Cluster-Client-IP: 9.9.9.9\r\n\
                  True-Client-IP: 9.9.9.9\r\nCF-Connecting-IP: 9.9.9.9\r\n";
    for path in ["/sse", "/events", "/sse/publish", "/events/broadcast", "/events/status", "/sse/connections"]
    {
        stack.ask(&format!("GET {path}"), forged);
        let request = stack.last_seen();
        assert_eq!(request.line, format!("GET {path} HTTP/1.1"));
        assert_eq!(request.all("x-real-ip"), ["127.0.0.1"]);
        assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(request.all("x-forwarded-proto"), ["http"]);
        assert_eq!(request.all("x-forwarded-host"), ["a"]);
        let said = format!("{:?}", request.headers);
        for word in ["9.9.9.9", "8.8.8.8", "7.7.7.7", "6.6.6.6", "evil", "https"] {
            assert!(!said.contains(word), "{word} got through: {said}");
        }
    }
}

#[test]
fn a_trusted_proxy_says_where_its_client_is() {
    let stack = Stack::with(
        |s| s.trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|n| n.parse().unwrap()).to_vec(),
        |_, socket| ok(socket),
    );
    #[rustfmt::skip]
    let table = [
        ("X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.2\r\n", "192.0.2.2"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.3, 10.1.1.1\r\n", "192.0.2.3"),
        ("X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"),
        ("X-Real-IP: nonsense\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ];
    for path in ["/sse", "/events", "/sse/publish", "/events/broadcast", "/events/status", "/sse/connections"]
    {
        for (headers, address) in table {
            stack.ask(&format!("GET {path}"), headers);
            assert_eq!(stack.last_seen().all("x-real-ip"), [address], "{headers}");
            assert_eq!(stack.last_seen().all("x-forwarded-for"), [address], "{headers}");
        }
    }
}

#[test]
fn a_request_reaches_the_hub_over_http_1_1_without_a_connection_header() {
    let stack = Stack::new();
    stack.raw("GET /sse?topic=a%2Fb&x=%0d HTTP/1.0\r\nHost: example.org:5001\r\nLast-Event-ID: 1-2\r\n\r\n");
    let request = stack.last_seen();
    assert_eq!(request.line, "GET /sse?topic=a%2Fb&x=%0d HTTP/1.1");
    assert_eq!(request.all("host"), ["example.org:5001"]);
    assert_eq!(request.all("last-event-id"), ["1-2"]);
    assert!(request.all("connection").is_empty(), "{request:?}");
    assert!(request.all("x-accel-buffering").is_empty(), "{request:?}");
}

#[test]
fn nginx_speaks_problem_json_for_every_error_of_its_own() {
    let stack = Stack::new();
    let long = "x".repeat(9000);
    let many = format!("X-A: {}\r\n", "x".repeat(8000)).repeat(5);
    let head = "Host: a\r\nConnection: close\r\n";
    #[rustfmt::skip]
    let table = [
        ("GET /\x01 HTTP/1.1\r\n\r\n".to_owned(), 400, "Bad Request"),
        (format!("GET / HTTP/1.1\r\n{head}Host: b\r\n\r\n"), 400, "Bad Request"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "Bad Request"),
        ("nonsense\r\n\r\n".to_owned(), 400, "Bad Request"),
        (format!("POST /sse/publish HTTP/1.1\r\n{head}Content-Length: -1\r\n\r\n"), 400, "Bad Request"),
        (format!("POST /sse/publish HTTP/1.1\r\n{head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "Bad Request"),
        (format!("GET /../x HTTP/1.1\r\n{head}\r\n"), 400, "Bad Request"),
        (format!("GET /metrics HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("GET /metrics?x=1 HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("GET //metrics HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("GET /%6detrics HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("GET /sse/..%2fmetrics HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("POST /metrics HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n"), 404, "Not Found"),
        (format!("GET /.problem HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("GET /.away-stream HTTP/1.1\r\n{head}\r\n"), 404, "Not Found"),
        (format!("TRACE / HTTP/1.1\r\n{head}\r\n"), 405, "Method Not Allowed"),
        (format!("CONNECT a:1 HTTP/1.1\r\n{head}\r\n"), 400, "Bad Request"),
        (format!("POST /sse/publish HTTP/1.1\r\n{head}Content-Length: 4194305\r\n\r\n"), 413, "Content Too Large"),
        (format!("GET /{long} HTTP/1.1\r\n{head}\r\n"), 414, "URI Too Long"),
        (format!("GET / HTTP/1.1\r\n{head}X-A: {long}\r\n\r\n"), 431, "Request Header Fields Too Large"),
        (format!("GET / HTTP/1.1\r\n{head}{many}\r\n"), 431, "Request Header Fields Too Large"),
        (format!("POST /sse/publish HTTP/1.1\r\n{head}Transfer-Encoding: zip\r\n\r\n"), 501, "Not Implemented"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505, "HTTP Version Not Supported"),
    ];
    for (request, status, title) in table {
        assert_problem(&stack.raw(&request), status, title);
    }
    assert_eq!(stack.seen_count(), 0, "the hub was asked: {:?}", stack.seen.lock().unwrap());
}

#[test]
fn an_event_source_is_told_to_come_back_while_the_hub_is_away() {
    let stack = Stack::without_hub(|_| ());
    #[rustfmt::skip]
    let waiting = [
        ("GET /sse", "text/event-stream"),
        ("GET /events", "text/event-stream"),
        ("GET /sse?topic=a", "text/event-stream"),
        ("GET /sse", "text/html, text/event-stream;q=0.9, */*"),
        ("GET /sse", "Text/Event-Stream"),
    ];
    for (line, accept) in waiting {
        let (head, body) = stack.ask(line, &format!("Accept: {accept}\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{line} {accept}: {head}");
        assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
        assert_eq!(header(&head, "cache-control"), Some("no-store"));
        assert_eq!(body, "retry: 3000\n\n");
        assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"), "{head}");
    }
    let (head, body) = stack.ask("HEAD /sse", "Accept: text/event-stream\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}\n{body}");
    #[rustfmt::skip]
    let others = [
        ("GET /sse", ""),
        ("GET /sse", "Accept: */*\r\n"),
        ("GET /sse", "Accept: text/event-streams\r\n"),
        ("GET /sse/health", "Accept: text/event-stream\r\n"),
        ("GET /events/status", "Accept: text/event-stream\r\n"),
        ("POST /events/broadcast", "Content-Length: 0\r\n"),
        ("DELETE /sse/connections/ef7b2445f8803e54", ""),
        ("GET /", "Accept: text/event-stream\r\n"),
        ("POST /sse", "Accept: text/event-stream\r\nContent-Length: 0\r\n"),
        ("POST /sse/publish", "Content-Length: 0\r\n"),
    ];
    for (line, headers) in others {
        let answer = stack.ask(line, headers);
        assert_problem(&answer, 503, "Service Unavailable");
        assert_eq!(header(&answer.0, "retry-after"), Some("3"), "{line} {headers}");
    }
}

#[test]
fn no_answer_of_the_hub_is_replaced() {
    let stack = Stack::with(
        |_| (),
        |request, socket| {
            let status =
                request.line.split(['/', ' ']).find(|word| word.len() == 3 && word.starts_with(['4', '5']));
            let _ = write!(
                socket,
                "HTTP/1.1 {} X\r\nContent-Type: application/problem+json\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nhub",
                status.expect("the path names a status")
            );
        },
    );
    for status in [400, 401, 403, 404, 405, 406, 413, 415, 429, 500, 502, 503, 504] {
        let (head, body) = stack.ask(&format!("GET /{status}"), "Accept: text/event-stream\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!((header(&head, "retry-after"), body.as_str()), (Some("7"), "hub"));
    }
}

/// Whoever tunes one location means the other too: timeouts of a day cannot be waited for.
#[test]
fn older_paths_pass_as_the_paths_they_stand_for() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/nginx-sse.conf");
    let text = fs::read_to_string(template).unwrap();
    let block = |path: &str| {
        let (_, rest) =
            text.split_once(&format!("location = {path} {{\n")).unwrap_or_else(|| panic!("no {path}"));
        rest.split_once("}\n").unwrap().0.to_owned()
    };
    assert_eq!(block("/events"), block("/sse"));
    assert_eq!(block("/events/broadcast"), block("/sse/publish"));
    assert!(
        block("/events").contains("proxy_buffering off;")
            && block("/events").contains("proxy_read_timeout 86400s;")
    );
}

#[test]
fn an_event_passes_at_once_and_a_client_that_leaves_is_noticed() {
    for path in ["/sse", "/events"] {
        check_stream(path);
    }
}

#[track_caller]
fn check_stream(path: &str) {
    let (go, steps) = mpsc::channel::<&str>();
    let (left, gone) = mpsc::channel();
    let (steps, left) = (Mutex::new(steps), Mutex::new(left));
    let stack = Stack::with(
        |_| (),
        move |_, socket| {
            let _ = socket.write_all(STREAM_HEAD.as_bytes());
            for event in steps.lock().unwrap().iter().take(3) {
                chunk(socket, event);
            }
            let _ = socket.read(&mut [0; 1]);
            let _ = left.lock().unwrap().send(());
        },
    );
    let mut client = stack.connect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    let head = head.join("\n");
    assert_eq!(header(&head, "x-accel-buffering"), Some("no"), "{head}");
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{head}");
    assert_eq!(header(&head, "content-encoding"), None, "{head}");
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        go.send(event).unwrap();
        // Had nginx kept it back, the read would run into its deadline.
        assert_eq!([lines.next().unwrap(), lines.next().unwrap()], ["9", event.trim_end()]);
        assert_eq!([lines.next().unwrap(), lines.next().unwrap()], ["", ""]);
    }
    drop((client, lines));
    gone.recv_timeout(DEADLINE).expect("the hub sees that the client left");
}

#[test]
fn a_reader_of_http_1_0_gets_an_unchunked_stream() {
    let stack = Stack::with(
        |_| (),
        |_, socket| {
            let _ = socket.write_all(STREAM_HEAD.as_bytes());
            chunk(socket, "data: 1\n\n");
            chunk(socket, "data: 2\n\n");
            let _ = socket.write_all(b"0\r\n\r\n");
        },
    );
    let (head, body) = stack.raw("GET /sse HTTP/1.0\r\n\r\n");
    assert_eq!(header(&head, "transfer-encoding"), None, "{head}");
    assert_eq!(body, "data: 1\n\ndata: 2\n\n");
}

/// The attack on exactly-once: a hub that takes a publish and dies before it answers.
#[test]
fn a_publish_is_never_sent_twice() {
    let stack = Stack::with(|_| (), |_, socket| drop(socket.shutdown(std::net::Shutdown::Both)));
    let publishes = ["/sse/publish", "/events/broadcast"];
    for (path, body) in publishes.into_iter().flat_map(|path| ["", "{\"data\":1}"].map(|body| (path, body))) {
        let before = stack.seen_count();
        let answer = stack.raw(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_problem(&answer, 503, "Service Unavailable");
        assert_eq!(stack.seen_count(), before + 1);
    }
}

#[test]
fn a_body_at_the_limit_arrives_whole() {
    let stack = Stack::with(|s| s.event_bytes_max = 10_000, |_, socket| ok(socket));
    let post = |path: &str, bytes: usize| {
        stack.raw(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n{}",
            "x".repeat(bytes)
        ))
    };
    for path in ["/sse/publish", "/events/broadcast"] {
        assert_eq!(post(path, 160_000).1, "ok");
        assert_eq!(stack.last_seen().body.len(), 160_000);
        let answer = post(path, 160_001);
        assert_problem(&answer, 413, "Content Too Large");
        assert!(answer.1.contains("160000 bytes"), "{}", answer.1);
    }
}

#[test]
fn a_body_in_chunks_reaches_the_hub_complete_and_with_its_length() {
    let stack = Stack::new();
    let head =
        "POST /sse/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stack.raw(format!("{head}3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"));
    let request = stack.last_seen();
    assert_eq!(request.all("content-length"), ["7"]);
    assert!(request.all("transfer-encoding").is_empty(), "{request:?}");
    assert_eq!(request.body, b"abcdefg");
}

#[test]
fn publishes_share_connections_to_the_hub() {
    let stack = Stack::with(|s| s.workers = NonZeroUsize::new(1), |_, socket| ok(socket));
    for n in 0..20 {
        let path = if n % 2 == 0 { "/sse/publish" } else { "/events/broadcast" };
        assert_eq!(stack.ask(&format!("POST {path}"), "Content-Length: 0\r\n").1, "ok");
    }
    assert_eq!(stack.opened.load(Ordering::SeqCst), 1);
}

#[test]
fn the_access_log_has_one_escaped_line_with_the_real_address() {
    let stack =
        Stack::with(|s| s.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()], |_, socket| ok(socket));
    stack.ask("GET /sse/health", "X-Real-IP: 192.0.2.1\r\nUser-Agent: a\"b\tc\x1b[2J\r\n");
    let log = || fs::read_to_string(stack.folder.path().join("access.log")).unwrap();
    stack.wait_for("the line", || log().ends_with('\n') && log().contains("health"));
    let line = log().lines().find(|line| line.contains("health")).unwrap().to_owned();
    assert!(line.starts_with("192.0.2.1 - - ["), "{line}");
    assert!(line.contains("\"GET /sse/health HTTP/1.1\" 200 2 \"-\" \"a\\x22b\\x09c\\x1B[2J\" 0."), "{line}");
}

#[test]
fn a_quit_lets_streams_say_goodbye_and_takes_nothing_new() {
    let (go, steps) = mpsc::channel::<()>();
    let steps = Mutex::new(steps);
    let mut stack = Stack::with(
        |_| (),
        move |_, socket| {
            let _ = socket.write_all(STREAM_HEAD.as_bytes());
            chunk(socket, "event: connected\n\n");
            steps.lock().unwrap().recv().unwrap();
            chunk(socket, "event: shutdown\n\n");
            let _ = socket.write_all(b"0\r\n\r\n");
        },
    );
    let mut client = stack.connect();
    client.write_all(b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    while !line.contains("connected") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0);
    }
    kill(Pid::from_raw(stack.nginx.id().cast_signed()), Signal::SIGQUIT).unwrap();
    stack.wait_for("nginx to close its port", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, stack.port)).is_err()
    });
    go.send(()).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("event: shutdown\n\n") && rest.ends_with("0\r\n\r\n"), "{rest:?}");
    let deadline = Instant::now() + DEADLINE;
    while stack.nginx.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "nginx stays after its last stream has ended");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The attack: a page of any site reads what nginx answers; and for the pages that may, an EventSource that cannot read the
/// answer of an absent hub is dead for good.
#[test]
fn pages_of_named_origins_and_no_others_may_read_what_nginx_answers_by_itself() {
    let origins = vec!["https://app.example".to_owned(), "http://[::1]:3000".to_owned()];
    let stack = Stack::without_hub(move |settings| settings.cors_origins = origins);
    for (line, accept) in [("GET /sse", "text/event-stream"), ("GET /sse", "*/*"), ("GET /metrics", "*/*")] {
        for (origin, may) in [
            ("https://app.example", true),
            ("http://[::1]:3000", true),
            ("http://app.example", false),
            ("https://app.example.evil", false),
            ("null", false),
            ("", false),
        ] {
            let (head, _) = stack.ask(line, &format!("Accept: {accept}\r\nOrigin: {origin}\r\n"));
            assert_eq!(header(&head, "access-control-allow-origin"), may.then_some(origin), "{line} {head}");
            assert_eq!(header(&head, "access-control-allow-credentials"), may.then_some("true"), "{head}");
        }
    }
}
