//! Fault 7: somebody sets the clock, by an hour or by years, at any point of a program's life.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stack_tests::within;
use supervisor::ctl::xmlrpc::Value;

use crate::daemon::{Daemon, Place, Plan, places, seconds, shell};

places!(a_clock_that_jumps_ends_no_wait_early_and_none_late);

/// Where Debian has the library that sets a process's clock.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().map(|folder| folder.unwrap().path());
    let mut found =
        folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).filter(|file| file.exists());
    found.next().expect("libfaketime (tests/tools/prepare.sh installs it)")
}

/// Each part of a program's life that has a deadline: the jump comes in the middle of it.
fn a_clock_that_jumps_ends_no_wait_early_and_none_late(place: Place) {
    let deaf = "trap '' TERM; echo up; while :; do sleep 1000; done";
    let config = "[program.starting]\ncommand = \"sleep 1000\"\nstartsecs = 2\nautostart = false\n\
                  [program.backoff]\ncommand = \"false\"\nstartretries = 1\nautostart = false\nbackoff = { initial = \"2s\" }\n\
                  [program.running]\ncommand = \"sleep 1000\"\n"
        .to_owned()
        + &shell("stopping", deaf, "stopwaitsecs = 2\nautostart = false\nstdout_logfile = \"%(here)s/up\"");
    let plan = Plan::new(place, &config)
        .environment("LD_PRELOAD", faketime())
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .environment("FAKETIME_NO_CACHE", "1");
    let offset = plan.path("offset");
    let plan = plan.environment("FAKETIME_TIMESTAMP_FILE", offset.display().to_string());
    fs::write(&offset, "+0").unwrap();
    let mut daemon = plan.start();
    daemon.waits_for_state("running", "RUNNING");
    let began = daemon.info("running").member("start").and_then(Value::int).unwrap();
    for (n, jump) in ["+1h", "-1h", "+10y", "-10y"].into_iter().enumerate() {
        let begin = Instant::now();
        for program in ["starting", "backoff", "stopping"] {
            daemon.call("supervisor.startProcess", &[program.into(), false.into()]).unwrap();
        }
        within(seconds(5), "it is deaf", || (daemon.read("up").lines().count() == n + 1).then_some(()));
        daemon.call("supervisor.stopProcess", &["stopping".into(), false.into()]).unwrap();
        daemon.waits_for_state("backoff", "BACKOFF");
        let waiting = Instant::now();
        fs::write(&offset, jump).unwrap();
        let now = within(seconds(5), "the clock jumped", || {
            let now = daemon.info("running").member("now").and_then(Value::int)?;
            ((now - began).abs() > 3000).then_some(now)
        });
        let mut ends = [None; 3];
        within(seconds(10), "every wait is over", || {
            uptime_is_right(&daemon, begin);
            let over = [
                daemon.state("starting") == "RUNNING",
                daemon.state("backoff") == "FATAL",
                daemon.state("stopping") == "STOPPED",
            ];
            for (end, over) in ends.iter_mut().zip(over) {
                *end = end.or(over.then(Instant::now));
            }
            ends.iter().all(Option::is_some).then_some(())
        });
        for end in ends.into_iter().flatten() {
            assert!(end - begin >= Duration::from_millis(1900), "{jump}: too early after {:?}", end - begin);
            assert!(
                end - waiting <= Duration::from_millis(4000),
                "{jump}: too late after {:?}",
                end - waiting
            );
        }
        assert_eq!(daemon.said(&["stop", "starting"]), "starting: stopped\n");
        assert!(now > 0);
    }
    fs::write(&offset, "+0").unwrap();
    assert!(daemon.stop(seconds(5)) < seconds(2));
}

/// As the sentence and as the numbers have it.
#[track_caller]
fn uptime_is_right(daemon: &Daemon, begin: Instant) {
    let info = daemon.info("running");
    let number = |name| info.member(name).and_then(Value::int).unwrap();
    let sentence = info.member("description").and_then(Value::text).unwrap();
    assert!(sentence.contains("uptime 0:0"), "{sentence}");
    let up = number("now") - number("start");
    assert!((0..120).contains(&up), "up for {up} seconds, and this round lasts {:?}", begin.elapsed());
}
