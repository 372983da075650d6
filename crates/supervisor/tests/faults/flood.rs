//! Fault 5: logs that are slow, and readers that are: nobody else waits for them.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stack_tests::within;

use crate::daemon::{Daemon, Place, Plan, places, seconds, shell, sleeper};
use crate::strace::Injection;

places!(
    a_flood_of_one_program_delays_nobody,
    a_slow_disk_does_not_stop_supervision,
    a_reader_of_the_daemon_s_stdout_that_stalls_holds_up_nothing,
    a_reader_of_the_daemon_s_stdout_that_goes_away_is_not_missed,
);

/// That others are restarted and clients answered while it lasts; gives back the longest answer.
#[track_caller]
fn lives_on(daemon: &Daemon, limit: Duration) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let before = daemon.inner_pid("other");
        let began = Instant::now();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(daemon.outer(before)),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        let after = within(limit, "another one runs", || {
            longest = longest.max(daemon.answers_within(limit));
            Some(daemon.inner_pid("other")).filter(|pid| *pid != before)
        });
        assert!(began.elapsed() <= limit && after > 0, "{:?}", began.elapsed());
    }
    longest
}

fn a_flood_of_one_program_delays_nobody(place: Place) {
    // As much as goes through a pipe, in blocks and without an end of line; rotated all the time.
    let keys =
        "stdout_logfile = \"%(here)s/flood\"\nstdout_logfile_maxbytes = \"20MB\"\nstdout_logfile_backups = 2";
    let config = shell("flood", "exec cat /dev/zero", keys) + &sleeper("other", "autorestart = true");
    let mut daemon = Daemon::start(place, &config);
    within(seconds(10), "it floods", || daemon.path("flood.2").exists().then_some(()));
    let longest = lives_on(&daemon, seconds(1));
    println!("longest answer beside a flood: {longest:?}");
    assert!(daemon.stop(seconds(5)) < seconds(2));
}

fn a_slow_disk_does_not_stop_supervision(place: Place) {
    let keys = "stdout_logfile = \"%(here)s/slow\"";
    let script = "while :; do echo line; sleep 0.01; done";
    let daemon =
        Daemon::start(place, &(shell("slow", script, keys) + &sleeper("other", "autorestart = true")));
    daemon.wrote("slow", "line\n");
    let path = daemon.path("slow").display().to_string();
    let injection =
        Injection::start(&daemon, &["-e", "trace=write", "-P", &path], "write:delay_enter=100000");
    let longest = lives_on(&daemon, seconds(3));
    println!("longest answer when each write takes 100 ms: {longest:?}");
    drop(injection);
    lives_on(&daemon, seconds(1));
}

/// Floods the daemon's stdout, which somebody else reads or not.
fn teeing() -> String {
    shell("tee", "while :; do echo a line for somebody to read; done", "stdout_tee = true")
        + &sleeper("other", "autorestart = true")
}

fn a_reader_of_the_daemon_s_stdout_that_stalls_holds_up_nothing(place: Place) {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let mut daemon = Plan::new(place, &teeing()).stdout(std::os::fd::OwnedFd::from(writer)).start();
    let mut piece = [0; 1000];
    reader.read_exact(&mut piece).unwrap();
    // From here on nobody reads.
    lives_on(&daemon, seconds(1));
    let took = daemon.stop(seconds(10));
    assert!(took < seconds(2), "{took:?}");
}

fn a_reader_of_the_daemon_s_stdout_that_goes_away_is_not_missed(place: Place) {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let mut daemon = Plan::new(place, &teeing()).stdout(std::os::fd::OwnedFd::from(writer)).start();
    let mut piece = [0; 1000];
    reader.read_exact(&mut piece).unwrap();
    drop(reader);
    lives_on(&daemon, seconds(1));
    let took = daemon.stop(seconds(10));
    assert!(took < seconds(2), "{took:?}");
}
