//! The two Python servers: a queue for each client, as such applications are written.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use stack_tests::{free_port, tools};

use super::{Family, Needs, Server};

/// A running one.
pub(super) struct Python(Family);

impl Python {
    /// What the stack replaces.
    pub(super) fn gunicorn(needs: &Needs) -> anyhow::Result<Self> {
        fs::write(needs.folder.join("flask_app.py"), include_str!("flask_app.py"))?;
        let (port, connections) = (free_port(), (needs.streams + 1000).to_string());
        let mut command = Command::new(installed("gunicorn")?);
        command.args(["--worker-class", "eventlet", "--workers", "1", "--worker-connections", &connections]);
        command.args([
            "--backlog",
            "4096",
            "--keep-alive",
            "75",
            "--timeout",
            "300",
            "--log-level",
            "warning",
        ]);
        command.args(["--bind", &format!("127.0.0.1:{port}"), "flask_app:app"]);
        command.current_dir(&needs.folder);
        Ok(Self(Family::start(command, &needs.folder, port, 2)?))
    }

    /// The asynchronous one.
    pub(super) fn uvicorn(needs: &Needs) -> anyhow::Result<Self> {
        fs::write(needs.folder.join("starlette_app.py"), include_str!("starlette_app.py"))?;
        let port = free_port();
        let mut command = Command::new(installed("uvicorn")?);
        command.args(["--port", &port.to_string(), "--backlog", "4096", "--timeout-keep-alive", "75"]);
        command.args(["--log-level", "warning", "--no-access-log", "starlette_app:app"]);
        command.current_dir(&needs.folder);
        Ok(Self(Family::start(command, &needs.folder, port, 1)?))
    }
}

fn installed(name: &str) -> anyhow::Result<PathBuf> {
    let path = tools().join("push-peers/bin").join(name);
    if !path.exists() {
        bail!("{} is not there: run tests/tools/bench-push-peers.sh", path.display());
    }
    path.canonicalize().map(|_| path).context("cannot find it")
}

impl Server for Python {
    fn port(&self) -> u16 {
        self.0.port
    }

    fn pids(&self) -> Vec<i32> {
        self.0.pids()
    }
}
