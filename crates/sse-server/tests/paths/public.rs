//! What anybody may read, where not everything is public.

use serde_json::json;
use stack_tests::{Answer, Connection, request};

use crate::server::{Server, assert_problem};

const TOKEN: (&str, &str) = ("Authorization", "Bearer the-token");

fn ask(server: &Server, topics: &str, headers: &[(&str, &str)]) -> Answer {
    request(server.port(), "HEAD", &format!("/sse?topic={topics}"), headers, "")
}

#[track_caller]
fn publish(server: &Server, topic: &str, data: &str) {
    let body = json!({"topic": topic, "data": data}).to_string();
    assert_eq!(server.post("/sse/publish", &body).status, 200);
}

/// What a stream of this query has seen when `last` has come.
#[track_caller]
fn seen(mut stream: Connection, last: &str) -> Vec<String> {
    let seen = stream.until(&format!("data: {last}\n"));
    let data = seen.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| !data.starts_with('{')).map(ToOwned::to_owned).collect()
}

/// The attack: a stranger asks for more than is public, by name, by a wider filter, beside what is, or in the history.
#[test]
fn strangers_read_what_is_public_live_and_in_the_history_and_nothing_else() {
    let server =
        Server::start(&[("SSE_PUBLIC_TOPICS", "news, job:pub:*"), ("SSE_MAX_CONNECTIONS_PER_IP", "0")]);
    for (topics, status) in [
        ("*", 200),
        ("news", 200),
        ("job:pub:*", 200),
        ("job:pub:7,news", 200),
        ("job:pub:7*", 200),
        ("job:*", 403),
        ("job:pub*", 403),
        ("news*", 403),
        ("news,secret", 403),
        ("secret", 403),
        ("session:x", 403),
    ] {
        assert_eq!(ask(&server, topics, &[]).status, status, "{topics}");
        let with_token = if topics == "session:x" { 403 } else { 200 };
        assert_eq!(ask(&server, topics, &[TOKEN]).status, with_token, "{topics}");
    }
    let refused = server.ask("GET", "/events?topic=news,secret");
    assert_problem(&refused, 403, "Forbidden", "reading secret is not allowed");
    assert_eq!(ask(&server, "news", &[("Authorization", "Bearer wrong")]).status, 401);

    for (topic, data) in [("secret", "s1"), ("news", "n1"), ("job:pub:1", "j1"), ("session:x", "x1")] {
        publish(&server, topic, data);
    }
    let (all, _) = server.stream("/sse?last_event_id=earliest");
    let (one, _) = server.stream("/sse?topic=job:pub:*&last_event_id=earliest");
    for (topic, data) in [("secret", "s2"), ("session:x", "x2"), ("news", "n2"), ("job:pub:1", "end")] {
        publish(&server, topic, data);
    }
    assert_eq!(seen(all, "end"), ["n1", "j1", "n2", "end"]);
    assert_eq!(seen(one, "end"), ["j1", "end"]);
}

/// The attack: with the login on, what is public opens a way to the rest.
#[test]
fn what_is_public_needs_no_login_and_the_rest_does() {
    let login = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")];
    let server = Server::start(&[login[0], login[1], ("SSE_PUBLIC_TOPICS", "news")]);
    assert_eq!(
        ["news", "*", "job:1", "news,job:1"].map(|topics| ask(&server, topics, &[]).status),
        [200, 200, 403, 403]
    );
    assert_eq!(ask(&server, "job:1", &[TOKEN]).status, 200);
    let json = [("Content-Type", "application/json")];
    assert_eq!(request(server.port(), "GET", "/events/status", &[], "").status, 401);
    assert_eq!(request(server.port(), "POST", "/login", &json, r#"{"passcode":"open sesame"}"#).status, 200);
    let (stream, _) = server.stream("/sse");
    publish(&server, "job:1", "secret");
    publish(&server, "news", "end");
    assert_eq!(seen(stream, "end"), ["end"]);
    let closed = Server::start(&login);
    assert_eq!(["news", "*"].map(|topics| ask(&closed, topics, &[]).status), [401, 401]);
}

/// The older stack's clients name the topic of a session that nobody made, where nobody can log in.
#[test]
fn without_a_word_everything_is_public() {
    let server = Server::start(&[]);
    for topics in ["*", "job:*", "secret", "session:x"] {
        assert_eq!(ask(&server, topics, &[]).status, 200, "{topics}");
        assert_eq!(ask(&server, topics, &[("Authorization", "Bearer of another service")]).status, 200);
    }
}
