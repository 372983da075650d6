//! The durable history across restarts, crashes and damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::hub::{Data, Draft, IdempotencyKey, NewEvent, Topic};

const ALL: Portion = Portion { events_max: usize::MAX, bytes_max: usize::MAX };

fn id(ms: u64) -> EventId {
    EventId { ms, seq: 7 }
}

fn frame(ms: u64) -> Arc<Frame> {
    let topic = Topic::parse("t").unwrap();
    let event = NewEvent::new(vec![topic], None, Data::Text(format!("event {ms}."))).unwrap();
    Arc::new(Draft::new(event, Instant::now()).seal(id(ms)))
}

fn open(data: &Path) -> (DiskStore, Recovered) {
    let store = DiskStore::open(data, 3 * frame(1).cost()).unwrap();
    let recovered = store.recover().unwrap();
    (store, recovered)
}

fn commit(store: &DiskStore, ids: &[u64], key: Option<&str>) -> Result<(), String> {
    let (answer, answered) = channel();
    let frames: Vec<_> = ids.iter().map(|ms| frame(*ms)).collect();
    let keys = key.map(|key| KeyUse {
        key: IdempotencyKey::parse(key).unwrap(),
        id: id(ids[0]),
        at_ms: 1000 + ids[0],
    });
    let commit = Commit { frames: frames.into(), keys: keys.into_iter().collect() };
    store.commit(commit, Box::new(move |result| answer.send(result).unwrap()));
    answered.recv().unwrap().map_err(|why| why.in_full())
}

fn ms(recovered: &Recovered) -> Vec<u64> {
    recovered.events.iter().map(|event| event.id.ms).collect()
}

fn read(store: &DiskStore, from: Ordinal) -> Option<Vec<u64>> {
    let read = store.read(from, ALL).ok()?;
    Some(read.iter().map(|frame| frame.id().ms).collect())
}

