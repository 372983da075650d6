//! The attack: a line end, or a NUL, in whatever is published or asked for, so that a field or an event is forged.

use serde_json::{Value, json};
use stack_tests::{Answer, Connection, request};

use crate::server::Server;

/// What an attacker appends to a name.
const FORGED: [&str; 6] =
    ["\nid: 9-9", "\r\nid: 9-9", "\rid: 9-9", "\0", "\n\nevent: shutdown\ndata: 9", "\r\r data: 9"];

fn publish(server: &Server, path: &str, content_type: &str, body: &str) -> Answer {
    let headers = [("Authorization", "Bearer the-token"), ("Content-Type", content_type)];
    request(server.port(), "POST", path, &headers, body)
}

/// A stream without chunks: what is read is what was sent.
fn raw(server: &Server, query: &str) -> Connection {
    let mut stream = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    stream.send(format!("GET /sse?{query} HTTP/1.0\r\n\r\n").as_bytes());
    stream.until("event: connected\n");
    stream
}

fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

#[test]
fn names_with_line_ends_are_refused_whichever_way_they_come() {
    let server = Server::start(&[]);
    let json_body = |event: Value| event.to_string();
    for forged in FORGED {
        let name = format!("a{forged}");
        let bad_topic = json!({"topic": name, "data": 1});
        let bad_event = json!({"topic": "a", "event": name, "data": 1});
        let good = json!({"topic": "a", "data": 1});
        for bad in [&bad_topic, &json!({"topic": ["a", name], "data": 1}), &bad_event] {
            for (content_type, body) in [
                ("application/json", json_body(bad.clone())),
                ("application/json", json!([good, bad]).to_string()),
                ("application/x-ndjson", format!("{good}\n{bad}\n")),
            ] {
                assert_eq!(publish(&server, "/sse/publish", content_type, &body).status, 400, "{body}");
            }
        }
        for body in [
            form(&[("topic", &name), ("data", "1")]),
            form(&[("topic", "a"), ("event", &name), ("data", "1")]),
        ] {
            let answer = publish(&server, "/sse/publish", "application/x-www-form-urlencoded", &body);
            assert_eq!(answer.status, 400, "{body}");
        }
        for body in [
            json!({"event_type": name, "data": 1}),
            json!({"event_type": "a", "data": 1, "session_filter": name}),
            json!({"event_type": "a", "data": 1, "subscription_filter": name}),
        ] {
            let answer = publish(&server, "/events/broadcast", "application/json", &body.to_string());
            assert_eq!(answer.status, 400, "{body}");
        }
        for name_of in ["topic", "types", "subscribe", "last_event_id", "lastEventId"] {
            let answer = server.ask("GET", &format!("/sse?{}", form(&[(name_of, &name)])));
            assert_eq!(answer.status, 400, "{name_of} {forged:?}");
            assert!(!answer.head.contains("9-9") && answer.body.lines().count() == 1, "{answer:?}");
        }
    }
    assert_eq!(server.health()["events"]["published"], 0);
}

