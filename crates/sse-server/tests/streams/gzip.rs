//! Compressed streams: each is one whole gzip member, whatever it has met.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sse_server::fanout::{ConnectionId, Encoding, EndReason};
use sse_server::hub::After;

use crate::hub::{Reader, Running, event, interest, start};

fn open(hub: &Running, topics: &str, after: After) -> Reader {
    hub.open_with(interest(topics, &[], false), after, Encoding::Gzip)
}

fn progress(n: usize) -> String {
    format!("{{\"job\":{n},\"state\":\"running\",\"progress\":{},\"message\":\"step {n} of many\"}}", n % 100)
}

#[test]
fn streams_that_join_at_any_time_read_every_event_at_once() {
    let hub = start(|_, fanout| fanout.reactors = 1);
    let mut plain = hub.open("t", After::Live);
    plain.greeting();
    let mut readers: Vec<Reader> = Vec::new();
    for n in 0..400 {
        // One alone, then more than are there, then few among many.
        let joining = if n == 0 || n % 97 == 5 {
            1
        } else if n == 100 {
            20
        } else {
            0
        };
        for _ in 0..joining {
            let mut reader = open(&hub, "t", After::Live);
            reader.greeting();
            readers.push(reader);
        }
        let id = hub.publish(vec![event("t", "", &progress(n))]).ids[0];
        for reader in readers.iter_mut().chain([&mut plain]) {
            assert_eq!(reader.next(), format!("id: {id}\ndata: {}", progress(n)));
        }
    }
    let (one, all) = (readers[0].wire.len() as f64, plain.wire.len() as f64);
    assert!(all / one > 3.0, "{all} bytes became {one}");
    hub.runtime.block_on(hub.fanout.drain());
    for reader in &mut readers {
        assert!(reader.next().contains("event: shutdown"));
        assert_eq!((reader.try_next(), reader.ended), (None, true));
        assert_eq!(reader.end().reason, EndReason::Drain);
    }
    let counters = hub.fanout.counters();
    let counted = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(counted(&counters.gzip_streams), 0);
    assert!(counted(&counters.gzip_bytes_in) > 2 * counted(&counters.gzip_bytes_out));
}

/// Bytes that cannot be made fewer, so that a socket is soon full.
fn noise(n: usize) -> String {
    let mut state = n as u64 + 1;
    let letters = (0..10_000).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(33 + u8::try_from(state % 90).unwrap())
    });
    format!("{n} {}", letters.collect::<String>())
}

#[test]
fn one_that_falls_behind_and_comes_back_reads_on() {
    let hub = start(|_, fanout| fanout.reactors = 1);
    let (mut slow, mut fast) = (open(&hub, "t", After::Live), open(&hub, "t", After::Live));
    slow.greeting();
    fast.greeting();
    for round in 0..2 {
        for n in 0..100 {
            hub.publish(vec![event("t", "", &noise(n))]);
            assert_eq!(fast.data(), noise(n));
        }
        for n in 0..100 {
            assert_eq!(slow.data(), noise(n), "in round {round}");
        }
        for n in 0..50 {
            hub.publish(vec![event("t", "", &progress(n))]);
            assert_eq!((slow.data(), fast.data()), (progress(n), progress(n)));
        }
    }
    hub.runtime.block_on(hub.fanout.drain());
    for mut reader in [slow, fast] {
        assert!(reader.next().contains("event: shutdown"));
        assert_eq!((reader.try_next(), reader.ended), (None, true));
    }
}

#[test]
fn replay_comes_before_what_others_share() {
    let hub = start(|_, fanout| (fanout.reactors, fanout.round_events_max) = (1, 7));
    let ids = hub.publish((0..200).map(|n| event("t", "", &progress(n))).collect()).ids;
    let mut live = open(&hub, "t", After::Live);
    live.greeting();
    for (turn, after) in [0, 42, 199].into_iter().enumerate() {
        let mut late = open(&hub, "t", After::Id(ids[after]));
        late.greeting();
        for (n, id) in ids.iter().enumerate().skip(after + 1) {
            assert_eq!(late.next(), format!("id: {id}\ndata: {}", progress(n)));
        }
        for n in 0..40 {
            hub.publish(vec![event("t", "", &progress(n))]);
            assert_eq!((late.data(), live.data()), (progress(n), progress(n)));
        }
        let id = ConnectionId::random().unwrap();
        let mut kicked = hub.open_as(id, "t", After::Id(ids[190]), Encoding::Gzip);
        kicked.greeting();
        for n in 191..200 {
            assert_eq!(kicked.data(), progress(n));
        }
        for _ in 0..(turn + 1) * 40 {
            kicked.next();
        }
        assert!(hub.runtime.block_on(hub.fanout.kick(id)).unwrap());
        assert_eq!((kicked.try_next(), kicked.ended), (None, true));
    }
}

