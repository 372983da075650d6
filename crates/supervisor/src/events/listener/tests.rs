//! What a listener may say, whole and in pieces.

use proptest::prelude::*;

use super::*;

/// What a listener is told and what it says.
#[derive(Clone, Copy)]
enum Step {
    Says(&'static str),
    IsSent,
}
use Step::{IsSent, Says};

/// Outcomes as lines: `D` debug and `W` warn sentences, and the others by name.
fn lines(outcomes: Vec<Outcome>) -> Vec<String> {
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Log(Line { level: Level::Debug, text }) => format!("D {text}"),
            Outcome::Log(Line { level, text }) => format!("{} {text}", &level.as_str()[..1]),
            other => format!("{other:?}"),
        })
        .collect()
}

/// Speaks the steps, every word cut into pieces of `size` bytes.
fn speak(steps: &[Step], size: usize) -> (Vec<String>, ListenerState) {
    let mut listener = Listener::new("x");
    let mut outcomes = Vec::new();
    for step in steps {
        match step {
            IsSent => listener.sent(),
            Says(words) => {
                for piece in words.as_bytes().chunks(size) {
                    outcomes.extend(listener.on_stdout(piece, ResultHandler::Default));
                }
            }
        }
    }
    (lines(outcomes), listener.state())
}

#[track_caller]
fn check(steps: &[Step], state: ListenerState, expected: &[&str]) {
    for size in [usize::MAX, 1, 2, 3, 5, 7] {
        let (said, at) = speak(steps, size);
        assert_eq!((said, at), (expected.iter().map(|&text| text.to_owned()).collect(), state), "{size}");
    }
}

const READY_LINES: [&str; 2] = ["D x: ACKNOWLEDGED -> READY", "Ready"];
const UNKNOWN_LINE: &str = "W x: has entered the UNKNOWN state and will no longer receive events, this usually indicates the process violated the eventlistener protocol";

#[test]
fn an_event_is_taken_and_answered() {
    check(&[Says("READY\n")], ListenerState::Ready, &READY_LINES);
    let once = [
        READY_LINES[0],
        READY_LINES[1],
        "D x: event was processed",
        "D x: BUSY -> ACKNOWLEDGED",
        "Result { ok: true }",
    ];
    check(
        &[Says("READY\n"), IsSent, Says("RESULT 2\nOKREADY\n"), IsSent, Says("RESULT 2\nOK")],
        ListenerState::Acknowledged,
        &[once, once].concat(),
    );
    check(
        &[Says("READY\n"), IsSent, Says("RESULT 4\nFAILREADY\n")],
        ListenerState::Ready,
        &[
            READY_LINES[0],
            READY_LINES[1],
            "W x: event was rejected",
            "D x: BUSY -> ACKNOWLEDGED",
            "Result { ok: false }",
            READY_LINES[0],
            READY_LINES[1],
        ],
    );
}

#[test]
fn only_ok_is_ok() {
    for (answer, ok) in [
        ("RESULT 2\nOK", Some(true)),
        ("FOOBAR 2\nOK", Some(true)),
        ("RESULT  +0_2\t\r\nOK", Some(true)),
        ("RESULT 3\nOK\n", Some(false)),
        ("RESULT 3\nOK!", Some(false)),
        ("RESULT 2\nok", Some(false)),
        ("RESULT 9\nOKOKOKOKO", Some(false)),
        ("RESULT 1\nO", Some(false)),
        ("RESULT 2\n", None),
        ("RESULT 2", None),
        ("RESULT 18446744073709551615\nOK", None),
        // The genuine one looks at an empty answer only when something follows.
        ("RESULT 0\n", None),
        ("RESULT 0\nR", Some(false)),
    ] {
        for size in [usize::MAX, 1, 3] {
            let mut listener = Listener::new("x");
            assert_eq!(listener.on_stdout(b"READY\n", ResultHandler::Default).last(), Some(&Outcome::Ready));
            listener.sent();
            let outcomes: Vec<_> = answer
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| listener.on_stdout(piece, ResultHandler::Default))
                .collect();
            let result = outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Result { ok } => Some(*ok),
                Outcome::Violation => panic!("{answer:?}: {outcomes:?}"),
                _ => None,
            });
            assert_eq!(result, ok, "{answer:?} in pieces of {size}");
        }
    }
}

#[test]
fn who_breaks_the_protocol_is_told_nothing_more() {
    let unknown = |from: &str| [format!("D x: {from} -> UNKNOWN"), UNKNOWN_LINE.to_owned()];
    for (steps, before) in [(&[Says("hello\n"), Says("READY\n")][..], vec![]), (&[Says("READY\r\n")], vec![])]
    {
        let [change, why] = unknown("ACKNOWLEDGED");
        let expected: Vec<&str> = [before, vec![&change, &why, "Violation"]].concat();
        check(steps, ListenerState::Unknown, &expected);
    }
    let [change, why] = unknown("READY");
    check(
        &[Says("READY\nREADY\n")],
        ListenerState::Unknown,
        &[READY_LINES[0], READY_LINES[1], &change, &why, "Violation"],
    );
    let [change, why] = unknown("BUSY");
    for (said, line) in [
        ("RESULT two\nOK", "RESULT two"),
        ("RESULT\nOK", "RESULT"),
        ("RESULT -2\nOK", "RESULT -2"),
        ("RESULT 2_\nOK", "RESULT 2_"),
        ("RESULT 2 2\nOK", "RESULT 2 2"),
        ("RESULT 18446744073709551616\nOK", "RESULT 18446744073709551616"),
        ("READY\n", "READY"),
        ("\n", ""),
    ] {
        check(
            &[Says("READY\n"), IsSent, Says(said)],
            ListenerState::Unknown,
            &[
                READY_LINES[0],
                READY_LINES[1],
                &format!("W x: bad result line: '{line}'"),
                &change,
                &why,
                "Violation",
            ],
        );
    }
}

