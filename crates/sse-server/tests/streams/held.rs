//! Streams whose other end on this machine has not taken its last bytes wait for the next round; what must not, does not.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sse_server::fanout::{Encoding, EndReason};
use sse_server::hub::After;

use crate::hub::{Reader, Running, event, eventually, interest, start};

/// Longer than any test takes that does not wait for it.
const LONG: Duration = Duration::from_secs(10);

fn holding(wait: Duration) -> Running {
    start(|_, fanout| (fanout.reactors, fanout.undrained_wait) = (1, wait))
}

fn publish(hub: &Running, data: &str) {
    hub.publish(vec![event("t", "", data)]);
}

/// Waits until streams were given so many events in all.
fn given(hub: &Running, events: u64) {
    let delivered = || hub.fanout.counters().delivered.load(Ordering::Relaxed);
    eventually(&format!("{events} are given"), || delivered() >= events);
    assert_eq!(delivered(), events);
}

/// Each stream's events that it has not been given; whatever was published before is in it.
fn lags(hub: &Running) -> Vec<u64> {
    let (streams, _) = hub.runtime.block_on(hub.fanout.list(None, usize::MAX)).unwrap();
    let mut lags: Vec<u64> = streams.iter().map(|stream| stream.lag).collect();
    lags.sort_unstable();
    lags
}

/// Its first event is in the kernel, and it does not read.
fn undrained(hub: &Running, encoding: Encoding) -> Reader {
    let mut reader = hub.open_with(interest("t", &[], false), After::Live, encoding);
    reader.greeting();
    publish(hub, "1");
    given(hub, 1);
    reader
}

#[test]
fn stream_that_was_not_drained_gets_what_it_waited_with_in_one_chunk_when_its_time_is_up() {
    let wait = Duration::from_millis(300);
    let hub = holding(wait);
    let mut reader = undrained(&hub, Encoding::Chunked);
    let began = Instant::now();
    let ids = ["2", "3", "4"].map(|data| hub.publish(vec![event("t", "", data)]).ids[0]);
    given(&hub, 4);
    assert!(began.elapsed() >= wait - Duration::from_millis(1), "{:?}", began.elapsed());
    for data in ["1", "2", "3", "4"] {
        assert_eq!(reader.data(), data);
    }
    let text: String = ids.iter().zip(2..).map(|(id, data)| format!("id: {id}\ndata: {data}\n\n")).collect();
    let wire = String::from_utf8_lossy(&reader.wire).into_owned();
    assert!(wire.ends_with(&format!("\r\n{:x}\r\n{text}\r\n", text.len())), "{wire}");
}

#[test]
fn stream_goes_on_as_soon_as_it_is_drained() {
    let hub = holding(LONG);
    let began = Instant::now();
    let mut reader = undrained(&hub, Encoding::Chunked);
    for data in ["2", "3"] {
        publish(&hub, data);
    }
    assert_eq!(lags(&hub), [2], "it waits");
    for data in ["1", "2", "3"] {
        assert_eq!(reader.data(), data);
    }
    publish(&hub, "4");
    assert_eq!(reader.data(), "4");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

/// A proxy's other clients, and whoever is connected by TCP, wait for nobody; nor does who shares its compression.
#[test]
fn only_the_stream_itself_waits_and_only_over_a_unix_socket_and_uncompressed() {
    let hub = holding(LONG);
    let began = Instant::now();
    let mut held = undrained(&hub, Encoding::Chunked);
    let mut quick = hub.open("t", After::Live);
    let (mut tcp, mut gzip) = (
        hub.open_tcp("t", After::Live),
        hub.open_with(interest("t", &[], false), After::Live, Encoding::Gzip),
    );
    for reader in [&mut quick, &mut tcp, &mut gzip] {
        reader.greeting();
    }
    for (n, data) in ["2", "3", "4"].into_iter().enumerate() {
        publish(&hub, data);
        assert_eq!(quick.data(), data);
        given(&hub, 1 + 3 * (n as u64 + 1));
    }
    assert_eq!(lags(&hub), [0, 0, 0, 3]);
    for reader in [&mut tcp, &mut gzip] {
        assert_eq!([reader.data(), reader.data(), reader.data()], ["2", "3", "4"]);
    }
    assert_eq!([held.data(), held.data(), held.data(), held.data()], ["1", "2", "3", "4"]);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn what_a_stream_waits_with_is_no_more_than_a_round_holds() {
    let hub = start(|_, fanout| {
        (fanout.reactors, fanout.undrained_wait) = (1, LONG);
        fanout.round_bytes_max = 4096;
    });
    let began = Instant::now();
    let mut reader = undrained(&hub, Encoding::Chunked);
    let large = "x".repeat(1000);
    // Three fit; the fourth that comes to them sets them free, and so does the seventh.
    for lag in [1, 2, 3, 1, 2, 3, 1, 2] {
        publish(&hub, &large);
        assert_eq!(lags(&hub), [lag], "each is a round of its own");
    }
    given(&hub, 7);
    assert_eq!(reader.data(), "1");
    for _ in 0..8 {
        assert_eq!(reader.data(), large);
    }
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn stream_that_waits_needs_no_history() {
    let hub = start(|backplane, fanout| {
        (fanout.reactors, fanout.undrained_wait) = (1, LONG);
        backplane.hub.history.events_max = 1;
    });
    let mut reader = undrained(&hub, Encoding::Chunked);
    for n in 2..=10 {
        publish(&hub, &n.to_string());
    }
    assert_eq!(lags(&hub), [9], "it waits");
    for n in 1..=10 {
        assert_eq!(reader.data(), n.to_string());
    }
}

#[test]
fn drain_sets_everybody_free_who_waits() {
    let hub = holding(LONG);
    let began = Instant::now();
    let mut reader = undrained(&hub, Encoding::Chunked);
    publish(&hub, "2");
    assert_eq!(lags(&hub), [1], "it waits");
    hub.runtime.block_on(hub.fanout.drain());
    assert_eq!([reader.data(), reader.data()], ["1", "2"]);
    assert!(reader.next().contains("event: shutdown"));
    assert_eq!((reader.try_next(), reader.end().reason), (None, EndReason::Drain));
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

/// Readers of every pace, as those of a proxy that has to do, and publishes of every distance.
#[test]
fn readers_of_every_pace_miss_and_double_nothing() {
    const EVENTS: usize = 3000;
    const THREADS: usize = 4;
    for flush_interval in [Duration::ZERO, Duration::from_millis(5)] {
        let hub = start(|_, fanout| (fanout.reactors, fanout.flush_interval) = (2, flush_interval));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let mut readers: Vec<_> = (0..50).map(|_| hub.open("t", After::Live)).collect();
                readers.iter_mut().for_each(|reader| drop(reader.greeting()));
                scope.spawn(move || {
                    for n in 0..EVENTS {
                        for reader in &mut readers {
                            assert_eq!(reader.data(), n.to_string());
                        }
                        if n % (7 * (thread + 1)) == 0 {
                            std::thread::park_timeout(Duration::from_millis(thread as u64 * 3));
                        }
                    }
                });
            }
            for n in 0..EVENTS {
                publish(&hub, &n.to_string());
                if n % 10 == 0 {
                    std::thread::park_timeout(Duration::from_micros((n % 700) as u64 * 3));
                }
            }
        });
    }
}
