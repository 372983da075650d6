//! A hub that is killed again and again under load loses nothing, doubles nothing, and nobody is told to start anew.

#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::time::{Duration, Instant};

use fastrand::Rng;
use stack_tests::load::{Load, Publishing, Subscribers, Subscribing, Verdict};
use stack_tests::{Hub, HubPlan, within};
use tempfile::TempDir;

/// A number from the environment, for a longer run or the same one again.
fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}, but must be a number"))
    })
}

/// A load, kills, and the check of everybody who was there, and of one who reads all of it afterwards.
fn crash(history: &str, cycles: u64, keys: bool) -> Verdict {
    let seed = number("SEED", fastrand::u64(1..1_000_000));
    println!("SEED={seed} CYCLES={cycles}, {history} history");
    let mut rng = Rng::with_seed(seed);
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let env = [
        ("SSE_HISTORY", history),
        ("SSE_HISTORY_EVENTS", "0"),
        ("SSE_HISTORY_BYTES", "0"),
        ("RUST_BACKTRACE", "1"),
    ];
    let mut hub = Hub::start(HubPlan::new(&folder.path().join("data"), &env));
    let publishing = Publishing { port: hub.port(), publishers: 8, rate: 300, keys, twins: keys, seed };
    // They come back at once, so that many are there when the next kill comes.
    let subscribing = Subscribing { port: hub.port(), subscribers: 50, patience: 0.005, after: None };
    let load = Load::start(&publishing, &subscribing);
    let (mut early, mut slowest) = (0, Duration::ZERO);
    for _ in 0..cycles {
        // Some are killed while they start.
        if rng.u32(..4) == 0 {
            early += 1;
        } else {
            slowest = slowest.max(hub.listening());
        }
        let moment = Instant::now() + Duration::from_millis(rng.u64(50..=400));
        within(Duration::from_secs(2), "the moment of the kill", || (Instant::now() >= moment).then_some(()));
        hub.kill();
        hub.restart();
    }
    hub.ready();
    load.advance(100);
    let outcome = load.finish(Duration::from_secs(30));
    let late = Subscribing { subscribers: 1, after: Some("earliest".to_owned()), ..subscribing };
    let late = Subscribers::start(&late).finish(outcome.last(), Duration::from_secs(30));
    let verdict = outcome.verdict(&late);
    println!("{cycles} kills, {early} of them counted from the start; it listened after {slowest:?} at most");
    println!("{outcome}\n{verdict}");
    if !verdict.is_clean() {
        println!("sse-server said:\n{}", hub.said());
    }
    verdict
}

#[test]
fn no_event_that_was_answered_is_lost_or_doubled_by_kills() {
    let cycles = number("CYCLES", 20);
    let verdict = crash("disk", cycles, true);
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.events > 10 * cycles, "the load went on between the kills");
}

/// Nothing survives in memory, and without keys a repeated publish is a second event: if that passed, the check would be none.
#[test]
fn the_same_check_fails_for_a_history_in_memory() {
    let verdict = crash("memory", 3, false);
    assert!(verdict.resets > 0 && verdict.missing > 0, "{verdict}");
}