/// What the disk holds when the process is killed now.
fn image(data: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    copy(data, to.path());
    to
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// The file with this text, and where.
fn find(folder: &Path, text: &str) -> Option<(PathBuf, usize)> {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = if path.is_dir() {
            find(&path, text)
        } else {
            let bytes = fs::read(&path).unwrap();
            let at = bytes.windows(text.len()).position(|window| window == text.as_bytes());
            at.map(|at| (path, at))
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn flip(data: &Path, text: &str) {
    let (path, at) = find(data, text).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

fn folders(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .map(|name| {
            name.split_once('-')
                .filter(|_| name.starts_with("history"))
                .map_or(name.clone(), |(a, _)| a.to_owned())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_after_a_kill() {
    let data = TempDir::new().unwrap();
    let (store, recovered) = open(data.path());
    assert_eq!((recovered.newest, recovered.first, ms(&recovered)), (EventId::ZERO, 0, vec![]));
    commit(&store, &[1], Some("a")).unwrap();
    commit(&store, &[2, 3, 4, 5], Some("b")).unwrap();
    let killed = image(data.path());
    store.close(id(5)).unwrap();
    assert!(commit(&store, &[6], None).unwrap_err().ends_with("is closed"));
    drop(store);
    for data in [data, killed] {
        let (store, recovered) = open(data.path());
        assert_eq!((recovered.newest, recovered.floor, recovered.first), (id(5), EventId::ZERO, 0));
        assert_eq!(ms(&recovered), [1, 2, 3, 4, 5]);
        assert_eq!(recovered.events[0].cost, frame(1).cost());
        let ring: Vec<u64> = recovered.frames.iter().map(|frame| frame.id().ms).collect();
        assert_eq!(ring, [3, 4, 5], "as much as fits");
        let keys: Vec<_> = recovered.keys.iter().map(|key| (key.key.as_str(), key.id, key.at_ms)).collect();
        assert_eq!(keys, [("a", id(1), 1001), ("b", id(2), 1002)]);
        commit(&store, &[6], None).unwrap();
        assert_eq!(read(&store, 3), Some(vec![4, 5, 6]));
        assert_eq!(read(&store, 6), Some(vec![]));
        let portion = Portion { events_max: 2, bytes_max: 1 };
        assert_eq!(store.read(0, portion).unwrap().len(), 1, "a portion is bounded, but never empty");
        let back = &store.read(1, ALL).unwrap()[0];
        assert_eq!((back.wire(), back.topics()), (frame(2).wire(), frame(2).topics()));
    }
}

#[test]
fn what_was_let_go_stays_gone_and_ids_go_on() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    for n in 1..=6 {
        commit(&store, &[n], Some(&format!("key {n}"))).unwrap();
    }
    store.discard(Discard { events_before: 4, keys_before_ms: 1003 });
    commit(&store, &[7], None).unwrap();
    while read(&store, 3).is_some() {
        std::thread::yield_now();
    }
    assert_eq!((read(&store, 0), read(&store, 4)), (None, Some(vec![5, 6, 7])));
    store.close(id(9)).unwrap();
    drop(store);
    let (store, recovered) = open(data.path());
    assert_eq!((recovered.first, recovered.floor, ms(&recovered)), (4, id(4), vec![5, 6, 7]));
    assert_eq!(recovered.keys.iter().map(|key| key.id.ms).collect::<Vec<_>>(), [3, 4, 5, 6]);
    store.discard(Discard { events_before: 7, keys_before_ms: u64::MAX });
    while read(&store, 6) != Some(vec![]) {
        std::thread::yield_now();
    }
    drop(store);
    let (store, recovered) = open(data.path());
    assert_eq!((recovered.first, recovered.newest, ms(&recovered)), (7, id(7), vec![]));
    assert!(recovered.keys.is_empty());
    commit(&store, &[8], None).unwrap();
    assert_eq!(read(&store, 7), Some(vec![8]));
}

#[test]
fn last_write_that_was_torn_takes_nothing_else_with_it() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    commit(&store, &[1, 2], None).unwrap();
    commit(&store, &[3, 4], None).unwrap();
    let images = [3, 4].map(|n| {
        let image = image(data.path());
        let (journal, at) = find(image.path(), &format!("event {n}.")).unwrap();
        let bytes = fs::read(&journal).unwrap();
        // What was not written is not there, or zeros.
        let torn = if n == 3 { bytes[..at].to_vec() } else { [&bytes[..at], &[0; 5000]].concat() };
        fs::write(&journal, torn).unwrap();
        image
    });
    for data in images {
        let (store, recovered) = open(data.path());
        assert_eq!((ms(&recovered), recovered.newest), (vec![1, 2], id(2)), "the whole group is gone");
        assert!(recovered.issued >= recovered.newest);
        assert_eq!(folders(data.path()), ["event-id.mark", "history", "lock"]);
        commit(&store, &[5], None).unwrap();
        drop(store);
        assert_eq!(ms(&open(data.path()).1), [1, 2, 5]);
    }
}

#[test]
fn damage_in_the_journal_costs_what_follows_it_and_is_told_to_clients() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    store.reserve(EventId { ms: 100, seq: 0 }).unwrap();
    for n in 1..=5 {
        commit(&store, &[n], Some(&format!("key {n}"))).unwrap();
    }
    let image = image(data.path());
    flip(image.path(), "event 4.");
    let (store, recovered) = open(image.path());
    assert_eq!(ms(&recovered), [1, 2, 3]);
    assert_eq!((recovered.floor.ms, recovered.newest.ms), (100, 100), "whoever saw more is told");
    assert_eq!(recovered.keys.len(), 3);
    assert_eq!(folders(image.path()), ["event-id.mark", "history", "history.damaged", "lock"]);
    commit(&store, &[recovered.newest.ms + 1], None).unwrap();
    drop(store);
    assert_eq!(open(image.path()).1.events.len(), 4);
}

#[test]
fn damage_in_a_table_costs_what_is_before_it() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    for n in 1..=200 {
        commit(&store, &[n], None).unwrap();
    }
    store.flush_for_tests();
    for n in 201..=210 {
        commit(&store, &[n], None).unwrap();
    }
    let image = image(data.path());
    flip(&image.path().join("history/keyspaces"), "event 100.");
    let (store, recovered) = open(image.path());
    let left = ms(&recovered);
    assert!(left[0] > 100 && left[0] < 200 && left.ends_with(&[209, 210]), "{left:?}");
    assert!(left.is_sorted() && left.len() as u64 == 211 - left[0]);
    assert_eq!(recovered.floor, recovered.events[0].id.before());
    assert_eq!(folders(image.path()), ["event-id.mark", "history", "history.damaged", "lock"]);
    assert_eq!(read(&store, left[0] - 1), Some(left));
    commit(&store, &[211], None).unwrap();
}

#[test]
fn history_beyond_repair_is_put_aside_and_the_hub_goes_on() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    commit(&store, &[1], None).unwrap();
    store.reserve(EventId { ms: 1000, seq: 0 }).unwrap();
    drop(store);
    for entry in fs::read_dir(data.path().join("history/keyspaces")).unwrap() {
        fs::write(entry.unwrap().path().join("current"), "garbage").unwrap();
    }
    let (store, recovered) = open(data.path());
    assert_eq!((recovered.events.len(), recovered.newest.ms, recovered.floor.ms), (0, 1000, 1000));
    assert_eq!(folders(data.path()), ["event-id.mark", "history", "history.damaged", "lock"]);
    commit(&store, &[2000], None).unwrap();
}

#[test]
fn store_of_a_later_format_or_in_use_is_refused_with_one_sentence() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    let path = data.path().join("history");
    let said = DiskStore::open(data.path(), 0).unwrap_err().in_full();
    let name = path.display();
    let used = data.path().display();
    assert_eq!(said, format!("another process uses {used}: end it, or set another DATA_DIR"));
    drop(store);
    engine::Engine::open(&path).unwrap().set_format_for_tests(2);
    let said = DiskStore::open(data.path(), 0).unwrap_err().in_full();
    assert_eq!(
        said,
        format!(
            "the history in {name} has the format of a later version: start that one, or move the folder away to \
             begin with an empty history"
        )
    );
    assert_eq!(folders(data.path()), ["event-id.mark", "history", "lock"]);
}

/// Events that only a memory history had are missing on disk: no client may be led to believe otherwise.
#[test]
fn run_with_a_history_in_memory_ends_the_history_on_disk() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    commit(&store, &[1, 2], None).unwrap();
    store.close(id(2)).unwrap();
    drop(store);
    let memory = MemoryStore::open(data.path()).unwrap();
    assert_eq!(memory.recover().unwrap().newest, id(2));
    drop(memory);
    let (store, recovered) = open(data.path());
    assert_eq!((ms(&recovered), recovered.floor), (vec![1, 2], EventId::ZERO), "it published nothing");
    store.close(id(2)).unwrap();
    drop(store);
    let memory = MemoryStore::open(data.path()).unwrap();
    memory.reserve(EventId { ms: 50, seq: 0 }).unwrap();
    memory.close(id(40)).unwrap();
    drop(memory);
    assert_eq!(folders(data.path()), ["event-id.mark", "history.ended", "lock"]);
    let (store, recovered) = open(data.path());
    assert_eq!((ms(&recovered), recovered.newest, recovered.floor), (vec![], id(40), id(40)));
    commit(&store, &[41], None).unwrap();
    drop(store);
    let (_, recovered) = open(data.path());
    assert_eq!((ms(&recovered), recovered.floor, recovered.first), (vec![41], id(40), 0));
}

