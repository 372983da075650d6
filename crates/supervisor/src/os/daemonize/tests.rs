//! A process that leaves, and what whoever started it learns.

use std::fs;
use std::io::Write;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{getppid, getsid};
use stack_tests::within;

use super::*;

/// Starts `daemon` as `main` would, in a process of one thread, and returns the exit code that whoever started it
/// gets; -1 if that one was killed.
fn exit_code(daemon: impl FnOnce()) -> i32 {
    // SAFETY: the thread that is left in the child runs the test's closure and exits.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            _ => -1,
        },
        ForkResult::Child => {
            daemon();
            // SAFETY: the test goes on in its parent.
            unsafe { libc::_exit(99) }
        }
    }
}

#[test]
fn the_daemon_is_alone_once_it_is_up() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = folder.path().join("told");
    let code = exit_code(|| {
        let detached = daemonize().unwrap();
        let worked = Detached::work_in(folder.path());
        detached.up(0o27).unwrap();
        let pid = Pid::this();
        let links = [0, 1, 2].map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
        let text = format!(
            "{pid}\n{}\n{links:?}\n{}\n{}\n{worked:?}\n",
            getsid(None).unwrap() == pid,
            fs::read_link("/proc/self/cwd").unwrap() == folder.path(),
            umask(Mode::empty()).bits() == 0o27,
        );
        let mut file = fs::File::create(folder.path().join("new")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join("told")).unwrap();
        nix::unistd::pause();
    });
    assert_eq!(code, 0);
    let text = within(Duration::from_secs(10), "the daemon tells", || fs::read_to_string(&told).ok());
    let (pid, rest) = text.split_once('\n').unwrap();
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    let here = folder.path().display();
    assert_eq!(
        rest,
        format!(
            "true\n[\"/dev/null\", \"/dev/null\", \"/dev/null\"]\ntrue\ntrue\n\
             Ok(\"set current directory: '{here}'\")\n"
        )
    );
}

#[test]
fn a_daemon_that_ends_before_it_is_up_is_not_taken_for_started() {
    for (ends, expected) in [
        // SAFETY: it is a process of its own.
        ((|| unsafe { libc::_exit(7) }) as fn(), 7),
        (|| kill(Pid::this(), Signal::SIGKILL).unwrap(), EXIT_FAILED),
    ] {
        let code = exit_code(|| {
            let _detached = daemonize().unwrap();
            ends();
        });
        assert_eq!(code, expected);
    }
}

#[test]
fn a_daemon_whose_starter_was_killed_goes_on() {
    let folder = tempfile::TempDir::new().unwrap();
    let told = folder.path().join("told");
    let code = exit_code(|| {
        let detached = daemonize().unwrap();
        let starter = getppid();
        kill(starter, Signal::SIGSTOP).unwrap();
        kill(starter, Signal::SIGTERM).unwrap();
        kill(starter, Signal::SIGCONT).unwrap();
        within(Duration::from_secs(10), "the starter ends", || (getppid() != starter).then_some(()));
        detached.up(0o22).unwrap();
        fs::write(folder.path().join("told"), "").unwrap();
    });
    assert_eq!(code, -1);
    within(Duration::from_secs(10), "the daemon goes on", || told.exists().then_some(()));
}

#[test]
fn a_folder_that_is_missing_is_a_sentence() {
    let said = Detached::work_in(Path::new("/no/such/folder"));
    assert_eq!(said, Err("can't chdir into '/no/such/folder': ENOENT".to_owned()));
}
