//! Fault 1: programs that do not end when they are told to.

use std::fs;
use std::time::Duration;

use stack_tests::within;

use crate::daemon::{Daemon, Place, Plan, is_gone, places, python, seconds, shell, sleeper};
use crate::fuse::Fuse;

places!(
    programs_that_ignore_the_stop_are_killed_side_by_side,
    a_tree_that_ignores_the_stop_is_killed_to_the_last,
    a_program_that_stopped_itself_is_stopped_at_once,
    a_program_that_waits_for_its_vfork_child_is_killed,
    a_process_that_nothing_ends_is_named_and_does_not_hold_up_the_end,
    a_whole_stop_is_bounded_and_says_who_held_it_up,
);

const DEAF: &str = "trap '' TERM; echo up; while :; do sleep 1000; done";

fn programs_that_ignore_the_stop_are_killed_side_by_side(place: Place) {
    let keys = |n| format!("stopwaitsecs = 1\nstdout_logfile = \"%(here)s/p{n}\"");
    let config: String = (0..5).map(|n| shell(&format!("p{n}"), DEAF, &keys(n))).collect();
    let mut daemon = Daemon::start(place, &config);
    (0..5).for_each(|n| daemon.wrote(&format!("p{n}"), "up\n"));
    let took = daemon.stop(seconds(10));
    assert!(took >= seconds(1) && took < seconds(2), "{took:?}");
    daemon.logged("WARN killing 'p0'");
    daemon.logged("WARN stopped: p4 (terminated by SIGKILL)");
}

fn a_tree_that_ignores_the_stop_is_killed_to_the_last(place: Place) {
    let tree =
        "trap '' TERM; (while :; do sleep 1000; done) & (nohup sleep 1000 & sleep 1000) & echo up; wait";
    let config =
        shell("tree", tree, "stopwaitsecs = 1\nstdout_logfile = \"%(here)s/up\"") + &sleeper("other", "");
    let daemon = Daemon::start(place, &config);
    daemon.wrote("up", "up\n");
    let leader = daemon.pid_of("tree");
    let group = || -> Vec<i32> {
        let stat = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let group = |pid| stat(pid).rsplit_once(") ")?.1.split(' ').nth(2)?.parse::<i32>().ok();
        daemon.all_outer().into_iter().map(|(_, pid)| pid).filter(|pid| group(*pid) == Some(leader)).collect()
    };
    let all = within(seconds(10), "the whole tree is there", || Some(group()).filter(|all| all.len() >= 4));
    assert_eq!(daemon.said(&["stop", "tree"]), "tree: stopped\n");
    within(seconds(2), "all of them are gone", || all.iter().all(|pid| is_gone(*pid)).then_some(()));
    assert_eq!(daemon.state("other"), "RUNNING");
}

fn a_program_that_stopped_itself_is_stopped_at_once(place: Place) {
    let config = shell("a", "kill -STOP $$; exec sleep 1000", "stopwaitsecs = 30");
    let mut daemon = Daemon::start(place, &config);
    let pid = daemon.pid_of("a");
    within(seconds(5), "it has stopped itself", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.contains(") T ").then_some(())
    });
    let took = daemon.stop(seconds(10));
    assert!(took < seconds(2), "{took:?}");
    daemon.logged("WARN stopped: a (terminated by SIGTERM)");
}

/// The parent of a `vfork` waits in the kernel until its child executes, and takes no signal but SIGKILL.
const VFORK: &str = "import ctypes, signal, time
libc = ctypes.PyDLL(None)
signal.signal(15, lambda *_: None)
print('up', flush=True)
if libc.vfork() == 0:
    signal.signal(15, signal.SIG_IGN)
    while True: time.sleep(1000)
";

fn a_program_that_waits_for_its_vfork_child_is_killed(place: Place) {
    let config = python("a", VFORK, "stopwaitsecs = 1\nstdout_logfile = \"%(here)s/up\"");
    let mut daemon = Daemon::start(place, &config);
    daemon.wrote("up", "up\n");
    let pid = daemon.pid_of("a");
    within(seconds(5), "it waits in the kernel", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.contains(") D ").then_some(())
    });
    let took = daemon.stop(seconds(10));
    assert!(took >= seconds(1) && took < seconds(2), "{took:?}");
    daemon.logged("WARN stopped: a (terminated by SIGKILL)");
}

fn a_process_that_nothing_ends_is_named_and_does_not_hold_up_the_end(place: Place) {
    let config = "[program.stuck]\ncommand = \"stat %(here)s/stuck/file\"\nstartsecs = 0\nstopwaitsecs = 1\nautostart = false\n"
        .to_owned()
        + &sleeper("other", "autorestart = true")
        + &shell("deaf", DEAF, "stopwaitsecs = 60\nstdout_logfile = \"%(here)s/up\"");
    let mut daemon = Plan::new(place, &config).daemon("shutdown_timeout = \"2s\"").start();
    // Dropped before the daemon, which could not be waited for otherwise.
    let mut fuse = Fuse::mount(&daemon, "stuck");
    daemon.wrote("up", "up\n");
    assert!(daemon.ctl(&["start", "stuck"]).status.success());
    fuse.take_one();
    let pid = daemon.pid_of("stuck");
    // A stop by name goes on asking, and everybody else is served meanwhile.
    assert!(daemon.call("supervisor.stopProcess", &["stuck".into(), false.into()]).is_ok());
    daemon.logged("WARN killing 'stuck'");
    within(seconds(5), "it is stuck", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.contains(") D ").then_some(())
    });
    assert_eq!(daemon.state("stuck"), "STOPPING");
    assert_eq!(daemon.said(&["restart", "other"]), "other: stopped\nother: started\n");
    let began = std::time::Instant::now();
    daemon.signal(nix::sys::signal::SIGTERM);
    assert_eq!(daemon.logged_names("INFO waiting for ", " to die"), ["deaf", "other", "stuck"]);
    let held_up = daemon.logged_names("WARN the stop took 2 seconds (shutdown_timeout), killing ", "");
    assert_eq!(held_up, ["deaf", "stuck"]);
    daemon.logged("ERRO stuck did not die, giving up on it");
    daemon.logged("INFO supervisord stopped");
    let took = began.elapsed();
    assert!(took >= seconds(2) && took < Duration::from_millis(3900), "{took:?}");
    if place == Place::Plain {
        assert_eq!(daemon.ended(seconds(2)).code(), Some(0));
    }
    // The kernel lets PID 1 go only after everybody else.
    drop(fuse);
    if place == Place::Init {
        assert_eq!(daemon.ended(seconds(5)).code(), Some(0));
    }
    within(seconds(5), "the stuck one is gone", || is_gone(pid).then_some(()));
}

fn a_whole_stop_is_bounded_and_says_who_held_it_up(place: Place) {
    let config = shell("stubborn", DEAF, "stopwaitsecs = 60\nstdout_logfile = \"%(here)s/up\"");
    let mut daemon = Plan::new(place, &config).daemon("shutdown_timeout = \"1s\"").start();
    daemon.wrote("up", "up\n");
    let took = daemon.stop(seconds(5));
    assert!(took < Duration::from_millis(1800), "{took:?}");
    daemon.logged("WARN the stop took 1 seconds (shutdown_timeout), killing stubborn");
}
