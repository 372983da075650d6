//! What a silent stream gets.

use std::time::{Duration, Instant};

use sse_server::fanout::Encoding;
use sse_server::hub::After;

use crate::hub::{event, interest, start};

#[test]
fn silent_stream_gets_small_heartbeats_that_move_its_position() {
    let hub = start(|_, fanout| fanout.heartbeat_interval = Duration::from_millis(200));
    let mut reader = hub.open("quiet", After::Live);
    reader.greeting();
    let greeted = Instant::now();
    let id = hub.publish(vec![event("other", "", "not for the quiet one")]).ids[0];
    let wire_before = reader.wire.len();
    let beat = format!("id: {id}\nevent: heartbeat\ndata: {{}}");
    assert_eq!(reader.next(), beat);
    assert!(greeted.elapsed() > Duration::from_millis(180), "not before the interval is over");
    let wire = String::from_utf8(reader.wire[wire_before..].to_vec()).unwrap();
    assert_eq!(wire, format!("{:x}\r\n{beat}\n\n\r\n", beat.len() + 2));
    assert!(wire.len() <= 100, "{} bytes", wire.len());
    assert_eq!(reader.next(), beat, "and again");
    assert!(greeted.elapsed() > Duration::from_millis(380));
}

#[test]
fn stream_that_gets_events_gets_no_heartbeat() {
    let hub = start(|_, fanout| fanout.heartbeat_interval = Duration::from_millis(400));
    let mut busy = hub.open_with(interest("busy", &[], false), After::Live, Encoding::Plain);
    busy.greeting();
    let end = Instant::now() + Duration::from_millis(1000);
    let (mut sent, mut last) = (0, Instant::now());
    while last < end {
        let before = std::mem::replace(&mut last, Instant::now());
        hub.publish(vec![event("busy", "", &sent.to_string())]);
        let mut next = busy.next();
        if next.contains("event: heartbeat") {
            assert!(before.elapsed() >= Duration::from_millis(400), "only if this machine slept for so long");
            next = busy.next();
        }
        assert!(next.ends_with(&format!("data: {sent}")), "{next}");
        sent += 1;
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(sent > 5, "silence was rarer than events");
    assert!(busy.next().contains("event: heartbeat"), "silence at last");
    assert!(last.elapsed() >= Duration::from_millis(400), "a whole interval of it");
}

#[test]
fn interval_beyond_reason_or_zero_means_no_heartbeat() {
    for interval in [Duration::ZERO, Duration::from_secs(u64::MAX)] {
        let hub = start(|_, fanout| {
            fanout.heartbeat_interval = interval;
            fanout.idle_timeout = interval;
        });
        let mut reader = hub.open("t", After::Live);
        reader.greeting();
        for n in 0..3 {
            hub.publish(vec![event("t", "", &n.to_string())]);
            assert_eq!(reader.data(), n.to_string());
        }
        hub.runtime.block_on(hub.fanout.drain());
        assert!(reader.next().contains("event: shutdown"), "and nothing before");
    }
}
