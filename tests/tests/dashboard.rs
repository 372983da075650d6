//! `/sse/dashboard` in a real browser, against the whole stack under load.

use std::process::Command;
use std::time::Duration;

use stack_tests::{Stack, TOKEN, request, tools, within};

#[test]
fn dashboard_shows_a_stack_at_work_to_everybody_who_may_see_it() {
    let stack = Stack::start(&[("SSE_MAX_CONNECTIONS_PER_IP", "0"), ("SSE_COMPRESSION", "gzip")]);
    let mut command = Command::new("node");
    command.arg("dashboard.mjs").current_dir(tools().join("node"));
    let output = command.env("ORIGIN", stack.origin()).env("TOKEN", TOKEN).output().expect("it can be had");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

/// The attack: the log lines of the programs, in which addresses and paths stand, are read by strangers through nginx; or the
/// socket that tells them lets its reader stop something.
#[test]
fn programs_are_shown_to_operators_alone_over_a_socket_that_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let stack = Stack::start(&[]);
    let ask = |headers: &[(&str, &str)]| request(stack.port(), "GET", "/sse/dashboard/programs", headers, "");
    assert_eq!(ask(&[]).status, 401);
    assert_eq!(ask(&[("Authorization", "Bearer wrong")]).status, 401);
    let bearer = format!("Bearer {TOKEN}");
    within(Duration::from_secs(10), "both run, and nginx has logged", || {
        let answer = ask(&[("Authorization", &bearer)]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let programs = answer["programs"].as_array().expect("a list");
        let states: Vec<_> = programs.iter().map(|p| (p["name"].as_str(), p["state"].as_str())).collect();
        let running = [(Some("nginx"), Some("RUNNING")), (Some("sse-server"), Some("RUNNING"))];
        let line = programs.first()?["stdout"][0].as_str()?;
        (states == running && line.contains("HTTP/1.1\"")).then_some(())
    });
    let socket = stack.control().with_file_name("status.sock");
    assert_eq!(std::fs::metadata(&socket).expect("it can be had").permissions().mode() & 0o777, 0o600);
    let url = format!("unix://{}", socket.display());
    let program = stack_tests::target().join("release/supervisorctl");
    let out = Command::new(program).args(["-s", &url, "stop", "nginx"]).output().expect("it can be had");
    assert!(!out.status.success(), "{out:?}");
    assert_eq!(request(stack.port(), "GET", "/sse/health/live", &[], "").status, 200);
}
