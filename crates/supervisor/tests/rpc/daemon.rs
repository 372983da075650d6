//! The real daemon.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;
use supervisor::ctl::xmlrpc::{self, Value};
use tempfile::TempDir;

use crate::wire::{ask, connect, request, seconds};

/// A running daemon in a folder of its own; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
}

impl Daemon {
    #[track_caller]
    pub(crate) fn start(programs: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = format!(
            "[supervisord]\nlogfile = \"%(here)s/s.log\"\npidfile = \"%(here)s/s.pid\"\n\
             [unix_http_server]\nfile = \"%(here)s/s.sock\"\n{programs}\n"
        );
        fs::write(folder.path().join("s.toml"), text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_supervisord"))
            .args(["-n", "-c"])
            .arg(folder.path().join("s.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { child, folder };
        within(seconds(10), "the daemon listens", || UnixStream::connect(daemon.socket()).ok());
        within(seconds(10), "every program that starts has a process", || {
            let all = daemon.call("supervisor.getAllProcessInfo", &[]).ok()?;
            let number = |info: &Value, name| info.member(name).and_then(Value::int);
            let on_its_way =
                |info: &Value| number(info, "state") == Some(10) && number(info, "pid") == Some(0);
            (!all.items().iter().any(on_its_way)).then_some(())
        });
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    pub(crate) fn connect(&self) -> UnixStream {
        connect(&self.socket())
    }

    #[track_caller]
    pub(crate) fn call(&self, method: &str, params: &[Value]) -> Result<Value, i32> {
        let answer = ask(&mut self.connect(), &request(method, params));
        let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method}: {answer}")).1;
        xmlrpc::parse_response(body.as_bytes()).unwrap().map_err(|fault| fault.code)
    }

    /// How long `supervisorctl status` takes, which must succeed.
    #[track_caller]
    pub(crate) fn status(&self) -> Duration {
        let began = Instant::now();
        let url = format!("unix://{}", self.socket().display());
        let ctl = Command::new(env!("CARGO_BIN_EXE_supervisorctl")).arg("-s").arg(url).arg("status").output();
        let ctl = ctl.unwrap();
        assert_eq!(ctl.status.code(), Some(0), "{}", String::from_utf8_lossy(&ctl.stdout));
        began.elapsed()
    }

    /// How often it has been woken.
    pub(crate) fn wake_ups(&self) -> u64 {
        self.figure("voluntary_ctxt_switches:")
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        self.figure("VmRSS:")
    }

    fn figure(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
            let _ = self.child.wait();
        }
    }
}

pub(crate) const SLEEPER: &str = "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n";
