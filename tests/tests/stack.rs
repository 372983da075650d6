//! The whole stack with real parts: nginx in front, our supervisor behind, clients of every kind.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::{Answer, Connection, Event, Reader, Stack, eventually, request, within};

/// `count` events of the topic `job:1`, as NDJSON.
fn batch(count: usize) -> String {
    (1..=count)
        .map(|n| format!("{{\"topic\":\"job:1\",\"event\":\"tick\",\"data\":{{\"n\":{n}}}}}\n"))
        .collect()
}

#[track_caller]
fn assert_numbers(events: &[Event], from: usize, to: usize) {
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    let expected: Vec<String> = (from..=to).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert!(data == expected, "{} events, first {:?}, last {:?}", data.len(), data.first(), data.last());
    assert!(events.iter().all(|event| event.event == "tick"));
    let ids: Vec<(u64, u64)> = events.iter().map(|event| id(&event.id)).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "ids rise");
}

fn id(text: &str) -> (u64, u64) {
    let (ms, seq) = text.split_once('-').unwrap_or_else(|| panic!("{text:?} is no id"));
    (ms.parse().expect("a number"), seq.parse().expect("a number"))
}

fn open(stack: &Stack, from: [u8; 4]) -> Connection {
    let mut connection = Connection::open(from, stack.port()).expect("nginx listens");
    connection.send(b"GET /sse?topic=* HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    connection
}

#[test]
fn every_kind_of_client_gets_every_event_in_order_with_its_id() {
    let stack = Stack::start(&[]);
    let path = "/sse?topic=job:*";
    let readers = [
        ("curl", Reader::curl(&stack, path, None)),
        ("curl --compressed", Reader::curl_compressed(&stack, path)),
        ("sseclient-py", Reader::python("sseclient", &stack, path, 1000, None)),
        ("httpx-sse", Reader::python("httpx", &stack, path, 1000, None)),
        ("eventsource", Reader::node(&stack, path, 1000, None)),
        ("Chromium", Reader::chromium(&stack, path, 1000)),
    ];
    for (_, reader) in &readers {
        reader.greeted();
    }
    let compression = stack.health()["compression"].clone();
    assert_eq!(compression["streams"], 5, "all but the first have it compressed: {compression}");
    let answer = stack.publish_with_curl(&batch(1000));
    let ids: Vec<&str> = answer["ids"].as_array().expect("ids").iter().filter_map(|id| id.as_str()).collect();
    assert_eq!((ids.len(), answer["receivers"].as_u64()), (1000, Some(6000)));
    for (name, reader) in &readers {
        let events = reader.wait_for(1000);
        assert_numbers(&events, 1, 1000);
        let seen: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
        assert!(seen == ids, "{name} saw the ids of the answer");
    }
}

#[test]
fn a_reader_that_was_cut_gets_exactly_what_it_missed() {
    let stack = Stack::start(&[]);
    let path = "/sse?topic=job:1";
    let first = Reader::curl(&stack, path, None);
    first.greeted();
    stack.publish_with_curl(&batch(500));
    let cut = first.wait_for(500).pop().expect("an event").id;
    drop(first);
    let rest: String = batch(1000).lines().skip(500).map(|line| format!("{line}\n")).collect();
    stack.publish_with_curl(&rest);
    for reader in [
        Reader::curl(&stack, path, Some(&cut)),
        Reader::python("sseclient", &stack, path, 500, Some(&cut)),
        Reader::python("httpx", &stack, path, 500, Some(&cut)),
        Reader::node(&stack, path, 500, Some(&cut)),
    ] {
        assert_numbers(&reader.wait_for(500), 501, 1000);
        assert_eq!(reader.greeted().id, cut, "the greeting's id is where the stream starts");
        assert!(!reader.events().iter().any(|event| event.event == "reset"));
    }
}

#[test]
fn a_killed_hub_comes_back_and_a_page_reconnects_by_itself() {
    let stack = Stack::start(&[]);
    let page = Reader::chromium(&stack, "/sse?topic=job:1", 0);
    page.greeted();
    let (hub, nginx) = (stack.pid("sse-server"), stack.pid("nginx"));
    let killed = Instant::now();
    kill(Pid::from_raw(hub), Signal::SIGKILL).expect("it is there");
    let serving = within(Duration::from_secs(10), "it serves again", || {
        let answer = request(stack.port(), "GET", "/sse/health/ready", &[], "");
        (answer.status == 200 && stack.pid("sse-server") != hub).then(|| killed.elapsed())
    });
    println!("serving again after {serving:?}");
    assert_eq!(stack.pid("nginx"), nginx, "nginx is untouched");
    let greetings = || page.events().iter().filter(|event| event.event == "connected").count();
    eventually("the page is greeted again", || greetings() >= 2);
    stack.publish(r#"{"topic":"job:1","event":"tick","data":"after"}"#);
    assert_eq!(page.wait_for(1)[0].data, "after");
}

#[test]
fn the_eleventh_stream_of_an_address_is_refused_and_no_forged_header_helps() {
    let stack = Stack::start(&[]);
    let mut streams: Vec<Connection> = (0..10).map(|_| open(&stack, [127, 0, 0, 9])).collect();
    for stream in &mut streams {
        stream.until("event: connected");
    }
    // The attack: another address in a header with each try.
    for forged in
        ["", "X-Forwarded-For: 198.51.100.7\r\n", "X-Real-IP: 198.51.100.7\r\n", "Forwarded: for=1.2.3.4\r\n"]
    {
        let mut connection = Connection::open([127, 0, 0, 9], stack.port()).expect("nginx listens");
        let head = "GET /sse HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        connection.send(format!("{head}{forged}\r\n").as_bytes());
        let answer = Answer::parse(&connection.to_end());
        assert_eq!(answer.status, 429, "{forged}");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            answer.body,
            "{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\
             \"10 of 10 streams of this address are open, the limit of one address is 10\"}"
        );
    }
    open(&stack, [127, 0, 0, 10]).until("event: connected");
    // A stream that ends frees its place.
    drop(streams.pop());
    eventually("there is room again", || stack.health()["connections"]["active"] == 9);
    open(&stack, [127, 0, 0, 9]).until("event: connected");
}

#[test]
fn the_stream_above_the_pool_is_refused() {
    let stack = Stack::start(&[("SSE_MAX_CONNECTIONS_PER_IP", "0")]);
    let mut streams: Vec<Connection> = (0..500).map(|_| open(&stack, [127, 0, 0, 1])).collect();
    for stream in &mut streams {
        stream.until("event: connected");
    }
    let answer = request(stack.port(), "GET", "/sse", &[], "");
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(
        answer.body,
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\
         \"500 of 500 streams are open, the limit of the server is 500\"}"
    );
    let health = stack.health();
    assert_eq!((&health["status"], &health["connections"]["utilization"]), (&"warning".into(), &1.0.into()));
}

#[test]
fn a_stop_says_goodbye_to_every_stream_and_ends_nginx_before_the_hub() {
    let mut stack = Stack::start(&[]);
    let mut streams: Vec<Connection> = (1..=20).map(|n| open(&stack, [127, 0, 0, n])).collect();
    for stream in &mut streams {
        stream.until("event: connected");
    }
    let (success, took) = stack.stop();
    assert!(success && took < Duration::from_secs(10), "{took:?}");
    println!("stopped in {took:?}");
    for stream in streams {
        let seen = stream.to_end();
        assert!(seen.contains("event: shutdown\ndata: {\"retry_ms\":"), "{seen}");
        assert!(seen.ends_with("0\r\n\r\n"), "the stream ended whole: {seen:?}");
    }
    let log = stack.log("supervisord.log");
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text:?} is in {log}"));
    assert!(at("draining: 'sse-server'") < at("stopped: nginx (exit status 0)"));
    assert!(at("stopped: nginx (exit status 0)") < at("stopped: sse-server (exit status 0)"));
}

