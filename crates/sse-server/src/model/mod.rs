//! The hub against a simple model of what each client must see, through thousands of random histories.
//!
//! A history is publishes (batches, several topics, idempotency keys, concurrent twins), streams that come, read
//! slowly and are cut, clock steps forward and back, store failures, restarts and crashes, all on bounds so small
//! that everything meets everything. The backplane with its node, keys, sequence, hub and history is the real one.
//! Around it stand a disk that commits at the word of the test ([`disk`]), a double of the reactor that takes the
//! same steps ([`reader`]), clients that behave like an `EventSource` ([`client`]), and a clock that only the test
//! moves; no time passes and nothing runs beside anything else, so a history always ends the same.
//! [`truth`] keeps everything that was ever committed and goes through all of it to say what must be so:
//!
//! - An event that was answered 200 is seen once by every matching client that stayed or came back without `reset`,
//!   in the order of the ids, with the id of the answer. A heartbeat's id passes no event that did not come.
//! - What was answered as failed is seen by nobody. Of what was not answered when the hub was killed, each publish is
//!   there whole or not at all; and before a kill as after it, nothing is seen that was not committed.
//! - Ids rise over everything that anybody can have been told, across kills, ends and clock steps; within one life, and
//!   after a torn write, over everything issued. They stay below the mark.
//! - `reset` says `unknown_id` exactly for an id above the highest that a stream may have been given, and for a
//!   malformed one; `history_truncated` exactly if an event after the id was discarded. To a hub with memory history
//!   that was killed, every id below the mark may have been an event: there an id below the mark that it found is
//!   truncated too. A client's own last id is never unknown.
//! - The greeting's position is the given id, the one before the oldest kept, or the newest, as the contract says.
//! - Kept is what the bounds allow, no event more or fewer, whenever something asks for it.
//! - `receivers` is the number of open streams that match, summed over the events that are new.
//! - The same key within its window is one event, across kills with a disk, for twins, and within a batch.
//! - A stream is ended only if its client has gone, its next event is beyond the bounds, or its store cannot be read.
//! - The store is never told to discard what is kept, what a stream holds, or a key within its window.
//! - Everything comes to rest: whoever waits is woken and answered, and every stream gets all that it must get.
//!
//! `MODEL_HISTORIES` sets how many histories run, `MODEL_SEED` which; a failure prints the shortest that fails.

mod case;
mod client;
mod disk;
mod fetch;
mod publisher;
mod reader;
mod server;
mod socket;
mod stream;
mod truth;
mod world;

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};

use truth::Met;
use world::World;

type Checked = Result<(), TestCaseError>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What so many histories have met, or they do not try what they should.
const MET: [&str; 11] = [
    "events accepted",
    "events seen",
    "heartbeats seen",
    "keys known",
    "publishes refused by the store",
    "publishes refused for their keys",
    "streams ended beyond reach",
    "streams ended by their clients",
    "streams with an unknown id",
    "streams with history truncated",
    "streams without reset",
];
/// The same, with a disk.
const MET_WITH_A_DISK: [&str; 5] = [
    "events found at a start",
    "portions read from the store",
    "publishes committed unheard",
    "publishes refused at the end",
    "streams ended by the store",
];
const HISTORIES_MIN: u64 = 1000;

#[track_caller]
fn run(is_durable: bool, histories: u64) {
    let (histories, seed) = (number("MODEL_HISTORIES", histories), number("MODEL_SEED", 1));
    let config = Config {
        cases: u32::try_from(histories).unwrap(),
        // Drawing is most of the work, and this is the fastest.
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let met = RefCell::new(Met::new());
    let result = TestRunner::new(config).run(&case::case(), |case| {
        let mut world = World::new(&case.setup, is_durable);
        for step in &case.steps {
            world.step(step)?;
        }
        let result = world.finish();
        let mut met = met.borrow_mut();
        let counts = world.met().into_iter().chain([("histories", 1), ("steps", case.steps.len() as u64)]);
        counts
            .filter(|(_, times)| *times > 0)
            .for_each(|(what, times)| *met.entry(what).or_default() += times);
        result
    });
    println!("seed {seed}: {:?}", met.borrow());
    match result {
        Ok(()) => {
            let must = MET.iter().chain(MET_WITH_A_DISK.iter().filter(|_| is_durable));
            let missed: Vec<_> = must.filter(|what| !met.borrow().contains_key(*what)).collect();
            assert!(histories < HISTORIES_MIN || missed.is_empty(), "never met: {missed:?}");
        }
        Err(TestError::Fail(why, case)) => {
            let steps: Vec<String> = case.steps.iter().map(|step| format!("    {step:?}")).collect();
            let count = steps.len();
            panic!("{why}\nafter {count} steps, seed {seed}\n{:?}\n{}", case.setup, steps.join("\n"))
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn every_client_sees_what_it_must_whatever_happens_to_a_hub_with_a_disk() {
    run(true, 2000);
}

#[test]
fn every_client_sees_what_it_must_whatever_happens_to_a_hub_in_memory() {
    run(false, 1000);
}
