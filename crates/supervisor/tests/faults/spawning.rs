//! Fault 4: processes that cannot be made, and one that the system kills.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;

use crate::daemon::{Daemon, Place, Plan, places, seconds, shell, sleeper};
use crate::fuse::Fuse;
use crate::strace::Injection;

places!(
    a_command_that_cannot_run_is_told_as_such_and_given_up,
    a_fork_that_fails_is_tried_again_until_it_works,
    a_daemon_without_descriptors_says_so_and_answers,
    a_folder_that_never_answers_holds_up_nobody_for_long,
    programs_that_take_long_to_begin_hold_up_neither_clients_nor_the_end,
    a_user_that_the_daemon_may_not_become_is_told,
    a_program_that_the_system_kills_is_started_again,
);

fn a_command_that_cannot_run_is_told_as_such_and_given_up(place: Place) {
    let many = "x".repeat(200_000);
    let config = format!(
        "[program.none]\ncommand = \"/no/such/program\"\nstartretries = 1\nbackoff = {{ initial = \"10ms\" }}\n\
         [program.text]\ncommand = \"%(here)s/text\"\nstartretries = 0\nautostart = false\n\
         [program.format]\ncommand = \"%(here)s/format\"\nstartretries = 0\nautostart = false\n\
         [program.noexec]\ncommand = \"%(here)s/noexec/true\"\nstartretries = 0\n\
         [program.long]\ncommand = [\"true\", \"{many}\"]\nstartretries = 0\n\
         [program.nodir]\ncommand = \"true\"\ndirectory = \"/no/such/folder\"\nstartretries = 0\n\
         [program.good]\ncommand = \"sleep 1000\"\nstartsecs = 0\n"
    );
    let mount = "mkdir noexec\nmount -t tmpfs -o noexec none noexec\ncp /bin/true noexec/";
    let daemon = Plan::new(place, &config).before(mount).start();
    daemon.logged("INFO gave up: none entered FATAL state, too many start retries too quickly");
    assert_eq!(daemon.log().matches("INFO spawnerr: can't find command '/no/such/program'").count(), 2);
    daemon.logged("INFO spawnerr: couldn't chdir to /no/such/folder: ENOENT: No such file or directory");
    daemon.logged("true: E2BIG: Argument list too long");
    let noexec =
        format!("INFO spawnerr: no permission to run command '{}'", daemon.path("noexec/true").display());
    daemon.logged(&noexec);
    for (name, mode) in [("text", 0o644), ("format", 0o755)] {
        fs::write(daemon.path(name), "no program").unwrap();
        fs::set_permissions(daemon.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let out = daemon.ctl(&["start", "none", "text", "format"]);
    let said =
        "none: ERROR (no such file)\ntext: ERROR (file is not executable)\nformat: ERROR (spawn error)\n";
    assert_eq!((String::from_utf8(out.stdout).unwrap().as_str(), out.status.code()), (said, Some(7)));
    let format = format!(
        "INFO spawnerr: couldn't exec {}: ENOEXEC: Exec format error",
        daemon.path("format").display()
    );
    daemon.logged(&format);
    assert_eq!(daemon.log().matches("INFO success: ").count(), 1);
    assert_eq!((daemon.count("FATAL"), daemon.state("good").as_str()), (5, "RUNNING"));
}

fn a_fork_that_fails_is_tried_again_until_it_works(place: Place) {
    let config = sleeper(
        "a",
        "autorestart = true\nbackoff = { initial = \"50ms\", factor = 1.0 }\nstartretries = 1000",
    ) + &sleeper("b", "");
    let daemon = Daemon::start(place, &config);
    let pid = daemon.pid_of("a");
    let b = daemon.inner_pid("b");
    let injection = Injection::start(
        &daemon,
        &["-e", "trace=clone,clone3,fork,vfork"],
        "clone,clone3,fork,vfork:error=EAGAIN",
    );
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    daemon.logged("INFO spawnerr: Too many processes in process table to spawn 'a'");
    assert_eq!(daemon.state("a"), "BACKOFF");
    within(seconds(10), "it is tried again", || {
        (daemon.log().matches("INFO spawnerr").count() >= 3).then_some(())
    });
    drop(injection);
    daemon.waits_for_state("a", "RUNNING");
    assert_eq!(daemon.inner_pid("b"), b);
}

fn a_daemon_without_descriptors_says_so_and_answers(place: Place) {
    let keys = "stdout_logfile = \"NONE\"\nstderr_logfile = \"NONE\"\nstartretries = 1000\nbackoff = { initial = \"100ms\", factor = 1.0 }";
    let config: String = (0..10).map(|n| sleeper(&format!("p{n}"), keys)).collect();
    // Whatever the tests themselves were given is not the daemon's: it would be counted.
    let alone = "for open in /proc/self/fd/*; do open=${open##*/}; ((open < 3)) || eval \"exec $open<&-\"; done; exec \"$@\"";
    let with = |limit: &'static str| ["bash", "-c", alone, "bash", "prlimit", limit];
    // With so few it starts nobody, but it is there: it holds 17, its threads open some for a moment when they begin, and
    // to start a program takes a dozen.
    let none = Plan::new(place, &config).daemon("minfds = 1").through(&with("--nofile=26")).start();
    none.logged("INFO spawnerr: too many open files to spawn 'p9'");
    none.answers_within(seconds(5));
    assert_eq!(none.count("RUNNING"), 0);
    drop(none);

    let mut daemon = Plan::new(place, &config).daemon("minfds = 1").through(&with("--nofile=40")).start();
    daemon.logged("INFO spawnerr: too many open files to spawn 'p");
    let running = daemon.count("RUNNING");
    assert!(running > 0 && running < 10, "{running}");
    // More clients at once than it has descriptors for: they wait, and every one is answered.
    std::thread::scope(|scope| {
        let client = || scope.spawn(|| daemon.call("supervisor.getState", &[]));
        for client in (0..20).map(|_| client()).collect::<Vec<_>>() {
            assert!(client.join().unwrap().is_ok());
        }
    });
    // One that stops makes room for another.
    assert_eq!(daemon.said(&["stop", "p0"]), "p0: stopped\n");
    within(seconds(10), "another one runs", || (daemon.count("RUNNING") == running).then_some(()));
    daemon.stop(seconds(5));
}

fn a_folder_that_never_answers_holds_up_nobody_for_long(place: Place) {
    let config =
        sleeper("stuck", "directory = \"%(here)s/stuck/folder\"\nautostart = false\nstopwaitsecs = 1")
            + &sleeper("other", "autorestart = true");
    let mut daemon = Plan::new(place, &config).daemon("shutdown_timeout = \"2s\"").start();
    // Dropped before the daemon, which could not be waited for otherwise.
    let mut fuse = Fuse::mount(&daemon, "stuck");
    assert!(daemon.call("supervisor.startProcess", &["stuck".into(), false.into()]).is_ok());
    fuse.take_one();
    daemon.answers_within(seconds(3));
    let before = daemon.inner_pid("other");
    assert_eq!(daemon.said(&["restart", "other"]), "other: stopped\nother: started\n");
    assert_ne!(daemon.inner_pid("other"), before);
    drop(fuse);
    daemon.stop(seconds(5));
}

fn programs_that_take_long_to_begin_hold_up_neither_clients_nor_the_end(place: Place) {
    // A folder on a disk that is slow: each process takes longer to begin than the daemon waits for it.
    let slow = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=chdir"];
    let slow = [&slow[..], &["-e", "inject=chdir:delay_enter=2500000"]].concat();
    let keys = "directory = \"/tmp\"\nautorestart = true";
    let config: String = (0..30).map(|n| sleeper(&format!("p{n}"), keys)).collect();
    let mut daemon = Plan::new(place, &config).through(&slow).start();
    daemon.answers_within(seconds(1));
    assert!(daemon.count("STARTING") > 0, "{}", daemon.log());
    within(seconds(30), "all run", || (daemon.count("RUNNING") == 30).then_some(()));
    let pids: Vec<i32> = (0..30).map(|n| daemon.inner_pid(&format!("p{n}"))).collect();
    pids.into_iter().for_each(|pid| kill(Pid::from_raw(daemon.outer(pid)), Signal::SIGKILL).unwrap());
    daemon.answers_within(seconds(1));
    daemon.stop(seconds(8));
}

fn a_user_that_the_daemon_may_not_become_is_told(place: Place) {
    let config = sleeper("a", "user = \"nobody\"\nstartretries = 0") + &sleeper("b", "");
    let through = &["unshare", "--user", "--map-root-user"];
    let daemon = Plan::new(place, &config).users().through(through).start();
    daemon.logged("INFO spawnerr: couldn't setuid to 65534: EPERM");
    assert_eq!((daemon.state("a").as_str(), daemon.state("b").as_str()), ("FATAL", "RUNNING"));
}

fn a_program_that_the_system_kills_is_started_again(place: Place) {
    // What the kernel does when memory is short looks like this.
    let script = "echo up; [ -e second ] && exec sleep 1000; touch second; kill -KILL $$";
    let keys = "directory = \"%(here)s\"\nstdout_logfile = \"%(here)s/out\"";
    let daemon = Daemon::start(place, &shell("a", script, keys));
    daemon.logged("WARN exited: a (terminated by SIGKILL; not expected)");
    daemon.wrote("out", "up\nup\n");
    assert_eq!(daemon.state("a"), "RUNNING");
    assert_eq!(daemon.log().matches("INFO spawned: 'a'").count(), 2);
}
