//! Fault 8: reloads, starts and stops that meet each other.

use std::fs;

use nix::sys::signal::Signal;
use stack_tests::within;
use supervisor::ctl::fault::{Fault, FaultCode};
use supervisor::ctl::xmlrpc::Value;

use crate::daemon::{Daemon, Place, children, places, python, rounds, seconds, shell, sleeper};

places!(
    a_reload_during_a_stop_takes_effect_after_it,
    a_stop_during_backoff_is_the_end_of_the_tries,
    a_start_during_a_stop_is_refused_and_nothing_is_stuck,
    two_clients_that_want_the_opposite_are_both_answered,
    a_program_that_is_removed_while_it_is_restarted_is_removed,
    a_broken_file_changes_nothing_however_it_is_read,
    who_waits_for_programs_that_are_removed_meanwhile_is_told_their_names,
    a_program_that_moves_to_another_group_starts_once_it_has_stopped_where_it_was,
    a_program_that_moves_and_is_removed_changed_or_moved_back_meanwhile_never_runs_twice,
    a_whole_stop_does_not_wait_for_a_program_that_waits_to_move,
    a_storm_of_reloads_ends_in_the_last_configuration,
);

/// Takes its time to stop, and is killed in the end.
fn deaf(keys: &str) -> String {
    let script = "trap '' TERM; echo up; while :; do sleep 1000; done";
    shell("a", script, &format!("stopwaitsecs = 1\nstdout_logfile = \"%(here)s/up\"\n{keys}"))
}

fn begin_stop(daemon: &Daemon) {
    assert!(daemon.call("supervisor.stopProcess", &["a".into(), false.into()]).is_ok());
    daemon.waits_for_state("a", "STOPPING");
}

