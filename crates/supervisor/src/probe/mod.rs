//! Asks a program whether it serves.

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

use crate::config::Check;

/// The longest that one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Tries until the check succeeds. `exec` runs a command and says whether it exited with 0.
pub async fn until_ready<F>(check: &Check, interval: Duration, exec: impl Fn(Vec<String>) -> F)
where
    F: Future<Output = bool>,
{
    loop {
        if tokio::time::timeout(TRY_TIMEOUT, succeeds(check, &exec)).await.unwrap_or(false) {
            return;
        }
        tokio::time::sleep(interval).await;
    }
}

async fn succeeds<F: Future<Output = bool>>(check: &Check, exec: &impl Fn(Vec<String>) -> F) -> bool {
    match check {
        Check::Tcp(address) => TcpStream::connect(address).await.is_ok(),
        Check::Unix(path) => UnixStream::connect(path).await.is_ok(),
        Check::Http { address, path } => match TcpStream::connect(address).await {
            Ok(stream) => answers(stream_io(stream), address, path).await,
            Err(_) => false,
        },
        Check::HttpUnix { socket, path } => get_unix(socket, path).await,
        Check::Exec(command) => exec(command.clone()).await,
        Check::Notify => false,
    }
}

async fn get_unix(socket: &Path, path: &str) -> bool {
    match UnixStream::connect(socket).await {
        Ok(stream) => answers(stream_io(stream), "localhost", path).await,
        Err(_) => false,
    }
}

fn stream_io<S>(stream: S) -> TokioIo<S> {
    TokioIo::new(stream)
}

async fn answers(io: impl Read + Write + Unpin + 'static, host: &str, path: &str) -> bool {
    let request =
        Request::get(path).header(HOST, host).header(CONNECTION, "close").body(Empty::<Bytes>::new());
    let (Ok(request), Ok((mut sender, connection))) = (request, http1::handshake(io).await) else {
        return false;
    };
    let connection = tokio::task::spawn_local(connection);
    let answered = sender.send_request(request).await;
    connection.abort();
    answered.is_ok_and(|response| (200..400).contains(&response.status().as_u16()))
}
