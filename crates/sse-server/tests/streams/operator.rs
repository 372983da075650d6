//! What an operator sees of the streams, and how he ends one, wherever it stands.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sse_server::fanout::{ConnectionId, Encoding, EndReason, StreamInfo};
use sse_server::hub::After;

use crate::hub::{HEAD, Reader, Running, event, eventually, start};

fn id() -> ConnectionId {
    ConnectionId::random().unwrap()
}

impl Running {
    fn list(&self, after: Option<ConnectionId>, count_max: usize) -> (Vec<StreamInfo>, bool) {
        self.runtime.block_on(self.fanout.list(after, count_max)).unwrap()
    }

    #[track_caller]
    fn look(&self, id: ConnectionId) -> StreamInfo {
        let (streams, _) = self.list(None, usize::MAX);
        streams.into_iter().find(|stream| stream.id == id).expect("the stream is listed")
    }

    fn kick(&self, id: ConnectionId) -> bool {
        self.runtime.block_on(self.fanout.kick(id)).unwrap()
    }
}

#[test]
fn lag_of_a_stream_is_what_it_has_not_been_given() {
    let hub = start(|_, _| {});
    let (fast_id, slow_id, narrow_id) = (id(), id(), id());
    let mut fast = hub.open_as(fast_id, "t", After::Live, Encoding::Chunked);
    let mut slow = hub.open_as(slow_id, "t", After::Live, Encoding::Chunked);
    let _narrow = hub.open_as(narrow_id, "other", After::Live, Encoding::Chunked);
    for n in 0..100 {
        hub.publish(vec![event("t", "", &format!("{n} {}", "x".repeat(10_000)))]);
    }
    let numbers = |reader: &mut Reader| {
        reader.greeting();
        for n in 0..100 {
            assert!(reader.data().starts_with(&format!("{n} ")));
        }
    };
    numbers(&mut fast);
    eventually("the fast one has everything", || {
        let stream = hub.look(fast_id);
        (stream.lag, stream.events) == (0, 100) && stream.bytes == fast.wire.len() as u64
    });
    let stream = hub.look(slow_id);
    assert!(stream.lag > 0 && stream.bytes < fast.wire.len() as u64, "{stream:?}");
    assert_eq!(stream.events + stream.lag, 100);
    let stream = hub.look(narrow_id);
    assert_eq!(
        (stream.lag, stream.events, stream.encoding),
        (0, 0, "identity"),
        "it has passed what it does not want"
    );
    numbers(&mut slow);
    eventually("the slow one has everything too", || {
        let stream = hub.look(slow_id);
        (stream.lag, stream.events) == (0, 100) && stream.written_at > stream.connected_at
    });
}