fn a_reload_during_a_stop_takes_effect_after_it(place: Place) {
    let daemon = Daemon::start(place, &(deaf("") + &sleeper("b", "")));
    let b = daemon.inner_pid("b");
    // Removed meanwhile: it is killed when its time is over, not earlier, and is gone then.
    daemon.wrote("up", "up\n");
    begin_stop(&daemon);
    daemon.configure(&sleeper("b", ""));
    daemon.signal(Signal::SIGHUP);
    daemon.logged("INFO removed: a");
    daemon.logged("WARN killing 'a'");
    within(seconds(5), "it is gone", || unknown(&daemon, "a").then_some(()));
    // Changed meanwhile: what comes after the stop is the new one.
    daemon.configure(&(deaf("") + &sleeper("b", "")));
    daemon.signal(Signal::SIGHUP);
    daemon.wrote("up", "up\nup\n");
    begin_stop(&daemon);
    daemon.configure(
        &(shell("a", "echo new; exec sleep 1000", "stdout_logfile = \"%(here)s/new\"") + &sleeper("b", "")),
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wrote("new", "new\n");
    daemon.waits_for_state("a", "RUNNING");
    assert_eq!(daemon.inner_pid("b"), b);
}

/// Holds a port as long as it runs, and lets go of it late; a second one at the same time fails.
fn slow_server(name: &str, keys: &str) -> String {
    let code = "import os, signal, socket, sys, time\n\
                s = socket.socket(socket.AF_UNIX)\n\
                s.bind('\\0' + os.getcwd() + '/port')\n\
                def end(*_):\n    time.sleep(1.5)\n    print('down', flush=True)\n    sys.exit(0)\n\
                signal.signal(signal.SIGTERM, end)\n\
                print('up', os.environ.get('N', ''), flush=True)\n\
                time.sleep(1000)";
    let always = "directory = \"%(here)s\"\nautorestart = false\nstdout_logfile = \"%(here)s/out\"\n";
    python(name, code, &format!("{always}{keys}"))
}

fn a_program_that_moves_to_another_group_starts_once_it_has_stopped_where_it_was(place: Place) {
    let alone = slow_server("srv", "") + &sleeper("b", "");
    let grouped = |name: &str| format!("{alone}[group.{name}]\nprograms = [\"srv\"]\n");
    let daemon = Daemon::start(place, &alone);
    daemon.waits_for_state("srv", "RUNNING");
    let (mut before, mut said) = ("srv", "up \n".to_owned());
    // Into a group, to another, into one that holds others too, and out again.
    let other = slow_server("srv", "") + &sleeper("b", "") + "[group.aaa]\nprograms = [\"b\"]\n";
    let both = other.replace("[\"b\"]", "[\"b\", \"srv\"]");
    let steps = [
        (grouped("web"), "web:srv"),
        (grouped("cgi"), "cgi:srv"),
        (other, "srv"),
        (both, "aaa:srv"),
        (alone.clone(), "srv"),
    ];
    for (config, name) in steps {
        daemon.wrote("out", &said);
        daemon.configure(&config);
        daemon.signal(Signal::SIGHUP);
        daemon.logged(&format!("INFO waiting for {before} to stop before {name} starts\n"));
        said += "down\nup \n";
        daemon.wrote("out", &said);
        daemon.waits_for_state(name, "RUNNING");
        assert!(unknown(&daemon, before));
        before = name;
    }
    assert_eq!(daemon.read("out"), said);
    assert_eq!(daemon.log().matches("INFO spawned: 'srv'").count(), 6);
}

fn a_program_that_moves_and_is_removed_changed_or_moved_back_meanwhile_never_runs_twice(place: Place) {
    let with = |n: usize| slow_server("srv", &format!("environment = {{ N = \"{n}\" }}"));
    let web = "[group.web]\nprograms = [\"srv\"]\n";
    let daemon = Daemon::start(place, &with(0));
    daemon.wrote("out", "up 0\n");
    let reload = |config: &str, n: usize| {
        daemon.configure(config);
        daemon.signal(Signal::SIGHUP);
        daemon.logged_times("received SIGHUP", n);
    };
    // Moved, changed while it waits, told to start by name, and moved on; all while the old one still stops.
    reload(&(with(0) + web), 1);
    daemon.waits_for_state("web:srv", "STOPPED");
    assert_eq!(daemon.state("srv"), "STOPPING");
    reload(&(with(1) + web), 2);
    daemon.waits_for_state("web:srv", "STOPPED");
    assert_eq!(daemon.call("supervisor.startProcess", &["web:srv".into(), false.into()]), Ok(true.into()));
    assert_eq!(daemon.state("web:srv"), "STOPPED");
    assert_eq!(daemon.said(&["start", "web:srv"]), "web:srv: started\n");
    daemon.wrote("out", "up 0\ndown\nup 1\n");
    // Moved and moved back: the old one goes, and comes again where it was.
    reload(&with(2), 3);
    reload(&(with(3) + web), 4);
    daemon.wrote("out", "up 0\ndown\nup 1\ndown\nup 3\n");
    daemon.waits_for_state("web:srv", "RUNNING");
    assert!(unknown(&daemon, "srv"));
    // Moved and stopped, or removed, while it waits: it does not come.
    reload(&with(4), 5);
    daemon.waits_for_state("srv", "STOPPED");
    assert_eq!(daemon.said(&["stop", "srv"]), "srv: ERROR (not running)\n");
    within(seconds(10), "the old one is gone", || unknown(&daemon, "web:srv").then_some(()));
    assert_eq!(daemon.state("srv"), "STOPPED");
    assert_eq!(daemon.said(&["start", "srv"]), "srv: started\n");
    daemon.wrote("out", "up 0\ndown\nup 1\ndown\nup 3\ndown\nup 4\n");
    reload(&(with(5) + web), 6);
    reload(&sleeper("b", ""), 7);
    within(seconds(10), "both are gone", || {
        (unknown(&daemon, "srv") && unknown(&daemon, "web:srv")).then_some(())
    });
    daemon.wrote("out", "up 0\ndown\nup 1\ndown\nup 3\ndown\nup 4\ndown\n");
    assert!(!daemon.log().contains("FATAL"), "{}", daemon.log());
}

fn a_whole_stop_does_not_wait_for_a_program_that_waits_to_move(place: Place) {
    let mut daemon = Daemon::start(place, &slow_server("srv", ""));
    daemon.wrote("out", "up \n");
    daemon.configure(&(slow_server("srv", "") + "[group.web]\nprograms = [\"srv\"]\n"));
    daemon.signal(Signal::SIGHUP);
    daemon.logged("INFO added: web");
    daemon.stop(seconds(5));
    assert_eq!(daemon.log().matches("INFO spawned").count(), 1);
    assert_eq!(daemon.read("out"), "up \ndown\n");
}

fn who_waits_for_programs_that_are_removed_meanwhile_is_told_their_names(place: Place) {
    let config = deaf("") + &sleeper("b", "") + "[group.g]\nprograms = [\"a\"]\n";
    let daemon = Daemon::start(place, &config);
    daemon.wrote("up", "up\n");
    let answer = std::thread::scope(|scope| {
        let stop = scope.spawn(|| daemon.call("supervisor.stopAllProcesses", &[]).unwrap());
        daemon.waits_for_state("g:a", "STOPPING");
        daemon.configure(&sleeper("b", ""));
        daemon.signal(Signal::SIGHUP);
        daemon.logged("INFO removed: g");
        stop.join().unwrap()
    });
    let mut told: Vec<[&str; 2]> = answer
        .items()
        .iter()
        .map(|one| ["name", "group"].map(|member| one.member(member).and_then(Value::text).unwrap()))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [["a", "g"], ["b", "b"]]);
}

