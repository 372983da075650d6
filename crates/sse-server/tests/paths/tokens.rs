//! The file of publish tokens: each with its name and its rate, read again when told to.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use stack_tests::{Answer, eventually, request};
use tempfile::TempDir;

use crate::server::{Server, assert_problem};

const EVENT: &str = r#"{"topic":"a","data":1}"#;

fn publish(server: &Server, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    request(server.port(), "POST", "/sse/publish", &headers, EVENT)
}

/// The attack: one publisher that was broken into takes the rate of all others.
#[test]
fn each_token_of_the_file_publishes_at_a_rate_of_its_own() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "# publishers\n\napp:app-secret\nweb:web-secret\n").unwrap();
    let file = file.to_str().unwrap();
    let server = Server::start(&[("SSE_PUBLISH_TOKENS_FILE", file), ("SSE_PUBLISH_RATE", "1")]);
    for token in ["app-secret", "web-secret", "the-token"] {
        let answers = [0; 3].map(|_| publish(&server, token));
        assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 429], "{token}");
        let detail = "more than 1 events per second were published with this token";
        assert_problem(&answers[2], 429, "Too Many Requests", detail);
    }
    for token in ["app", "app:app-secret", "app-secre", "", "APP-SECRET"] {
        let detail = "the publish token is wrong";
        assert_problem(&publish(&server, token), 401, "Unauthorized", detail);
    }
    let operate = [("Authorization", "Bearer web-secret")];
    assert_eq!(request(server.port(), "GET", "/sse/connections", &operate, "").status, 200);
    assert!(!server.process.lines().iter().any(|line| line.contains("-secret")));
}

/// The attack: a token that was taken out of the file goes on being used, to publish or on an open stream.
#[test]
fn file_is_read_again_when_told_and_a_broken_one_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "app:one\nweb:two\n").unwrap();
    let path = file.to_str().unwrap();
    let login = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")];
    let server = Server::start(&[login[0], login[1], ("SSE_PUBLISH_TOKENS_FILE", path)]);
    let open = |token: &str| {
        let mut stream = stack_tests::Connection::open([127, 0, 0, 1], server.port()).unwrap();
        let head = format!("GET /sse HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.send(head.as_bytes());
        stream.until("}\n\n\r\n");
        stream
    };
    let (gone, mut stays) = (open("one"), open("two"));
    fs::write(&file, "web:two\nbroken\n").unwrap();
    server.process.signal(Signal::SIGHUP);
    let told = format!("SIGHUP: the tokens stay as they are: {path}: line 2 is not name:token");
    eventually("the mistake is told", || server.process.lines().iter().any(|line| line.ends_with(&told)));
    assert_eq!(publish(&server, "one").status, 200);
    fs::write(&file, "web:two\nnew:three\n").unwrap();
    server.process.signal(Signal::SIGHUP);
    let told = format!("SIGHUP: 2 tokens were read from {path}, 1 are gone");
    eventually("it is read", || server.process.lines().iter().any(|line| line.ends_with(&told)));
    assert_eq!(["one", "two", "three"].map(|token| publish(&server, token).status), [401, 200, 200]);
    assert!(gone.to_end().ends_with("\r\n0\r\n\r\n"), "its stream ends between two events");
    publish(&server, "two");
    stays.until("data: 1\n\n");
    eventually("it is counted", || server.health()["connections"]["closed"]["expired"] == 1);
}

