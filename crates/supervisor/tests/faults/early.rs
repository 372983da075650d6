//! Signals that come before the daemon is up.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use stack_tests::within;
use tempfile::TempDir;

use crate::daemon::{Daemon, Place, children, seconds, shell, status_field, write_config};

/// Runs a daemon that gets SIGTERM at the first such system call of each of its processes, to its end; its exit code.
fn ended_at(folder: &Path, call: &str, options: &[&str]) -> Option<i32> {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=SIGTERM:when=1"), env!("CARGO_BIN_EXE_supervisord")]);
    command.args(options).arg("-c").arg(folder.join("s.toml")).current_dir(folder);
    let out = fs::File::create(folder.join("stdout")).unwrap();
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let mut child = command.spawn().unwrap();
    let status = within(seconds(20), "it and all its processes end", || child.try_wait().unwrap());
    status.code().or(status.signal().map(|signal| -signal))
}

#[test]
fn a_stop_that_comes_before_the_daemon_is_up_is_an_ordered_one() {
    // When the socket is there but not the log, when the guardian is made, when nobody is told yet; and at both ends
    // of the way into the background.
    for (call, options) in [
        ("listen", &["-n"][..]),
        ("umask", &["-n"]),
        ("pidfd_open", &["-n"]),
        ("epoll_create1", &["-n"]),
        ("listen", &[]),
        ("setsid", &[]),
        ("pidfd_open", &[]),
    ] {
        let folder = TempDir::new().unwrap();
        write_config(&folder, "", &shell("a", "exec sleep 1000", ""));
        let code = ended_at(folder.path(), call, options);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!(code, Some(0), "{call} {options:?}: {}{}", read("stdout"), read("s.log"));
        assert!(
            read("s.log").ends_with(" INFO supervisord stopped\n"),
            "{call} {options:?}: {}",
            read("s.log")
        );
        for left in ["s.sock", "s.pid"] {
            assert!(!folder.path().join(left).exists(), "{call} {options:?}: {left}");
        }
    }
}

#[test]
fn a_daemon_that_refuses_to_start_does_so_whatever_signal_came() {
    let folder = TempDir::new().unwrap();
    write_config(&folder, "", "");
    fs::create_dir(folder.path().join("s.log")).unwrap();
    assert_eq!(ended_at(folder.path(), "listen", &["-n"]), Some(2));
    assert!(!folder.path().join("s.sock").exists());
}

#[test]
fn what_the_daemon_makes_takes_every_signal() {
    let daemon = Daemon::start(Place::Plain, &shell("a", "exec sleep 1000", ""));
    daemon.waits_for_state("a", "RUNNING");
    let all = children(daemon.pid);
    assert_eq!(all.len(), 2, "the guardian and the program");
    for pid in all.into_iter().chain([daemon.pid]) {
        within(seconds(5), "no signal is blocked", || (status_field(pid, "SigBlk") == Some(0)).then_some(()));
    }
}
