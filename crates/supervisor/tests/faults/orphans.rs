//! Fault 2: what programs leave behind.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;

use crate::daemon::{Daemon, Place, children, is_gone, places, python, rounds, seconds, shell, sleeper};

places!(
    a_program_that_daemonizes_has_exited_and_its_orphan_is_collected_in_silence,
    an_orphan_that_holds_the_output_holds_up_nothing,
    an_orphan_that_holds_the_listening_socket_is_told_as_such,
    what_ignores_the_hangup_ends_with_its_program,
    thousands_of_orphans_leave_no_zombie_and_no_line,
);

/// Forks twice, leaves the session, and ends well, as daemons do.
const DAEMONIZE: &str = "import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
null = os.open('/dev/null', os.O_RDWR)
for n in range(3): os.dup2(null, n)
open('orphan', 'w').write(str(os.getpid()) + '\\n')
os.execvp('sleep', ['sleep', '1000'])
";

/// The orphan as the test sees it, once it has said who it is.
fn orphan(daemon: &Daemon) -> i32 {
    let inner = within(seconds(10), "the orphan", || {
        daemon.read("orphan").strip_suffix('\n').map(|pid| pid.parse::<i32>().unwrap())
    });
    daemon.outer(inner)
}

fn a_program_that_daemonizes_has_exited_and_its_orphan_is_collected_in_silence(place: Place) {
    let config = python("a", DAEMONIZE, "autorestart = \"unexpected\"\ndirectory = \"%(here)s\"");
    let mut daemon = Daemon::start(place, &config);
    let orphan = orphan(&daemon);
    daemon.logged("INFO exited: a (exit status 0; expected)");
    assert_eq!(daemon.state("a"), "EXITED");
    within(seconds(5), "it is the daemon's", || children(daemon.pid).contains(&orphan).then_some(()));
    let lines = daemon.log().lines().count();
    kill(Pid::from_raw(orphan), Signal::SIGKILL).unwrap();
    within(seconds(5), "it is collected", || (!children(daemon.pid).contains(&orphan)).then_some(()));
    assert_eq!(daemon.log().lines().count(), lines, "{}", daemon.log());
    daemon.stop(seconds(5));
}

fn an_orphan_that_holds_the_output_holds_up_nothing(place: Place) {
    let holder = "echo up; (setsid sh -c 'echo $$ >> orphans; exec sleep 1000' &); exec sleep 1000";
    let keys = "directory = \"%(here)s\"\nstdout_logfile = \"%(here)s/out\"";
    let mut daemon = Daemon::start(place, &shell("a", holder, keys));
    daemon.wrote("out", "up\n");
    let before = daemon.descriptors();
    for n in 1..=5 {
        within(seconds(10), "it and its orphan are there", || {
            let counts = (daemon.read("out").lines().count(), daemon.read("orphans").lines().count());
            (counts == (n, n)).then_some(())
        });
        let began = std::time::Instant::now();
        assert_eq!(daemon.said(&["restart", "a"]), "a: stopped\na: started\n");
        assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
    }
    within(seconds(10), "the last one", || (daemon.read("orphans").lines().count() == 6).then_some(()));
    let orphans: Vec<i32> =
        daemon.read("orphans").lines().map(|pid| daemon.outer(pid.parse().unwrap())).collect();
    orphans.iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap());
    within(seconds(5), "their pipes are closed", || (daemon.descriptors() <= before + 3).then_some(()));
    assert!(daemon.stop(seconds(5)) < seconds(2));
}

/// Holds the socket it was given, and leaves it to an orphan too.
const HOLDER: &str = "import os, socket
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open('orphan', 'w').write(str(os.getpid()) + '\\n')
        os.set_inheritable(3, True)
        os.execvp('sleep', ['sleep', '1000'])
    os._exit(0)
os.wait()
os.execvp('sleep', ['sleep', '1000'])
";

fn an_orphan_that_holds_the_listening_socket_is_told_as_such(place: Place) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!("[socket.http]\nlisten = \"127.0.0.1:{port}\"\n")
        + &python("a", HOLDER, "directory = \"%(here)s\"\nsockets = [\"http\"]\nstartretries = 0");
    let daemon = Daemon::start(place, &config);
    let orphan = orphan(&daemon);
    assert!(daemon.ctl(&["stop", "a"]).status.success());
    let listens = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid))
            .unwrap()
            .filter_map(|fd| Some(fs::read_link(fd.ok()?.path()).ok()?.display().to_string()));
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", daemon.pid)).unwrap();
        let line = table
            .lines()
            .find(|line| line.contains(&format!(":{port:04X} 00000000:0000 0A")))
            .map(str::to_owned);
        let inode =
            line.and_then(|line| line.split_whitespace().nth(9).map(|inode| format!("socket:[{inode}]")));
        inode.is_some_and(|inode| descriptors.into_iter().any(|name| name == inode))
    };
    assert!(listens(), "it stays open for a while");
    within(seconds(10), "the daemon has closed it", || (!listens()).then_some(()));
    // Now it is the orphan's alone.
    assert_eq!(daemon.said(&["start", "a"]), "a: ERROR (spawn error)\n");
    daemon.logged("INFO spawnerr: couldn't open socket http: Address already in use (os error 98)");
    assert_eq!(daemon.state("a"), "FATAL");
    kill(Pid::from_raw(orphan), Signal::SIGKILL).unwrap();
    within(seconds(5), "the orphan is gone", || is_gone(orphan).then_some(()));
    assert_eq!(daemon.said(&["start", "a"]), "a: started\n");
    assert!(listens());
}

fn what_ignores_the_hangup_ends_with_its_program(place: Place) {
    let script = "nohup sleep 1000 >/dev/null 2>&1 & echo $! > orphan; exec sleep 1000";
    let daemon = Daemon::start(place, &shell("a", script, "directory = \"%(here)s\""));
    let orphan = orphan(&daemon);
    assert_eq!(daemon.said(&["stop", "a"]), "a: stopped\n");
    within(seconds(2), "the orphan is gone", || is_gone(orphan).then_some(()));
}

fn thousands_of_orphans_leave_no_zombie_and_no_line(place: Place) {
    let script = format!(
        "n=0; while [ $n -lt {} ]; do (: &); n=$((n + 1)); done; echo done; exec sleep 1000",
        rounds(2_000, 10_000)
    );
    let config = shell("a", &script, "stdout_logfile = \"%(here)s/out\"") + &sleeper("other", "");
    let mut daemon = Daemon::start(place, &config);
    daemon.inner_pid("a");
    daemon.inner_pid("other");
    within(seconds(60), "every orphan was made", || {
        daemon.answers_within(seconds(2));
        (daemon.read("out") == "done\n").then_some(())
    });
    within(seconds(5), "no orphan and no zombie is left", || {
        let names = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let left = children(daemon.pid).into_iter().filter(|pid| names(*pid) != "guardian\n").count();
        (left == 2).then_some(())
    });
    let log = daemon.log();
    assert!(log.lines().count() < 12, "{log}");
    daemon.stop(seconds(5));
}
