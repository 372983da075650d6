//! Lives of programs as tables: when what happened led to which state and which actions.

use super::Action::{Kill, Spawn, Terminate};
use super::Input::{Exited, Ready, SignalFailed, SpawnFailed, Spawned, Start, Stop, Timeout};
use super::ProcessState::{
    Backoff as InBackoff, Exited as Ended, Fatal, Running, Starting, Stopped, Stopping, Unknown,
};
use super::*;

fn rules() -> Rules {
    Rules {
        name: "web".to_owned(),
        startsecs: Duration::from_secs(1),
        startretries: 3,
        restart: Restart::Unexpected,
        exitcodes: vec![0],
        stopwaitsecs: Duration::from_secs(10),
        backoff: Backoff::Linear,
        start_limit: None,
        ready_timeout: None,
    }
}

fn code(code: i32) -> Input {
    Exited(Exit::Code(code))
}

fn signal(name: &str) -> Input {
    Exited(Exit::Signal { name: name.to_owned(), core: false })
}

/// Seconds since the beginning, what happens, the state after it, the actions but for the log.
type Row = (f64, Input, ProcessState, &'static [Action]);

#[track_caller]
fn check(rules: Rules, rows: &[Row]) -> Vec<String> {
    let begin = Instant::now();
    let mut program = Program::new(rules, 1);
    let mut sentences = Vec::new();
    for (n, (second, input, state, actions)) in rows.iter().enumerate() {
        let now = begin + Duration::from_secs_f64(*second);
        let mut done = program.on(input.clone(), now);
        done.retain(|action| match action {
            Action::Log(_, text) => {
                sentences.push(text.clone());
                false
            }
            Action::Entered(_) => false,
            _ => true,
        });
        assert_eq!((program.state(), done.as_slice()), (*state, *actions), "row {n}: {input:?} at {second}");
    }
    sentences
}

#[test]
fn a_program_runs_once_it_was_up_for_startsecs_and_stops_on_request() {
    let sentences = check(
        rules(),
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(7), Starting, &[]),
            (0.5, Timeout, Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (5.0, Stop, Stopping, &[Terminate]),
            (5.1, Stop, Stopping, &[]),
            (5.2, signal("SIGTERM"), Stopped, &[]),
            (6.0, Start, Starting, &[Spawn]),
        ],
    );
    assert_eq!(
        sentences,
        [
            "spawned: 'web' with pid 7",
            "success: web entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)",
            "stopped: web (terminated by SIGTERM)",
        ]
    );
}

#[test]
fn a_stop_that_hangs_is_killed_again_and_again() {
    let sentences = check(
        rules(),
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(7), Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (2.0, Stop, Stopping, &[Terminate]),
            (11.9, Timeout, Stopping, &[]),
            (12.0, Timeout, Stopping, &[Kill]),
            (22.0, Timeout, Stopping, &[Kill]),
            (22.1, signal("SIGKILL"), Stopped, &[]),
        ],
    );
    assert_eq!(sentences[2], "killing 'web' (7) with SIGKILL");
}

#[test]
fn a_program_that_exits_too_soon_is_tried_startretries_times_more() {
    let sentences = check(
        Rules { startretries: 2, ..rules() },
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (0.1, code(0), InBackoff, &[]),
            (1.0, Timeout, InBackoff, &[]),
            (1.1, Timeout, Starting, &[Spawn]),
            (1.1, SpawnFailed("can't find command 'web'".to_owned()), InBackoff, &[]),
            (3.1, Timeout, Starting, &[Spawn]),
            (3.1, Spawned(2), Starting, &[]),
            (3.2, code(1), Fatal, &[]),
            (9.9, Timeout, Fatal, &[]),
        ],
    );
    assert_eq!(
        sentences,
        [
            "spawned: 'web' with pid 1",
            "exited: web (exit status 0; not expected)",
            "spawnerr: can't find command 'web'",
            "spawned: 'web' with pid 2",
            "exited: web (exit status 1; not expected)",
            "gave up: web entered FATAL state, too many start retries too quickly",
        ]
    );
}

#[test]
fn a_program_that_no_longer_serves_begins_anew_unless_it_is_stopped_meanwhile() {
    let unhealthy = || Input::Unhealthy("no answer".to_owned());
    let never = Rules { restart: Restart::Never, ..rules() };
    let sentences = check(
        never.clone(),
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(7), Starting, &[]),
            (0.5, unhealthy(), Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (5.0, unhealthy(), Stopping, &[Terminate]),
            (15.0, Timeout, Stopping, &[Kill]),
            (15.1, signal("SIGKILL"), Starting, &[Spawn]),
        ],
    );
    assert_eq!(sentences[2], "unhealthy: web is restarted: no answer (alive)");
    check(
        never,
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(7), Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (5.0, unhealthy(), Stopping, &[Terminate]),
            (5.1, Stop, Stopping, &[]),
            (5.2, code(0), Stopped, &[]),
        ],
    );
}

