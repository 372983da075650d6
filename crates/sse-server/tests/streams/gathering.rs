//! `flush_interval`: what comes soon after a round goes out together, and what must not wait for that does not.

use std::time::{Duration, Instant};

use sse_server::fanout::EndReason;
use sse_server::hub::After;

use crate::hub::{Running, event, start};

/// Longer than any test takes that does not wait for it.
const LONG: Duration = Duration::from_secs(10);

fn gathering(interval: Duration) -> Running {
    start(|_, fanout| (fanout.reactors, fanout.flush_interval) = (1, interval))
}

#[test]
fn events_that_come_within_the_interval_after_a_round_go_out_in_one_chunk_when_it_is_over() {
    let interval = Duration::from_millis(300);
    let hub = gathering(interval);
    let mut reader = hub.open("t", After::Live);
    reader.greeting();
    let began = Instant::now();
    hub.publish(vec![event("t", "", "1")]);
    assert_eq!(reader.data(), "1");
    let ids = ["2", "3", "4"].map(|data| hub.publish(vec![event("t", "", data)]).ids[0]);
    let before = reader.wire.len();
    assert_eq!([reader.data(), reader.data(), reader.data()], ["2", "3", "4"]);
    assert!(began.elapsed() >= interval, "{:?}", began.elapsed());
    let text: String = ids.iter().zip(2..).map(|(id, data)| format!("id: {id}\ndata: {data}\n\n")).collect();
    let wire = String::from_utf8_lossy(&reader.wire[before..]).into_owned();
    assert_eq!(wire, format!("{:x}\r\n{text}\r\n", text.len()));
}

#[test]
fn gathering_delays_neither_greetings_nor_goodbyes_nor_heartbeats() {
    let hub = start(|_, fanout| {
        (fanout.reactors, fanout.flush_interval) = (1, LONG);
        fanout.heartbeat_interval = Duration::from_millis(500);
    });
    let began = Instant::now();
    let (mut reader, mut quiet) = (hub.open("t", After::Live), hub.open("other", After::Live));
    reader.greeting();
    quiet.greeting();
    hub.publish(vec![event("t", "", "1")]);
    assert_eq!(reader.data(), "1");
    let waiting = hub.publish(vec![event("t", "", "2")]).ids[0];
    assert!(quiet.next().contains("event: heartbeat"));
    let mut newcomer = hub.open("t", After::Live);
    assert!(newcomer.greeting().contains(&format!("id: {waiting}\n")));
    // What comes after a heartbeat is the event, which the newcomer has set free.
    let mut came = reader.data();
    while came == "{}" {
        came = reader.data();
    }
    assert_eq!(came, "2");
    hub.publish(vec![event("t", "", "3")]);
    hub.runtime.block_on(hub.fanout.drain());
    for reader in [&mut reader, &mut newcomer] {
        let mut came: Vec<String> = std::iter::from_fn(|| reader.try_next()).collect();
        came.retain(|event| !event.contains("event: heartbeat"));
        assert!(came[0].ends_with("data: 3") && came[1].contains("event: shutdown"), "{came:?}");
        assert_eq!(reader.end().reason, EndReason::Drain);
    }
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn events_that_fill_a_round_are_not_held_for_the_interval() {
    let hub = start(|_, fanout| {
        (fanout.reactors, fanout.flush_interval) = (1, LONG);
        fanout.round_events_max = 5;
    });
    let began = Instant::now();
    let mut reader = hub.open("t", After::Live);
    reader.greeting();
    for n in 0..6 {
        hub.publish(vec![event("t", "", &n.to_string())]);
        if n == 0 {
            assert_eq!(reader.data(), "0");
        }
    }
    for n in 1..6 {
        assert_eq!(reader.data(), n.to_string());
    }
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn reader_that_comes_when_all_others_have_gone_misses_nothing_of_what_is_gathered() {
    let hub = gathering(LONG);
    let began = Instant::now();
    let mut first = hub.open("t", After::Live);
    first.greeting();
    let last = hub.publish(vec![event("t", "", "1")]).ids[0];
    assert_eq!(first.data(), "1");
    hub.publish(vec![event("t", "", "2")]);
    drop(first);
    crate::hub::eventually("the first has gone", || hub.fanout.streams() == 0);
    hub.publish(vec![event("t", "", "3")]);
    let mut second = hub.open("t", After::Id(last));
    second.greeting();
    assert_eq!([second.data(), second.data()], ["2", "3"]);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}
