//! The user's own application behind the same nginx: what it gets, what it does not, and what happens while it is away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sse_server::nginx::{Application, Settings};
use stack_tests::{Connection, free_port};

use crate::stack::{Stack, assert_problem, header, ok};

/// An application that says what it was asked: the request's head, in the body of its answer. A WebSocket gets its bytes back.
struct App {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl App {
    fn start(port: u16) -> App {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&heads);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                thread::spawn(move || answer(socket, &all));
            }
        });
        App { port, heads }
    }

    fn seen_count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn answer(mut socket: TcpStream, all: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    all.lock().unwrap().push(head.clone());
    if header(&head, "upgrade").is_some() {
        let _ = socket.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
        let mut echo = [0; 5];
        while reader.read_exact(&mut echo).is_ok() {
            let _ = socket.write_all(&echo);
        }
        return;
    }
    let text = format!("app got {length} bytes\n{head}");
    let _ = write!(
        socket,
        "HTTP/1.1 404 Not Found\r\nX-App: yes\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
}

fn at(port: u16) -> Application {
    Application { address: format!("127.0.0.1:{port}"), resolvers: Vec::new(), body_bytes_max: 100_000 }
}

/// nginx, a hub that answers 200 to everything, and an application.
fn start(change: impl FnOnce(&mut Settings)) -> (Stack, App) {
    let app = App::start(free_port());
    let stack = Stack::with(
        |settings| {
            settings.application = Some(at(app.port));
            change(settings);
        },
        |_, socket| ok(socket),
    );
    (stack, app)
}

#[test]
fn everything_but_our_own_paths_is_the_applications() {
    let ours = [
        "/sse",
        "/sse/",
        "/sse/health",
        "/sse/publish",
        "/sse/connections?limit=1",
        "/sse/client.js",
        "/sse/nothing",
        "/events",
        "/events/status",
        "/events/broadcast",
        "/sse-test",
        "//sse",
        "/x/../sse/health",
        "/%73se",
    ];
    let theirs = [
        "/",
        "/jobs/42?a=%20b",
        "/ssex",
        "/eventsx",
        "/sse-tests",
        "/metrics",
        "/login_page",
        "/a/sse",
        "/SSE",
        "/static/../x",
    ];
    let login = ["/login", "/logout", "/login_status"];
    for is_on in [false, true] {
        let (stack, app) = start(|settings| settings.login = is_on);
        let expected = |is_ours| if is_ours { "HTTP/1.1 200 " } else { "HTTP/1.1 404 Not Found" };
        let all = ours.map(|path| (path, true)).into_iter().chain(theirs.map(|path| (path, false)));
        for (path, is_ours) in all.chain(login.map(|path| (path, is_on))) {
            let before = (stack.seen_count(), app.seen_count());
            let (head, body) = stack.ask(&format!("GET {path}"), "");
            assert!(head.starts_with(expected(is_ours)), "{path}: {head}");
            assert_eq!(header(&head, "x-app").is_none(), is_ours, "no answer of its is replaced: {head}");
            assert_eq!(body == "ok", is_ours);
            let after = (before.0 + usize::from(is_ours), before.1 + usize::from(!is_ours));
            assert_eq!((stack.seen_count(), app.seen_count()), after, "{path}");
            if !is_ours {
                assert!(body.contains(&format!("GET {path} HTTP/1.1\r\n")), "{body}");
            }
        }
    }
}

#[test]
fn the_application_learns_who_asks_and_gets_bodies_whole() {
    let (stack, app) = start(|settings| settings.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()]);
    let forged = "X-Real-IP: 9.9.9.9\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\n\
                  X-Forwarded-Host: evil\r\nX-Client-IP: 9.9.9.9\r\nClient-IP: 9.9.9.9\r\nX-Forwarded: for=9.9.9.9\r\n\
                  X-Forwarded-Ssl: on\r\nX-Forwarded-Protocol: ssl\r\nX-Forwarded-Scheme: https\r\nX-Url-Scheme: https\r\n\
                  X-Scheme: https\r\nFront-End-Https: on\r\nX-Forwarded-Prefix: //evil\r\nX-Script-Name: /evil\r\n\
                  X-Original-Forwarded-For: 9.9.9.9\r\nFastly-Client-IP: 9.9.9.9\r\nProxy: http://evil\r\nUpgrade: h2c\r\nCookie: a=b\r\nContent-Length: 5\r\n";
    let (_, body) = stack.raw(format!(
        "POST /upload HTTP/1.1\r\nHost: app.example\r\nConnection: close, Upgrade\r\n{forged}\r\nhello"
    ));
    let (_, head) = body.split_once("app got 5 bytes\n").unwrap();
    for (name, value) in [
        ("host", Some("app.example")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("app.example")),
        ("cookie", Some("a=b")),
        ("connection", None),
        ("upgrade", None),
        ("forwarded", None),
        ("x-client-ip", None),
        // What Rails, Rack, gunicorn and others believe too (`Client-IP` before the connection's own address), and httpoxy.
        ("client-ip", None),
        ("x-forwarded", None),
        ("x-forwarded-ssl", None),
        ("x-forwarded-protocol", None),
        ("x-forwarded-scheme", None),
        ("x-url-scheme", None),
        ("x-scheme", None),
        ("front-end-https", None),
        ("x-forwarded-prefix", None),
        ("x-script-name", None),
        ("x-original-forwarded-for", None),
        ("fastly-client-ip", None),
        ("proxy", None),
    ] {
        assert_eq!(header(head, name), value, "{name}: {head}");
    }
    let mut proxy = Connection::open([127, 0, 0, 2], stack.port).unwrap();
    proxy.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n");
    let seen = proxy.to_end();
    assert!(seen.contains("X-Real-IP: 192.0.2.1") && seen.contains("X-Forwarded-Proto: https"), "{seen}");
    let post = |bytes: usize| {
        stack.raw(format!(
            "POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n{}",
            "x".repeat(bytes)
        ))
    };
    assert!(post(100_000).1.starts_with("app got 100000 bytes"));
    let (seen, answer) = (app.seen_count(), post(100_001));
    assert_problem(&answer, 413, "Content Too Large");
    assert!(answer.1.contains("of the application 100000 bytes"), "{}", answer.1);
    assert_eq!(app.seen_count(), seen);
}

