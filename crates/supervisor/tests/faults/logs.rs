//! Fault 5: logs that cannot be written, and output that no log expects.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use stack_tests::within;
use supervisor::ctl::xmlrpc::Value;

use crate::daemon::{Daemon, PYTHON, Place, Plan, places, request, seconds, shell, status_field};
use crate::strace::Injection;

places!(
    a_log_that_is_moved_or_removed_is_made_again,
    a_full_disk_costs_what_does_not_fit_and_nothing_else,
    a_device_that_is_full_is_told_once,
    a_disk_that_is_read_only_for_a_while_is_written_afterwards,
    a_write_error_is_told_once_and_forgotten_when_it_is_over,
    a_rotated_name_that_is_a_folder_costs_no_output,
    a_log_behind_a_symlink_gets_everything,
    a_line_that_never_ends_takes_bounded_memory_and_disk,
    any_bytes_are_logged_as_they_are_and_can_be_asked_for,
);

/// Writes a numbered line whenever the file `go` has grown by one.
const COUNTER: &str = "n=0; touch go; while :; do while [ $(wc -c < go) -le $n ]; do sleep 0.01; done; n=$((n + 1)); echo line $n; done";

/// One more line of the counter, which has to arrive in the log or not.
fn line(daemon: &Daemon) {
    fs::OpenOptions::new().append(true).open(daemon.path("go")).unwrap().write_all(b".").unwrap();
}

fn counter(log: &str, keys: &str) -> String {
    shell("a", COUNTER, &format!("directory = \"%(here)s\"\nstdout_logfile = \"{log}\"\n{keys}"))
}

#[track_caller]
fn ready(daemon: &Daemon) {
    within(seconds(10), "the counter waits", || daemon.path("go").exists().then_some(()));
}

fn a_log_that_is_moved_or_removed_is_made_again(place: Place) {
    let daemon = Daemon::start(place, &counter("%(here)s/logs/a", ""));
    ready(&daemon);
    let mut count = 0;
    let mut more_until = |text: &dyn Fn() -> bool, what: &str| {
        within(seconds(10), what, || {
            if !text() {
                count += 1;
                line(&daemon);
                let _ = nix::poll::poll(&mut [], 50_u16);
            }
            text().then_some(())
        });
    };
    more_until(&|| daemon.read("logs/a").contains("line"), "the first line");
    let log = daemon.path("logs/a");
    fs::rename(&log, daemon.path("logs/moved")).unwrap();
    more_until(&|| log.exists(), "a new file after the old one was moved");
    fs::remove_file(&log).unwrap();
    more_until(&|| log.exists(), "a new file after the old one was removed");
    fs::remove_dir_all(daemon.path("logs")).unwrap();
    more_until(&|| log.exists(), "a new folder after the old one was removed");
    assert!(!daemon.log().contains("ERRO"), "{}", daemon.log());
    assert_eq!(daemon.state("a"), "RUNNING");
}

fn a_full_disk_costs_what_does_not_fit_and_nothing_else(place: Place) {
    let config = counter("%(here)s/disk/a", "") + &shell("b", "sleep 1000", "");
    let mount = "mkdir disk\nmount -t tmpfs -o size=1m none disk\nhead -c 2M /dev/zero > disk/filler || :";
    let mut daemon = Plan::new(place, &config).before(mount).start();
    // The mount is the daemon's alone; this is the way to it.
    let disk =
        std::path::PathBuf::from(format!("/proc/{}/root{}", daemon.pid, daemon.path("disk").display()));
    ready(&daemon);
    (0..10).for_each(|_| line(&daemon));
    let path = daemon.path("disk/a").display().to_string();
    daemon.logged(&format!("ERRO cannot write {path}, output is lost from now on: No space left on device"));
    let other = daemon.inner_pid("b");
    assert_eq!(daemon.said(&["restart", "b"]), "b: stopped\nb: started\n");
    assert_ne!(daemon.inner_pid("b"), other);
    fs::remove_file(disk.join("filler")).unwrap();
    within(seconds(10), "writing goes on", || {
        line(&daemon);
        daemon.log().contains(&format!("WARN writing {path} again, ")).then_some(())
    });
    assert_eq!(daemon.log().matches("output is lost").count(), 1);
    let written = fs::read_to_string(disk.join("a")).unwrap();
    assert!(written.lines().all(|line| line.starts_with("line ")), "whole lines: {written:?}");
    daemon.stop(seconds(5));
}