#[test]
fn while_the_hub_is_away_an_eventsource_is_told_to_come_back_and_others_get_a_problem() {
    let stack = Stack::start(&[]);
    assert!(stack.supervisorctl(false, &["stop", "sse-server"]).status.success());
    // Its listener stays open for a restart; once that is closed, nginx is alone.
    let event_stream = [("Accept", "text/event-stream")];
    let away = || request(stack.port(), "GET", "/sse", &event_stream, "");
    let answer = within(Duration::from_secs(20), "nginx answers by itself", || {
        Some(away()).filter(|a| a.status == 200)
    });
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.body, "retry: 3000\n\n");
    for (method, path, headers) in
        [("GET", "/sse", &[][..]), ("GET", "/sse/health", &event_stream), ("POST", "/sse/publish", &[])]
    {
        let answer = request(stack.port(), method, path, headers, "");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (503, Some("application/problem+json")),
            "{path}"
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert!(stack.supervisorctl(false, &["start", "sse-server"]).status.success());
    assert_eq!(stack.health()["status"], "healthy");
}

#[test]
fn nobody_is_refused_while_the_hub_restarts() {
    let stack = Stack::start(&[]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = 0;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        let answer = request(stack.port(), "GET", "/sse/health/live", &[], "");
                        assert_eq!(answer.status, 200, "{answer:?}");
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        for _ in 0..3 {
            assert!(stack.supervisorctl(false, &["restart", "sse-server"]).status.success());
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        let answers: usize =
            clients.into_iter().map(|client| client.join().expect("no client is refused")).sum();
        println!("{answers} requests during 3 restarts, none refused");
    });
}

