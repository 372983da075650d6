//! Fault 9: very many programs, restarts and reloads, and nothing left of them.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use stack_tests::within;

use crate::daemon::{Daemon, Place, Plan, places, rounds, seconds, sleeper, status_field};

places!(
    very_many_programs_start_answer_restart_and_stop,
    thousands_of_restarts_leave_neither_descriptors_nor_memory,
    hundreds_of_reloads_leave_neither_descriptors_nor_memory,
);

/// Kilobytes by which the daemon may grow between two measurements that should be the same.
const GROWTH_KB: u64 = 1024;
/// More descriptors than the daemon has with one program and the log files of eleven.
const AT_REST: usize = 60;

fn memory(daemon: &Daemon) -> u64 {
    status_field(daemon.pid, "VmRSS").unwrap()
}

fn very_many_programs_start_answer_restart_and_stop(place: Place) {
    // Three descriptors each: the whole number is more than five thousand.
    let many = rounds(300, 1_700);
    // Most of the time is the kernel's for so many processes, on a machine that others use too.
    let patience = seconds(20) + Duration::from_millis(60) * many as u32;
    let config: String = (0..many).map(|n| sleeper(&format!("p{n}"), "")).collect();
    let mut daemon = Plan::new(place, &config).through(&["prlimit", "--nofile=9000"]).start();
    let began = Instant::now();
    within(patience, "all run", || (daemon.count("RUNNING") == many).then_some(()));
    let started = began.elapsed();
    let answered = daemon.answers_within(seconds(5));
    assert!(daemon.descriptors() >= 3 * many);
    let before = daemon.descriptors();
    let began = Instant::now();
    let said = daemon.said(&["restart", "all"]);
    assert_eq!((said.matches(": stopped\n").count(), said.matches(": started\n").count()), (many, many));
    let restarted = began.elapsed();
    assert_eq!(daemon.count("RUNNING"), many);
    within(seconds(10), "no descriptor is left", || (daemon.descriptors() <= before + 2).then_some(()));
    let stopped = daemon.stop(patience);
    println!(
        "{many} programs: started {started:?}, status {answered:?}, restarted {restarted:?}, stopped {stopped:?}"
    );
}

fn thousands_of_restarts_leave_neither_descriptors_nor_memory(place: Place) {
    let times = rounds(1_000, 10_000);
    // They end as soon as they are there, and are there again.
    let brief = |n| format!("[program.brief{n}]\ncommand = \"true\"\nstartsecs = 0\nautorestart = true\n");
    let config = (0..10).map(brief).collect::<String>() + &sleeper("still", "");
    let plan = Plan::new(place, &config).daemon("logfile_maxbytes = 0");
    let daemon = plan.start();
    let still = daemon.inner_pid("still");
    let spawned = |times: usize| {
        within(Duration::from_millis(50) * times as u32 + seconds(20), "so many restarts", || {
            daemon.answers_within(seconds(5));
            (daemon.log().matches("INFO spawned: 'brief").count() >= times).then_some(())
        });
        // What the last of them left is collected while they stand still.
        let briefs: Vec<String> = (0..10).map(|n| format!("brief{n}")).collect();
        let briefs: Vec<&str> = briefs.iter().map(String::as_str).collect();
        daemon.ctl(&[&["stop"], &briefs[..]].concat());
        let still = within(seconds(20), "only the other one has descriptors", || {
            Some((daemon.descriptors(), memory(&daemon))).filter(|still| still.0 <= AT_REST)
        });
        daemon.ctl(&[&["start"], &briefs[..]].concat());
        still
    };
    let (few, early) = spawned(times / 4);
    let (many, late) = spawned(times);
    assert!(many <= few + 8, "from {few} to {many} descriptors");
    assert!(late <= early + GROWTH_KB, "from {early} KB to {late} KB");
    assert_eq!(daemon.inner_pid("still"), still);
    println!("{times} restarts: {few} and {many} descriptors, {early} and {late} KB");
}

fn hundreds_of_reloads_leave_neither_descriptors_nor_memory(place: Place) {
    let times = rounds(100, 1_000);
    let config =
        |n: usize| sleeper("same", "") + &sleeper("changed", &format!("environment = {{ N = \"{n}\" }}"));
    let daemon = Daemon::start(place, &config(0));
    let same = daemon.inner_pid("same");
    let mut pid = daemon.inner_pid("changed");
    let mut early = None;
    for n in 1..=times {
        daemon.configure(&config(n));
        daemon.signal(Signal::SIGHUP);
        pid = within(seconds(10), "the changed one is another", || {
            Some(daemon.inner_pid("changed")).filter(|new| *new != pid)
        });
        if n == times / 4 {
            early = Some((daemon.descriptors(), memory(&daemon)));
        }
    }
    let (few, small) = early.unwrap();
    within(seconds(5), "no descriptor is left", || (daemon.descriptors() <= few + 3).then_some(()));
    let late = memory(&daemon);
    assert!(late <= small + GROWTH_KB, "from {small} KB to {late} KB");
    assert_eq!(daemon.inner_pid("same"), same);
    println!("{times} reloads: {small} and {late} KB");
}