fn a_device_that_is_full_is_told_once(place: Place) {
    let daemon = Daemon::start(place, &counter("/dev/full", "stdout_logfile_maxbytes = \"1KB\""));
    ready(&daemon);
    line(&daemon);
    daemon.logged("ERRO cannot write /dev/full, output is lost from now on: No space left on device");
    for _ in 0..50 {
        line(&daemon);
        daemon.answers_within(seconds(1));
    }
    assert_eq!(daemon.log().matches("/dev/full").count(), 1, "{}", daemon.log());
    assert_eq!(daemon.state("a"), "RUNNING");
}

fn a_disk_that_is_read_only_for_a_while_is_written_afterwards(place: Place) {
    let mount = "mkdir disk\nmount -t tmpfs -o ro none disk";
    let daemon = Plan::new(place, &counter("%(here)s/disk/a", "")).before(mount).start();
    ready(&daemon);
    line(&daemon);
    let path = daemon.path("disk/a").display().to_string();
    daemon.logged(&format!("ERRO cannot write {path}, output is lost from now on: Read-only file system"));
    assert_eq!(daemon.state("a"), "RUNNING");
    let mut remount = Command::new("nsenter");
    remount.args(["--mount", "--target", &daemon.pid.to_string(), "mount", "-o", "remount,rw"]);
    assert!(remount.arg(daemon.path("disk")).status().unwrap().success());
    within(seconds(10), "writing goes on", || {
        line(&daemon);
        daemon.log().contains(&format!("WARN writing {path} again, ")).then_some(())
    });
}

fn a_write_error_is_told_once_and_forgotten_when_it_is_over(place: Place) {
    let daemon = Daemon::start(place, &counter("%(here)s/a", ""));
    ready(&daemon);
    line(&daemon);
    daemon.wrote("a", "line 1\n");
    let path = daemon.path("a").display().to_string();
    let injection = Injection::start(&daemon, &["-e", "trace=write", "-P", &path], "write:error=EIO");
    line(&daemon);
    daemon.logged(&format!("ERRO cannot write {path}, output is lost from now on: Input/output error"));
    line(&daemon);
    daemon.answers_within(seconds(2));
    drop(injection);
    within(seconds(10), "writing goes on", || {
        line(&daemon);
        daemon.log().contains(&format!("WARN writing {path} again, ")).then_some(())
    });
    assert_eq!(daemon.log().matches("output is lost").count(), 1);
}

fn a_rotated_name_that_is_a_folder_costs_no_output(place: Place) {
    // Each line is longer than the file may be.
    let script = "n=0; until [ -e go ]; do sleep 0.01; done; while [ $n -lt 100 ]; do n=$((n + 1)); printf '%%99d\\\\n' $n; done; exec sleep 1000";
    let keys = "directory = \"%(here)s\"\nstdout_logfile = \"%(here)s/logs/a\"\nstdout_logfile_maxbytes = 1000\nstdout_logfile_backups = 3";
    let daemon = Daemon::start(place, &shell("a", script, keys));
    for n in 1..=3 {
        fs::create_dir_all(daemon.path(&format!("logs/a.{n}/kept"))).unwrap();
    }
    fs::write(daemon.path("go"), "").unwrap();
    within(seconds(10), "the last line is in the log", || {
        daemon.read("logs/a").contains(" 100\n").then_some(())
    });
    let lines: Vec<u64> = daemon.read("logs/a").lines().map(|line| line.trim().parse().unwrap()).collect();
    assert!(lines.iter().copied().eq(1..=100), "{lines:?}");
    let path = daemon.path("logs/a").display().to_string();
    let told = format!("ERRO cannot rotate {path}, it grows beyond its size: Is a directory");
    daemon.logged(&told);
    assert_eq!(daemon.log().matches("cannot rotate").count(), 1);
    assert!((1..=3).all(|n| daemon.path(&format!("logs/a.{n}/kept")).exists()));
}