#[test]
fn pages_show_every_stream_that_stays_exactly_once_whichever_come_and_go() {
    let hub = start(|_, fanout| fanout.reactors = 3);
    let _stay: Vec<_> = (0..100).map(|_| hub.open("t", After::Live)).collect();
    let staying: Vec<ConnectionId> = hub.list(None, 1000).0.iter().map(|stream| stream.id).collect();
    assert!(staying.is_sorted() && staying.len() == 100);
    let mut guests: Vec<Reader> = (0..20).map(|_| hub.open("t", After::Live)).collect();
    let (mut seen, mut after): (Vec<ConnectionId>, _) = (Vec::new(), None);
    loop {
        let (page, more) = hub.list(after, 7);
        assert!(page.len() == 7 || !more, "only the last page is short");
        seen.extend(page.iter().map(|stream| stream.id));
        after = seen.last().copied();
        guests.drain(..3);
        guests.extend((0..3).map(|_| hub.open("t", After::Live)));
        if !more {
            break;
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "each once, in order");
    seen.retain(|id| staying.contains(id));
    assert_eq!(seen, staying);
}

#[test]
fn kicked_stream_ends_between_two_events() {
    let hub = start(|_, _| {});
    let mut other = hub.open("t", After::Live);
    other.greeting();
    for encoding in [Encoding::Chunked, Encoding::Plain, Encoding::Gzip] {
        let id = id();
        let mut reader = hub.open_as(id, "t", After::Earliest, encoding);
        reader.greeting();
        hub.publish(vec![event("t", "", "last")]);
        assert!(hub.kick(id));
        while let Some(event) = reader.try_next() {
            assert!(event.ends_with("\ndata: last"), "{event}");
        }
        assert_eq!(
            reader.ended,
            encoding != Encoding::Plain,
            "the last chunk comes if the stream was chunked"
        );
        let end = reader.end();
        assert_eq!((end.reason, end.bytes), (EndReason::Kicked, reader.wire.len() as u64));
        assert!(!hub.kick(id), "it is open no more");
    }
    assert_eq!(hub.fanout.counters().closed.get(EndReason::Kicked), 3);
    assert_eq!((hub.limits.active(), hub.fanout.streams()), (1, 1));
    assert_eq!(hub.publish(vec![event("t", "", "")]).receivers, 1);
    for data in ["last", "last", "last", ""] {
        assert_eq!(other.data(), data);
    }
}

/// Who does not read could keep its place until it is idle, and there might be no idle timeout.
#[test]
fn stream_with_an_unfinished_write_is_cut() {
    let hub = start(|_, _| {});
    let id = id();
    let mut slow = hub.open_as(id, "t", After::Live, Encoding::Chunked);
    slow.greeting();
    hub.publish((0..100).map(|_| event("t", "", &"x".repeat(10_000))).collect());
    eventually("it has fallen behind", || hub.look(id).lag > 0);
    assert!(hub.kick(id));
    assert_eq!(slow.end().reason, EndReason::Kicked);
    assert_eq!((hub.limits.active(), hub.fanout.streams()), (0, 0));
}

/// A reactor with many rounds to write takes a new stream in when it has reached its place.
#[test]
fn stream_on_its_way_is_listed_and_can_be_ended() {
    let hub = start(|_, fanout| {
        (fanout.reactors, fanout.round_events_max) = (1, 1);
        fanout.undrained_wait = Duration::ZERO;
    });
    let mut readers: Vec<Reader> = (0..300).map(|_| hub.open("t", After::Live)).collect();
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    hub.publish((0..3000).map(|n| event("t", "", &n.to_string())).collect());
    let id = id();
    let mut reader = hub.open_as(id, "t", After::Live, Encoding::Gzip);
    let stream = hub.look(id);
    assert_eq!((stream.bytes, stream.events, stream.lag), (0, 0, 0), "it was given nothing yet");
    assert!(hub.kick(id));
    assert_eq!(reader.end().reason, EndReason::Kicked);
    reader.greeting();
    assert_eq!((reader.try_next(), reader.ended), (None, true));
    assert!(reader.wire.starts_with(HEAD.as_bytes()));
    for reader in &mut readers[..2] {
        for n in 0..3000 {
            assert_eq!(reader.data(), n.to_string());
        }
    }
    assert_eq!(hub.publish(vec![event("t", "", "")]).receivers, 300);
}

/// The attack: so many questions at once that a reactor does nothing but answer.
#[test]
fn many_questions_are_all_answered_and_events_pass_between_them() {
    let hub = start(|_, fanout| fanout.reactors = 1);
    let mut readers: Vec<Reader> = (0..300).map(|_| hub.open("t", After::Live)).collect();
    readers.iter_mut().for_each(|reader| drop(reader.greeting()));
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let fanout = hub.fanout.clone();
            hub.runtime.spawn(async move { fanout.list(None, usize::MAX).await })
        })
        .collect();
    hub.publish(vec![event("t", "", "between")]);
    for reader in &mut readers {
        assert_eq!(reader.data(), "between");
    }
    for answer in asked {
        let (streams, _) = hub.runtime.block_on(answer).unwrap().unwrap();
        assert_eq!(streams.len(), 300);
    }
}

#[test]
fn last_bytes_of_a_stream_that_is_ended_are_counted() {
    for encoding in [Encoding::Chunked, Encoding::Gzip] {
        let hub = start(|_, _| {});
        let id = id();
        let mut reader = hub.open_as(id, "t", After::Live, encoding);
        reader.greeting();
        assert!(hub.kick(id));
        assert_eq!(reader.try_next(), None);
        let bytes = reader.end().bytes;
        assert_eq!(bytes, reader.wire.len() as u64);
        eventually("all are counted", || hub.fanout.counters().bytes_sent.load(Ordering::Relaxed) == bytes);
    }
}