fn unknown(daemon: &Daemon, program: &str) -> bool {
    let answer = daemon.call("supervisor.getProcessInfo", &[program.into()]);
    matches!(answer, Err(Fault { code, .. }) if code == FaultCode::BadName as i32)
}

fn a_stop_during_backoff_is_the_end_of_the_tries(place: Place) {
    let config = "[program.a]\ncommand = \"false\"\nstartretries = 1000\nbackoff = { initial = \"300ms\", factor = 1.0 }\n";
    let daemon = Daemon::start(place, config);
    for n in 1..=5 {
        daemon.waits_for_state("a", "BACKOFF");
        assert_eq!(daemon.said(&["stop", "a"]), "a: stopped\n");
        assert_eq!(daemon.state("a"), "STOPPED");
        let spawned = daemon.log().matches("INFO spawned").count();
        let began = std::time::Instant::now();
        within(seconds(5), "the next try would be over", || (began.elapsed() > seconds(1)).then_some(()));
        assert_eq!(daemon.log().matches("INFO spawned").count(), spawned, "round {n}");
        assert!(daemon.call("supervisor.startProcess", &["a".into(), false.into()]).is_ok());
        if n == 2 {
            break;
        }
    }
}

fn a_start_during_a_stop_is_refused_and_nothing_is_stuck(place: Place) {
    let daemon = Daemon::start(place, &deaf(""));
    daemon.wrote("up", "up\n");
    begin_stop(&daemon);
    for _ in 0..5 {
        assert!(daemon.call("supervisor.startProcess", &["a".into()]).is_err());
    }
    daemon.waits_for_state("a", "STOPPED");
    assert_eq!(daemon.log().matches("INFO spawned").count(), 1);
    assert_eq!(daemon.said(&["start", "a"]), "a: started\n");
}

fn two_clients_that_want_the_opposite_are_both_answered(place: Place) {
    let daemon = Daemon::start(place, &(sleeper("a", "") + &sleeper("b", "")));
    let b = daemon.inner_pid("b");
    std::thread::scope(|scope| {
        for method in [
            "supervisor.startProcess",
            "supervisor.stopProcess",
            "supervisor.startProcessGroup",
            "supervisor.stopProcessGroup",
        ] {
            let daemon = &daemon;
            scope.spawn(move || {
                for _ in 0..rounds(50, 500) {
                    // Done, or a fault that says why not; never silence.
                    let _ = daemon.call(method, &["a".into()]);
                }
            });
        }
    });
    within(seconds(10), "it can be started", || daemon.said(&["start", "a"]).contains("start").then_some(()));
    daemon.waits_for_state("a", "RUNNING");
    assert_eq!(daemon.inner_pid("b"), b);
    let command = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let programs = children(daemon.pid).iter().filter(|pid| command(pid).starts_with("sleep")).count();
    assert_eq!(programs, 2, "one process each");
}

/// As `supervisorctl update` does it.
fn update(daemon: &Daemon) {
    let Ok(diff) = daemon.call("supervisor.reloadConfig", &[]) else { return };
    let lists: Vec<Vec<String>> = diff.items()[0]
        .items()
        .iter()
        .map(|list| list.items().iter().filter_map(Value::text).map(str::to_owned).collect())
        .collect();
    for name in lists[1].iter().chain(&lists[2]) {
        let _ = daemon.call("supervisor.stopProcessGroup", &[name.as_str().into()]);
        let _ = daemon.call("supervisor.removeProcessGroup", &[name.as_str().into()]);
    }
    for name in lists[0].iter().chain(&lists[1]) {
        let _ = daemon.call("supervisor.addProcessGroup", &[name.as_str().into()]);
    }
}

