//! One try of a check: asks a program once, and says in a sentence what was wrong with the answer.

use std::path::Path;
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use crate::config::Check;
use crate::program::Exit;

/// The command of a check while it runs. Dropped before its end, it is cancelled.
pub struct Running {
    exited: oneshot::Receiver<Exit>,
    cancel: Option<Box<dyn FnOnce()>>,
}

impl Running {
    /// A command whose end `exited` tells; `cancel` kills it, and is called at most once and not after its end.
    pub fn new(exited: oneshot::Receiver<Exit>, cancel: impl FnOnce() + 'static) -> Self {
        Self { exited, cancel: Some(Box::new(cancel)) }
    }

    async fn exit(mut self) -> Option<Exit> {
        let exit = (&mut self.exited).await;
        self.cancel = None;
        exit.ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}

/// Asks once. Nothing of the try is left when this returns or is dropped.
pub(super) async fn attempt<F>(
    check: &Check,
    timeout: Duration,
    exec: &impl Fn(Vec<String>) -> F,
) -> Result<(), String>
where
    F: Future<Output = Result<Running, String>>,
{
    let why = match tokio::time::timeout(timeout, ask(check, exec)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => {
            let verb = if matches!(check, Check::Exec(_)) { "end" } else { "answer" };
            format!("did not {verb} within {} s", timeout.as_secs_f64())
        }
    };
    Err(format!("{} {why}", label(check)))
}

/// The check in the words of the configuration.
fn label(check: &Check) -> String {
    match check {
        Check::Http { address, path } => format!("http http://{address}{path}"),
        Check::HttpUnix { socket, path } => format!("http http+unix://{}:{path}", socket.display()),
        Check::Tcp(address) => format!("tcp {address}"),
        Check::Unix(path) => format!("unix {}", path.display()),
        Check::Exec(command) => format!("exec {}", command.join(" ")),
        Check::Notify => "notify".to_owned(),
    }
}

async fn ask<F>(check: &Check, exec: &impl Fn(Vec<String>) -> F) -> Result<(), String>
where
    F: Future<Output = Result<Running, String>>,
{
    match check {
        Check::Tcp(address) => tcp(address).await.map(drop),
        Check::Unix(path) => unix(path).await.map(drop),
        Check::Http { address, path } => get(TokioIo::new(tcp(address).await?), address, path).await,
        Check::HttpUnix { socket, path } => get(TokioIo::new(unix(socket).await?), "localhost", path).await,
        Check::Exec(command) => {
            let running = exec(command.clone()).await.map_err(|why| format!("cannot run: {why}"))?;
            match running.exit().await {
                Some(exit) if exit.status() == 0 => Ok(()),
                Some(exit) => Err(format!("ended with {exit}")),
                None => Err("was given up".to_owned()),
            }
        }
        // It is told, not asked for.
        Check::Notify => std::future::pending().await,
    }
}

async fn tcp(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("cannot be reached: {error}"))
}

async fn unix(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).await.map_err(|error| format!("cannot be reached: {error}"))
}

async fn get(io: impl Read + Write + Unpin, host: &str, path: &str) -> Result<(), String> {
    let request = Request::get(path).header(HOST, host).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| format!("cannot be asked: {error}"))?;
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    // Both in this task, so that the connection ends with it.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ended = connection => answer.await,
    };
    let status = answer.map_err(broken)?.status().as_u16();
    if (200..400).contains(&status) { Ok(()) } else { Err(format!("answered {status}")) }
}

fn broken(error: hyper::Error) -> String {
    if error.is_parse() {
        "did not answer with HTTP".to_owned()
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "closed the connection without an answer".to_owned()
    } else {
        format!("broke off: {error}")
    }
}
