//! A listener with `status_only`.

use std::os::unix::net::UnixStream;
use std::path::Path;

use stack_tests::within;

use crate::daemon::Daemon;
use crate::wire::{ask, connect, request, seconds};

const PROGRAMS: &str = r#"
[unix_http_server.status]
file = "%(here)s/status.sock"
status_only = true
[program.talker]
command = ["sh", "-c", "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; done; printf 'a\tb\n' >&2; exec sleep 1000"]
startsecs = 0
[program.idle]
command = "sleep 1000"
autostart = false
"#;

fn get(path: &Path, request: &str) -> String {
    ask(&mut connect(path), request.as_bytes())
}

#[test]
fn status_tells_states_and_last_lines() {
    let daemon = Daemon::start(PROGRAMS);
    let path = daemon.folder.path().join("status.sock");
    within(seconds(10), "the lines are there", || {
        let answer = get(&path, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("application/json"), "{head}");
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        let programs = status["programs"].as_array().unwrap();
        let names: Vec<_> =
            programs.iter().map(|p| (p["name"].as_str().unwrap(), p["state"].as_str().unwrap())).collect();
        assert_eq!(names, [("idle", "STOPPED"), ("talker", "RUNNING")]);
        assert_eq!(programs[0]["description"], "Not started");
        let lines: Vec<String> = (11..=20).map(|n| format!("line {n}")).collect();
        let talker = &programs[1];
        (talker["stdout"] == serde_json::json!(lines) && talker["stderr"] == serde_json::json!(["a b"]))
            .then_some(())
    });
}

/// The attack: whoever may read how the programs are stops them, feeds them, or reads more of their logs.
#[test]
fn status_socket_answers_nothing_that_changes_or_tells_more() {
    let daemon = Daemon::start(PROGRAMS);
    let path = daemon.folder.path().join("status.sock");
    let not_here = "HTTP/1.1 404 Not Found";
    for method in ["stopAllProcesses", "shutdown", "getAllProcessInfo", "restart", "clearLog"] {
        let call = request(&format!("supervisor.{method}"), &[]);
        let answer = ask(&mut connect(&path), &call);
        assert!(
            answer.starts_with(not_here) && answer.ends_with("here is GET /status and nothing else\n"),
            "{answer}"
        );
    }
    for line in [
        "GET /logtail/talker",
        "GET /mainlogtail",
        "GET /",
        "GET /status/../RPC2",
        "GET /statusx",
        "GET /%2e/status",
        "DELETE /status",
        "PUT /status",
    ] {
        let answer = get(&path, &format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(answer.starts_with(not_here), "{line}: {answer}");
    }
    let info = daemon.call("supervisor.getProcessInfo", &["talker".into()]).unwrap();
    assert_eq!(info.member("statename").unwrap().text(), Some("RUNNING"));
}

/// The programs' own way to the daemon is never this socket, whose name may come first.
#[test]
fn programs_are_told_the_control_socket() {
    let daemon = Daemon::start(&format!(
        "[unix_http_server.a]\nfile = \"%(here)s/a.sock\"\nstatus_only = true\n\
         [program.told]\ncommand = [\"sh\", \"-c\", \"echo $SUPERVISOR_SERVER_URL; exec sleep 1000\"]\n\
         stdout_logfile = \"%(here)s/told.log\"\n{}",
        "startsecs = 0\n"
    ));
    let expected = format!("unix://{}\n", daemon.socket().display());
    within(seconds(10), "it has said it", || {
        (std::fs::read_to_string(daemon.folder.path().join("told.log")).ok()? == expected).then_some(())
    });
    assert!(UnixStream::connect(daemon.folder.path().join("a.sock")).is_ok());
}
