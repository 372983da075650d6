//! What a history is made of: a setup and steps, drawn at random and shrunk when one fails.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::truth::{INTERESTS, TOPICS};

/// The window of idempotency keys. The backplane's own clock stands still beside it, and what the test's clock
/// jumps is far from its end, so that a slow machine changes nothing.
pub(super) const WINDOW_MS: u64 = 1_000_000_000;
const JUMP_MS: u64 = WINDOW_MS / 10 * 6;

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// Bounds so small that everything happens soon; 0 is unlimited.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) events_max: usize,
    pub(super) bytes_max: usize,
    pub(super) age_max_ms: u64,
    /// With a disk: bytes of the newest events in memory.
    pub(super) ring_bytes_max: usize,
    pub(super) backlog_events_max: u64,
    pub(super) backlog_bytes_max: u64,
    pub(super) discard_events_max: u64,
    pub(super) reserve_step_ms: u64,
    pub(super) portion_events_max: usize,
    pub(super) portion_bytes_max: usize,
    pub(super) scan_max: u64,
    pub(super) keys_max: usize,
    /// Frames that a start finds.
    pub(super) frames_recovered: usize,
    pub(super) readers: usize,
    /// The interests of the clients.
    pub(super) clients: Vec<usize>,
}

#[derive(Clone)]
pub(super) struct NewEvent {
    pub(super) topics: Vec<&'static str>,
    pub(super) event: Option<&'static str>,
    /// The type that a stream must name to get it.
    pub(super) audience: Option<&'static str>,
    pub(super) key: Option<u8>,
    pub(super) bytes: usize,
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, event, audience, key, bytes } = self;
        write!(f, "{} to {topics:?}", event.unwrap_or("message"))?;
        audience.map_or(Ok(()), |audience| write!(f, " for {audience}"))?;
        key.map_or(Ok(()), |key| write!(f, " key {key}"))?;
        write!(f, " of {bytes}")
    }
}

/// What a client asks for. What is numbered is counted modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// As an `EventSource` does.
    Own,
    Live,
    Earliest,
    /// The id of an event, or one just before or after.
    Near(usize, i8),
    /// An id that the hub has not reached.
    Future(u64),
    Malformed,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish(Vec<NewEvent>),
    /// A publisher does not wait any more.
    GiveUp(usize),
    /// The store commits so many publishes as one, or fails to.
    Commit {
        publishes: usize,
        works: bool,
    },
    /// The store's mark, reads and end fail from now on, or work.
    Fail(bool),
    /// A client comes; if it is there already, it leaves first.
    Subscribe {
        client: usize,
        ask: Ask,
        room: usize,
    },
    Cut {
        client: usize,
    },
    Read {
        client: usize,
        items: usize,
    },
    Turn {
        reader: usize,
        portions: usize,
        receives: bool,
        beats: bool,
    },
    Fetch {
        reader: usize,
    },
    Later(u64),
    /// The clock is set, by so many times more than half a window.
    Jump(i8),
    /// The clock goes back a little.
    Back(u64),
    Tend,
    /// The figures are looked at.
    Look,
    /// The server ends and starts again; what was under way to clients comes, or is `lost`.
    Restart {
        lost: bool,
    },
    /// It is killed instead, and what waited first was `committed` unheard; or a write was `torn`, so that what
    /// was issued is not known.
    Crash {
        committed: usize,
        torn: bool,
        lost: bool,
    },
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    (setup(), vec(step(), 1..=140)).prop_map(|(setup, steps)| Case { setup, steps })
}