/// Killed between any two steps of its end, a hub has lost nothing.
#[test]
fn mark_that_was_settled_alone_or_not_at_all_costs_nothing() {
    for settled in [false, true] {
        let data = TempDir::new().unwrap();
        let (store, _) = open(data.path());
        store.reserve(EventId { ms: 1000, seq: 0 }).unwrap();
        commit(&store, &[1, 2], Some("k")).unwrap();
        let image = image(data.path());
        if settled {
            fs::write(image.path().join("event-id.mark"), "2-7\n").unwrap();
        }
        let (_, recovered) = open(image.path());
        assert_eq!((ms(&recovered), recovered.newest, recovered.keys.len()), (vec![1, 2], id(2), 1));
        assert_eq!((recovered.issued, recovered.floor), (id(2), EventId::ZERO));
    }
}

#[test]
fn damage_among_the_keys_costs_keys_alone() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    for n in 1..=50 {
        commit(&store, &[n], Some(&format!("the key {n}."))).unwrap();
    }
    store.flush_for_tests();
    let image = image(data.path());
    flip(&image.path().join("history/keyspaces/2"), "the key 7.");
    let (store, recovered) = open(image.path());
    assert_eq!((ms(&recovered), recovered.floor), ((1..=50).collect(), EventId::ZERO));
    assert_eq!(folders(image.path()), ["event-id.mark", "history", "history.damaged", "lock"]);
    commit(&store, &[51], None).unwrap();
}

/// What is damaged while the hub runs is found when it is read.
#[test]
fn damage_tells_where_whole_events_begin_again() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    for n in 1..=200 {
        commit(&store, &[n], None).unwrap();
    }
    store.flush_for_tests();
    store.close(id(200)).unwrap();
    drop(store);
    let engine = engine::Engine::open(&data.path().join("history")).unwrap();
    engine.put_records(vec![(99, b"not an event".to_vec())]).unwrap();
    assert_eq!(engine.read(90, ALL).unwrap().unwrap().len(), 9);
    assert_eq!(engine.read(99, ALL).unwrap().unwrap_err(), 100);
    assert_eq!(engine.read(100, ALL).unwrap().unwrap().len(), 100);
}

#[test]
fn write_that_was_refused_can_be_taken_back_without_writing() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    for ids in [&[1, 2][..], &[3, 4]] {
        commit(&store, ids, None).unwrap();
    }
    let image = image(data.path());
    journal::cut_at(&image.path().join("history"), &record::encode(2, &frame(3))).unwrap();
    journal::cut_at(&image.path().join("history"), &record::encode(9, &frame(1))).unwrap();
    assert_eq!(ms(&open(image.path()).1), [1, 2], "the whole group");
}

/// A bound that was lowered needs no publish to be kept on the disk.
#[test]
fn what_is_let_go_goes_whole_though_nothing_is_committed() {
    let data = TempDir::new().unwrap();
    let (store, _) = open(data.path());
    let ids: Vec<u64> = (1..=20_000).collect();
    ids.chunks(4000).for_each(|ids| commit(&store, ids, None).unwrap());
    store.discard(Discard { events_before: 19_999, keys_before_ms: 0 });
    store.probe().unwrap();
    while store.read(19_997, ALL).is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(read(&store, 19_999), Some(vec![20_000]));
}