fn a_log_behind_a_symlink_gets_everything(place: Place) {
    let before = "mkdir real; ln -s real/file link";
    let daemon = Plan::new(place, &counter("%(here)s/link", "")).before(before).start();
    ready(&daemon);
    (0..5).for_each(|_| line(&daemon));
    within(seconds(10), "five lines", || {
        (daemon.read("real/file") == "line 1\nline 2\nline 3\nline 4\nline 5\n").then_some(())
    });
    assert!(fs::symlink_metadata(daemon.path("link")).unwrap().is_symlink());
}

fn a_line_that_never_ends_takes_bounded_memory_and_disk(place: Place) {
    let script = "head -c 105000000 /dev/zero | tr '\\\\0' x; echo; exec sleep 1000";
    let keys =
        "stdout_logfile = \"%(here)s/logs/a\"\nstdout_logfile_maxbytes = \"1MB\"\nstdout_logfile_backups = 3";
    let daemon = Daemon::start(place, &shell("a", script, keys));
    let mut memory = 0;
    within(seconds(30), "the end of the line", || {
        memory = memory.max(status_field(daemon.pid, "VmRSS").unwrap());
        let bytes = fs::read(daemon.path("logs/a")).unwrap_or_default();
        bytes.ends_with(b"x\n").then_some(())
    });
    let sizes =
        fs::read_dir(daemon.path("logs")).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    let sizes: Vec<u64> = sizes.collect();
    assert!(sizes.len() == 4 && sizes.iter().all(|size| *size <= 2 << 20), "{sizes:?}");
    assert!(memory < 64 << 10, "{memory} KB");
}

/// What Python's client makes of an answer.
fn understood(answer: &[u8]) -> String {
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let code = "import sys, xmlrpc.client; print(repr(xmlrpc.client.loads(sys.stdin.buffer.read())[0][0]))";
    let mut child =
        Command::new(PYTHON).args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&answer[body..]).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}

fn any_bytes_are_logged_as_they_are_and_can_be_asked_for(place: Place) {
    let bytes: Vec<u8> =
        (0..=u8::MAX).chain(*b"\n\x1b[31mred\x1b[0m\xc3\x28\0\n").chain(0..=u8::MAX).collect();
    let keys = "directory = \"%(here)s\"\nstdout_logfile = \"%(here)s/a\"\nautorestart = false";
    let script = "until [ -e bytes ]; do sleep 0.01; done; cat bytes; head -c 1M /dev/urandom; cat bytes; exec sleep 1000";
    let daemon = Daemon::start(place, &shell("a", script, keys));
    fs::write(daemon.path("new"), &bytes).unwrap();
    fs::rename(daemon.path("new"), daemon.path("bytes")).unwrap();
    let length = 2 * bytes.len() + (1 << 20);
    let log = within(seconds(10), "every byte", || {
        fs::read(daemon.path("a")).ok().filter(|log| log.len() == length)
    });
    assert!(log.starts_with(&bytes) && log.ends_with(&bytes));
    for (method, params) in [
        ("supervisor.tailProcessStdoutLog", ["a".into(), Value::Int(0), Value::Int(1 << 20)]),
        ("supervisor.readProcessStdoutLog", ["a".into(), Value::Int(0), Value::Int(0)]),
    ] {
        let text = understood(&daemon.raw(&request(method, &params)));
        assert!(text.contains("[31mred"), "{method}: {} characters", text.len());
    }
    let out = daemon.ctl(&["tail", "a"]);
    assert!(out.status.success() && !out.stdout.is_empty());
}
