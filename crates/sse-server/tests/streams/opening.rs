//! How a stream begins.

use sse_server::fanout::Encoding;
use sse_server::hub::{After, EventId, EventType};

use crate::hub::{HEAD, event, interest, start};

#[test]
fn stream_begins_with_head_and_greeting_and_goes_on_live() {
    let hub = start(|_, _| {});
    let mut reader = hub.open("job:*", After::Live);
    assert_eq!(
        reader.greeting(),
        "retry: R\nid: 0-0\nevent: connected\n\
         data: {\"connection_id\":\"C\",\"topics\":[\"job:*\"],\"types\":[],\"heartbeat_seconds\":30,\"last_event_id\":\"0-0\"}"
    );
    let published = hub.publish(vec![event("job:42", "progress", "40 %"), event("other", "", "no")]);
    assert_eq!(published.receivers, 1);
    assert_eq!(reader.next(), format!("id: {}\nevent: progress\ndata: 40 %", published.ids[0]));
}

#[test]
fn stream_without_chunks_is_plain() {
    let hub = start(|_, _| {});
    let mut reader = hub.open_with(interest("*", &["message"], true), After::Live, Encoding::Plain);
    reader.greeting();
    let ids = hub.publish(vec![event("a", "other", "1"), event("a,b", "", "2\r3")]).ids;
    let expected = format!("id: {}\ndata: {{\"topics\":[\"a\",\"b\"],\"data\":\"2\\r3\"}}", ids[1]);
    assert_eq!(reader.next(), expected);
    let wire = String::from_utf8(reader.wire.clone()).unwrap();
    assert!(wire.starts_with(&format!("{HEAD}retry: ")), "{wire}");
    assert!(wire.ends_with(&format!("{expected}\n\n")), "{wire}");
}

#[test]
fn reader_that_returns_gets_exactly_what_it_missed() {
    let hub = start(|_, _| {});
    let mut first = hub.open("*", After::Live);
    first.greeting();
    let ids = hub.publish((0..1000).map(|n| event("t", "", &n.to_string())).collect()).ids;
    for (n, id) in ids.iter().enumerate().take(500) {
        assert_eq!(first.next(), format!("id: {id}\ndata: {n}"));
    }
    drop(first);
    let mut second = hub.open("*", After::Id(ids[499]));
    assert!(second.greeting().contains(&format!("id: {}\n", ids[499])));
    for (n, id) in ids.iter().enumerate().skip(500) {
        assert_eq!(second.next(), format!("id: {id}\ndata: {n}"));
    }
    let live = hub.publish(vec![event("t", "", "live")]).ids[0];
    assert_eq!(second.next(), format!("id: {live}\ndata: live"));
}

#[test]
fn reset_follows_the_greeting_when_the_past_is_not_whole() {
    let hub = start(|backplane, _| backplane.hub.history.events_max = 2);
    let ids = hub.publish((0..4).map(|n| event("t", "", &n.to_string())).collect()).ids;
    let oldest = ids[2];
    let beyond = EventId { ms: ids[3].ms + 1_000_000, seq: 0 };
    let truncated =
        format!("event: reset\ndata: {{\"reason\":\"history_truncated\",\"oldest\":\"{oldest}\"}}");
    let unknown = format!("event: reset\ndata: {{\"reason\":\"unknown_id\",\"oldest\":\"{oldest}\"}}");
    let cases = [
        (After::Id(ids[0]), ids[0], Some(truncated), vec!["2", "3"]),
        (After::Id(ids[1]), ids[1], None, vec!["2", "3"]),
        (After::Id(ids[2]), ids[2], None, vec!["3"]),
        (After::Id(ids[3]), ids[3], None, vec![]),
        (After::Id(beyond), ids[3], Some(unknown.clone()), vec![]),
        (After::Malformed, ids[3], Some(unknown), vec![]),
        (After::Earliest, oldest.before(), None, vec!["2", "3"]),
        (After::Live, ids[3], None, vec![]),
    ];
    let mut readers = Vec::new();
    for (after, position, reset, replayed) in cases {
        let mut reader = hub.open("t", after);
        let greeting = reader.greeting();
        assert!(greeting.contains(&format!("id: {position}\n")), "{after:?}: {greeting}");
        assert!(greeting.contains(&format!("\"last_event_id\":\"{position}\"")), "{after:?}: {greeting}");
        if let Some(reset) = reset {
            assert_eq!(reader.next(), reset, "{after:?}");
        }
        for data in replayed {
            assert_eq!(reader.data(), data, "{after:?}");
        }
        readers.push((after, reader));
    }
    hub.publish(vec![event("t", "", "live")]);
    for (after, mut reader) in readers {
        assert_eq!(reader.data(), "live", "{after:?}");
    }
}

/// One rule for the count of receivers, for live streams and for replays.
#[test]
fn event_for_an_audience_reaches_only_streams_that_name_it_live_and_in_replay() {
    let hub = start(|_, _| {});
    let types: [(&[&str], &[&str]); 4] = [
        (&[], &["all", "end"]),
        (&["progress", "end"], &["all", "end"]),
        (&["progress", "vip", "end"], &["all", "vip only", "end"]),
        (&["vip", "end"], &["end"]),
    ];
    let open = |after| {
        types
            .map(|(types, data)| (hub.open_with(interest("t", types, false), after, Encoding::Chunked), data))
    };
    let mut live = open(After::Live);
    let vip = EventType::parse("vip").unwrap();
    let published = hub.publish(vec![
        event("t", "progress", "all"),
        event("t", "progress", "vip only").only_for(Some(vip)),
        event("t", "end", "end"),
    ]);
    assert_eq!(published.receivers, 3 + 1 + 4);
    for (reader, expected) in live.iter_mut().chain(&mut open(After::Earliest)) {
        reader.greeting();
        for data in *expected {
            assert_eq!(reader.data(), *data, "{expected:?}");
        }
    }
}
