//! Calls a daemon, ours or the genuine one, over a unix socket or TCP.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::fault::Fault;
use super::xmlrpc::{self, Value};
use super::{Body, whole};

/// From one try to the next while too many others wait to be accepted.
const BACKLOG_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Why a call got no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The daemon said no.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The address cannot be one.
    #[error("{0}")]
    Address(String),
    /// There is no daemon at the address.
    #[error("cannot connect to {url}: {source}")]
    Connect {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// It answers with another status than 200.
    #[error("status {0}")]
    Status(StatusCode),
    /// It hung up before it had answered.
    #[error("the daemon hung up before it had answered")]
    HungUp,
    /// The daemon wants a name and a password, or others.
    #[error("Server requires authentication")]
    Unauthorized,
    /// It answers, but not as a daemon does.
    #[error("{0}")]
    Protocol(String),
}

/// The port of an `http://` url that names none.
const HTTP_PORT: u16 = 80;

/// Where a daemon is, and who calls.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// `http://host:port` or `unix:///path`.
    pub url: String,
    /// Name and password.
    pub credentials: Option<(String, String)>,
}

enum Address<'a> {
    Unix(&'a str),
    Tcp(String),
}

impl Daemon {
    /// Calls a method and waits for its answer, however long that takes.
    pub async fn call(&self, method: &str, params: &[Value]) -> Result<Value, CallError> {
        let body = xmlrpc::write_call(method, params);
        let request =
            self.request("POST", "/RPC2").header(CONTENT_TYPE, "text/xml").header(ACCEPT, "text/xml");
        let response = self.send(request.body(whole(body))).await?;
        let bytes = response.into_body().collect().await.map_err(broken)?;
        let answer = xmlrpc::parse_response(&bytes.to_bytes());
        Ok(answer.map_err(|error| CallError::Protocol(error.to_string()))??)
    }

    /// Follows a log: gives `piece` whatever comes, until the daemon ends it or `piece` fails.
    pub async fn follow<E: From<CallError>>(
        &self,
        path: &str,
        mut piece: impl AsyncFnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let response = self.send(self.request("GET", path).body(whole(""))).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            // A daemon that goes away in the middle has nothing more to tell: the log ends here.
            let Ok(frame) = frame else { break };
            if let Ok(bytes) = frame.into_data() {
                piece(bytes).await?;
            }
        }
        Ok(())
    }

    fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(USER_AGENT, "supervisorctl");
        match &self.credentials {
            Some((name, password)) => {
                let encoded = BASE64_STANDARD.encode(format!("{name}:{password}"));
                request.header(AUTHORIZATION, format!("Basic {encoded}"))
            }
            None => request,
        }
    }

    async fn send(
        &self,
        request: hyper::http::Result<Request<Body>>,
    ) -> Result<Response<Incoming>, CallError> {
        let request = request.map_err(|error| CallError::Protocol(error.to_string()))?;
        let connect = |source| CallError::Connect { url: self.url.clone(), source };
        let sent = match address(&self.url).map_err(CallError::Address)? {
            Address::Unix(path) => {
                let stream = connect_unix(path).await.map_err(connect)?;
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
                tokio::task::spawn_local(connection);
                sender.send_request(request).await
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(connect)?;
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
                tokio::task::spawn_local(connection);
                sender.send_request(request).await
            }
        };
        let response = sent.map_err(broken)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(CallError::Unauthorized),
            status => Err(CallError::Status(status)),
        }
    }
}

fn broken(error: hyper::Error) -> CallError {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return CallError::HungUp;
    }
    CallError::Protocol(error.to_string())
}

/// Where a url leads, or what the genuine client says of it.
/// A socket whose backlog is full says "try again", where one that may block would wait.
async fn connect_unix(path: &str) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(BACKLOG_PAUSE).await
            }
            done => return done,
        }
    }
}

fn address(url: &str) -> Result<Address<'_>, String> {
    if let Some(path) = url.strip_prefix("unix://") {
        return Ok(Address::Unix(path));
    }
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("Unknown protocol for serverurl {url}"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    if name.is_empty() {
        return Err(format!("no host in serverurl {url}"));
    }
    match port {
        "" => Ok(Address::Tcp(format!("{name}:{HTTP_PORT}"))),
        digits if digits.bytes().all(|c| c.is_ascii_digit()) => match digits.parse::<u16>() {
            Ok(port) => Ok(Address::Tcp(format!("{name}:{port}"))),
            Err(_) => Err("Port out of range 0-65535".to_owned()),
        },
        other => Err(format!("Port could not be cast to integer value as '{other}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_socket_or_is_refused_in_words() {
        for (url, expected) in [
            ("unix:///run/s.sock", Ok("unix /run/s.sock")),
            ("http://localhost:9001", Ok("tcp localhost:9001")),
            ("http://localhost:9001/", Ok("tcp localhost:9001")),
            ("http://host", Ok("tcp host:80")),
            ("http://[::1]:7", Ok("tcp [::1]:7")),
            ("http://[::1]", Ok("tcp [::1]:80")),
            ("ftp://x", Err("Unknown protocol for serverurl ftp://x")),
            ("unix:/run/s.sock", Err("Unknown protocol for serverurl unix:/run/s.sock")),
            ("http://h:99999", Err("Port out of range 0-65535")),
            ("http://h:x", Err("Port could not be cast to integer value as 'x'")),
            ("http://:1", Err("no host in serverurl http://:1")),
        ] {
            let found = address(url).map(|address| match address {
                Address::Unix(path) => format!("unix {path}"),
                Address::Tcp(address) => format!("tcp {address}"),
            });
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{url}");
        }
    }
}