#[test]
fn data_with_line_ends_is_data_whichever_way_it_comes() {
    let server = Server::start(&[]);
    let (mut plain, mut envelope) = (raw(&server, ""), raw(&server, "envelope=1&types=message,e"));
    let mut expected: Vec<(Vec<String>, String)> = Vec::new();
    for forged in FORGED {
        let data = format!("x{forged}");
        let lines = data.replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<String> = lines.split('\n').map(|line| format!("data: {line}")).collect();
        let event = json!({"topic": "a", "data": data});
        let named = json!({"topic": "a", "event": "e", "data": data});
        let answers = [
            publish(&server, "/sse/publish", "application/json", &event.to_string()),
            publish(&server, "/sse/publish", "application/json", &json!([named]).to_string()),
            publish(&server, "/sse/publish", "application/x-ndjson", &format!("{event}\n")),
            publish(
                &server,
                "/sse/publish",
                "application/x-www-form-urlencoded",
                &form(&[("topic", "a"), ("data", &data)]),
            ),
            publish(
                &server,
                "/events/broadcast",
                "application/json",
                &json!({"event_type": "e", "data": data}).to_string(),
            ),
        ];
        for (answer, is_named, topic) in
            answers.into_iter().zip([false, true, false, false, true]).map(|(a, n)| (a, n, "a"))
        {
            assert_eq!(answer.status, 200, "{answer:?}");
            let mut block: Vec<String> = if is_named { vec!["event: e".to_owned()] } else { Vec::new() };
            block.extend(lines.iter().cloned());
            expected.push((block, json!({"topics": [topic], "data": data}).to_string()));
        }
        // A value inside JSON is escaped there, so it stays on one line.
        let inside = json!({"topic": "a", "data": {data.as_str(): data}});
        assert_eq!(publish(&server, "/sse/publish", "application/json", &inside.to_string()).status, 200);
        let line = format!("data: {}", inside["data"]);
        expected.push((vec![line], json!({"topics": ["a"], "data": inside["data"]}).to_string()));
    }
    publish(&server, "/sse/publish", "application/json", r#"{"topic":"a","data":"the end"}"#);
    let seen = plain.until("data: the end\n\n");
    let blocks: Vec<&str> = after_greeting(&seen).split("\n\n").collect();
    assert_eq!(blocks.len() - 2, expected.len(), "so many events were published: {seen:?}");
    for (block, (lines, _)) in blocks.iter().zip(&expected) {
        let mut found = block.split('\n');
        assert!(found.next().unwrap().starts_with("id: 1"), "{block:?}");
        assert_eq!(found.collect::<Vec<_>>(), *lines);
    }
    assert!(!after_greeting(&seen).contains('\r') && !seen.contains("\nid: 9-9"), "{seen:?}");
    let seen = envelope.until("\"the end\"}\n\n");
    let blocks: Vec<&str> = after_greeting(&seen).split("\n\n").collect();
    assert_eq!(blocks.len() - 2, expected.len());
    for (block, (_, wrapped)) in blocks.iter().zip(&expected) {
        let data = block.split('\n').find_map(|line| line.strip_prefix("data: ")).unwrap();
        let (data, wrapped): (Value, Value) =
            (serde_json::from_str(data).unwrap(), serde_json::from_str(wrapped).unwrap());
        assert_eq!(data["data"], wrapped["data"]);
        assert!(block.lines().count() <= 3, "{block:?}");
    }
}

fn after_greeting(seen: &str) -> &str {
    let (_, body) = seen.split_once("\r\n\r\n").unwrap();
    body.split_once("\n\n").unwrap().1
}

/// What a client says of itself comes back to it, or to the operator, in an answer.
#[test]
fn what_a_client_says_of_itself_forges_nothing() {
    let server = Server::start(&[("SSE_CORS_ORIGINS", "https://app.example")]);
    let mut stream = raw(&server, "types=%22%7D%E2%80%A8x,a%3A+b&topic=a");
    let seen = stream.until("\n\n");
    let data = seen.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let greeting: Value = serde_json::from_str(data).unwrap();
    assert_eq!(greeting["types"], json!(["\"}\u{2028}x", "a: b"]));
    for (name, value) in [
        ("Last-Event-ID", "1-1\tid: 9-9"),
        ("Origin", "https://app.example\tX-Forged: 1"),
        ("User-Agent", "a\"}\\\tb"),
    ] {
        let text = format!("GET /sse?topic=b HTTP/1.0\r\n{name}: {value}\r\n\r\n");
        let mut stream = Connection::open([127, 0, 0, 1], server.port()).unwrap();
        stream.send(text.as_bytes());
        let seen = stream.until("event: connected\n");
        assert!(!seen.contains("9-9") && !seen.to_lowercase().contains("x-forged"), "{seen:?}");
        assert!(serde_json::from_str::<Value>(&server.operate("GET", "/sse/connections").body).is_ok());
    }
    // A bare line end in a header is no header at all.
    for value in ["a\rX-Forged: 1", "a\0"] {
        let mut stream = Connection::open([127, 0, 0, 1], server.port()).unwrap();
        stream.send(format!("GET /sse HTTP/1.0\r\nUser-Agent: {value}\r\n\r\n").as_bytes());
        let seen = stream.to_end();
        assert!(seen.starts_with("HTTP/1.0 400") || seen.starts_with("HTTP/1.1 400"), "{seen:?}");
    }
}