/// The attack: the token of one publisher is stolen, and used to publish as another, to read, or to operate.
#[test]
fn token_with_topics_publishes_to_them_and_does_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "app:one topics=job:*,build:7\nall:two topics=*\nops:three\n").unwrap();
    let path = file.to_str().unwrap();
    let env = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame"), ("SSE_PUBLISH_TOKENS_FILE", path)];
    let server = Server::start(&env);
    let ask = |token: &str, method: &str, path: &str, body: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        request(server.port(), method, path, &headers, body)
    };
    let post = |token: &str, body: &str| ask(token, "POST", "/sse/publish", body);
    for topic in ["job:42", "build:7"] {
        assert_eq!(post("one", &format!(r#"{{"topic":"{topic}","data":1}}"#)).status, 200, "{topic}");
    }
    for (body, topic) in [
        (r#"{"topic":"build:8","data":1}"#, "build:8"),
        (r#"{"topic":["job:1","session:x"],"data":1}"#, "session:x"),
        (r#"[{"topic":"job:1","data":1},{"topic":"jobs","data":1}]"#, "jobs"),
    ] {
        let detail = format!("this token may not publish to the topic {topic}");
        assert_problem(&post("one", body), 403, "Forbidden", &detail);
    }
    let broadcast = ask("one", "POST", "/events/broadcast", r#"{"event_type":"t","data":1}"#);
    assert_problem(&broadcast, 403, "Forbidden", "this token may not publish to the topic broadcast");
    assert_eq!(post("two", r#"{"topic":["anything","session:x"],"data":1}"#).status, 200);
    for (method, path) in [("GET", "/sse/connections"), ("DELETE", "/sse/connections/0123456789abcdef")] {
        for token in ["one", "two"] {
            let detail = "this token is for its topics alone, and operating needs one without topics";
            assert_problem(&ask(token, method, path, ""), 403, "Forbidden", detail);
        }
        assert_ne!(ask("three", method, path, "").status, 403);
    }
    assert_problem(
        &ask("one", "GET", "/sse?topic=news", ""),
        403,
        "Forbidden",
        "reading news is not allowed",
    );
    assert_eq!(ask("one", "HEAD", "/sse?topic=job:1,build:7", "").status, 200);
    let mut stream = stack_tests::Connection::open([127, 0, 0, 1], server.port()).unwrap();
    stream.send(b"GET /sse?topic=job:* HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\n\r\n");
    stream.until("}\n\n\r\n");
    fs::write(&file, "app:one topics=build:7\nall:two topics=*\nops:three\n").unwrap();
    server.process.signal(Signal::SIGHUP);
    eventually("it is good for less", || post("one", r#"{"topic":"job:42","data":1}"#).status == 403);
    stream.to_end();
}

/// The attack: whoever may publish to topics of its own alone takes the key that an event of another will have, so that this
/// one is answered as if it had been published, and reaches nobody.
#[test]
fn token_with_topics_takes_no_key_of_another() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "app:one topics=job:*\nweb:two topics=job:*\nops:three\n").unwrap();
    let server = Server::start(&[("SSE_PUBLISH_TOKENS_FILE", file.to_str().unwrap())]);
    let (mut stream, _) = server.stream("/sse?topic=orders");
    let post = |token: &str, topic: &str| {
        let body = format!(r#"{{"topic":"{topic}","data":"by {token}.","idempotency_key":"order-1"}}"#);
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        request(server.port(), "POST", "/sse/publish", &headers, &body).body
    };
    let taken = post("one", "job:1");
    let published = post("the-token", "orders");
    assert_ne!(published, taken);
    stream.until("data: by the-token.\n");
    let others = post("two", "job:1");
    assert!(others != taken && others != published, "nor do those who may publish to the same");
    // Each has published once, and those who may publish everything are one, so that a token can be changed meanwhile.
    let again = |first: &str| first.replace("\"receivers\":1", "\"receivers\":0");
    for (token, topic, first) in [
        ("one", "job:2", taken),
        ("two", "job:1", others),
        ("the-token", "a", published.clone()),
        ("three", "a", published),
    ] {
        assert_eq!(post(token, topic), again(&first), "{token}");
    }
}

#[test]
fn file_with_a_mistake_stops_the_start_with_its_line() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokens");
    fs::write(&file, "app:one\nsecret without a name\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-server"));
    command.env_clear().env("DATA_DIR", folder.path()).env("SSE_PUBLISH_TOKENS_FILE", &file);
    let output = command.output().unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap()),
        (Some(2), format!("SSE_PUBLISH_TOKENS_FILE is {path:?}, but line 2 is not name:token\n"))
    );
}