#[test]
fn a_short_word_is_waited_for() {
    for said in ["h", "READY", "abcde"] {
        check(&[Says(said)], ListenerState::Acknowledged, &[]);
    }
}

#[test]
fn an_endless_line_is_not_kept() {
    for size in [1000, 4096, 5000, 100_000] {
        let mut listener = Listener::new("x");
        let _ = listener.on_stdout(b"READY\n", ResultHandler::Default);
        listener.sent();
        let mut outcomes = Vec::new();
        for piece in "R".repeat(100_000).into_bytes().chunks(size) {
            outcomes.extend(listener.on_stdout(piece, ResultHandler::Default));
            assert!(listener.buffer.len() <= RESULT_LINE_BYTES_MAX);
        }
        let bad = format!("W x: bad result line: '{}'", "R".repeat(RESULT_LINE_BYTES_MAX));
        assert_eq!(
            lines(outcomes),
            [bad.as_str(), "D x: BUSY -> UNKNOWN", UNKNOWN_LINE, "Violation"],
            "{size}"
        );
    }
}

#[test]
fn a_large_answer_is_not_kept() {
    let mut listener = Listener::new("x");
    let _ = listener.on_stdout(b"READY\n", ResultHandler::Default);
    listener.sent();
    let _ = listener.on_stdout(b"RESULT 1000000\n", ResultHandler::Default);
    for _ in 0..99 {
        assert_eq!(listener.on_stdout(&[b'O'; 10_000], ResultHandler::Default), []);
        assert!(listener.buffer.is_empty() && listener.result.len() <= 3);
    }
    assert_eq!(
        listener.on_stdout(&[b'O'; 10_000], ResultHandler::Default).last(),
        Some(&Outcome::Result { ok: false })
    );
}

#[test]
fn a_result_that_is_shown_is_kept_only_as_far_as_it_is_shown() {
    let mut listener = Listener::new("x");
    let _ = listener.on_stdout(b"READY\n", ResultHandler::Stdout);
    listener.sent();
    let head = "processname:web channel:stdout\n";
    let start = format!("RESULT {}\n{head}", head.len() + 2_000_000);
    assert_eq!(listener.on_stdout(start.as_bytes(), ResultHandler::Stdout), []);
    let mut outcomes = Vec::new();
    for _ in 0..200 {
        outcomes.extend(listener.on_stdout(&[b'x'; 10_000], ResultHandler::Stdout));
        assert!(listener.buffer.is_empty() && listener.result.len() <= 1 << 20);
    }
    let shown = (1 << 20) - head.len();
    let line = format!("web stdout | {}\n", "x".repeat(shown));
    assert_eq!(outcomes.remove(0), Outcome::Show(line.into_bytes()));
    assert_eq!(
        lines(outcomes),
        [
            format!("W x: {} bytes of its result are too many to be shown", 2_000_000 - shown).as_str(),
            "D x: event was processed",
            "D x: BUSY -> ACKNOWLEDGED",
            "Result { ok: true }",
        ]
    );
    assert_eq!(listener.result.capacity(), 0, "nothing is kept afterwards");
}

#[test]
fn a_new_process_begins_anew() {
    let mut listener = Listener::new("x");
    let _ = listener.on_stdout(b"READY\n", ResultHandler::Default);
    listener.sent();
    let _ = listener.on_stdout(b"RESULT 4\nFA", ResultHandler::Default);
    listener.begin();
    assert_eq!(listener.state(), ListenerState::Acknowledged);
    assert_eq!(listener.on_stdout(b"READY\n", ResultHandler::Default).last(), Some(&Outcome::Ready));
    listener.sent();
    assert_eq!(
        listener.on_stdout(b"RESULT 2\nOK", ResultHandler::Default).last(),
        Some(&Outcome::Result { ok: true })
    );
    let _ = listener.on_stdout(b"nonsense", ResultHandler::Default);
    assert_eq!(listener.state(), ListenerState::Unknown);
    listener.begin();
    assert_eq!(listener.on_stdout(b"READY\n", ResultHandler::Default).last(), Some(&Outcome::Ready));
}

proptest! {
    /// Whatever is said between two events, in whatever pieces, means the same.
    #[test]
    fn any_split_gives_the_same(
        said in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    5 => Just("READY\n"), 5 => Just("RESULT 2\nOK"), 3 => Just("RESULT 4\nFAIL"), 1 => Just("RESULT 0\n"),
                    1 => Just("RESULT "), 1 => Just("x\n"), 1 => Just("\u{fc}"), 1 => Just("3\n"),
                ],
                0..4,
            ),
            1..5,
        ),
        size in 1..12_usize,
    ) {
        let speak = |size: usize| {
            let mut listener = Listener::new("x");
            let mut outcomes = Vec::new();
            for words in &said {
                for piece in words.concat().as_bytes().chunks(size) {
                    outcomes.extend(listener.on_stdout(piece, ResultHandler::Default));
                }
                if listener.state() == ListenerState::Ready {
                    listener.sent();
                }
            }
            (outcomes, listener.state())
        };
        prop_assert_eq!(speak(size), speak(usize::MAX));
    }
}
