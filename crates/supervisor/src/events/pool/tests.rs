//! A pool as its listeners see it.

use proptest::prelude::*;

use super::super::event::Period;
use super::*;

fn kinds(name: &str) -> Kinds {
    Kinds::parse(&[name.to_owned()]).unwrap()
}

fn tick(when: u64) -> Event {
    Event::Tick { period: Period::Seconds5, when }
}

fn pool(buffer_size: usize) -> Pool {
    Pool::new("p", "supervisor", kinds("EVENT"), buffer_size)
}

/// Publishes ticks 0 to `count`, and says what was logged.
fn fill(pool: &mut Pool, count: u64) -> Vec<String> {
    let mut serial = Serial::default();
    (0..count).flat_map(|when| texts(publish(&tick(when), &mut serial, [&mut *pool]))).collect()
}

fn texts(lines: Vec<Line>) -> Vec<String> {
    lines.into_iter().map(|line| format!("{} {}", &line.level.as_str()[..1], line.text)).collect()
}

fn sent(pool: &mut Pool, listener: &str) -> Option<String> {
    pool.next_for(listener).map(|delivery| String::from_utf8(delivery.bytes).unwrap())
}

/// The payloads of what is sent until nothing is left.
fn drained(pool: &mut Pool) -> Vec<String> {
    let mut payloads = Vec::new();
    while let Some(text) = sent(pool, "last") {
        payloads.push(text.split_once('\n').unwrap().1.to_owned());
        pool.processed("last");
    }
    payloads
}

#[test]
fn an_event_is_sent_in_the_genuine_envelope() {
    let mut pool = pool(10);
    let mut serial = Serial::default();
    for _ in 0..7 {
        serial.take();
    }
    let remote = |data: &str| Event::RemoteCommunication { kind: "k".to_owned(), data: data.to_owned() };
    for event in [tick(5), remote("gr\u{fc}n \u{1f600}"), Event::SupervisorRunning] {
        assert_eq!(publish(&event, &mut serial, [&mut pool]), []);
    }
    let head = "ver:3.0 server:supervisor serial:";
    for text in [
        format!("{head}7 pool:p poolserial:0 eventname:TICK_5 len:6\nwhen:5"),
        // 13 characters, which are 17 bytes.
        format!(
            "{head}8 pool:p poolserial:1 eventname:REMOTE_COMMUNICATION len:13\ntype:k\ngr\u{fc}n \u{1f600}"
        ),
        format!("{head}9 pool:p poolserial:2 eventname:SUPERVISOR_STATE_CHANGE_RUNNING len:0\n"),
    ] {
        assert_eq!(sent(&mut pool, "x"), Some(text));
        assert_eq!(sent(&mut pool, "x"), None, "a busy listener is sent nothing");
        pool.processed("x");
    }
    assert_eq!(sent(&mut pool, "x"), None);
}

#[test]
fn sending_is_logged() {
    let mut pool = pool(10);
    fill(&mut pool, 1);
    let line = pool.next_for("x").unwrap().line;
    assert_eq!(texts(vec![line]), ["D event 0 sent to listener x"]);
}

#[test]
fn numbers_are_the_daemons_and_the_pools() {
    let mut serial = Serial::default();
    let mut ticks = Pool::new("ticks", "s", kinds("TICK"), 10);
    let mut groups = Pool::new("groups", "s", kinds("PROCESS_GROUP"), 10);
    let mut all = Pool::new("all", "s", kinds("EVENT"), 10);
    let added = Event::GroupAdded { group: "g".to_owned() };
    for event in [tick(0), added.clone(), tick(5)] {
        publish(&event, &mut serial, [&mut ticks, &mut groups, &mut all]);
    }
    let numbers = |pool: &mut Pool| -> Vec<String> {
        let mut numbers = Vec::new();
        while let Some(text) = sent(pool, "x") {
            let number = |key: &str| text.split(' ').find_map(|word| word.strip_prefix(key)).unwrap();
            numbers.push(format!("{} {}", number("serial:"), number("poolserial:")));
            pool.processed("x");
        }
        numbers
    };
    assert_eq!(numbers(&mut ticks), ["0 0", "2 1"]);
    assert_eq!(numbers(&mut groups), ["1 0"]);
    assert_eq!(numbers(&mut all), ["0 0", "1 1", "2 2"]);
    publish(&Event::SupervisorRunning, &mut serial, [&mut ticks, &mut groups]);
    assert_eq!(serial.take(), 3, "an event that nobody wants takes no number");
}

