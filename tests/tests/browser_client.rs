//! client.js as it is served, in Node and in the tabs of a real browser, against a real hub.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use stack_tests::{Hub, HubPlan, Stack, TOKEN, free_port, target, tools};
use tempfile::TempDir;

/// Runs a script of `tests/clients` against a hub of its own; it fails by its exit code.
#[track_caller]
fn run(words: &[&str], env: &[(&str, &str)]) {
    run_in(words, env, &[]);
}

#[track_caller]
fn run_in(words: &[&str], env: &[(&str, &str)], script: &[(&str, &str)]) {
    let folder = TempDir::new().unwrap();
    let hub = Hub::start(HubPlan::new(folder.path(), env));
    let mut command = Command::new("node");
    command.args(words).current_dir(tools().join("node"));
    command.env("ORIGIN", format!("http://127.0.0.1:{}", hub.port())).env("TOKEN", TOKEN);
    command.envs(script.iter().copied());
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

/// Runs a script of `tests/clients` against a whole stack of its own, whose programs it may restart.
#[track_caller]
fn run_with_stack(words: &[&str], stack: &[(&str, &str)], env: &[(&str, &str)]) -> String {
    let stack = Stack::start(stack);
    let mut command = Command::new("node");
    command.args(words).current_dir(tools().join("node"));
    command.env("ORIGIN", stack.origin()).env("TOKEN", TOKEN);
    command.env("SUPERVISORCTL", target().join("release/supervisorctl").canonicalize().unwrap());
    command.env("CONTROL", format!("unix://{}", stack.control().display())).envs(env.iter().copied());
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

#[test]
fn page_survives_cuts_restarts_sleep_crashes_and_its_own_reloads_also_in_workers() {
    let told = run_with_stack(&["lives.mjs"], &[("SSE_HEARTBEAT_INTERVAL", "1")], &[]);
    println!("{told}");
}

#[test]
fn refusals_of_a_real_hub_are_waited_for_or_told() {
    run_in(&["--test", "refusals.test.mjs"], &[("SSE_MAX_CONNECTIONS_PER_IP", "2")], &[("CASE", "429")]);
    run_in(&["--test", "refusals.test.mjs"], &[("SSE_MAX_CONNECTIONS", "2")], &[("CASE", "503")]);
    let login = [("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "open sesame")];
    run_in(&["--test", "refusals.test.mjs"], &login, &[("CASE", "401"), ("PASSCODE", "open sesame")]);
}

/// `make soak MINUTES=30` takes its time; without a word of it a few seconds show that the soak works.
#[test]
fn soaked_page_has_every_event_that_was_published_however_often_the_server_restarts() {
    let seconds = std::env::var("MINUTES").ok().map(|minutes| minutes.parse::<u64>().unwrap() * 60);
    let (lasts, restarts) = (seconds.unwrap_or(8).to_string(), if seconds.is_some() { "60" } else { "3" });
    let told = run_with_stack(&["soak.mjs"], &[], &[("SECONDS", &lasts), ("RESTART_SECONDS", restarts)]);
    println!("{told}");
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
