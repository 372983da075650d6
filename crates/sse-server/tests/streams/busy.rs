//! Readers that come, go and come back while everybody publishes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sse_server::fanout::Encoding;
use sse_server::hub::{After, EventId};

use crate::hub::{event, interest, start};

fn id_of(event: &str) -> EventId {
    event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().parse().unwrap()
}

#[test]
fn reader_that_joins_and_rejoins_in_busy_times_misses_and_doubles_nothing() {
    let hub = start(|backplane, fanout| {
        backplane.hub.history.events_max = 100_000;
        fanout.round_events_max = 7;
    });
    let stop = AtomicBool::new(false);
    let published = AtomicUsize::new(0);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|publisher| {
                let (hub, stop, published) = (&hub, &stop, &published);
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    while !stop.load(Ordering::Relaxed) && ids.len() < 20_000 {
                        let batch = (0..3).map(|n| event("t", "", &format!("{publisher} {n}"))).collect();
                        ids.extend(hub.publish(batch).ids);
                        published.fetch_add(3, Ordering::Relaxed);
                    }
                    ids
                })
            })
            .collect();
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let hub = &hub;
                scope.spawn(move || {
                    let (mut seen, mut after) = (Vec::new(), After::Live);
                    let mut joined = None;
                    for round in 0..40 {
                        let mut reader = hub.open("t", after);
                        let at = id_of(&reader.next());
                        joined.get_or_insert(at);
                        if let After::Id(last) = after {
                            assert_eq!(at, last);
                        }
                        for _ in 0..=round * 5 {
                            seen.push(id_of(&reader.next()));
                        }
                        after = After::Id(*seen.last().unwrap());
                    }
                    (joined.unwrap(), seen)
                })
            })
            .collect();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        let mut ids: Vec<_> =
            publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        ids.sort_unstable();
        for (joined, seen) in read {
            let from = ids.partition_point(|id| *id <= joined);
            assert_eq!(seen, ids[from..from + seen.len()], "exactly what was published after {joined}");
        }
    });
}

#[test]
fn batch_larger_than_the_history_reaches_live_readers_whole() {
    let hub = start(|backplane, _| backplane.hub.history.events_max = 10);
    let mut reader = hub.open("t", After::Live);
    hub.publish((0..5000).map(|n| event("t", "", &n.to_string())).collect());
    reader.greeting();
    for n in 0..5000 {
        assert_eq!(reader.data(), n.to_string());
    }
    assert_eq!(hub.backplane.history().events, 10);
}

#[test]
fn many_topics_with_one_reader_each_get_their_own() {
    let hub = start(|_, _| {});
    let mut readers: Vec<_> = (0..300).map(|n| hub.open(&format!("job:{n}"), After::Live)).collect();
    let mut all = hub.open("job:*", After::Live);
    let published = hub.publish((0..300).map(|n| event(&format!("job:{n}"), "", &n.to_string())).collect());
    assert_eq!(published.receivers, 600);
    all.greeting();
    for (n, reader) in readers.iter_mut().enumerate() {
        reader.greeting();
        assert_eq!((reader.data(), all.data()), (n.to_string(), n.to_string()));
    }
}

/// Its reactor is far behind, in the middle of what was published before it came.
#[test]
fn newcomer_of_a_reactor_that_is_behind_gets_nothing_from_before_its_time() {
    let hub = start(|_, fanout| {
        fanout.reactors = 1;
        fanout.round_events_max = 1;
        fanout.undrained_wait = Duration::ZERO;
    });
    let mut readers: Vec<_> = (0..300).map(|_| hub.open("t", After::Live)).collect();
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    let last = hub.publish((0..2000).map(|n| event("t", "", &n.to_string())).collect()).ids[1999];
    let mut newcomers: Vec<_> = (0..20).map(|_| hub.open("t", After::Live)).collect();
    hub.publish(vec![event("t", "", "first")]);
    for newcomer in &mut newcomers {
        assert_eq!(id_of(&newcomer.next()), last);
        assert_eq!(newcomer.data(), "first");
    }
}

#[test]
fn event_of_several_topics_reaches_a_reader_of_all_of_them_once() {
    let hub = start(|_, _| {});
    let mut live = hub.open("a,b*,c", After::Live);
    assert_eq!(hub.publish(vec![event("b2,a,b1,c", "", "1"), event("c,d", "", "2")]).receivers, 2);
    let mut replayed = hub.open("a,b*,c", After::Earliest);
    hub.publish(vec![event("c", "", "3")]);
    for reader in [&mut live, &mut replayed] {
        reader.greeting();
        assert_eq!([reader.data(), reader.data(), reader.data()], ["1", "2", "3"]);
    }
}

/// The attack: so many newcomers at once, each with a replay to compress for it alone, that nobody else is served.
#[test]
fn live_stream_is_served_between_the_replays_of_newcomers() {
    const NEWCOMERS: u64 = 400;
    const EVENTS: u64 = 24;
    let hub = start(|_, fanout| {
        fanout.reactors = 1;
        fanout.gzip_level = 9;
    });
    // Two portions of what deflate has to look at for long.
    let text: Vec<String> = (0..5000_u64).map(|n| (n * 7919 % 26 + n * n % 9).to_string()).collect();
    let text = &text.concat()[..5000];
    hub.publish((0..EVENTS).map(|n| event("t", "", &format!("{n} {text}"))).collect());
    let mut live = hub.open("live", After::Live);
    live.greeting();
    let newcomers: Vec<_> = (0..NEWCOMERS)
        .map(|_| hub.open_with(interest("t", &[], false), After::Earliest, Encoding::Gzip))
        .collect();
    let replayed = || hub.fanout.counters().replayed.load(Ordering::Relaxed);
    let (mut before, mut at_once) = (0, 0);
    while before < NEWCOMERS * EVENTS {
        hub.publish(vec![event("live", "", "now")]);
        assert_eq!(live.data(), "now");
        let now = replayed();
        at_once = at_once.max(now - before);
        before = now;
    }
    assert_eq!(before, NEWCOMERS * EVENTS);
    assert!(at_once < before / 4, "{at_once} of {before} events were replayed while a live one waited");
    drop(newcomers);
}
