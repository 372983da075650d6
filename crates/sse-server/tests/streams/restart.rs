//! What a client is told by a hub that was restarted.

use std::sync::Arc;

use sse_server::hub::After;

use crate::hub::{event, start, start_in};

#[test]
fn client_of_a_crashed_hub_is_told_that_something_may_be_lost() {
    let before = start(|_, _| {});
    let ids = before.publish(vec![event("t", "", "1"), event("t", "", "2")]).ids;
    let data = Arc::clone(&before.data);
    drop(before);
    let hub = start_in(data, |_, _| {});
    let mut old = hub.open("t", After::Id(ids[1]));
    assert!(old.greeting().contains(&format!("id: {}\n", ids[1])));
    assert_eq!(old.next(), "event: reset\ndata: {\"reason\":\"history_truncated\",\"oldest\":null}");
    let mut new = hub.open("t", After::Live);
    let greeting = new.greeting();
    let position = greeting.lines().nth(1).unwrap().strip_prefix("id: ").unwrap().parse().unwrap();
    assert!(position > ids[1], "the highest id that may have been issued");
    let id = hub.publish(vec![event("t", "", "3")]).ids[0];
    assert!(id > position);
    let mut joined = hub.open("t", After::Id(position));
    joined.greeting();
    for reader in [&mut old, &mut new, &mut joined] {
        assert_eq!(reader.next(), format!("id: {id}\ndata: 3"));
    }
}

#[test]
fn client_that_had_seen_everything_of_a_closed_hub_goes_on_without_reset() {
    let before = start(|_, _| {});
    let ids = before.publish(vec![event("t", "", "1"), event("t", "", "2")]).ids;
    before.runtime.block_on(before.backplane.close()).unwrap();
    let data = Arc::clone(&before.data);
    drop(before);
    let hub = start_in(data, |_, _| {});
    let mut complete = hub.open("t", After::Id(ids[1]));
    assert!(complete.greeting().contains(&format!("id: {}\n", ids[1])));
    let mut behind = hub.open("t", After::Id(ids[0]));
    behind.greeting();
    assert_eq!(behind.next(), "event: reset\ndata: {\"reason\":\"history_truncated\",\"oldest\":null}");
    let id = hub.publish(vec![event("t", "", "3")]).ids[0];
    for reader in [&mut complete, &mut behind] {
        assert_eq!(reader.next(), format!("id: {id}\ndata: 3"));
    }
}