#[test]
fn numbers_begin_anew_after_the_last() {
    let mut serial = Serial(Serial::MAX);
    assert_eq!([serial.take(), serial.take(), serial.take()], [Serial::MAX, 0, 1]);
}

#[test]
fn one_too_many_drops_the_oldest() {
    let mut pool = pool(2);
    assert_eq!(
        fill(&mut pool, 4),
        [
            "E pool p event buffer overflowed, discarding event 0",
            "E pool p event buffer overflowed, discarding event 1",
        ]
    );
    assert_eq!(drained(&mut pool), ["when:2", "when:3"]);
}

#[test]
fn a_rejected_event_comes_first_again_with_its_numbers() {
    let mut pool = pool(3);
    fill(&mut pool, 2);
    let first = sent(&mut pool, "x");
    assert_eq!(texts(pool.rejected("x")), ["D rebuffering event 0 for pool p (buf size=1, max=3)"]);
    assert_eq!(sent(&mut pool, "y"), first);
    assert_eq!(pool.rejected("x"), [], "x has nothing any more");
    pool.processed("y");
    assert_eq!(drained(&mut pool), ["when:1"]);
}

#[test]
fn an_event_rejected_into_a_full_buffer_drops_the_oldest_there() {
    let mut pool = pool(1);
    let mut serial = Serial::default();
    publish(&tick(0), &mut serial, [&mut pool]);
    assert!(pool.next_for("x").is_some());
    publish(&tick(1), &mut serial, [&mut pool]);
    assert_eq!(
        texts(pool.rejected("x")),
        [
            "D rebuffering event 0 for pool p (buf size=1, max=1)",
            "E pool p event buffer overflowed, discarding event 1",
        ]
    );
    assert_eq!(drained(&mut pool), ["when:0"]);
}

#[test]
fn what_could_not_be_written_goes_to_another_listener() {
    let mut pool = pool(3);
    fill(&mut pool, 1);
    let first = sent(&mut pool, "x");
    assert_eq!(
        texts(pool.unsent("x")),
        [
            "D epipe occurred while sending event 0 to listener x, listener state unchanged",
            "D rebuffering event 0 for pool p (buf size=0, max=3)",
        ]
    );
    assert_eq!(sent(&mut pool, "y"), first);
    assert_eq!(pool.unsent("x"), []);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish,
    Send(u8),
    Processed(u8),
    Rejected(u8),
}

proptest! {
    /// Every event is waiting, with a listener, processed or told as discarded: never lost or doubled.
    #[test]
    fn every_event_is_accounted_for(
        steps in proptest::collection::vec(
            prop_oneof![
                Just(Step::Publish),
                (0..3_u8).prop_map(Step::Send),
                (0..3_u8).prop_map(Step::Processed),
                (0..3_u8).prop_map(Step::Rejected),
            ],
            0..60,
        ),
        buffer_size in 1..5_usize,
    ) {
        let mut pool = pool(buffer_size);
        let mut serial = Serial::default();
        let (mut published, mut processed, mut discarded) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Publish => {
                    discarded += publish(&tick(published), &mut serial, [&mut pool]).len() as u64;
                    published += 1;
                }
                Step::Send(listener) => {
                    let _ = pool.next_for(&listener.to_string());
                }
                Step::Processed(listener) => {
                    processed += u64::from(pool.busy.contains_key(&listener.to_string()));
                    pool.processed(&listener.to_string());
                }
                Step::Rejected(listener) => {
                    let lines = pool.rejected(&listener.to_string());
                    discarded += lines.iter().filter(|line| line.level == Level::Error).count() as u64;
                }
            }
            prop_assert!(pool.waiting() <= buffer_size);
            prop_assert_eq!(pool.waiting() as u64 + pool.busy.len() as u64 + processed + discarded, published);
            let mut serials: Vec<u64> = pool.buffer.iter().chain(pool.busy.values()).map(|q| q.serial).collect();
            serials.sort_unstable();
            let count = serials.len();
            serials.dedup();
            prop_assert_eq!(serials.len(), count, "an event is twice in the pool");
        }
    }
}
