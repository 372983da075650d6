//! A reader that does not read costs nobody but itself.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::libc;
use sse_server::fanout::{Encoding, EndReason};
use sse_server::hub::After;

use crate::hub::{HEAD, Running, event, eventually, interest, start};

const BIG: usize = 10_000;

fn publish(hub: &Running, from: usize, to: usize) {
    for n in from..to {
        hub.publish(vec![event("t", "", &format!("{n} {}", "x".repeat(BIG)))]);
    }
}

fn number(data: &str) -> usize {
    assert_eq!(data.len() - data.find(' ').unwrap(), BIG + 1, "a whole event");
    data.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn slow_reader_is_carried_from_the_history_and_the_fast_one_does_not_notice() {
    let hub = start(|_, _| {});
    for tcp in [false, true] {
        let mut slow = if tcp { hub.open_tcp("t", After::Live) } else { hub.open("t", After::Live) };
        let mut fast = hub.open("t", After::Live);
        slow.greeting();
        fast.greeting();
        // Far more than the kernel holds for a socket.
        for n in 0..2000 {
            publish(&hub, n, n + 1);
            assert_eq!(number(&fast.data()), n);
        }
        for n in 0..2000 {
            assert_eq!(number(&slow.data()), n, "nothing missing, doubled or out of order");
        }
        publish(&hub, 2000, 2001);
        assert_eq!((number(&slow.data()), number(&fast.data())), (2000, 2000));
    }
}

#[test]
fn reader_beyond_the_history_is_closed_as_slow() {
    let hub = start(|backplane, _| backplane.hub.history.events_max = 100);
    let mut slow = hub.open("t", After::Live);
    let mut fast = hub.open("t", After::Live);
    slow.greeting();
    fast.greeting();
    for n in 0..1000 {
        publish(&hub, n, n + 1);
        assert_eq!(number(&fast.data()), n);
    }
    let end = slow.end();
    assert_eq!(end.reason, EndReason::Slow);
    assert!(end.events > 0 && end.bytes > 0);
    eventually("only the fast one is left", || hub.fanout.streams() == 1);
}

#[test]
fn reader_that_takes_no_byte_is_closed_as_idle() {
    for tcp in [false, true] {
        let hub = start(|_, fanout| fanout.idle_timeout = Duration::from_secs(1));
        let mut idle = if tcp { hub.open_tcp("t", After::Live) } else { hub.open("t", After::Live) };
        idle.greeting();
        let mut reading = hub.open("t", After::Live);
        reading.greeting();
        for n in 0..1000 {
            publish(&hub, n, n + 1);
            assert_eq!(number(&reading.data()), n);
        }
        assert_eq!(idle.end().reason, EndReason::Idle);
        eventually("a stream with nothing to take is not idle", || hub.fanout.streams() == 1);
        publish(&hub, 1000, 1001);
        assert_eq!(number(&reading.data()), 1000);
    }
}

#[test]
fn event_in_the_kernel_that_nobody_takes_makes_a_stream_idle() {
    let hub = start(|_, fanout| fanout.idle_timeout = Duration::from_millis(200));
    let mut idle = hub.open("t", After::Live);
    idle.greeting();
    publish(&hub, 0, 1);
    assert_eq!(idle.end().reason, EndReason::Idle);
}

#[test]
fn slow_readers_share_the_rest_of_a_round_and_all_get_everything() {
    let hub = start(|_, _| {});
    let mut readers: Vec<_> = (0..20).map(|_| hub.open("t", After::Live)).collect();
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    publish(&hub, 0, 200);
    for reader in &mut readers {
        for n in 0..200 {
            assert_eq!(number(&reader.data()), n);
        }
    }
}

#[test]
fn closed_stream_frees_its_place_at_once() {
    let hub = start(|_, _| {});
    for tcp in [false, true] {
        let mut reader = if tcp { hub.open_tcp("t", After::Live) } else { hub.open("t", After::Live) };
        reader.greeting();
        assert_eq!(hub.limits.active(), 1);
        let (_, ends) = std::sync::mpsc::channel();
        let ends = std::mem::replace(&mut reader.ends, ends);
        drop(reader);
        let end = ends.recv_timeout(Duration::from_secs(1)).expect("within a second");
        assert_eq!((end.reason, end.events), (EndReason::Client, 0));
        assert_eq!(hub.limits.active(), 0);
        eventually("the reactor has let go", || hub.fanout.streams() == 0);
        assert_eq!(hub.publish(vec![event("t", "", "")]).receivers, 0);
    }
}

/// A client that talks without end would otherwise fill memory, or keep its reactor busy.
#[test]
fn client_that_talks_after_its_request_is_read_away_and_then_closed() {
    let hub = start(|_, fanout| fanout.input_bytes_max = 1000);
    let mut reader = hub.open("t", After::Live);
    reader.greeting();
    reader.write(&[b'x'; 900]).unwrap();
    hub.publish(vec![event("t", "", "still here")]);
    assert_eq!(reader.data(), "still here");
    reader.write(&[b'x'; 200]).unwrap();
    assert_eq!(reader.end().reason, EndReason::Client);
}

/// Whether some epoll of this process is to report room in the socket of this descriptor.
fn is_watched_for_room(descriptor: i32) -> bool {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let masks: Vec<u32> = texts
        .flat_map(|text| {
            let of = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [_, number, _, mask, ..] = words[..] else { return None };
                (number == descriptor.to_string()).then(|| u32::from_str_radix(mask, 16).ok())?
            };
            text.lines().filter(|line| line.starts_with("tfd:")).filter_map(of).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(masks.len(), 1, "one epoll watches it: {masks:x?}");
    masks[0] & libc::EPOLLOUT as u32 != 0
}

/// A unix socket reports room after whatever its other end takes, and each report is a wake-up.
#[test]
fn room_is_watched_for_only_while_a_write_is_unfinished() {
    let hub = start(|_, _| {});
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let descriptor = theirs.as_raw_fd();
    let _ends = hub.attach(theirs.into(), interest("t", &[], false), After::Live, Encoding::Plain).unwrap();
    let mut bytes = vec![0; 64 << 10];
    let greeted = std::io::Read::read(&mut ours, &mut bytes).unwrap();
    assert!(bytes[..greeted].starts_with(HEAD.as_bytes()));
    publish(&hub, 0, 1);
    let mut taken = std::io::Read::read(&mut ours, &mut bytes).unwrap();
    eventually("it is written to like any other", || !is_watched_for_room(descriptor));
    publish(&hub, 1, 200);
    eventually("its socket is full", || is_watched_for_room(descriptor));
    while taken < 200 * BIG {
        taken += std::io::Read::read(&mut ours, &mut bytes).unwrap();
    }
    eventually("it is level again", || !is_watched_for_room(descriptor));
}
