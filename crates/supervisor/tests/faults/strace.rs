//! System calls of the daemon that fail or last, by `strace`'s injection.

use std::process::{Child, Command, Stdio};

use stack_tests::within;

use crate::daemon::{Daemon, seconds, status_field};

/// While it lives, the daemon's loop meets what is injected.
pub(crate) struct Injection(Child);

impl Injection {
    /// Injects into calls that `filter` chooses, such as `-e trace=write -P file`.
    #[track_caller]
    pub(crate) fn start(daemon: &Daemon, filter: &[&str], inject: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(["-o", "/dev/null", "-p", &daemon.pid.to_string()]).args(filter);
        command.args(["-e", &format!("inject={inject}")]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let pid = daemon.pid;
        within(seconds(10), "strace is attached", || {
            (status_field(pid, "TracerPid") != Some(0)).then_some(())
        });
        Self(child)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It lets go of the daemon.
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        let _ = self.0.wait();
    }
}
