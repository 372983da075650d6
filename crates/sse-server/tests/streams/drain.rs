//! How streams end when the server does.

use std::thread;
use std::time::{Duration, Instant};

use sse_server::fanout::{AttachError, Encoding, EndReason};
use sse_server::hub::After;

use crate::hub::{DEADLINE, event, interest, start};

const ENCODINGS: [Encoding; 3] = [Encoding::Chunked, Encoding::Plain, Encoding::Gzip];

#[test]
fn drain_says_goodbye_to_every_stream_and_ends_it() {
    let hub = start(|_, fanout| fanout.reconnect_spread_ms = 500);
    let mut readers: Vec<_> =
        (0..50).map(|n| hub.open_with(interest("t", &[], false), After::Live, ENCODINGS[n % 3])).collect();
    readers.push(hub.open_tcp("t", After::Live));
    // One that is still on its way when the drain begins is sent away with what it has missed to come back for.
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    hub.publish(vec![event("t", "", "last")]);
    hub.runtime.block_on(hub.fanout.drain());
    assert_eq!((hub.fanout.streams(), hub.limits.active()), (0, 0));
    let mut times = Vec::new();
    for (n, reader) in readers.iter_mut().enumerate() {
        assert_eq!(reader.data(), "last");
        let goodbye = reader.next();
        let ms = goodbye.lines().next().unwrap().strip_prefix("retry: ").unwrap();
        assert_eq!(goodbye, format!("retry: {ms}\nevent: shutdown\ndata: {{\"retry_ms\":{ms}}}"));
        assert_eq!(reader.try_next(), None);
        assert_eq!(reader.ended, n == 50 || n % 3 != 1, "the last chunk comes if the stream was chunked");
        assert_eq!(reader.end().reason, EndReason::Drain);
        times.push(ms.parse::<u32>().unwrap());
    }
    assert!(times.iter().all(|ms| (1000..=1500).contains(ms)), "{times:?}");
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 10, "clients come back one after the other: {times:?}");
}

/// A publisher that was answered relies on it, and with the history in memory there is nothing to come back for.
#[test]
fn drain_comes_after_all_that_was_published_before() {
    const EVENTS: usize = 3000;
    let hub = start(|_, fanout| {
        fanout.reactors = 1;
        // More rounds than one turn of the reactor writes.
        fanout.round_events_max = 16;
        fanout.drain_timeout = DEADLINE;
    });
    let readers: Vec<_> = (0..120)
        .map(|n| hub.open_with(interest("t", &[], false), After::Live, ENCODINGS[n % 3]))
        .map(|mut reader| {
            thread::spawn(move || {
                reader.greeting();
                for n in 0..EVENTS {
                    assert_eq!(reader.data(), n.to_string(), "each, in order, before the goodbye");
                }
                assert!(reader.next().contains("\nevent: shutdown\n"));
                assert_eq!(reader.try_next(), None);
                reader.end().reason
            })
        })
        .collect();
    let published = hub.publish((0..EVENTS).map(|n| event("t", "", &n.to_string())).collect());
    assert_eq!(published.receivers, (120 * EVENTS) as u64);
    hub.runtime.block_on(hub.fanout.drain());
    for reader in readers {
        assert_eq!(reader.join().unwrap(), EndReason::Drain);
    }
}

/// The attack: a reader that takes so little that it is never level, to keep an ending server up.
#[test]
fn reader_that_lags_is_told_goodbye_when_its_time_is_up() {
    let hub = start(|_, fanout| fanout.drain_timeout = Duration::from_secs(4));
    let mut lagging = hub.open("t", After::Live);
    lagging.greeting();
    let published = hub.publish((0..500).map(|_| event("t", "", &"x".repeat(10_000))).collect());
    assert_eq!(published.receivers, 500);
    let reader = thread::spawn(move || {
        let mut events = 0;
        while let Some(event) = lagging.try_next() {
            if event.contains("\nevent: shutdown\n") {
                return (events, lagging.end().reason);
            }
            events += 1;
            thread::park_timeout(Duration::from_millis(20));
        }
        panic!("the stream was cut after {events} events");
    });
    hub.runtime.block_on(hub.fanout.drain());
    let (events, reason) = reader.join().unwrap();
    assert!(events < 500, "{events} events in time");
    assert_eq!(reason, EndReason::Drain);
}

#[test]
fn drain_waits_for_a_slow_reader_but_not_for_ever() {
    let hub = start(|_, fanout| fanout.drain_timeout = Duration::from_millis(300));
    let mut slow = hub.open("t", After::Live);
    slow.greeting();
    hub.publish((0..100).map(|_| event("t", "", &"x".repeat(10_000))).collect());
    let began = Instant::now();
    hub.runtime.block_on(hub.fanout.drain());
    let took = began.elapsed();
    assert!(took > Duration::from_millis(250) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(slow.end().reason, EndReason::Drain);
}

#[test]
fn draining_fanout_takes_no_stream() {
    let hub = start(|_, _| {});
    hub.runtime.block_on(hub.fanout.drain());
    let (_, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let refused = hub.attach(theirs.into(), interest("*", &[], false), After::Live, Encoding::Chunked);
    assert!(matches!(refused, Err(AttachError::Draining)));
    assert_eq!(hub.limits.active(), 0);
}
