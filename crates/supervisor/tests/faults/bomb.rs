//! Fault 3: one program that makes as many processes as it may.

use stack_tests::within;

use crate::daemon::{Place, Plan, is_gone, places, python, seconds, sleeper, status_field};

places!(a_fork_bomb_does_not_silence_the_daemon_and_dies_with_its_group);

/// Processes that the bomb may have.
const PROCESSES: usize = 60;

fn a_fork_bomb_does_not_silence_the_daemon_and_dies_with_its_group(place: Place) {
    // The limit counts all processes of a user, so each test has one to itself.
    let (user, uid) = if place == Place::Plain { ("games", 5) } else { ("lp", 7) };
    let code = format!(
        "import os, resource, signal, time
signal.signal(15, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_NPROC, ({PROCESSES}, {PROCESSES}))
while True:
    try: os.fork()
    except OSError: time.sleep(0.001)
"
    );
    let keys = format!("user = \"{user}\"\nautostart = false\nstopwaitsecs = 1");
    let config = python("bomb", &code, &keys) + &sleeper("other", "autorestart = true");
    let mut daemon = Plan::new(place, &config).users().start();
    let bombs = || -> Vec<i32> {
        let all = daemon.all_outer().into_iter().map(|(_, pid)| pid);
        all.filter(|pid| !is_gone(*pid) && status_field(*pid, "Uid") == Some(uid)).collect()
    };
    assert_eq!(daemon.said(&["start", "bomb"]), "bomb: started\n");
    within(seconds(20), "it has all its processes", || (bombs().len() >= PROCESSES).then_some(()));
    for _ in 0..20 {
        daemon.answers_within(seconds(2));
    }
    // Other programs are started all the same.
    let before = daemon.inner_pid("other");
    assert_eq!(daemon.said(&["restart", "other"]), "other: stopped\nother: started\n");
    assert_ne!(daemon.inner_pid("other"), before);
    assert_eq!(daemon.said(&["stop", "bomb"]), "bomb: stopped\n");
    within(seconds(5), "the last of them is gone", || bombs().is_empty().then_some(()));
    daemon.stop(seconds(5));
}
