//! How streams end when the server does.

use std::time::{Duration, Instant};

use sse_server::fanout::{AttachError, Encoding, EndReason};
use sse_server::hub::After;

use crate::hub::{event, interest, start};

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
