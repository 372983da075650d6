//! The binary on a port of its own, for the tests beside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stack_tests::{Answer, Connection, Process, request, within};
use tempfile::TempDir;

const TOKEN: &str = "the-token";

pub(crate) struct Server {
    pub(crate) process: Process,
    folder: TempDir,
    port: u16,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        Self::start_in(TempDir::new().unwrap(), env)
    }

    /// On a folder that another one has left.
    #[track_caller]
    pub(crate) fn start_in(folder: TempDir, env: &[(&str, &str)]) -> Self {
        let socket = format!("unix:{}", folder.path().join("sse-server.sock").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-server"));
        command.env_clear().env("DATA_DIR", folder.path()).env("SSE_PUBLISH_TOKEN", TOKEN);
        command.envs(env.iter().copied()).args(["--listen", "0.0.0.0:0", "--listen", &socket]);
        let process = Process::start(&mut command);
        let port = within(Duration::from_secs(10), "the port is told", || {
            let lines = process.lines();
            let port = lines.iter().find_map(|line| Some(line.split_once("listening on 0.0.0.0:")?.1));
            port.and_then(|port| port.trim().parse().ok())
        });
        Self { process, folder, port }
    }

    /// Kills it as a crash does, and starts another in its folder.
    #[track_caller]
    pub(crate) fn crash_and_start(self, env: &[(&str, &str)]) -> Self {
        let Self { process, folder, .. } = self;
        process.signal(nix::sys::signal::Signal::SIGKILL);
        drop(process);
        Self::start_in(folder, env)
    }

    /// Its own folder, which goes with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The unix socket, which nginx would come over.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("sse-server.sock")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The same server, asked through another port.
    pub(crate) fn behind(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Without a token.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        request(self.port, method, path, &[], "")
    }

    /// With the token.
    #[track_caller]
    pub(crate) fn operate(&self, method: &str, path: &str) -> Answer {
        request(self.port, method, path, &[("Authorization", &format!("Bearer {TOKEN}"))], "")
    }

    /// Posts JSON with the token.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        request(self.port, "POST", path, &headers, body)
    }

    /// A stream, greeted; and its id.
    #[track_caller]
    pub(crate) fn stream(&self, path: &str) -> (Connection, String) {
        let mut connection = Connection::open([127, 0, 0, 1], self.port).unwrap();
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: tests\r\n\r\n").as_bytes());
        let seen = connection.until("}\n\n\r\n");
        let id = seen.split_once("\"connection_id\":\"").unwrap().1[..16].to_owned();
        (connection, id)
    }

    #[track_caller]
    pub(crate) fn health(&self) -> Value {
        serde_json::from_str(&self.ask("GET", "/sse/health").body).unwrap()
    }
}

/// An error answer, whole.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, title: &str, detail: &str) {
    let detail = Value::from(detail);
    let body =
        format!("{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":{detail}}}");
    assert_eq!((answer.status, answer.body.as_str()), (status, body.as_str()));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
}
