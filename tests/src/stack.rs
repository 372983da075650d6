//! The whole stack, as `make up` starts it, on ports and in folders of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::client::{Answer, free_port, request};
use crate::poll::within;
use crate::process::Process;

/// A running stack; it stops in order when dropped.
pub struct Stack {
    process: Process,
    folder: TempDir,
    port: u16,
}

/// The token that every stack of the tests is published to with.
pub const TOKEN: &str = "token-of-the-tests";

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// Where `tests/tools/prepare.sh` puts clients.
pub fn tools() -> PathBuf {
    target().join("test-tools")
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

impl Stack {
    /// Starts nginx, sse-server and supervisord, and waits until they serve.
    #[track_caller]
    pub fn start(env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let port = free_port();
        let path = |name: &str| folder.path().join(name);
        let mut command = Command::new("make");
        command.arg("--no-print-directory").arg("up").current_dir(repository());
        // Neither the make that runs the tests nor the developer's settings decide what is tested.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("SSE_") || name.starts_with("MAKE")) {
                command.env_remove(name);
            }
        }
        command.env("PORT", port.to_string()).env("SSE_PUBLISH_TOKEN", TOKEN);
        command.env("RUN_DIR", path("run")).env("LOG_DIR", path("logs")).env("DATA_DIR", path("data"));
        command.envs(env.iter().copied());
        let mut process = Process::start(&mut command);
        let ready = format!("ready: http://localhost:{port}");
        // The first one may have to build it.
        within(Duration::from_secs(600), "the stack is ready", || {
            if process.lines().contains(&ready) {
                return Some(());
            }
            assert!(process.try_wait().is_none(), "make up ended: {}", process.lines().join("\n"));
            None
        });
        Self { process, folder, port }
    }

    /// The port of nginx.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with its `run`, `logs` and `data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The stack's origin, as a browser sees it.
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// What `make up` printed.
    pub fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// A log file's text.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("logs").join(name)).unwrap_or_default()
    }

    /// Where the control socket is.
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("run/supervisor.sock")
    }

    /// Our supervisorctl, or the genuine one.
    pub fn supervisorctl(&self, genuine: bool, words: &[&str]) -> Output {
        let program = if genuine {
            tools().join("venv/bin/supervisorctl")
        } else {
            target().join("release/supervisorctl")
        };
        let url = format!("unix://{}", self.control().display());
        Command::new(program).arg("-s").arg(url).args(words).output().expect("supervisorctl runs")
    }

    /// The pid of a program, or with `""` of supervisord; 0 if it has none.
    #[track_caller]
    pub fn pid(&self, program: &str) -> i32 {
        let words: Vec<&str> = ["pid", program].into_iter().filter(|word| !word.is_empty()).collect();
        let out = String::from_utf8(self.supervisorctl(false, &words).stdout).expect("UTF-8");
        out.trim().parse().unwrap_or_else(|_| panic!("supervisorctl pid {program} said {out:?}"))
    }

    /// Publishes, and returns the answer.
    #[track_caller]
    pub fn publish_as(&self, content_type: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("Content-Type", content_type), ("Authorization", authorization.as_str())];
        request(self.port, "POST", "/sse/publish", &headers, body)
    }

    /// Publishes JSON with success, and returns the answer's value.
    #[track_caller]
    pub fn publish(&self, body: &str) -> serde_json::Value {
        let answer = self.publish_as("application/json", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Publishes a file of NDJSON with curl, as a user would.
    #[track_caller]
    pub fn publish_with_curl(&self, lines: &str) -> serde_json::Value {
        let file = self.folder.path().join("batch.ndjson");
        fs::write(&file, lines).expect("written");
        let out = Command::new("curl")
            .args(["-sS", "-H", "Content-Type: application/x-ndjson", "-H"])
            .arg(format!("Authorization: Bearer {TOKEN}"))
            .arg("--data-binary")
            .arg(format!("@{}", file.display()))
            .arg(format!("{}/sse/publish", self.origin()))
            .output()
            .expect("curl runs");
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("curl: {out:?}"))
    }

    /// `/sse/health`, through nginx.
    #[track_caller]
    pub fn health(&self) -> serde_json::Value {
        serde_json::from_str(&request(self.port, "GET", "/sse/health", &[], "").body).expect("JSON")
    }

    /// Stops as Ctrl-C does, and returns the exit code of supervisord, as make tells it, and the time it took.
    #[track_caller]
    pub fn stop(&mut self) -> (bool, Duration) {
        let supervisord = self.pid("");
        let began = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisord), Signal::SIGTERM)
            .expect("it is there");
        let status = self.process.wait(Duration::from_secs(20));
        (status.success(), began.elapsed())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // make does not pass signals on, and the recipe is supervisord itself.
        let pid = fs::read_to_string(self.folder.path().join("run/supervisord.pid"));
        if let Some(pid) = pid.ok().and_then(|pid| pid.trim().parse().ok())
            && self.process.try_wait().is_none()
        {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.process.try_wait().is_none() {
                if Instant::now() > deadline {
                    // Its guardian ends the programs.
                    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
                    break;
                }
                let _ = nix::poll::poll(&mut [], 5_u16);
            }
        }
    }
}
