//! What the rules of the hub cost by themselves: `make bench-micro`.

#![expect(clippy::unwrap_used, reason = "names that are written here are valid")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sse_server::hub::{
    After, Data, Draft, EventId, EventType, Frame, GroupId, Hub, HubConfig, Index, Interest, NewEvent,
    Ordinal, Portion, Recovered, Topic, TopicFilter, Wake,
};

const TOPICS: u32 = 10_000;
const HISTORY_EVENTS: u64 = 100_000;
/// What a reactor takes at once.
const PORTION: Portion = Portion { events_max: 512, bytes_max: 64 << 10 };

struct NoOne;

impl Wake for NoOne {
    fn wake(&self) {}
}

fn id(number: u64) -> EventId {
    format!("{number}-0").parse().unwrap()
}

fn draft(topic: &str) -> Draft {
    let data = Data::Text(format!("{{\"progress\":42,\"text\":\"{}\"}}", "x".repeat(170)));
    let event = Some(EventType::parse("job_progress").unwrap());
    Draft::new(NewEvent::new(vec![Topic::parse(topic).unwrap()], event, data).unwrap(), Instant::now())
}

fn frame(number: u64, topic: &str) -> Arc<Frame> {
    Arc::new(draft(topic).seal(id(number)))
}

fn interest(filter: &str, envelope: bool) -> Interest {
    Interest::new(vec![TopicFilter::parse(filter).unwrap()], Vec::new(), envelope)
}

/// A hub whose history is full.
fn full(topics: u64) -> Hub {
    let hub = Hub::new(HubConfig::default(), Recovered::default());
    for number in 1..=HISTORY_EVENTS {
        hub.append(&[frame(number, &format!("job:{}", number % topics))], 0);
    }
    hub
}

/// A frame, and its place in a full history, which lets the oldest go.
fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(1));
    group.bench_function("frame: encode 200 bytes", |bencher| {
        bencher.iter_batched(|| draft("job:42"), |draft| draft.seal(black_box(id(7))), BatchSize::SmallInput);
    });
    for (name, streams) in [("append: nobody", 0), ("append: 10,000 topics with a stream each", TOPICS)] {
        let hub = full(10);
        let reader = hub.reader(Arc::new(NoOne));
        for topic in 0..streams {
            hub.subscribe(reader, interest(&format!("job:{topic}"), false), After::Live, 0);
        }
        hub.arrived(reader, streams as usize);
        let (mut number, mut taken) = (HISTORY_EVENTS, Vec::new());
        let mut next = || {
            number += 1;
            frame(number, "job:42")
        };
        let mut append = |frame: Arc<Frame>| {
            hub.append(&[frame], 0);
            hub.take(reader, PORTION, &mut taken);
            taken.clear();
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(&mut next, &mut append, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// From a topic to the groups that read it.
fn index(criterion: &mut Criterion) {
    let mut index = Index::default();
    for topic in 0..TOPICS {
        index.insert(topic, &[TopicFilter::parse(&format!("job:{topic}")).unwrap()]);
    }
    for (group, prefix) in (TOPICS..).zip(["*", "job:*", "job:4*", "chat:*"]) {
        index.insert(group, &[TopicFilter::parse(prefix).unwrap()]);
    }
    let found = |topic: &Topic| {
        let mut groups: GroupId = 0;
        index.groups(topic, |group| groups ^= group);
        groups
    };
    let mut group = criterion.benchmark_group("index of 10,000 topics and 4 prefixes");
    for (name, topic) in
        [("one topic and 3 prefixes read it", "job:4242"), ("one prefix reads it", "system:x")]
    {
        let topic = Topic::parse(topic).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| found(black_box(&topic))));
    }
    group.bench_function("a group comes and goes", |bencher| {
        let filters = [TopicFilter::parse("job:new").unwrap()];
        let mut index = Index::default();
        for topic in 0..TOPICS {
            index.insert(topic, &[TopicFilter::parse(&format!("job:{topic}")).unwrap()]);
        }
        bencher.iter(|| {
            index.insert(TOPICS, black_box(&filters));
            index.remove(TOPICS, &filters);
        });
    });
    group.finish();
}

/// The bytes of an event for a group.
fn framing(criterion: &mut Criterion) {
    let frame = frame(7, "job:42");
    let mut group = criterion.benchmark_group("frame to bytes");
    for (name, envelope) in [("as it is", false), ("in an envelope", true)] {
        let interest = interest("job:42", envelope);
        let mut out = Vec::with_capacity(4096);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&frame).write(&interest, &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

/// What a client that comes back is given: the place in the history, and the first portion of what it missed.
fn replay(criterion: &mut Criterion) {
    let hub = full(10);
    let reader = hub.reader(Arc::new(NoOne));
    let mut group = criterion.benchmark_group("replay from a history of 100,000");
    group.bench_function("where it starts", |bencher| {
        bencher.iter(|| {
            let place = hub.subscribe(reader, interest("job:4", false), After::Id(id(50_000)), 0);
            hub.arrived(reader, 1);
            hub.unsubscribe(reader, place.group);
            place.start.next
        });
    });
    let start = HISTORY_EVENTS / 2;
    let interest = interest("job:4", false);
    group.throughput(Throughput::Elements(PORTION.events_max as u64));
    group.bench_function("a portion, of which one in ten is wanted", |bencher| {
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        bencher.iter(|| {
            out.clear();
            let next = hub.replay(black_box(start), Ordinal::MAX, PORTION, &mut frames);
            frames
                .drain(..)
                .filter(|frame| interest.reads(frame))
                .for_each(|frame| frame.write(&interest, &mut out));
            (next.is_ok(), out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, publish, index, framing, replay);
criterion_main!(benches);