#[test]
fn every_answer_of_nginx_itself_is_a_problem() {
    let stack = Stack::start(&[("SSE_MAX_EVENT_BYTES", "1000")]);
    let long = "x".repeat(9000);
    let big = "x".repeat(20_000);
    for (method, path, headers, body, status) in [
        ("GET", "/metrics", &[][..], "", 404),
        ("GET", "/nothing", &[], "", 404),
        ("POST", "/sse", &[], "", 405),
        ("POST", "/sse/publish", &[], big.as_str(), 413),
        ("GET", &format!("/{long}"), &[], "", 414),
        ("GET", "/sse", &[("X-Long", long.as_str())], "", 431),
        ("GET", "/sse", &[("Accept", "application/json")], "", 406),
        ("GET", "/sse?topic=a%20b", &[], "", 400),
    ] {
        let answer = request(stack.port(), method, path, headers, body);
        let start: String = path.chars().take(20).collect();
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{method} {start}"
        );
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(
            (&body["type"], body["status"].as_u64()),
            (&"about:blank".into(), Some(u64::from(status)))
        );
        assert!(body["title"].is_string() && body["detail"].is_string());
    }
}

#[test]
fn publishing_works_in_every_format_through_nginx() {
    let stack = Stack::start(&[]);
    let reader = Reader::curl(&stack, "/sse?topic=*", None);
    reader.greeted();
    for (content_type, body) in [
        ("application/json", r#"{"topic":"a","data":{"b" : 1.50}}"#),
        ("application/json; charset=utf-8", r#"[{"topic":["a","b"],"event":"tick","data":"two\nlines"}]"#),
        ("application/x-ndjson", "{\"topic\":\"a\",\"data\":null}\n{\"topic\":\"a\",\"data\":\"\"}\n"),
        ("application/x-www-form-urlencoded", "topic=a&data=x+%26+y"),
    ] {
        assert_eq!(stack.publish_as(content_type, body).status, 200, "{content_type}");
    }
    let events = reader.wait_for(5);
    let seen: Vec<(&str, &str)> = events.iter().map(|e| (e.event.as_str(), e.data.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("message", "{\"b\":1.50}"),
            ("tick", "two\nlines"),
            ("message", "null"),
            ("message", ""),
            ("message", "x & y")
        ]
    );
    let refused =
        request(stack.port(), "POST", "/sse/publish", &[("Content-Type", "application/json")], "{}");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("bearer realm=\"publish\"")));
}

#[test]
fn heartbeats_come_through_nginx_and_are_small() {
    let stack = Stack::start(&[("SSE_HEARTBEAT_INTERVAL", "1")]);
    let mut stream = open(&stack, [127, 0, 0, 1]);
    let seen = stream.until("event: heartbeat\ndata: {}\n\n");
    let heartbeat = seen
        .find("event: heartbeat")
        .and_then(|at| Some(&seen[seen[..at].rfind("\r\n")? - 3..]))
        .expect("a chunk");
    assert!(heartbeat.trim().len() <= 100, "{heartbeat:?}");
}