#[test]
fn heartbeats_keep_the_streams_of_a_group_together() {
    let hub = start(|_, fanout| {
        fanout.reactors = 1;
        fanout.heartbeat_interval = Duration::from_millis(150);
    });
    let mut readers =
        [open(&hub, "t", After::Live), open(&hub, "t", After::Live), open(&hub, "t", After::Live)];
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    for n in 0..4 {
        let id = hub.publish(vec![event("t", "", &progress(n))]).ids[0];
        for reader in &mut readers {
            assert_eq!(reader.next(), format!("id: {id}\ndata: {}", progress(n)));
            assert_eq!(reader.next(), format!("id: {id}\nevent: heartbeat\ndata: {{}}"));
        }
        let mut joined = open(&hub, "t", After::Live);
        joined.greeting();
        assert_eq!(joined.next(), format!("id: {id}\nevent: heartbeat\ndata: {{}}"));
        for reader in &mut readers {
            assert_eq!(reader.next(), format!("id: {id}\nevent: heartbeat\ndata: {{}}"));
        }
    }
    hub.runtime.block_on(hub.fanout.drain());
    for reader in &mut readers {
        while reader.try_next().is_some() {}
        assert!(reader.ended);
    }
}

/// The attack (BREACH): guess a secret event by publishing guesses beside it and looking at the lengths.
#[test]
fn what_a_session_is_told_is_not_shorter_for_what_others_say() {
    let hub = start(|_, fanout| fanout.reactors = 1);
    let lengths = |topics: &str, guess: &str| {
        let mut reader = open(&hub, topics, After::Live);
        reader.greeting();
        let before = reader.wire.len();
        hub.publish(vec![event("t", "", guess), event("session:s", "", "the secret is 0123456789abcdef")]);
        assert_eq!(reader.data(), guess);
        if topics.contains("session") {
            assert_eq!(reader.data(), "the secret is 0123456789abcdef");
        }
        reader.wire.len() - before
    };
    let guesses = ["the secret is 0123456789abcdef", "xhqz wkvpjy tm fgulrnbdcoiaes!"];
    // The ids differ, and with them a byte or two; a secret that is found in the guess would take thirty fewer.
    let [right, wrong] = guesses.map(|guess| lengths("t,session:s", guess) - lengths("t", guess));
    assert!(
        right.abs_diff(wrong) <= 4,
        "the secret takes {right} bytes beside itself, {wrong} beside something else"
    );
}

/// What several private groups get of one event is packed once for all of them, and each gets nothing of another's.
#[test]
fn private_streams_share_what_is_the_same_for_them_and_nothing_else() {
    let hub = start(|_, _| {});
    let open =
        |topics: &str, envelope| hub.open_with(interest(topics, &[], envelope), After::Live, Encoding::Gzip);
    let streams = [("session:a", false), ("session:b", false), ("session:a", true)];
    let mut readers = streams.map(|(own, envelope)| open(&format!("t,{own}"), envelope));
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    for round in 0..3 {
        let published = ["session:a", "t", "session:b", "t", "t,session:b"];
        hub.publish(published.iter().map(|topics| event(topics, "", &format!("{topics} {round}"))).collect());
        for ((own, envelope), reader) in streams.iter().zip(&mut readers) {
            for topics in published {
                let read: Vec<_> = topics.split(',').filter(|topic| *topic == "t" || topic == own).collect();
                let data = format!("{topics} {round}");
                if read.is_empty() {
                    continue;
                }
                let named = read.join("\",\"");
                let enveloped = format!("{{\"topics\":[\"{named}\"],\"data\":\"{data}\"}}");
                assert_eq!(reader.data(), if *envelope { enveloped } else { data });
            }
        }
    }
    hub.runtime.block_on(hub.fanout.drain());
    for mut reader in readers {
        assert!(reader.next().contains("event: shutdown"));
        assert_eq!(reader.try_next(), None);
        assert!(reader.ended, "its checksum is right");
    }
}