#[test]
fn every_change_of_state_is_told_in_its_order() {
    let mut program = Program::new(Rules { startretries: 0, ..rules() }, 1);
    let now = Instant::now();
    let mut told = Vec::new();
    for input in [Start, Spawned(7), code(1)] {
        told.extend(program.on(input, now).into_iter().filter_map(|action| match action {
            Action::Entered(Entered { from, to, pid, tries, .. }) => Some((from, to, pid, tries)),
            _ => None,
        }));
    }
    assert_eq!(
        told,
        [(Stopped, Starting, None, 0), (Starting, InBackoff, None, 1), (InBackoff, Fatal, None, 0),]
    );
}

#[test]
fn a_stop_while_it_waits_for_the_next_try_takes_effect_at_once() {
    check(
        rules(),
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (0.1, code(1), InBackoff, &[]),
            (0.2, Stop, Stopped, &[]),
            (5.0, Timeout, Stopped, &[]),
        ],
    );
}

#[test]
fn only_an_unexpected_exit_starts_it_again() {
    let until_running: [Row; 3] =
        [(0.0, Start, Starting, &[Spawn]), (0.0, Spawned(1), Starting, &[]), (1.0, Timeout, Running, &[])];
    let after: [(Restart, Input, ProcessState, &'static [Action]); 6] = [
        (Restart::Unexpected, code(0), Ended, &[]),
        (Restart::Unexpected, code(3), Starting, &[Spawn]),
        (Restart::Unexpected, signal("SIGSEGV"), Starting, &[Spawn]),
        (Restart::Never, code(3), Ended, &[]),
        (Restart::Always, code(0), Starting, &[Spawn]),
        (Restart::Always, signal("SIGKILL"), Starting, &[Spawn]),
    ];
    for (restart, input, state, actions) in after {
        let mut rows = until_running.to_vec();
        rows.push((2.0, input, state, actions));
        check(Rules { restart, ..rules() }, &rows);
    }
}

#[test]
fn without_startsecs_it_runs_as_soon_as_it_is_there() {
    check(
        Rules { startsecs: Duration::ZERO, restart: Restart::Never, ..rules() },
        &[(0.0, Start, Starting, &[Spawn]), (0.0, Spawned(1), Running, &[]), (0.0, code(0), Ended, &[])],
    );
}

#[test]
fn it_runs_only_once_it_is_ready() {
    let rules = Rules { ready_timeout: Some(Duration::from_secs(30)), ..rules() };
    check(
        rules.clone(),
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (0.2, Ready, Starting, &[]),
            (1.0, Timeout, Running, &[]),
        ],
    );
    check(
        rules,
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (1.0, Timeout, Starting, &[]),
            (8.0, Ready, Running, &[]),
        ],
    );
}

#[test]
fn not_ready_in_time_counts_as_an_exit_before_startsecs() {
    let sentences = check(
        Rules { ready_timeout: Some(Duration::from_secs(30)), ..rules() },
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (30.0, Timeout, Starting, &[Terminate]),
            (31.0, Ready, Starting, &[]),
            (40.0, Timeout, Starting, &[Kill]),
            (40.1, signal("SIGKILL"), InBackoff, &[]),
        ],
    );
    assert_eq!(
        sentences[1],
        "not ready: web did not become ready within 30 seconds (ready.timeout), it counts as an exit"
    );
}

#[test]
fn a_ready_timeout_below_startsecs_is_kept() {
    check(
        Rules { ready_timeout: Some(Duration::from_secs(2)), startsecs: Duration::from_secs(5), ..rules() },
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (2.0, Timeout, Starting, &[Terminate]),
            (2.5, Stop, Stopping, &[]),
            (2.6, code(0), Stopped, &[]),
        ],
    );
}

#[test]
fn crash_loops_after_startsecs_count_too() {
    let sentences = check(
        Rules { start_limit: Some((2, Duration::from_secs(60))), restart: Restart::Always, ..rules() },
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (2.0, code(1), Starting, &[Spawn]),
            (2.0, Spawned(2), Starting, &[]),
            (3.0, Timeout, Running, &[]),
            (4.0, code(1), Fatal, &[]),
            // A start by hand begins a new count.
            (5.0, Start, Starting, &[Spawn]),
        ],
    );
    assert_eq!(
        sentences.last().map(String::as_str),
        Some("gave up: web entered FATAL state, 2 starts within 60 seconds")
    );
}

#[test]
fn starts_that_are_long_ago_do_not_count() {
    check(
        Rules { start_limit: Some((1, Duration::from_secs(60))), restart: Restart::Always, ..rules() },
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (61.0, code(1), Starting, &[Spawn]),
        ],
    );
}

#[test]
fn a_signal_that_cannot_be_sent_leaves_it_unknown() {
    check(
        rules(),
        &[
            (0.0, Start, Starting, &[Spawn]),
            (0.0, Spawned(1), Starting, &[]),
            (1.0, Timeout, Running, &[]),
            (2.0, Stop, Stopping, &[Terminate]),
            (2.0, SignalFailed, Unknown, &[]),
            (3.0, code(0), Stopped, &[]),
        ],
    );
}