#[test]
fn head_and_http_1_0_readers_are_served() {
    let stack = Stack::start(&[]);
    let answer = request(stack.port(), "HEAD", "/sse", &[], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"), "nginx passes it on");
    let mut old = Connection::open([127, 0, 0, 1], stack.port()).expect("nginx listens");
    old.send(b"GET /sse?topic=a HTTP/1.0\r\n\r\n");
    let head = old.until("event: connected");
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    stack.publish(r#"{"topic":"a","data":"old"}"#);
    old.until("data: old\n\n");
}

#[test]
fn both_supervisorctls_print_the_status_of_the_stack() {
    let stack = Stack::start(&[]);
    let table = |genuine: bool| {
        let out = stack.supervisorctl(genuine, &["status"]);
        (String::from_utf8(out.stdout).expect("UTF-8"), out.status.code())
    };
    eventually("everything is RUNNING", || table(false).0.matches("RUNNING").count() == 2);
    for genuine in [true, false] {
        let (text, code) = table(genuine);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let nginx = format!("{},", stack.pid("nginx"));
        assert_eq!(lines[0][..5], ["nginx", "RUNNING", "pid", nginx.as_str(), "uptime"], "{text}");
        assert_eq!((lines.len(), lines[1][0], lines[1][1], code), (2, "sse-server", "RUNNING", Some(0)));
    }
    assert!(stack.supervisorctl(true, &["stop", "nginx"]).status.success());
    for genuine in [true, false] {
        let (text, code) = table(genuine);
        assert!(
            text.lines()
                .next()
                .is_some_and(|line| line.starts_with("nginx                            STOPPED   ")),
            "{text}"
        );
        assert_eq!(code, Some(3));
    }
    for words in [
        &["version"][..],
        &["pid"],
        &["pid", "nginx"],
        &["pid", "all"],
        &["tail", "nope"],
        &["start", "nope"],
        &["stop", "nginx"],
    ] {
        let (ours, genuine) = (stack.supervisorctl(false, words), stack.supervisorctl(true, words));
        assert_eq!((&ours.stdout, ours.status.code()), (&genuine.stdout, genuine.status.code()), "{words:?}");
    }
}

#[test]
fn nothing_outlives_a_supervisord_that_is_killed() {
    let stack = Stack::start(&[]);
    let run = stack.control().parent().expect("a folder").display().to_string();
    let hub = stack.pid("sse-server");
    let left = || -> BTreeSet<String> {
        let out =
            Command::new("pgrep").args(["-f", &format!("{run}/nginx.conf")]).output().expect("pgrep runs");
        let mut pids: BTreeSet<String> =
            String::from_utf8_lossy(&out.stdout).split_whitespace().map(str::to_owned).collect();
        for pid in pids.clone() {
            let out = Command::new("pgrep").args(["-P", &pid]).output().expect("pgrep runs");
            pids.extend(String::from_utf8_lossy(&out.stdout).split_whitespace().map(str::to_owned));
        }
        pids.insert(hub.to_string());
        pids
    };
    let started = left();
    assert!(started.len() >= 3, "the hub, nginx and a worker of it: {started:?}");
    kill(Pid::from_raw(stack.pid("")), Signal::SIGKILL).expect("it is there");
    within(Duration::from_secs(1), "everything is gone", || {
        // Whoever inherits a dead process may be slow to collect it.
        let stat = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        started.iter().map(stat).all(|stat| stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_value_that_makes_no_sense_stops_make_up_with_one_sentence() {
    for (name, value, sentence) in [
        (
            "SSE_MAX_CONNECTIONS",
            "many",
            "SSE_MAX_CONNECTIONS is \"many\", but it must be a whole number from 0 to 1000000",
        ),
        ("PORT", "0", "PORT is \"0\", but it must be a number from 1 to 65535"),
    ] {
        let folder = tempfile::TempDir::new().expect("a folder");
        let out = Command::new("make")
            .args(["--no-print-directory", "up"])
            .current_dir(stack_tests::repository())
            .env("RUN_DIR", folder.path().join("run"))
            .env("LOG_DIR", folder.path().join("logs"))
            .env("DATA_DIR", folder.path().join("data"))
            .env(name, value)
            .output()
            .expect("make runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.lines().any(|line| line == sentence), "{said}");
    }
}
