//! A disk that is full: publishes are refused and leave nothing behind, streams stay, and the hub heals by itself.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use stack_tests::load::{Load, Publishing, Subscribers, Subscribing};
use stack_tests::{Hub, HubPlan, within};
use tempfile::TempDir;

/// The disk.
const DISK_BYTES: u64 = 16 << 20;
/// How soon a disk with room again must be noticed.
const HEAL_MAX: Duration = Duration::from_secs(5);
/// Published while the disk is full, without a key, and never repeated: nobody may ever see it.
const REFUSED: &str = r#"{"topic":"load:0","event":"tick","data":"refused"}"#;

/// Takes what is left of the disk.
fn fill(filler: &mut File) {
    let mut bytes = 1 << 20;
    while bytes > 0 {
        match filler.write(&vec![0; bytes]) {
            Ok(written) if written > 0 => {}
            _ => bytes /= 2,
        }
    }
}

#[test]
fn a_full_disk_refuses_publishes_and_nothing_else_and_heals_by_itself() {
    let folder = TempDir::new().expect("a folder");
    let env = [("SSE_HISTORY", "disk"), ("SSE_HISTORY_EVENTS", "0"), ("SSE_HEARTBEAT_INTERVAL", "1")];
    let plan = HubPlan { disk_bytes: Some(DISK_BYTES), ..HubPlan::new(&folder.path().join("data"), &env) };
    let hub = Hub::start(plan);
    let publishing = Publishing {
        port: hub.port(),
        publishers: 4,
        rate: 200,
        keys: true,
        twins: true,
        seed: fastrand::u64(..),
    };
    let subscribing = Subscribing { port: hub.port(), subscribers: 10, patience: 1.0, after: None };
    let load = Load::start(&publishing, &subscribing);
    load.advance(500);

    let path = hub.data().join("filler");
    let mut filler = File::create(&path).expect("the disk has room");
    within(Duration::from_secs(20), "publishers are refused", || {
        // The hub may give room back as it tidies up: that is taken too.
        fill(&mut filler);
        (load.met("503") > 0).then_some(())
    });
    // With publishers at it, health stays what it is.
    let refusals = load.met("503");
    within(Duration::from_secs(20), "every publish is refused", || {
        (load.met("503") > refusals + 20).then_some(())
    });
    let answer = hub.publish(REFUSED);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (503, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("the store does not accept events: "), "{problem}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let health = hub.ask("/sse/health");
    let told: serde_json::Value = serde_json::from_str(&health.body).expect("JSON");
    assert_eq!((health.status, &told["status"]), (503, &"critical".into()), "{told}");
    assert!(told["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{told}");
    println!("refused: {detail}; health: {}", told["reasons"]);
    assert_eq!(hub.ask("/sse/health/ready").status, 503);
    assert_eq!(hub.ask("/sse/health/live").status, 200);
    let beats = load.subscribers.sum(|trace| trace.heartbeats);
    within(Duration::from_secs(10), "streams live and get heartbeats", || {
        (load.subscribers.sum(|trace| trace.heartbeats) >= beats + 20).then_some(())
    });

    // Nobody publishes: the hub finds out by itself.
    load.hold(true);
    assert_eq!(hub.ask("/sse/health/ready").status, 503);
    fs::remove_file(&path).expect("it is there");
    drop(filler);
    let freed = Instant::now();
    within(HEAL_MAX, "the hub has noticed the room", || {
        (hub.ask("/sse/health").status == 200 && hub.ask("/sse/health/ready").status == 200).then_some(())
    });
    println!("healthy {:?} after there was room", freed.elapsed());
    load.hold(false);
    load.advance(500);

    let outcome = load.finish(Duration::from_secs(20));
    let late = Subscribing { subscribers: 1, after: Some("earliest".to_owned()), ..subscribing };
    let late = Subscribers::start(&late).finish(outcome.last(), Duration::from_secs(20));
    let verdict = outcome.verdict(&late);
    println!("{outcome}\n{verdict}");
    // What was refused would be a breach: it is no event of a publisher.
    assert!(verdict.is_clean(), "{verdict}");
    assert!(outcome.traces.iter().all(|trace| trace.greetings == 1), "streams stayed up");
}
