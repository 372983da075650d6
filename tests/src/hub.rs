//! sse-server alone, on a port of its own, that can be killed and started again on the same folder.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Answer, free_port, request};
use crate::poll::within;
use crate::stack::{TOKEN, target};

/// How long a start may take: it may have to read a long history.
const START_MAX: Duration = Duration::from_secs(60);

/// How to run it.
#[derive(Debug, Clone)]
pub struct HubPlan {
    /// `DATA_DIR`.
    pub data: PathBuf,
    /// More settings; they win over those that a load needs.
    pub env: Vec<(String, String)>,
    /// The bytes of a file system of its own that is put over `DATA_DIR`, if it gets one.
    pub disk_bytes: Option<u64>,
}

impl HubPlan {
    /// On this folder, with settings that let any load in.
    pub fn new(data: &Path, env: &[(&str, &str)]) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { data: data.to_owned(), env, disk_bytes: None }
    }
}

/// A running sse-server. It is killed when dropped.
pub struct Hub {
    plan: HubPlan,
    port: u16,
    child: Child,
    started: Instant,
}

impl Hub {
    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub fn start(plan: HubPlan) -> Self {
        let port = free_port();
        let mut hub = Self { child: spawn(&plan, port), plan, port, started: Instant::now() };
        hub.ready();
        hub
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a crash does. It must not have ended by itself.
    #[track_caller]
    pub fn kill(&mut self) {
        let ended = self.child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "sse-server ended with {ended:?}: {}", self.said());
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again on the same folder and port, without waiting for it.
    pub fn restart(&mut self) {
        self.child = spawn(&self.plan, self.port);
        self.started = Instant::now();
    }

    /// Waits until it accepts connections, and returns how long that took since its start.
    #[track_caller]
    pub fn listening(&mut self) -> Duration {
        self.starting("it listens", |hub| TcpStream::connect(("127.0.0.1", hub.port)).ok().map(drop))
    }

    /// Waits until it is ready, and returns how long that took since its start.
    #[track_caller]
    pub fn ready(&mut self) -> Duration {
        self.listening();
        self.starting("it is ready", |hub| (hub.ask("/sse/health/ready").status == 200).then_some(()))
    }

    #[track_caller]
    fn starting(&mut self, what: &str, mut done: impl FnMut(&Self) -> Option<()>) -> Duration {
        within(START_MAX, what, || {
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "sse-server ended with {ended:?}: {}", self.said());
            done(self)
        });
        self.started.elapsed()
    }

    /// What it wrote to stderr, over all its starts.
    pub fn said(&self) -> String {
        fs::read_to_string(self.plan.data.with_extension("err")).unwrap_or_default()
    }

    /// The answer to a GET.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Answer {
        request(self.port, "GET", path, &[], "")
    }

    /// `/sse/health`.
    #[track_caller]
    pub fn health(&self) -> serde_json::Value {
        serde_json::from_str(&self.ask("/sse/health").body).expect("JSON")
    }

    /// The answer to a publish.
    #[track_caller]
    pub fn publish(&self, body: &str) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("Content-Type", "application/json"), ("Authorization", authorization.as_str())];
        request(self.port, "POST", "/sse/publish", &headers, body)
    }

    /// `DATA_DIR` as the server sees it: what was put over it is invisible to everybody else.
    pub fn data(&self) -> PathBuf {
        let inside = format!("/proc/{}/root{}", self.pid(), self.plan.data.display());
        if self.plan.disk_bytes.is_some() { inside.into() } else { self.plan.data.clone() }
    }

    /// Its share of the memory in KiB (`Pss` of `smaps_rollup`).
    pub fn pss_kib(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(plan: &HubPlan, port: u16) -> Child {
    fs::create_dir_all(&plan.data).expect("the folder can be made");
    let server = target().join("release/sse-server");
    assert!(server.exists(), "{} is missing: make release", server.display());
    let mut command = match plan.disk_bytes {
        None => Command::new(&server),
        Some(bytes) => {
            // Its own mount namespace: the file system goes when the server does.
            let mut command = Command::new("unshare");
            if fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
                command.arg("--map-root-user");
            }
            let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"$DATA_DIR\" && exec \"$0\" \"$@\"");
            command.args(["--mount", "sh", "-c"]).arg(script).arg(&server);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("SSE_")) {
            command.env_remove(name);
        }
    }
    let said = File::options().create(true).append(true).open(plan.data.with_extension("err"));
    command
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .env("DATA_DIR", &plan.data)
        .env("SSE_PUBLISH_TOKEN", TOKEN)
        .env("SSE_MAX_CONNECTIONS", "10000")
        .env("SSE_MAX_CONNECTIONS_PER_IP", "0")
        .env("SSE_PUBLISH_RATE", "0")
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.expect("a file"))
        .spawn()
        .expect("sse-server starts")
}