fn setup() -> impl Strategy<Value = Setup> {
    let history = (
        prop_oneof![1 => Just(0), 3 => 1_usize..12],
        prop_oneof![2 => Just(0), 1 => 200_usize..4000],
        prop_oneof![2 => Just(0), 1 => 1_u64..100],
        prop_oneof![1 => Just(0), 3 => 0_usize..2000],
        0_usize..6,
    );
    let limits = (
        prop_oneof![1 => Just(65_536_u64), 1 => 1_u64..12],
        prop_oneof![2 => Just(1_u64 << 20), 1 => 300_u64..3000],
        prop_oneof![1 => Just(4096_u64), 1 => 1_u64..6],
        prop_oneof![1 => Just(10_000_u64), 1 => 1_u64..50],
        prop_oneof![3 => Just(0_usize), 1 => 1_usize..4],
    );
    let portions = (1_usize..5, prop_oneof![1 => Just(65_536_usize), 1 => 1_usize..200], 1_u64..6);
    let streams = (1_usize..=2, vec(0..INTERESTS.len(), 1..5));
    (history, limits, portions, streams).prop_map(|(history, limits, portions, (readers, clients))| Setup {
        events_max: history.0,
        bytes_max: history.1,
        age_max_ms: history.2,
        ring_bytes_max: history.3,
        frames_recovered: history.4,
        backlog_events_max: limits.0,
        backlog_bytes_max: limits.1,
        discard_events_max: limits.2,
        reserve_step_ms: limits.3,
        keys_max: limits.4,
        portion_events_max: portions.0,
        portion_bytes_max: portions.1,
        scan_max: portions.2,
        readers,
        clients,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let (publisher, client, reader) = (|| 0_usize..8, || 0_usize..4, || 0_usize..2);
    let room = || prop_oneof![2 => 1_usize..5, 1 => Just(1000_usize)];
    prop_oneof![
        20 => vec(event(), 1..4).prop_map(Step::Publish),
        1 => publisher().prop_map(Step::GiveUp),
        14 => (1_usize..4, prop::bool::weighted(0.85)).prop_map(|(publishes, works)| Step::Commit { publishes, works }),
        1 => prop::bool::weighted(0.3).prop_map(Step::Fail),
        10 => (client(), ask(), room()).prop_map(|(client, ask, room)| Step::Subscribe { client, ask, room }),
        3 => client().prop_map(|client| Step::Cut { client }),
        16 => (client(), 1_usize..8).prop_map(|(client, items)| Step::Read { client, items }),
        20 => (reader(), 1_usize..4, prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(reader, portions, receives, beats)| Step::Turn { reader, portions, receives, beats }),
        8 => reader().prop_map(|reader| Step::Fetch { reader }),
        6 => (1_u64..30).prop_map(Step::Later),
        1 => (-2_i8..3).prop_map(Step::Jump),
        1 => (1_u64..50).prop_map(Step::Back),
        2 => Just(Step::Tend),
        4 => Just(Step::Look),
        1 => any::<bool>().prop_map(|lost| Step::Restart { lost }),
        2 => (0_usize..4, any::<bool>(), any::<bool>())
            .prop_map(|(committed, torn, lost)| Step::Crash { committed, torn, lost }),
    ]
}

fn event() -> impl Strategy<Value = NewEvent> {
    let topics = prop::sample::subsequence(&TOPICS[..], 1..=3);
    let key = prop_oneof![2 => Just(None), 1 => (0_u8..3).prop_map(Some)];
    let bytes = prop_oneof![3 => Just(0_usize), 1 => 0_usize..600];
    let types = |probability| prop::option::weighted(probability, Just("x"));
    (topics, types(0.4), types(0.1), key, bytes).prop_map(|(topics, event, audience, key, bytes)| NewEvent {
        topics,
        event,
        audience,
        key,
        bytes,
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        10 => Just(Ask::Own),
        2 => Just(Ask::Live),
        3 => Just(Ask::Earliest),
        4 => (0_usize..64, -1_i8..=1).prop_map(|(event, by)| Ask::Near(event, by)),
        1 => (1_u64..100_000).prop_map(Ask::Future),
        1 => Just(Ask::Malformed),
    ]
}

/// The clock after it was set.
pub(super) fn jumped(now_ms: u64, by: i8) -> u64 {
    let far = JUMP_MS * u64::from(by.unsigned_abs());
    if by < 0 { now_ms.saturating_sub(far) } else { now_ms + far }
}
