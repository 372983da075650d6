//! `/sse/connections`: what an operator sees of the open streams, and how he ends one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use stack_tests::{Connection, eventually, request, within};

use crate::server::{Server, assert_problem};

#[track_caller]
fn list(server: &Server, query: &str) -> Value {
    let answer = server.operate("GET", &format!("/sse/connections{query}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_str(&answer.body).unwrap()
}

/// A time that passed lately, taken out.
#[track_caller]
pub(crate) fn take_time(value: &mut Value, name: &str) -> jiff::Timestamp {
    let time: jiff::Timestamp = value[name].take().as_str().unwrap().parse().unwrap();
    let ago = jiff::Timestamp::now().duration_since(time);
    assert!(ago.as_secs() < 60 && !ago.is_negative(), "{name} is {time}");
    time
}

#[test]
fn list_shows_every_open_stream_direct_or_behind_a_proxy() {
    let server = Server::start(&[]);
    assert_eq!(list(&server, ""), json!({"connections":[],"next":null}));
    let (mut direct, first) = server.stream("/sse?topic=job:*,job:1&types=b,a&envelope=1");
    let mut proxied = UnixStream::connect(server.socket()).unwrap();
    proxied.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    proxied.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\nX-Real-IP: 2001:db8::7\r\n\r\n").unwrap();
    let mut seen = String::new();
    while !seen.contains("}\n\n\r\n") {
        let mut bytes = [0; 4096];
        let length = proxied.read(&mut bytes).unwrap();
        seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    let second = seen.split_once("\"connection_id\":\"").unwrap().1[..16].to_owned();
    assert_eq!(server.post("/sse/publish", r#"{"topic":"job:1","event":"a","data":"x"}"#).status, 200);
    direct.until("\"data\":\"x\"}\n\n\r\n");
    let mut expected = [
        json!({
            "id":first,"address":"127.0.0.1","topics":["job:*","job:1"],"types":["b","a"],"connected_at":null,
            "events":1,"bytes":direct.seen.len(),"lag":0,"encoding":"identity","user_agent":"tests",
        }),
        json!({
            "id":second,"address":"2001:db8::7","topics":["*"],
            "types":["summary_complete","summary_progress","system"],"connected_at":null,
            "events":0,"bytes":seen.len(),"lag":0,"encoding":"identity","user_agent":null,
        }),
    ];
    expected.sort_by_key(|stream| stream["id"].as_str().unwrap().to_owned());
    // The events of a stream are counted at the end of the round that its client reads already.
    within(Duration::from_secs(5), "both are shown as they are", || {
        let mut listed = list(&server, "");
        listed["connections"].as_array_mut().unwrap().iter_mut().for_each(|stream| {
            take_time(stream, "connected_at");
        });
        (listed == json!({"connections":expected,"next":null})).then_some(())
    });
    drop((direct, proxied));
    eventually("who left is not shown", || list(&server, "") == json!({"connections":[],"next":null}));
}

#[test]
fn pages_follow_each_other_by_id() {
    let server = Server::start(&[]);
    let open: Vec<_> = (0..5).map(|_| server.stream("/sse")).collect();
    let mut ids: Vec<&str> = open.iter().map(|(_, id)| id.as_str()).collect();
    ids.sort_unstable();
    let mut query = "?limit=2".to_owned();
    for (page, next) in [(&ids[..2], Some(ids[1])), (&ids[2..4], Some(ids[3])), (&ids[4..], None)] {
        let listed = list(&server, &query);
        let found: Vec<&str> = listed["connections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| stream["id"].as_str().unwrap())
            .collect();
        assert_eq!((&*found, listed["next"].as_str()), (page, next));
        query = format!("?limit=2&after={}", next.unwrap_or_default());
    }
    // A full page that is the last says so, and the id to start after need not be open.
    assert_eq!(list(&server, "?limit=5")["next"], Value::Null);
    assert_eq!(list(&server, "?after=ffffffffffffffff"), json!({"connections":[],"next":null}));
    assert_eq!(list(&server, "?after=0000000000000000")["connections"].as_array().unwrap().len(), 5);
    for (query, detail) in [
        ("?limit=0", "limit is \"0\", but it must be a whole number from 1 to 1000"),
        ("?limit=1001", "limit is \"1001\", but it must be a whole number from 1 to 1000"),
        ("?after=x", "after is \"x\", but it must be the id of a stream, 16 hexadecimal digits"),
    ] {
        let answer = server.operate("GET", &format!("/sse/connections{query}"));
        assert_problem(&answer, 400, "Bad Request", detail);
    }
}

#[test]
fn kicked_stream_ends_whole_frees_its_place_and_is_counted() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS", "2")]);
    let (chunked, first) = server.stream("/sse");
    let mut plain = Connection::open([127, 0, 0, 1], server.port()).unwrap();
    plain.send(b"GET /events HTTP/1.0\r\n\r\n");
    let seen = plain.until("}\n\n");
    let second = seen.split_once("\"connection_id\":\"").unwrap().1[..16].to_owned();
    for (id, connection, end) in [(first, chunked, "}\n\n\r\n0\r\n\r\n"), (second, plain, "}\n\n")] {
        let answer = server.operate("DELETE", &format!("/sse/connections/{id}"));
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        let seen = connection.to_end();
        assert!(seen.ends_with(end), "{seen:?}");
        let again = server.operate("DELETE", &format!("/sse/connections/{id}"));
        assert_problem(&again, 404, "Not Found", &format!("no open stream has the id \"{id}\""));
    }
    let connections = &server.health()["connections"];
    assert_eq!(connections["closed"], json!({"client":0,"slow":0,"idle":0,"drain":0,"kicked":2,"expired":0}));
    assert_eq!((&connections["active"], &connections["addresses"]), (&json!(0), &json!(0)));
    let metrics = server.ask("GET", "/metrics").body;
    assert!(metrics.contains("\nsse_streams_closed_total{reason=\"kicked\"} 2\n"), "{metrics}");
    eventually("both ends are noted", || {
        let ends = |line: &String| line.ends_with(" end=kicked events=0");
        server.process.lines().iter().filter(|line| ends(line)).count() == 2
    });
    for id in ["x", "0000000000000000", "00000000000000FF"] {
        let answer = server.operate("DELETE", &format!("/sse/connections/{id}"));
        assert_problem(&answer, 404, "Not Found", &format!("no open stream has the id \"{id}\""));
    }
}

/// The attack: a stranger learns who reads what, or throws readers out.
#[test]
fn operating_needs_the_token() {
    let server = Server::start(&[]);
    let (mut stream, id) = server.stream("/sse");
    let one = format!("/sse/connections/{id}");
    for (method, path) in [("GET", "/sse/connections"), ("GET", "/sse/connections?limit=0"), ("DELETE", &one)]
    {
        let refused = server.ask(method, path);
        let detail = "operating needs the header Authorization: Bearer with the publish token";
        assert_problem(&refused, 401, "Unauthorized", detail);
        let refused = request(server.port(), method, path, &[("Authorization", "Bearer wrong")], "");
        assert_problem(&refused, 401, "Unauthorized", "the publish token is wrong");
    }
    server.post("/sse/publish", r#"{"topic":"a","data":"still here"}"#);
    stream.until("data: still here\n");
    assert_eq!(server.health()["connections"]["rejected"]["unauthorized"], 6);
    for (method, path, allow) in [
        ("DELETE", "/sse/connections", "GET, HEAD"),
        ("POST", "/sse/connections", "GET, HEAD"),
        ("GET", &*one, "DELETE"),
    ] {
        let answer = server.operate(method, path);
        assert_problem(&answer, 405, "Method Not Allowed", &format!("only {allow} is allowed here"));
        assert_eq!(answer.header("allow"), Some(&*allow.to_lowercase()));
    }
    let nothing = server.operate("DELETE", "/sse/connections/");
    assert_problem(&nothing, 404, "Not Found", "there is nothing at this path");
}
