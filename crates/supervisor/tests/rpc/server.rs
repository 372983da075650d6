//! The server alone, before a loop of the test.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use supervisor::ctl::method::Call;
use supervisor::ctl::server::{Credentials, Limits, Pending, Places, Scope, serve};
use supervisor::ctl::xmlrpc::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::wire::{ask, connect, millis, request};

/// The server alone, with limits that a test can wait for, before a loop that answers `getPID` and nothing else.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    /// Names of programs whose start is asked for, and never answered.
    pub(crate) asked: mpsc::Receiver<String>,
    /// Of those, the ones whose clients have left since.
    pub(crate) left: mpsc::Receiver<String>,
    pub(crate) port: u16,
    _end: oneshot::Sender<()>,
}

impl Server {
    pub(crate) fn start(limits: Limits, credentials: Option<Credentials>) -> Self {
        let folder = TempDir::new().unwrap();
        let (socket, log) = (folder.path().join("s"), folder.path().join("log"));
        let (asks, asked) = mpsc::channel();
        let (leaves, left) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let (ports, port) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let (calls, mut pending) = tokio::sync::mpsc::channel::<Pending>(4);
                let unix = tokio::net::UnixListener::bind(socket).unwrap();
                let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ports.send(tcp.local_addr().unwrap().port()).unwrap();
                tokio::task::spawn_local(serve(
                    unix,
                    None,
                    Scope::Control,
                    Places::new(limits),
                    calls.clone(),
                ));
                tokio::task::spawn_local(serve(tcp, credentials, Scope::Control, Places::new(limits), calls));
                tokio::task::spawn_local(async move {
                    while let Some((call, mut answer)) = pending.recv().await {
                        match call {
                            Call::GetPid => drop(answer.send(Ok(Value::Int(7)))),
                            // Whoever cannot wait does not see it.
                            Call::GetState => drop(tokio::task::spawn_local(async move {
                                tokio::time::sleep(millis(300)).await;
                                let _ = answer.send(Ok("late".into()));
                            })),
                            Call::ReadLog { .. } => drop(answer.send(Ok("x".repeat(4 << 20).into()))),
                            Call::LogPath { name: None, .. } => {
                                drop(answer.send(Ok(log.display().to_string().into())));
                            }
                            Call::StartProcess { name, .. } => {
                                let leaves = leaves.clone();
                                asks.send(name.clone()).unwrap();
                                tokio::task::spawn_local(async move {
                                    answer.closed().await;
                                    let _ = leaves.send(name);
                                });
                            }
                            _ => {}
                        }
                    }
                });
                let _ = ended.await;
            });
        });
        let port = port.recv().unwrap();
        Self { folder, asked, left, port, _end: end }
    }

    pub(crate) fn connect(&self) -> UnixStream {
        connect(&self.folder.path().join("s"))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    #[track_caller]
    pub(crate) fn pid_is_told(&self) {
        let answer = ask(&mut self.connect(), &request("supervisor.getPID", &[]));
        assert!(answer.contains("<int>7</int>"), "{answer}");
    }
}
