//! The same paths through the shipped nginx: what an operator does reaches the client behind it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;
use serde_json::json;
use sse_server::nginx::{self, Settings};
use stack_tests::{Process, eventually, within};

use crate::server::Server;

/// nginx in front of the server.
fn in_front(server: &Server) -> (Process, u16) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let run_dir = server.folder().to_owned();
    let user = geteuid().is_root().then(|| "root".to_owned());
    let settings = Settings { user, port, run_dir, ..Settings::default() };
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/nginx-sse.conf");
    let file = server.folder().join("nginx.conf");
    nginx::write(&file, &settings.render_file(&template).unwrap()).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nginx");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-c").arg(file);
    let process = Process::start(&mut command);
    within(Duration::from_secs(10), "nginx listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    (process, port)
}

#[test]
fn older_paths_and_kicks_pass_through_nginx() {
    let server = Server::start(&[]);
    let (_nginx, port) = in_front(&server);
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
