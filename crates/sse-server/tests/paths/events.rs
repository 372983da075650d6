//! `/events` and what is below it: what the clients of the older stack send, and what they get.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stack_tests::{Answer, Connection, eventually, request, within};

use crate::server::{Server, assert_problem};

/// The data of a greeting, and of whatever came after it.
fn data(seen: &str) -> Vec<&str> {
    seen.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

#[test]
fn events_is_sse_with_types_of_its_own() {
    let server = Server::start(&[]);
    let own = json!(["summary_complete", "summary_progress", "system"]);
    for (path, types) in [
        ("/events", own.clone()),
        ("/events?subscribe=", own.clone()),
        ("/events?topic=job:*&envelope=0", own),
        ("/events?subscribe=b,a", json!(["b", "a"])),
        ("/events?types=a", json!(["a"])),
        ("/sse?subscribe=b,a", json!(["b", "a"])),
        ("/sse", json!([])),
    ] {
        let (mut stream, id) = server.stream(path);
        let seen = stream.until("\n\n");
        let greeting: Value = serde_json::from_str(data(&seen)[0]).unwrap();
        let topics = if path.contains("job:*") { json!(["job:*"]) } else { json!(["*"]) };
        let expected = json!({"connection_id":id,"topics":topics,"types":types,"heartbeat_seconds":30,"last_event_id":"0-0"});
        assert_eq!(greeting, expected, "{path}");
    }
}

#[test]
fn events_refuses_and_answers_as_sse_does() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS", "2"), ("SSE_MAX_CONNECTIONS_PER_IP", "1")]);
    let from = |address: [u8; 4], headers: &str| {
        let mut connection = Connection::open(address, server.port()).unwrap();
        connection.send(
            format!("GET /events HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
        );
        connection
    };
    let head = server.ask("HEAD", "/events");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let (_first, _) = server.stream("/events");
    let html = request(server.port(), "GET", "/events?topic=", &[("Accept", "text/html")], "");
    assert_problem(
        &html,
        406,
        "Not Acceptable",
        "the answer is text/event-stream, which the Accept header excludes",
    );
    let detail =
        "topic: topic filter \"\" is neither a topic, nor a prefix of one followed by *, nor * alone";
    assert_problem(&server.ask("GET", "/events?topic="), 400, "Bad Request", detail);
    let full = server.ask("GET", "/events");
    let detail = "1 of 1 streams of this address are open, the limit of one address is 1";
    assert_problem(&full, 429, "Too Many Requests", detail);
    assert_eq!(full.header("retry-after"), Some("5"));
    let mut second = from([127, 0, 0, 2], "");
    second.until("event: connected");
    let full = Answer::parse(&from([127, 0, 0, 3], "").to_end());
    assert_problem(
        &full,
        503,
        "Service Unavailable",
        "2 of 2 streams are open, the limit of the server is 2",
    );
    assert_eq!(full.header("retry-after"), Some("10"));
    let connections = &server.health()["connections"];
    assert_eq!(connections["rejected"], json!({"pool_full":1,"per_ip":1,"unauthorized":0,"rate_limited":0}));
    assert_eq!((&connections["active"], &connections["total"]), (&json!(2), &json!(2)));

    server.process.signal(Signal::SIGUSR1);
    within(Duration::from_secs(5), "it drains", || {
        (server.ask("GET", "/events").status == 503).then_some(())
    });
    let detail = "the server is draining and opens no streams";
    assert_problem(&server.ask("GET", "/events"), 503, "Service Unavailable", detail);
    let told = request(server.port(), "GET", "/events", &[("Accept", "text/event-stream")], "");
    assert_eq!((told.status, told.body.as_str()), (200, "retry: 3000\n\n"));
    let detail = "the server is draining and accepts no events";
    assert_problem(&server.post("/events/broadcast", "{}"), 503, "Service Unavailable", detail);
    eventually("both ends are counted", || server.health()["connections"]["closed"]["drain"] == 2);
}

#[test]
fn reader_of_events_that_returns_gets_what_it_missed() {
    let server = Server::start(&[]);
    let broadcast = |kind: &str, n: u32| {
        server.post("/events/broadcast", &format!("{{\"event_type\":\"{kind}\",\"data\":{n}}}"));
    };
    broadcast("system", 1);
    let (mut stream, _) = server.stream("/events?lastEventId=earliest");
    let seen = stream.until("data: 1\n\n");
    let id = seen.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    drop(stream);
    broadcast("other", 2);
    broadcast("summary_progress", 3);
    let mut stream = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    stream.send(format!("GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {id}\r\n\r\n").as_bytes());
    stream.until("data: 3\n\n");
    broadcast("summary_complete", 4);
    let seen = stream.until("data: 4\n\n");
    assert_eq!(data(&seen)[1..], ["3", "4"]);
    assert!(seen.contains("event: summary_progress\ndata: 3\n\n"), "{seen}");
}

/// What a broadcast says, whom it reaches, and that it counts as published.
#[test]
fn broadcast_reaches_whom_its_filters_name() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS_PER_IP", "0")]);
    let all = server.stream("/sse").0;
    let everybody = server.stream("/sse?topic=broadcast&types=test,end").0;
    let system = server.stream("/events?subscribe=test,system,end").0;
    let session = server.stream("/sse?topic=session:s-1,broadcast&types=test,system,end").0;
    for body in [
        r#"{"event_type":"test","data":{"n":1},"session_filter":null,"subscription_filter":null}"#,
        r#"{"event_type":"test","data":{"n": 2},"subscription_filter":"system"}"#,
        r#"{"event_type":"test","data":{"n":3},"session_filter":"s-1"}"#,
        r#"{"event_type":"test","data":{"n":4},"session_filter":"s-1","subscription_filter":"system"}"#,
        r#"{"event_type":"test","data":{"n":5},"session_filter":"s-1","subscription_filter":"other"}"#,
    ] {
        let answer = server.post("/events/broadcast", body);
        let expected = r#"{"success":true,"message":"Broadcasted test event","total_connections":4}"#;
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let answer = server.post("/events/broadcast", r#"{"event_type":"end","data":"end"}"#);
    assert_eq!(answer.body, r#"{"success":true,"message":"Broadcasted end event","total_connections":4}"#);
    for (mut stream, expected) in [
        (all, &["{\"n\":1}", "end"][..]),
        (everybody, &["{\"n\":1}", "end"]),
        (system, &["{\"n\":1}", "{\"n\":2}", "end"]),
        (session, &["{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}", "end"]),
    ] {
        let seen = stream.until("data: end\n\n");
        assert_eq!(data(&seen)[1..], *expected, "{seen}");
        assert!(seen.contains("event: test\ndata: {\"n\":1}\n\n"), "{seen}");
    }
    assert_eq!(server.health()["events"]["published"], 6);
    eventually("each delivery is counted", || server.health()["events"]["delivered"] == 2 + 2 + 3 + 5);
    let metrics = server.ask("GET", "/metrics").body;
    assert!(metrics.contains("\nsse_publish_latency_seconds_count 6\n"), "{metrics}");
}

#[test]
fn broadcast_is_refused_as_a_publish_is() {
    let server = Server::start(&[("SSE_PUBLISH_RATE", "1"), ("SSE_MAX_EVENT_BYTES", "10")]);
    let post = |headers: &[(&str, &str)], body: &str| {
        request(server.port(), "POST", "/events/broadcast", headers, body)
    };
    let json = ("Content-Type", "application/json");
    let detail = "publishing needs the header Authorization: Bearer with the publish token";
    let refused = post(&[json], "{}");
    assert_problem(&refused, 401, "Unauthorized", detail);
    assert_eq!(refused.header("www-authenticate"), Some("bearer realm=\"publish\""));
    let refused = post(&[json, ("Authorization", "Bearer wrong")], "{}");
    assert_problem(&refused, 401, "Unauthorized", "the publish token is wrong");
    let refused = post(&[("Content-Type", "text/plain"), ("Authorization", "Bearer the-token")], "{}");
    let detail = "the content type \"text/plain\" is not application/json";
    assert_problem(&refused, 415, "Unsupported Media Type", detail);
    let detail = "the body is above the limit of 160 bytes";
    assert_problem(&server.post("/events/broadcast", &" ".repeat(161)), 413, "Content Too Large", detail);
    let large = r#"{"event_type":"test","data":"12345678901"}"#;
    let detail = "data has 11 bytes, more than the limit of 10";
    assert_problem(&server.post("/events/broadcast", large), 413, "Content Too Large", detail);
    let own = r#"{"event_type":"reset","data":1}"#;
    let detail = "event_type: event type \"reset\" is the server's own and cannot be published";
    assert_problem(&server.post("/events/broadcast", own), 400, "Bad Request", detail);
    // One bucket for both paths.
    let good = r#"{"event_type":"test","data":1}"#;
    assert_eq!(server.post("/sse/publish", r#"{"topic":"a","data":1}"#).status, 200);
    assert_eq!(server.post("/events/broadcast", good).status, 200);
    let limited = server.post("/events/broadcast", good);
    let detail = "more than 1 events per second were published with this token";
    assert_problem(&limited, 429, "Too Many Requests", detail);
    assert_eq!(limited.header("retry-after"), Some("1"));
    let health = server.health();
    assert_eq!(
        health["connections"]["rejected"],
        json!({"pool_full":0,"per_ip":0,"unauthorized":2,"rate_limited":1})
    );
    assert_eq!(health["events"]["published"], 2);
}

/// Old scripts ask without a token.
#[test]
fn status_shows_the_streams_as_the_older_stack_did() {
    let server = Server::start(&[]);
    let status = || {
        let answer = server.ask("GET", "/events/status");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json")),
            "{answer:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    assert_eq!(status(), json!({"total_connections":0,"connections":[]}));
    let (mut events, first) = server.stream("/events");
    let (_sse, second) = server.stream("/sse?types=x");
    server.post("/events/broadcast", r#"{"event_type":"system","data":"x"}"#);
    events.until("data: x\n");
    let shown = |id: &str, types: &[&str]| {
        json!({
            "connection_id":id,"session_id":null,"user_ip":"127.0.0.1","created_at":null,"last_activity":null,
            "is_active":true,"subscriptions":types,"queue_size":0,
        })
    };
    let mut expected =
        [shown(&first, &["summary_complete", "summary_progress", "system"]), shown(&second, &["x"])];
    expected.sort_by_key(|stream| stream["connection_id"].as_str().unwrap().to_owned());
    let mut now = status();
    for stream in now["connections"].as_array_mut().unwrap() {
        let [created_at, last_activity] =
            ["created_at", "last_activity"].map(|name| crate::connections::take_time(stream, name));
        assert!(created_at <= last_activity, "{created_at} {last_activity}");
    }
    assert_eq!(now, json!({"total_connections":2,"connections":expected}));
    drop(events);
    eventually("who left is not shown", || status()["total_connections"] == 1);
}

/// The attack: anybody has a full server write megabytes for one small request.
#[test]
fn status_is_bounded_and_counts_them_all() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let server = Server::start(&[("SSE_MAX_CONNECTIONS", "0"), ("SSE_MAX_CONNECTIONS_PER_IP", "0")]);
    let open: Vec<_> = (0..1001).map(|_| server.stream("/sse")).collect();
    let mut ids: Vec<&str> = open.iter().map(|(_, id)| id.as_str()).collect();
    ids.sort_unstable();
    let status: Value = serde_json::from_str(&server.ask("GET", "/events/status").body).unwrap();
    let shown = status["connections"].as_array().unwrap().iter();
    let shown: Vec<&str> = shown.map(|stream| stream["connection_id"].as_str().unwrap()).collect();
    assert!(shown == ids[..1000], "{} streams are shown", shown.len());
    assert_eq!(status["total_connections"], 1001);
}

#[test]
fn methods_of_these_paths_are_told() {
    let server = Server::start(&[]);
    for (method, path, allow) in [
        ("POST", "/events", "GET, HEAD"),
        ("DELETE", "/events", "GET, HEAD"),
        ("POST", "/events/status", "GET, HEAD"),
        ("GET", "/events/broadcast", "POST"),
        ("HEAD", "/events/broadcast", "POST"),
    ] {
        let answer = server.ask(method, path);
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(&*allow.to_lowercase())),
            "{method} {path}"
        );
        if method != "HEAD" {
            assert_problem(&answer, 405, "Method Not Allowed", &format!("only {allow} is allowed here"));
        }
    }
    assert_problem(&server.ask("GET", "/events/nothing"), 404, "Not Found", "there is nothing at this path");
}