fn a_program_that_is_removed_while_it_is_restarted_is_removed(place: Place) {
    let both = sleeper("a", "autorestart = true") + &sleeper("b", "");
    let daemon = Daemon::start(place, &both);
    let b = daemon.inner_pid("b");
    for _ in 0..rounds(10, 100) {
        daemon.inner_pid("a");
        daemon.configure(&sleeper("b", ""));
        std::thread::scope(|scope| {
            let restart = scope.spawn(|| daemon.said(&["restart", "a"]));
            // A client that starts it again in between makes the removal fail with STILL_RUNNING, as it should.
            within(seconds(10), "it is removed", || {
                update(&daemon);
                unknown(&daemon, "a").then_some(())
            });
            restart.join().unwrap();
        });
        assert!(unknown(&daemon, "a"));
        daemon.configure(&both);
        update(&daemon);
        daemon.waits_for_state("a", "RUNNING");
    }
    assert_eq!(daemon.inner_pid("b"), b);
}

fn a_broken_file_changes_nothing_however_it_is_read(place: Place) {
    let good = sleeper("a", "") + &sleeper("b", "");
    let daemon = Daemon::start(place, &good);
    let pids = (daemon.inner_pid("a"), daemon.inner_pid("b"));
    let broken = [
        "[program.a\n".to_owned(),
        sleeper("a", "comand = 1"),
        "\0\u{1}\u{2}".to_owned(),
        sleeper("a", "depends_on = [\"a\"]"),
        String::new(),
    ];
    for (n, text) in broken.iter().enumerate() {
        match text.as_str() {
            // A file that is gone.
            "" => fs::remove_file(daemon.path("s.toml")).unwrap(),
            text => fs::write(daemon.path("s.toml"), text).unwrap(),
        }
        daemon.signal(Signal::SIGHUP);
        let sentence = "ERRO the configuration has mistakes, everything stays as it is";
        daemon.logged_times(sentence, n + 1);
        let fault = daemon.call("supervisor.reloadConfig", &[]).unwrap_err();
        assert_eq!(fault.code, FaultCode::CantReread as i32, "{text:?}: {fault}");
        assert_eq!((daemon.inner_pid("a"), daemon.inner_pid("b")), pids);
    }
    daemon.configure(&good);
    daemon.signal(Signal::SIGHUP);
    assert_eq!((daemon.state("a").as_str(), daemon.inner_pid("b")), ("RUNNING", pids.1));
}

fn a_storm_of_reloads_ends_in_the_last_configuration(place: Place) {
    let config = |n: usize| {
        let changing: String = (0..5)
            .map(|p| sleeper(&format!("p{p}"), &format!("environment = {{ N = \"{}\" }}", n / (p + 1))))
            .collect();
        changing + &sleeper(&format!("only{}", n % 3), "") + &sleeper("same", "")
    };
    let daemon = Daemon::start(place, &config(0));
    let same = daemon.inner_pid("same");
    let last = rounds(200, 2_000);
    for n in 1..=last {
        daemon.configure(&config(n));
        daemon.signal(Signal::SIGHUP);
        let _ = nix::poll::poll(&mut [], 10_u16);
        if n % 20 == 0 {
            daemon.answers_within(seconds(5));
        }
    }
    let only = format!("only{}", last % 3);
    within(seconds(20), "the last configuration is in effect", || {
        let all = daemon.call("supervisor.getAllProcessInfo", &[]).unwrap();
        let text = |info: &Value, name: &str| info.member(name).and_then(Value::text).unwrap().to_owned();
        let names: Vec<String> = all.items().iter().map(|info| text(info, "name")).collect();
        let run = all.items().iter().all(|info| text(info, "statename") == "RUNNING");
        (run && names == [only.as_str(), "p0", "p1", "p2", "p3", "p4", "same"]).then_some(())
    });
    within(seconds(10), "with the last environment", || {
        let environ = fs::read_to_string(format!("/proc/{}/environ", daemon.pid_of("p0"))).ok()?;
        environ.split('\0').any(|variable| variable == format!("N={last}")).then_some(())
    });
    assert_eq!(daemon.inner_pid("same"), same);
    println!("{} of {last} reloads were done one by one", daemon.log().matches("received SIGHUP").count());
}
