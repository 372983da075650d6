//! Asks supervisord how its programs are, over a socket that answers this and nothing else.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long supervisord may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of its answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

const REQUEST: &[u8] = b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n";

/// A program of supervisord's, in its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The group that it belongs to.
    pub group: String,
    /// `RUNNING`, `FATAL` and the like.
    pub state: String,
    /// Its pid and uptime, or why it does not run.
    pub description: String,
    /// Whether its readiness check has succeeded; none if it has no such check.
    pub ready: Option<bool>,
    /// The last lines of its standard output.
    pub stdout: Vec<String>,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
}

#[derive(Deserialize)]
struct Status {
    programs: Vec<Program>,
}

/// Why nothing is known of the programs.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// Nobody said whom to ask.
    #[error(
        "SSE_SUPERVISOR_SOCKET is not set: it names the socket of a section of supervisord's configuration \
         that has `status_only = true`, such as [unix_http_server.status]"
    )]
    NoSocket,
    /// Nobody answers there.
    #[error("supervisord cannot be asked at {path} (SSE_SUPERVISOR_SOCKET): {source}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What answers there is something else.
    #[error(
        "what answers at {path} (SSE_SUPERVISOR_SOCKET) is no socket of supervisord with `status_only = true`"
    )]
    NotStatus {
        /// The socket.
        path: PathBuf,
    },
}

/// The programs, as they are.
pub async fn ask(socket: Option<&Path>) -> Result<Vec<Program>, Unknown> {
    let path = socket.ok_or(Unknown::NoSocket)?;
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, answer(path)).await;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {ANSWER_TIMEOUT:?}"));
    let unreachable = |source| Unknown::Unreachable { path: path.to_owned(), source };
    let answer = answered.unwrap_or_else(|_| Err(late())).map_err(unreachable)?;
    match split(&answer) {
        Some(("503", _)) => Err(unreachable(io::Error::other("it is ending"))),
        Some(("200", body)) => {
            let status: Option<Status> = serde_json::from_slice(body).ok();
            status.map(|status| status.programs).ok_or_else(|| Unknown::NotStatus { path: path.to_owned() })
        }
        _ => Err(Unknown::NotStatus { path: path.to_owned() }),
    }
}

async fn answer(path: &Path) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(REQUEST).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The status code and the body of an answer.
fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((code, &answer[head_end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_cut_at_its_head() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}", Some(("200", &b"{}"[..]))),
            ("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n", Some(("404", b""))),
            ("HTTP/1.0 200 OK\r\nA: b\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(split(answer.as_bytes()), expected, "{answer:?}");
        }
    }
}
