//! A supervisord with programs of its own, ours or the genuine one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::free_port;
use crate::poll::within;
use crate::process::Process;
use crate::stack::{target, tools};

/// Which daemon, or which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one of PyPI.
    Genuine,
    /// Ours, built for release.
    Ours,
}

impl Which {
    /// One of its programs.
    #[must_use]
    pub fn program(self, name: &str) -> PathBuf {
        match self {
            Self::Genuine => tools().join("venv/bin").join(name),
            Self::Ours => target().join("release").join(name),
        }
    }
}

/// Who may use a daemon of the tests over TCP.
pub const USER: &str = "operator";
/// His password.
pub const PASSWORD: &str = "pass:word";

/// A running daemon; it stops in order when dropped.
pub struct Supervisord {
    process: Process,
    folder: TempDir,
    which: Which,
    port: u16,
}

impl Supervisord {
    /// Starts it with these sections beside its own, and waits until it listens. `HERE` stands for its folder, in which
    /// these files are, `BIN` for the folder of the clients written in Python. Without Basic auth the unix socket is
    /// open; TCP asks for [`USER`] and [`PASSWORD`].
    #[track_caller]
    pub fn start(which: Which, sections: &str, files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let here = folder.path().display().to_string();
        let bin = tools().join("venv/bin").display().to_string();
        let fill = |text: &str| text.replace("HERE", &here).replace("BIN", &bin);
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::write(&path, fill(text)).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        }
        let config = folder.path().join("supervisord.conf");
        let text = format!(
            "[supervisord]\nlogfile=HERE/supervisord.log\npidfile=HERE/supervisord.pid\nchildlogdir=HERE\nloglevel=debug\n\
             [unix_http_server]\nfile=HERE/supervisor.sock\n\
             [inet_http_server]\nport=127.0.0.1:{port}\nusername={USER}\npassword={PASSWORD}\n\
             [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://HERE/supervisor.sock\n{sections}"
        );
        fs::write(&config, fill(&text)).expect("written");
        let mut process =
            Process::start(Command::new(which.program("supervisord")).args(["-n", "-c"]).arg(config));
        let socket = folder.path().join("supervisor.sock");
        within(Duration::from_secs(20), "the daemon listens", || {
            assert!(process.try_wait().is_none(), "the daemon ended: {:?}", process.lines());
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        Self { process, folder, which, port }
    }

    /// Its port, on the loopback address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("supervisord.conf")
    }

    /// A file in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a file in its folder says, or nothing.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read(self.path(name))
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.read("supervisord.log")
    }

    /// Runs its own supervisorctl with these words.
    pub fn ctl(&self, words: &[&str]) -> Output {
        let mut command = Command::new(self.which.program("supervisorctl"));
        command.arg("-c").arg(self.config()).args(words).output().expect("it runs")
    }

    /// The pid of a program, if it runs.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<i32> {
        let out = self.ctl(&["pid", name]);
        String::from_utf8_lossy(&out.stdout).trim().parse().ok().filter(|pid| *pid != 0)
    }

    /// Waits for what a program does; panics with the log when the time is over.
    #[track_caller]
    pub fn within<T>(&self, limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let mut found = None;
        let deadline = std::time::Instant::now() + limit;
        while found.is_none() {
            found = look();
            if found.is_none() && std::time::Instant::now() > deadline {
                panic!("not within {limit:?}: {what}\n{}", self.log());
            }
            let _ = nix::poll::poll(&mut [], 20_u16);
        }
        found.expect("just found")
    }

    /// Ends it in order.
    #[track_caller]
    pub fn stop(mut self) {
        self.process.signal(nix::sys::signal::Signal::SIGTERM);
        let status = self.process.wait(Duration::from_secs(20));
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}
