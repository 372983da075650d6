//! Compressed streams in clients that others wrote: what they decode is what a plain one reads, whenever they join, however
//! long they do not read, with heartbeats between the events, and to the very end.

use std::iter::repeat_with;
use std::time::Duration;

use stack_tests::{Event, Reader, Stack, TOKEN, eventually, request, within};

const PATH: &str = "/sse?topic=job:1";
/// Events of some bytes that are published at a time.
const FEW: usize = 40;
/// An event that is not made much smaller, and how many of them at a time.
const LARGE: (usize, usize) = (100_000, 10);
/// Batches of large events after which somebody who reads nothing must be behind: more than all buffers between hold.
const LARGE_BATCHES_MAX: usize = 40;

type Join = fn(&Stack) -> Reader;

const CLIENTS: [(&str, Join); 5] = [
    ("curl --compressed", |stack| Reader::curl_compressed(stack, PATH)),
    ("sseclient-py", |stack| Reader::python("sseclient", stack, PATH, usize::MAX, None)),
    ("httpx-sse", |stack| Reader::python("httpx", stack, PATH, usize::MAX, None)),
    ("eventsource", |stack| Reader::node(stack, PATH, usize::MAX, None)),
    ("Chromium", |stack| Reader::chromium(stack, PATH, 0)),
];
/// Those that end with the stream and say by their exit code whether it was whole; the others come back.
const END: usize = 3;

fn publish(stack: &Stack, data: impl Iterator<Item = String>) {
    let lines = data.map(|data| format!("{{\"topic\":\"job:1\",\"event\":\"tick\",\"data\":\"{data}\"}}\n"));
    assert!(stack.publish_with_curl(&lines.collect::<String>())["ids"].is_array());
}

fn publish_few(stack: &Stack) {
    publish(stack, (1..=FEW).map(|n| format!("{n} of some that are much alike")));
}

/// How many events each compressed stream is behind.
fn lags(stack: &Stack) -> Vec<u64> {
    let authorization = format!("Bearer {TOKEN}");
    let answer = request(stack.port(), "GET", "/sse/connections", &[("Authorization", &authorization)], "");
    let page: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let streams = page["connections"].as_array().expect("a list");
    let compressed = streams.iter().filter(|stream| stream["encoding"] == "gzip");
    compressed.map(|stream| stream["lag"].as_u64().expect("a number")).collect()
}

/// What each has read must be what the plain one has, from the event on that came after it joined.
#[track_caller]
fn assert_whole(plain: &[Event], readers: &[Reader]) {
    for (n, (reader, (name, _))) in readers.iter().zip(CLIENTS).enumerate() {
        let expected = &plain[n * FEW..];
        let seen = within(Duration::from_secs(60), &format!("{name} has read {}", expected.len()), || {
            Some(reader.published()).filter(|seen| seen.len() >= expected.len())
        });
        let same = |(a, b): (&Event, &Event)| (&a.id, &a.event, &a.data) == (&b.id, &b.event, &b.data);
        let differs = seen.iter().zip(expected).position(|pair| !same(pair));
        assert_eq!((seen.len(), differs), (expected.len(), None), "{name}");
    }
}

#[test]
fn compressed_streams_are_whole_over_joins_lags_heartbeats_and_a_drain() {
    let stack = Stack::start(&[("SSE_HEARTBEAT_INTERVAL", "1")]);
    let plain = Reader::curl(&stack, PATH, None);
    plain.greeted();
    let mut readers = Vec::new();
    for (_, join) in CLIENTS {
        let reader = join(&stack);
        reader.greeted();
        readers.push(reader);
        publish_few(&stack);
    }
    assert_whole(&plain.wait_for(FEW * CLIENTS.len()), &readers);

    for (reader, (name, _)) in readers.iter().zip(CLIENTS) {
        eventually(&format!("{name} gets a heartbeat"), || {
            reader.events().iter().any(|event| event.event == "heartbeat")
        });
    }

    for reader in &readers {
        reader.pause();
    }
    let mut large = 0;
    while lags(&stack).contains(&0) {
        large += LARGE.1;
        assert!(large <= LARGE.1 * LARGE_BATCHES_MAX, "whoever does not read is behind: {:?}", lags(&stack));
        let text = || repeat_with(fastrand::alphanumeric).take(LARGE.0).collect();
        publish(&stack, repeat_with(text).take(LARGE.1));
    }
    assert_eq!(lags(&stack).len(), readers.len());
    for reader in &readers {
        reader.resume();
    }
    publish_few(&stack);
    let published = FEW * CLIENTS.len() + large + FEW;
    assert_whole(&plain.wait_for(published), &readers);

    assert!(stack.supervisorctl(false, &["restart", "sse-server"]).status.success());
    for (reader, (name, _)) in readers.iter_mut().zip(CLIENTS) {
        eventually(&format!("{name} is told goodbye"), || {
            reader.events().iter().any(|event| event.event == "shutdown")
        });
    }
    for (reader, (name, _)) in readers.iter_mut().zip(CLIENTS).take(END) {
        assert!(reader.ends().success(), "{name} found the stream whole to its end");
    }
    assert_whole(&plain.wait_for(published), &readers);
}
