//! The same paths through the shipped nginx: what an operator does reaches the client behind it.

use serde_json::json;
use stack_tests::{eventually, request};

use crate::front::in_front;
use crate::server::Server;

#[test]
fn older_paths_and_kicks_pass_through_nginx() {
    let server = Server::start(&[]);
    let (_nginx, port) = in_front(&server, &[]);
    let server = server.behind(port);
    let (mut stream, id) = server.stream("/events?subscribe=test");
    let answer = server.post("/events/broadcast", r#"{"event_type":"test","data":{"n":1}}"#);
    assert_eq!(answer.body, r#"{"success":true,"message":"Broadcasted test event","total_connections":1}"#);
    stream.until("event: test\ndata: {\"n\":1}\n\n");
    let status: serde_json::Value = serde_json::from_str(&server.ask("GET", "/events/status").body).unwrap();
    let shown = &status["connections"][0];
    assert_eq!((&shown["connection_id"], &shown["user_ip"]), (&json!(id), &json!("127.0.0.1")));
    assert_eq!(server.operate("GET", "/sse/connections?limit=1").status, 200);
    assert_eq!(server.operate("DELETE", &format!("/sse/connections/{id}")).status, 204);
    // A whole body; the connection between the browser and nginx lives on.
    let seen = stream.until("\r\n0\r\n\r\n");
    assert!(seen.ends_with("data: {\"n\":1}\n\n\r\n0\r\n\r\n"), "{seen:?}");
    eventually("it is counted", || server.health()["connections"]["closed"]["kicked"] == 1);
}

/// The attacks: a client behind nginx forges addresses to guess on, or has its cookie sent without TLS.
#[test]
fn login_passes_through_nginx_and_believes_only_trusted_proxies() {
    let env = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame"), ("MAX_LOGIN_ATTEMPTS", "2")];
    let server = Server::start(&env);
    let (direct, direct_port) = in_front(&server, &[]);
    let json = ("Content-Type", "application/json");
    let log_in = |port: u16, code: &str, header: (&str, &str)| {
        request(port, "POST", "/login", &[json, header], &format!("{{\"passcode\":\"{code}\"}}"))
    };
    let page = request(direct_port, "GET", "/login", &[("Accept", "text/html")], "");
    assert!(page.status == 200 && page.body.contains("name=\"passcode\""), "{page:?}");
    let away = request(direct_port, "GET", "/sse/dashboard", &[("Accept", "text/html")], "");
    assert_eq!((away.status, away.header("location")), (303, Some("/login")));
    let status = request(direct_port, "GET", "/login_status", &[], "");
    assert_eq!(status.body, r#"{"login_enabled":true,"authenticated":false}"#);
    let is_secure = |port| {
        let seen = log_in(port, "open sesame", ("X-Forwarded-Proto", "https"));
        assert_eq!((seen.status, seen.header("content-type")), (200, Some("application/json")));
        seen.header("set-cookie").unwrap().contains("; secure")
    };
    assert!(!is_secure(direct_port), "nobody vouches for it");
    for (n, status) in [401, 401, 429, 429].into_iter().enumerate() {
        let forged = format!("192.0.2.{n}");
        assert_eq!(log_in(direct_port, "guess", ("X-Forwarded-For", &forged)).status, status);
    }
    drop(direct);
    let (_nginx, port) = in_front(&server, &["127.0.0.1"]);
    assert_eq!(log_in(port, "guess", ("X-Forwarded-For", "1.1.1.1, 192.0.2.9")).status, 401);
    assert_eq!(log_in(port, "guess", ("X-Forwarded-For", "2.2.2.2, 192.0.2.9")).status, 401);
    assert_eq!(log_in(port, "guess", ("X-Forwarded-For", "3.3.3.3, 192.0.2.9")).status, 429);
    let tls = [json, ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.10")];
    let seen = request(port, "POST", "/login", &tls, r#"{"passcode":"open sesame"}"#);
    assert!(seen.header("set-cookie").unwrap().contains("; secure"), "{seen:?}");
    let left = request(port, "POST", "/logout", &[], "");
    assert_eq!((left.status, left.body.as_str()), (200, r#"{"success":true,"message":"Logged out"}"#));
}
