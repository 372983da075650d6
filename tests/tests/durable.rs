//! A hub with its history on disk, across restarts: what is replayed, what is the same event, what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use stack_tests::{Connection, Hub, HubPlan, eventually, target};
use tempfile::TempDir;

fn hub(env: &[(&str, &str)]) -> (TempDir, Hub) {
    let folder = TempDir::new().expect("a folder");
    let env: Vec<_> = [("SSE_HISTORY", "disk")].into_iter().chain(env.iter().copied()).collect();
    let hub = Hub::start(HubPlan::new(&folder.path().join("data"), &env));
    (folder, hub)
}

#[track_caller]
fn publish(hub: &Hub, body: &Value) -> Value {
    let answer = hub.publish(&body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

/// What a new stream gets up to this text.
#[track_caller]
fn stream(hub: &Hub, query: &str, until: &str) -> String {
    let mut connection = Connection::open([127, 0, 0, 1], hub.port()).expect("it listens");
    connection.send(format!("GET /sse?topic=a{query} HTTP/1.0\r\n\r\n").as_bytes());
    connection.until(until)
}

fn kill_and_start(hub: &mut Hub) {
    hub.kill();
    hub.restart();
    hub.ready();
}

#[test]
fn what_was_answered_is_replayed_after_a_kill_and_ids_go_on() {
    let (_folder, mut hub) = hub(&[]);
    let first = publish(&hub, &json!({"topic":"a","event":"e","data":"two\nlines"}))["id"].clone();
    publish(&hub, &json!([{"topic":["a","b"],"data":{"n":1}}, {"topic":"b","data":2}]));
    kill_and_start(&mut hub);
    let next = publish(&hub, &json!({"topic":"a","data":"last"}));
    let seen = stream(&hub, "&envelope=1&last_event_id=earliest", "\"last\"}\n\n");
    let events: Vec<&str> = seen.split("\n\n").skip(1).filter(|text| text.starts_with("id: ")).collect();
    let first = first.as_str().expect("an id");
    assert_eq!(
        events[0],
        format!("id: {first}\nevent: e\ndata: {{\"topics\":[\"a\"],\"data\":\"two\\nlines\"}}")
    );
    assert!(events[1].ends_with("data: {\"topics\":[\"a\",\"b\"],\"data\":{\"n\":1}}"), "{seen}");
    assert!(events[2].starts_with(&format!("id: {}\n", next["id"].as_str().expect("an id"))), "{seen}");
    let seen = stream(&hub, &format!("&last_event_id={first}"), "data: last\n\n");
    assert!(
        seen.contains("data: {\"n\":1}\n\n") && !seen.contains("reset") && !seen.contains("lines"),
        "{seen}"
    );
    let health = hub.health();
    assert_eq!((&health["history"]["kind"], &health["history"]["events"]), (&json!("disk"), &json!(4)));
    assert_eq!(health["history"]["newest"], next["id"]);
}

#[test]
fn same_key_is_the_same_event_also_after_a_kill() {
    let (_folder, mut hub) = hub(&[]);
    let event = json!({"topic":"a","data":1,"idempotency_key":"k"});
    let id = publish(&hub, &event)["id"].clone();
    for _ in 0..2 {
        assert_eq!(publish(&hub, &event), json!({"id": id, "receivers": 0}));
        kill_and_start(&mut hub);
    }
    let batch = json!([
        {"topic":"a","data":2,"idempotency_key":"l"},
        {"topic":"a","data":"other data","idempotency_key":"k"},
        {"topic":"a","data":2,"idempotency_key":"l"},
        {"topic":"a","data":3},
    ]);
    let ids = publish(&hub, &batch)["ids"].clone();
    assert_eq!((&ids[1], &ids[0]), (&id, &ids[2]));
    let again = publish(&hub, &batch)["ids"].clone();
    assert_eq!((&again[0], &again[1], &again[2]), (&ids[0], &ids[1], &ids[2]));
    assert_ne!(again[3], ids[3], "an event without key is a new one");
    assert_eq!(hub.health()["history"]["events"], 4);
    for (key, why) in
        [("", "0 characters are not 1 to 128"), (&"x".repeat(129), "129 characters are not 1 to 128")]
    {
        let answer = hub.publish(&json!({"topic":"a","data":1,"idempotency_key":key}).to_string());
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(&format!("\"detail\":\"idempotency_key: {why}\"")), "{}", answer.body);
    }
}

#[test]
fn keys_beyond_the_limit_are_refused_and_no_other_publish() {
    let (_folder, hub) = hub(&[("SSE_IDEMPOTENCY_KEYS", "1")]);
    publish(&hub, &json!({"topic":"a","data":1,"idempotency_key":"k"}));
    let answer = hub.publish(r#"{"topic":"a","data":1,"idempotency_key":"l"}"#);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(
        answer.body.contains("\"detail\":\"1 idempotency keys are remembered, as many as may be"),
        "{}",
        answer.body
    );
    publish(&hub, &json!({"topic":"a","data":1,"idempotency_key":"k"}));
    publish(&hub, &json!({"topic":"a","data":1}));
}

#[test]
fn bounds_hold_across_a_restart_and_truncation_is_told() {
    let (_folder, mut hub) = hub(&[("SSE_HISTORY_EVENTS", "3"), ("SSE_HISTORY_CACHE_BYTES", "0")]);
    let ids: Vec<Value> =
        (1..=6).map(|n| publish(&hub, &json!({"topic":"a","data":n}))["id"].clone()).collect();
    for _ in 0..2 {
        let oldest = ids[3].as_str().expect("an id");
        let history = hub.health()["history"].clone();
        assert_eq!(
            (&history["events"], &history["oldest"], &history["newest"]),
            (&json!(3), &ids[3], &ids[5])
        );
        let of = |n: usize| format!("&last_event_id={}", ids[n].as_str().expect("an id"));
        let seen = stream(&hub, &of(1), "data: 6\n\n");
        let reset =
            format!("event: reset\ndata: {{\"reason\":\"history_truncated\",\"oldest\":\"{oldest}\"}}\n\n");
        assert!(seen.contains(&reset) && seen.contains("data: 4\n") && !seen.contains("data: 3\n"), "{seen}");
        let seen = stream(&hub, &of(2), "data: 6\n\n");
        assert!(!seen.contains("reset") && seen.contains("data: 4\n"), "{seen}");
        let seen = stream(&hub, "&last_event_id=earliest", "data: 6\n\n");
        assert!(
            !seen.contains("reset") && seen.contains("data: 4\n") && !seen.contains("data: 3\n"),
            "{seen}"
        );
        kill_and_start(&mut hub);
    }
}

#[test]
fn what_is_too_old_goes_by_itself() {
    let (_folder, hub) = hub(&[("SSE_HISTORY_AGE", "1")]);
    publish(&hub, &json!({"topic":"a","data":1}));
    eventually("the event is too old", || hub.health()["history"]["events"] == 0);
    let history = hub.health()["history"].clone();
    assert_eq!((&history["bytes"], &history["oldest"]), (&json!(0), &Value::Null));
}

#[test]
fn history_is_for_its_owner_alone_and_for_one_process() {
    let (folder, hub) = hub(&[]);
    let history = folder.path().join("data/history");
    let mode = fs::metadata(&history).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let second = Command::new(target().join("release/sse-server"))
        .args(["--listen", "127.0.0.1:0"])
        .env("DATA_DIR", folder.path().join("data"))
        .env("SSE_HISTORY", "disk")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains("another process uses "), "{said}");
    assert_eq!(hub.ask("/sse/health/ready").status, 200);
}
