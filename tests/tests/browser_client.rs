//! client.js as it is served, in Node and in the tabs of a real browser, against a real hub.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use stack_tests::{Hub, HubPlan, Stack, TOKEN, free_port, tools};
use tempfile::TempDir;

/// Runs a script of `tests/clients` against a hub of its own; it fails by its exit code.
#[track_caller]
fn run(words: &[&str], env: &[(&str, &str)]) {
    let folder = TempDir::new().unwrap();
    let hub = Hub::start(HubPlan::new(folder.path(), env));
    let mut command = Command::new("node");
    command.args(words).current_dir(tools().join("node"));
    command.env("ORIGIN", format!("http://127.0.0.1:{}", hub.port())).env("TOKEN", TOKEN);
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

#[test]
fn client_reads_as_the_standard_says_and_loses_nothing() {
    run(&["--test", "client.test.mjs"], &[]);
}

#[test]
fn tabs_of_a_browser_share_one_connection_whichever_of_them_goes() {
    run(&["tabs.mjs"], &[("SSE_HEARTBEAT_INTERVAL", "1")]);
}

#[test]
fn page_for_trying_the_stream_works_by_hand() {
    run(&["test-page.mjs"], &[]);
}

#[test]
fn seven_tabs_have_their_streams_over_http_2_and_six_over_http_1_1() {
    let tls = free_port().to_string();
    let stack = Stack::start(&[("TLS_CERT", "self-signed"), ("TLS_PORT", &tls)]);
    let mut command = Command::new("node");
    command.arg("seven-tabs.mjs").current_dir(tools().join("node"));
    command.env("PLAIN", stack.origin()).env("TLS", format!("https://localhost:{tls}")).env("TOKEN", TOKEN);
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    print!("{}", said(&output.stdout));
}
