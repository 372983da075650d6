//! Fault 6: the daemon is killed or stopped, or very many of its programs are.

use std::fs;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;

use crate::daemon::{
    Daemon, Place, Plan, children, is_gone, places, python, rounds, seconds, shell, sleeper, status_field,
};
use crate::nginx;

places!(
    nothing_outlives_a_daemon_that_is_killed,
    a_daemon_that_is_stopped_for_a_while_goes_on_where_it_was,
    hundreds_of_deaths_at_one_instant_are_all_noticed,
);

/// A child of a child in its group; one that left group, session and parent.
const ESCAPE: &str = "import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp('sleep', ['sleep', '1001'])
    os._exit(0)
os.wait()
os.execvp('sleep', ['sleep', '1002'])
";
/// One whose children become somebody else, which ends the kernel's promise to kill them with their parent.
const CHANGE: &str = "import os
if os.fork() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    os.execvp('sleep', ['sleep', '1003'])
os.setgid(65534); os.setuid(65534)
os.execvp('sleep', ['sleep', '1004'])
";

fn nothing_outlives_a_daemon_that_is_killed(place: Place) {
    let config = python("escape", ESCAPE, "")
        + &python("change", CHANGE, "")
        + &shell("group", "sleep 1005 & exec sleep 1006", "")
        + &shell("user", "sleep 1007 & exec sleep 1008", "user = \"nobody\"")
        + &nginx::program("");
    let plan = Plan::new(place, &config).users();
    nginx::configure(&plan.path("nginx"), "");
    let mut daemon = plan.start();
    let names: Vec<String> = (1001..=1008).map(|n| format!("sleep\0{n}\0")).collect();
    let all = within(seconds(20), "everybody is there", || {
        let all: Vec<i32> = daemon.all_outer().into_iter().map(|(_, pid)| pid).collect();
        let own = |pid: &i32| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
                String::from_utf8_lossy(&environ).contains(&daemon.path("s.sock").display().to_string())
            })
        };
        let mut found: Vec<i32> =
            all.iter().copied().filter(|pid| names.contains(&command(*pid)) && own(pid)).collect();
        let master = daemon.pid_of("nginx");
        let workers: Vec<i32> = children(master);
        (found.len() == names.len() && workers.len() == 2).then(|| {
            found.push(master);
            found.extend(workers);
            found
        })
    });
    assert!(all.iter().any(|pid| status_field(*pid, "Uid") == Some(65534)));
    daemon.signal(Signal::SIGKILL);
    daemon.ended(seconds(2));
    within(seconds(1), "everything is gone", || all.iter().all(|pid| is_gone(*pid)).then_some(()));
}

fn a_daemon_that_is_stopped_for_a_while_goes_on_where_it_was(place: Place) {
    let config = sleeper("a", "autorestart = true")
        + &sleeper("b", "stopwaitsecs = 2")
        + "[program.c]\ncommand = \"sleep 1000\"\nstartsecs = 1\n";
    let mut daemon = Daemon::start(place, &config);
    let (a, c) = (daemon.inner_pid("a"), daemon.inner_pid("c"));
    // While it stands still a deadline passes, a program ends, and a client asks for a stop.
    daemon.signal(Signal::SIGSTOP);
    kill(Pid::from_raw(daemon.outer(a)), Signal::SIGKILL).unwrap();
    let still = Instant::now();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| daemon.said(&["stop", "b"]));
        within(seconds(5), "two seconds", || (still.elapsed() >= seconds(2)).then_some(()));
        assert!(!client.is_finished());
        daemon.signal(Signal::SIGCONT);
        assert_eq!(client.join().unwrap(), "b: stopped\n");
    });
    within(seconds(2), "another a", || (daemon.inner_pid("a") != a).then_some(()));
    daemon.waits_for_state("c", "RUNNING");
    assert_eq!(daemon.inner_pid("c"), c);
    assert!(
        !daemon.log().contains("SIGKILL "),
        "nobody was killed for the daemon's own sleep: {}",
        daemon.log()
    );
    // A stop that comes while it stands still is not lost either.
    daemon.signal(Signal::SIGSTOP);
    daemon.signal(Signal::SIGTERM);
    daemon.signal(Signal::SIGCONT);
    assert_eq!(daemon.ended(seconds(5)).code(), Some(0));
}

fn command(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn hundreds_of_deaths_at_one_instant_are_all_noticed(place: Place) {
    let many = rounds(200, 500);
    let config: String = (0..many).map(|n| sleeper(&format!("p{n}"), "autorestart = true")).collect();
    let mut daemon = Daemon::start(place, &config);
    daemon.logged_times("success: ", many);
    let before = daemon.descriptors();
    let old: Vec<i32> = children(daemon.pid)
        .into_iter()
        .filter(|pid| command(*pid) == format!("sleep\0{}\0", 1000))
        .collect();
    assert_eq!(old.len(), many);
    daemon.signal(Signal::SIGSTOP);
    old.iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap());
    daemon.signal(Signal::SIGCONT);
    daemon.logged_times("success: ", 2 * many);
    assert_eq!(daemon.log().matches("(terminated by SIGKILL; not expected)").count(), many);
    assert_eq!(daemon.count("RUNNING"), many);
    assert!(old.iter().all(|pid| is_gone(*pid)));
    within(seconds(5), "no descriptor is left open", || (daemon.descriptors() <= before + 2).then_some(()));
    daemon.stop(seconds(10));
}
