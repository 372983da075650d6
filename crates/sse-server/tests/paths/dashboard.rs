//! The dashboard's own paths: its feed of figures, and the programs for operators.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stack_tests::{Connection, eventually, request};

use crate::server::{Server, assert_problem};

const LOGIN: [(&str, &str); 2] = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")];
const FEED: &str = "/sse/dashboard/feed";

fn feed(server: &Server, headers: &str) -> Connection {
    let mut connection = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    connection.send(format!("GET {FEED} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
    connection
}

/// The data of the feed's events of figures so far.
fn figures(seen: &str) -> Vec<Value> {
    let lines = seen.lines().filter_map(|line| line.strip_prefix("data: {\"health\""));
    lines.map(|rest| serde_json::from_str(&format!("{{\"health\"{rest}")).unwrap()).collect()
}

/// The first samples, so many, as soon as they have come.
#[track_caller]
fn samples(connection: &mut Connection, count: usize) -> Vec<Value> {
    let mut seen = String::new();
    for n in 1..=count {
        // Each is a chunk of its own, which a line of its own ends.
        seen = connection.until_nth("}\n\n\r\n", n);
    }
    figures(&seen)
}

#[test]
fn start_page_is_the_dashboard() {
    let server = Server::start(&[]);
    for method in ["GET", "HEAD"] {
        let answer = server.ask(method, "/");
        assert_eq!((answer.status, answer.header("location")), (302, Some("/sse/dashboard")));
    }
    assert_problem(&server.ask("POST", "/"), 405, "Method Not Allowed", "only GET, HEAD is allowed here");
    let closed = Server::start(&LOGIN);
    let html = [("Accept", "text/html")];
    for path in ["/", "/sse/dashboard"] {
        let answer = request(closed.port(), "GET", path, &html, "");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/login")));
    }
    assert_eq!(closed.ask("GET", "/").status, 401);
}

#[test]
fn feed_tells_health_and_rates_each_second() {
    let server = Server::start(&[]);
    let (_stream, _) = server.stream("/sse");
    let mut connection = feed(&server, "");
    let first = samples(&mut connection, 1).remove(0);
    assert_eq!(first["rates"], Value::Null);
    for _ in 0..20 {
        assert_eq!(server.post("/sse/publish", r#"{"topic":"a","data":"x"}"#).status, 200);
    }
    assert_eq!(
        request(server.port(), "POST", "/sse/publish", &[("Authorization", "Bearer no")], "").status,
        401
    );
    let seen = samples(&mut connection, 3);
    let sum = |pick: &dyn Fn(&Value) -> f64| seen[1..].iter().map(|one| pick(&one["rates"])).sum::<f64>();
    let times = |name: &'static str| {
        move |rates: &Value| (rates[name].as_f64().unwrap() * rates["seconds"].as_f64().unwrap()).round()
    };
    assert_eq!(sum(&times("events_per_second")), 20.0);
    assert_eq!(sum(&times("deliveries_per_second")), 20.0);
    assert_eq!(sum(&|rates| rates["refused"]["unauthorized"].as_f64().unwrap()), 1.0);
    assert!(
        seen[1..].iter().any(|one| one["rates"]["delivery_ms"]["p99"].as_f64().is_some_and(|ms| ms > 0.0)),
        "{seen:?}"
    );
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&seen[2]["health"]), names(&server.health()));
    let text = String::from_utf8_lossy(&connection.seen).into_owned();
    let head = text.to_lowercase();
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(text.contains("event: connected\ndata: {\"heartbeat_seconds\":10,"), "{text}");
    let ids: Vec<u64> =
        text.lines().filter_map(|line| line.strip_prefix("id: ")?.strip_suffix("-0")?.parse().ok()).collect();
    assert!(ids.len() >= 4 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

/// What users count must stay what users did, however many look.
#[test]
fn feed_is_no_stream_no_topic_and_no_event() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS", "1")]);
    let (mut everything, _) = server.stream("/sse?topic=*&last_event_id=earliest");
    let mut connection = feed(&server, "");
    samples(&mut connection, 2);
    let health = server.health();
    let connections = &health["connections"];
    assert_eq!(
        (&connections["active"], &connections["total"], &connections["peak"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&health["events"]["published"], &health["events"]["delivered"]), (&json!(0), &json!(0)));
    assert_eq!(health["history"]["events"], 0);
    assert!(!server.operate("GET", "/sse/connections").body.contains("dashboard"));
    // Whatever the name of a topic, the feed shows none.
    for topic in ["dashboard", "figures", "sse/dashboard/feed"] {
        let body = json!({"topic": topic, "event": "figures", "data": "forged"}).to_string();
        assert_eq!(server.post("/sse/publish", &body).status, 200);
    }
    samples(&mut connection, 4);
    assert!(!String::from_utf8_lossy(&connection.seen).contains("forged"));
    let seen = everything.until("forged");
    assert!(!seen.contains("\"health\""), "{seen}");
}

#[test]
fn feed_has_its_own_limits_and_refusals() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS_PER_IP", "1")]);
    let open: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = feed(&server, "");
            connection.until("event: figures");
            connection
        })
        .collect();
    let refused = server.ask("GET", FEED);
    assert_problem(&refused, 429, "Too Many Requests", "the limit of one address is 8 open dashboards");
    assert_eq!(refused.header("retry-after"), Some("5"));
    let rejected = &server.health()["connections"]["rejected"];
    assert_eq!(rejected, &json!({"pool_full":0,"per_ip":0,"unauthorized":0,"rate_limited":0}));
    let others: Vec<_> = (0..56_u8)
        .map(|n| {
            let mut connection = Connection::open([127, 0, 1, 1 + n / 8], server.port()).unwrap();
            connection.send(format!("GET {FEED} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            connection.until("event: figures");
            connection
        })
        .collect();
    let mut one_more = Connection::open([127, 0, 2, 1], server.port()).unwrap();
    one_more.send(format!("GET {FEED} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let full = one_more.to_end();
    assert!(
        full.starts_with("HTTP/1.1 503") && full.contains("the limit of the server is 64 open dashboards"),
        "{full}"
    );
    drop((open, others));
    eventually("who left frees his place", || {
        let mut connection = feed(&server, "");
        connection.until("\r\n\r\n").starts_with("HTTP/1.1 200")
    });
    let head = server.ask("HEAD", FEED);
    assert_eq!(
        (head.status, head.header("content-type"), head.body.as_str()),
        (200, Some("text/event-stream"), "")
    );
    for method in ["POST", "PUT", "DELETE"] {
        assert_problem(
            &server.ask(method, FEED),
            405,
            "Method Not Allowed",
            "only GET, HEAD is allowed here",
        );
    }
    let html = request(server.port(), "GET", FEED, &[("Accept", "text/html")], "");
    assert_eq!(html.status, 406);
}

/// The attack: a stranger reads the figures of a server that has a login; or goes on reading after the logout.
#[test]
fn feed_is_behind_the_login_and_ends_with_the_session() {
    let server = Server::start(&LOGIN);
    for path in [FEED, "/sse/dashboard/programs"] {
        assert_eq!(server.ask("GET", path).status, 401);
    }
    let mut raw = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    let body = r#"{"passcode":"open sesame"}"#;
    raw.send(format!("POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let answer = raw.to_end();
    let cookie = answer.split_once("sse_session=").unwrap().1.split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: sse_session={cookie}\r\n");
    let mut connection = feed(&server, &cookie);
    samples(&mut connection, 1);
    // A session reads figures, and operates nothing.
    let mut programs = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    programs.send(
        format!("GET /sse/dashboard/programs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{cookie}\r\n")
            .as_bytes(),
    );
    assert!(programs.to_end().starts_with("HTTP/1.1 401"));
    let mut logout = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    logout.send(
        format!("POST /logout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{cookie}\r\n")
            .as_bytes(),
    );
    assert!(logout.to_end().starts_with("HTTP/1.1 200"));
    assert!(connection.to_end().ends_with("\r\n0\r\n\r\n"), "it ends whole");
    let mut token = feed(&server, "Authorization: Bearer the-token\r\n");
    samples(&mut token, 1);
}

#[test]
fn feed_says_goodbye_when_the_server_drains_or_ends() {
    for signal in [Signal::SIGUSR1, Signal::SIGTERM] {
        let mut server = Server::start(&[]);
        let mut connection = feed(&server, "");
        samples(&mut connection, 1);
        server.process.signal(signal);
        let seen = connection.to_end();
        assert!(seen.contains("event: shutdown\ndata: {\"retry_ms\":2000}\n\n"), "{seen}");
        if signal == Signal::SIGTERM {
            assert!(server.process.wait(std::time::Duration::from_secs(3)).success());
        } else {
            let answer = server.ask("GET", FEED);
            assert_eq!(answer.status, 503);
        }
    }
}

/// The attack: the log lines of the programs are read by strangers.
#[test]
fn programs_are_for_operators_and_say_why_they_are_not_known() {
    let path = "/sse/dashboard/programs";
    let server = Server::start(&[]);
    assert_eq!(server.ask("GET", path).status, 401);
    assert_eq!(server.operate("POST", path).status, 405);
    let reason = |server: &Server| {
        let answer = server.operate("GET", path);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["programs"], Value::Null);
        answer["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason(&server).starts_with("SSE_SUPERVISOR_SOCKET is not set"));
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("s");
    let shown = socket.display().to_string();
    let server = Server::start(&[("SSE_SUPERVISOR_SOCKET", &shown)]);
    let missing = format!(
        "supervisord cannot be asked at {shown} (SSE_SUPERVISOR_SOCKET): No such file or directory (os error 2)"
    );
    assert_eq!(reason(&server), missing);
    let listener = UnixListener::bind(&socket).unwrap();
    let answers = thread::spawn(move || {
        let status = r#"{"programs":[{"name":"a","group":"a","state":"RUNNING","description":"","ready":null,"stdout":["<b>"],"stderr":[]}]}"#;
        let answers = [
            "404 Not Found\r\n\r\n",
            "200 OK\r\n\r\n<html>",
            "503 Service Unavailable\r\n\r\n",
            "200 OK\r\n\r\n",
        ];
        for (n, answer) in answers.iter().enumerate() {
            let answer = format!("HTTP/1.0 {answer}{}", if n == 3 { status } else { "" });
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            assert!(asked[..length].starts_with(b"GET /status HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        }
        let (stream, _) = listener.accept().unwrap();
        (stream, listener)
    });
    let other = format!(
        "what answers at {shown} (SSE_SUPERVISOR_SOCKET) is no socket of supervisord with `status_only = true`"
    );
    assert_eq!([reason(&server), reason(&server)], [other.clone(), other]);
    assert_eq!(
        reason(&server),
        format!("supervisord cannot be asked at {shown} (SSE_SUPERVISOR_SOCKET): it is ending")
    );
    let answer: Value = serde_json::from_str(&server.operate("GET", path).body).unwrap();
    assert_eq!((&answer["reason"], &answer["programs"][0]["stdout"]), (&Value::Null, &json!(["<b>"])));
    // One that never answers is not waited for.
    let late = reason(&server);
    assert_eq!(
        late,
        format!("supervisord cannot be asked at {shown} (SSE_SUPERVISOR_SOCKET): no answer in 2s")
    );
    drop(answers.join().unwrap());
}
