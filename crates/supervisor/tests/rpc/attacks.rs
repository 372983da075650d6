//! Hostile clients beside a `supervisorctl status` that must not notice.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use stack_tests::within;

use crate::daemon::{Daemon, SLEEPER};
use crate::wire::{ask, connect, millis, request, seconds};

/// However it is attacked, another client's status is answered in time.
#[track_caller]
fn answers_in_time(daemon: &Daemon, attack: &str) {
    let slowest = (0..3).map(|_| daemon.status()).max().unwrap();
    assert!(slowest < seconds(1), "{attack}: {slowest:?}");
}

#[test]
fn clients_that_never_finish_hold_nobody_up() {
    let daemon = Daemon::start(SLEEPER);
    let head: &[u8] = b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1000000\r\n";
    let body = [head, b"\r\n", &[b'<'; 500_000]].concat();
    let before = daemon.resident_kib();
    for (attack, bytes) in [
        ("they send nothing", &b""[..]),
        ("they send half a line", b"POS"),
        ("they send half a head", head),
        ("they send half a body", &body),
        ("they ask for a log and read nothing", b"GET /mainlogtail HTTP/1.1\r\n\r\n"),
    ] {
        let mut held = Vec::new();
        for _ in 0..600 {
            let mut stream = daemon.connect();
            stream.set_write_timeout(Some(millis(100))).unwrap();
            let _ = stream.write_all(bytes);
            held.push(stream);
            if held.len() % 200 == 0 {
                answers_in_time(&daemon, attack);
            }
        }
        answers_in_time(&daemon, attack);
    }
    let grown = daemon.resident_kib().saturating_sub(before);
    assert!(grown < 150 << 10, "{grown} KiB more");
}

#[test]
fn a_thousand_clients_at_once_are_all_answered() {
    let daemon = Daemon::start(SLEEPER);
    let socket = daemon.socket();
    let bytes = request("supervisor.getAllProcessInfo", &[]);
    let asked = thread::scope(|scope| {
        let ask_once = || {
            let mut stream = connect(&socket);
            ask(&mut stream, &bytes)
        };
        let clients: Vec<_> = (0..1000)
            .map(|_| thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, ask_once).unwrap())
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let wrong: Vec<_> = asked.iter().filter(|answer| !answer.contains("<string>RUNNING</string>")).collect();
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), asked.len(), wrong[0]);
}

#[test]
fn who_asks_and_asks_and_never_reads_is_not_listened_to() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    stream.set_write_timeout(Some(millis(500))).unwrap();
    let calls = request("supervisor.getAllProcessInfo", &[]).repeat(100);
    let sent = (0..1000).take_while(|_| stream.write_all(&calls).is_ok()).count();
    assert!(sent < 100, "{sent} times 100 calls");
    answers_in_time(&daemon, "one asks and never reads");
}

#[test]
fn kept_connections_and_followers_that_have_left_wake_nobody() {
    let daemon = Daemon::start(SLEEPER);
    let mut kept = daemon.connect();
    ask(&mut kept, &request("supervisor.getState", &[]));
    let mut follower = daemon.connect();
    let head = ask(&mut follower, b"GET /mainlogtail HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // While somebody follows, the log is looked at.
    let busy = daemon.wake_ups();
    within(seconds(5), "the log is looked at", || (daemon.wake_ups() > busy + 5).then_some(()));
    drop(follower);
    let mut quiet = (daemon.wake_ups(), Instant::now());
    within(seconds(20), "three seconds without a wake-up", || {
        let now = daemon.wake_ups();
        if now != quiet.0 {
            quiet = (now, Instant::now());
        }
        (quiet.1.elapsed() > seconds(3)).then_some(())
    });
    let answer = ask(&mut kept, &request("supervisor.getState", &[]));
    assert!(answer.contains("RUNNING"), "{answer}");
}

#[test]
fn a_flood_of_connections_holds_nobody_up() {
    let daemon = Daemon::start(SLEEPER);
    let socket = daemon.socket();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held = VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    held.push_back(connect(&socket));
                    if held.len() > 200 {
                        held.pop_front();
                    }
                }
            });
        }
        let mut asked: Vec<_> = (0..5)
            .map(|_| {
                let began = Instant::now();
                let answer = ask(&mut connect(&socket), &request("supervisor.getState", &[]));
                (began.elapsed(), answer)
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        asked.sort();
        assert!(asked.iter().all(|(_, answer)| answer.contains("RUNNING")), "{asked:?}");
        // One of them may have met a stop of the whole machine.
        assert!(asked[2].0 < seconds(1), "{asked:?}");
    });
}
