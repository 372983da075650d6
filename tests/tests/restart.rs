//! The hub restarts under load, nginx in front: nobody is refused, nothing is lost or doubled, and everybody comes back when told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stack_tests::load::{Load, Publishing, Subscribers, Subscribing, Trace};
use stack_tests::{Stack, within};

/// What a client may need beyond the time it was told: to connect, to wait for a hub that starts.
const RETURN_SLACK: Duration = Duration::from_secs(3);

/// The time of day of the last line of the hub's log that has these words, in milliseconds.
#[track_caller]
fn at(log: &str, words: &str) -> u64 {
    let line = log
        .lines()
        .rev()
        .find(|line| line.contains(words))
        .unwrap_or_else(|| panic!("{words:?} is in {log}"));
    let clock = line.split(['T', 'Z']).nth(1).expect("a time");
    let numbers: Vec<u64> = clock.split([':', '.']).filter_map(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds, ms] = numbers[..] else { panic!("a time in {line:?}") };
    ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
}

/// Least, middle and most, and how many there are in each half second.
fn spread(what: &str, mut ms: Vec<u64>) -> String {
    ms.sort_unstable();
    let (Some(least), Some(most)) = (ms.first(), ms.last()) else { return format!("{what}: none") };
    let mut text = format!("{what}: {} from {least} to {most} ms, middle {}", ms.len(), ms[ms.len() / 2]);
    for slot in least / 500..=most / 500 {
        let count = ms.iter().filter(|ms| **ms / 500 == slot).count();
        let bar = "#".repeat((count * 40).div_ceil(ms.len()));
        text.push_str(&format!("\n  {:>5} ms {count:>4} {bar}", slot * 500));
    }
    text
}

/// What nginx complained of, and how often.
fn reasons(log: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    let reasons = log.lines().filter_map(|line| Some(line.split_once(": *")?.1.split_once(' ')?.1));
    for reason in reasons.map(|reason| reason.split(", client:").next().unwrap_or(reason)) {
        *counts.entry(reason).or_default() += 1;
    }
    counts
}

#[test]
fn restarts_under_load_refuse_nobody_and_lose_nothing() {
    let restarts: u64 =
        std::env::var("RESTARTS").map_or(3, |value| value.parse().expect("RESTARTS is a number"));
    let env = [("SSE_MAX_CONNECTIONS_PER_IP", "0"), ("SSE_PUBLISH_RATE", "0"), ("SSE_HISTORY_EVENTS", "0")];
    let stack = Stack::start(&env);
    let publishing = Publishing {
        port: stack.port(),
        publishers: 8,
        rate: 100,
        keys: true,
        twins: true,
        seed: fastrand::u64(..),
    };
    let subscribing = Subscribing { port: stack.port(), subscribers: 50, patience: 1.0, after: None };
    let load = Load::start(&publishing, &subscribing);
    let (mut drains, mut whole) = (Vec::new(), Vec::new());
    for restart in 1..=restarts {
        load.advance(100);
        let began = Instant::now();
        let out = stack.supervisorctl(false, &["restart", "sse-server"]);
        assert!(out.status.success(), "{out:?}");
        whole.push(began.elapsed().as_millis());
        let log = stack.log("sse-server.error.log");
        let drain = at(&log, "INFO  ended").saturating_sub(at(&log, "SIGTERM: draining"));
        assert!(drain <= 2000, "a drain of {drain} ms: {log}");
        drains.push(drain);
        let back = |trace: &Trace| trace.greetings > restart;
        within(Duration::from_millis(6000) + RETURN_SLACK, "everybody is back", || {
            load.subscribers.all(back).then_some(())
        });
    }
    load.advance(100);
    let outcome = load.finish(Duration::from_secs(20));
    let late = Subscribing { subscribers: 1, after: Some("earliest".to_owned()), ..subscribing };
    let late = Subscribers::start(&late).finish(outcome.last(), Duration::from_secs(20));
    let verdict = outcome.verdict(&late);
    println!(
        "{restarts} restarts; drains took {drains:?} ms, with the start {whole:?} ms\n{outcome}\n{verdict}"
    );
    let returns = outcome.traces.iter().flat_map(|trace| &trace.returns);
    let took = returns.map(|r| r.greeted.duration_since(r.left).as_millis() as u64).collect();
    println!(
        "{}",
        spread("told to come back in", outcome.traces.iter().flat_map(|t| t.goodbyes.clone()).collect())
    );
    println!("{}", spread("came back after", took));
    println!("nginx: {:?}", reasons(&stack.log("nginx.error.log")));
    assert!(outcome.refusals().is_empty(), "a subscriber was refused");
    for trace in &outcome.traces {
        assert_eq!(
            (trace.goodbyes.len() as u64, trace.cuts, trace.put_off),
            (restarts, 0, 0),
            "goodbyes, cuts, put off"
        );
        assert!(trace.goodbyes.iter().all(|ms| (1000..=6000).contains(ms)), "{:?}", trace.goodbyes);
    }
    assert!(verdict.is_clean(), "{verdict}");
}