#[test]
fn a_websocket_passes_both_ways() {
    let (stack, _app) = start(|_| ());
    let mut socket = stack.connect();
    let head = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
    while !line.ends_with("\r\n\r\n") {
        reader.read_line(&mut line).unwrap();
    }
    for text in [b"hello", b"world"] {
        socket.write_all(text).unwrap();
        let mut echo = [0; 5];
        reader.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, text);
    }
}

#[test]
fn while_the_application_is_away_its_paths_say_so_and_ours_work() {
    let port = free_port();
    let stack = Stack::with(|settings| settings.application = Some(at(port)), |_, socket| ok(socket));
    for line in ["GET /", "GET /jobs", "POST /jobs"] {
        let answer = stack.ask(line, "Accept: text/event-stream\r\nContent-Length: 0\r\n");
        assert_problem(&answer, 503, "Service Unavailable");
        assert!(answer.1.contains("the application does not answer"), "{}", answer.1);
        assert_eq!(header(&answer.0, "retry-after"), Some("3"));
    }
    assert!(stack.ask("GET /sse/health", "").0.starts_with("HTTP/1.1 200 "));
    let _app = App::start(port);
    assert!(stack.ask("GET /jobs", "").1.starts_with("app got"));
    // And the other way round: the hub away, the application there.
    let stack = Stack::without_hub(|settings| {
        settings.application = Some(at(port));
        settings.login = true;
    });
    assert!(stack.ask("GET /jobs", "").1.starts_with("app got"));
    for path in ["/sse", "/sse/health", "/events/status", "/sse-test", "/login", "/logout", "/login_status"] {
        let answer = stack.ask(&format!("GET {path}"), "");
        assert_problem(&answer, 503, "Service Unavailable");
        assert!(answer.1.contains("sse-server does not answer"), "{path}: {}", answer.1);
    }
    let (head, body) = stack.ask("GET /sse", "Accept: text/event-stream\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "retry: 3000\n\n", "{head}");
}

/// A DNS server that knows nobody, or, once it is told, 127.0.0.1 under every name.
fn name_server(known: &Arc<AtomicBool>) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let known = Arc::clone(known);
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let question = &packet[12..length];
            let is_a = question.ends_with(&[0, 1, 0, 1]);
            let is_known = known.load(Ordering::SeqCst);
            let mut reply = packet[..2].to_vec();
            reply.extend_from_slice(if is_known { &[0x81, 0x80] } else { &[0x81, 0x83] });
            reply.extend_from_slice(&[0, 1, 0, u8::from(is_known && is_a), 0, 0, 0, 0]);
            reply.extend_from_slice(question);
            if is_known && is_a {
                reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    port
}

#[test]
fn the_stack_starts_before_the_name_of_the_application_is_known() {
    let known = Arc::new(AtomicBool::new(false));
    let app = App::start(free_port());
    let application = Application {
        address: format!("app.test:{}", app.port),
        resolvers: vec![format!("127.0.0.1:{}", name_server(&known))],
        body_bytes_max: 0,
    };
    let stack = Stack::with(|settings| settings.application = Some(application), |_, socket| ok(socket));
    assert_problem(&stack.ask("GET /jobs", ""), 503, "Service Unavailable");
    known.store(true, Ordering::SeqCst);
    stack.wait_for("the name to be found", || stack.ask("GET /jobs", "").1.starts_with("app got"));
}
