//! Clients that take nothing: who is closed as idle, and who is not.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use stack_tests::{Process, within};

use crate::server::Server;

/// The network of a client, tied to that of the server by a pair of interfaces.
struct Network {
    /// Keeps it.
    holder: Process,
}

impl Network {
    /// Moves this thread, and so the children that it starts, into a network of its own, and makes the client's.
    #[track_caller]
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
            panic!(
                "this test makes networks of its own, which takes root (CAP_SYS_ADMIN): unshare says {error}"
            )
        });
        let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let holder = Process::start(Command::new("unshare").args(["--net", "sleep", "300"]));
        let pid = holder.pid();
        within(Duration::from_secs(10), "the client's network is there", || {
            let theirs = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            (theirs != ours && fs::read(format!("/proc/{pid}/comm")).ok()? == b"sleep\n").then_some(())
        });
        let network = Self { holder };
        run(&mut ip(&format!("link add hub type veth peer name client netns {pid}")));
        for words in ["link set lo up", "addr add 10.0.0.1/24 dev hub", "link set hub up"] {
            run(&mut ip(words));
        }
        network.ip("addr add 10.0.0.2/24 dev client");
        network.ip("link set client up");
        network
    }

    /// A command of the client.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.holder.pid().to_string(), program]);
        command
    }

    #[track_caller]
    fn ip(&self, words: &str) {
        run(self.command("ip").args(words.split(' ')));
    }
}

fn ip(words: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(words.split(' '));
    command
}

#[track_caller]
fn run(command: &mut Command) {
    let Output { status, stderr, .. } =
        command.output().expect("iproute2 and util-linux are installed (tests/tools/prepare.sh)");
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
}

/// A stream whose client says no word more, no FIN, no RST and no acknowledgement, while events are published.
#[track_caller]
fn check(pull: impl FnOnce(&Network)) {
    let network = Network::new();
    let server = Server::start(&[("SSE_IDLE_TIMEOUT", "2"), ("SSE_MAX_CONNECTIONS", "1")]);
    let url = format!("http://10.0.0.1:{}/sse", server.port());
    let reader = Process::start(network.command("curl").args(["-sN", &url]));
    within(Duration::from_secs(10), "the greeting", || {
        reader.lines().contains(&"event: connected".to_owned()).then_some(())
    });
    let receivers = || {
        let answer = server.post("/sse/publish", r#"{"topic":"a","data":"x"}"#);
        serde_json::from_str::<Value>(&answer.body).unwrap()["receivers"].clone()
    };
    assert_eq!(receivers(), 1);
    pull(&network);
    // The timeout, the time until it is looked at, and the kernel's own timer, which may be late by one retransmission.
    let connections = within(Duration::from_millis(2000 + 250 + 1500), "the stream ends", || {
        receivers();
        Some(server.health()["connections"].clone()).filter(|connections| connections["active"] == 0)
    });
    assert_eq!(connections["closed"], json!({"client":0,"slow":0,"idle":1,"drain":0,"kicked":0,"expired":0}));
    assert_eq!(receivers(), 0);
    let ends = |line: &String| line.starts_with("10.0.0.2 ") && line.contains(" end=idle events=");
    within(Duration::from_secs(5), "the end is noted", || {
        server.process.lines().iter().any(ends).then_some(())
    });
    server.stream("/sse");
}

#[test]
fn client_whose_cable_is_pulled_is_closed_as_idle_within_the_timeout() {
    check(|network| network.ip("link set client down"));
}

/// The kernel then names the unreachable host, and not the time that is over.
#[test]
fn client_whose_machine_is_gone_from_its_network_is_closed_as_idle_within_the_timeout() {
    check(|network| {
        network.ip("link set client down");
        fs::write("/proc/sys/net/ipv4/neigh/hub/retrans_time_ms", "50").unwrap();
        run(&mut ip("neigh flush dev hub"));
    });
}

#[test]
fn stream_is_closed_as_idle_within_the_timeout_when_the_servers_own_link_goes() {
    check(|_| run(&mut ip("link set hub down")));
}

#[test]
fn client_that_reads_nothing_is_closed_as_idle_and_one_with_nothing_to_read_is_not() {
    let server = Server::start(&[("SSE_IDLE_TIMEOUT", "1")]);
    let (mut quiet, _) = server.stream("/sse?topic=quiet");
    let (_full, _) = server.stream("/sse?topic=big");
    // More than the kernel holds for both ends of a connection.
    let event = format!("{{\"topic\":\"big\",\"data\":\"{}\"}}", "x".repeat(250_000));
    for _ in 0..40 {
        assert_eq!(server.post("/sse/publish", &event).status, 200);
    }
    let connections = within(Duration::from_secs(10), "one stream ends", || {
        Some(server.health()["connections"].clone()).filter(|connections| connections["active"] != 2)
    });
    assert_eq!(connections["closed"], json!({"client":0,"slow":0,"idle":1,"drain":0,"kicked":0,"expired":0}));
    // It has been silent for longer than the one that was closed.
    server.post("/sse/publish", r#"{"topic":"quiet","data":"still here"}"#);
    quiet.until("data: still here\n");
    assert_eq!(server.health()["connections"]["active"], 1);
}
