//! Calls a daemon, ours or the genuine one, over a unix socket or TCP.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::fault::Fault;
use super::xmlrpc::{self, Value};
use super::{Body, whole};

/// Why a call got no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The daemon said no.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// There is no daemon at the address.
    #[error("cannot connect to {url}: {source}")]
    Connect {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The daemon wants a name and a password, or others.
    #[error("Server requires authentication")]
    Unauthorized,
    /// It answers, but not as a daemon does.
    #[error("{0}")]
    Protocol(String),
}

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
    /// Whether the address can be one.
    #[must_use]
    pub fn is_address(url: &str) -> bool {
        address(url).is_some()
    }

    /// Calls a method and waits for its answer, however long that takes.
    pub async fn call(&self, method: &str, params: &[Value]) -> Result<Value, CallError> {
        let body = xmlrpc::write_call(method, params);
        let request =
            self.request("POST", "/RPC2").header(CONTENT_TYPE, "text/xml").header(ACCEPT, "text/xml");
        let response = self.send(request.body(whole(body))).await?;
        let bytes =
            response.into_body().collect().await.map_err(|error| CallError::Protocol(error.to_string()))?;
        let answer = xmlrpc::parse_response(&bytes.to_bytes());
        Ok(answer.map_err(|error| CallError::Protocol(error.to_string()))??)
    }

    /// Follows a log: gives `piece` whatever comes, until the daemon ends it.
    pub async fn follow(&self, path: &str, mut piece: impl FnMut(&[u8])) -> Result<(), CallError> {
        let response = self.send(self.request("GET", path).body(whole(""))).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| CallError::Protocol(error.to_string()))?;
            if let Some(bytes) = frame.data_ref() {
                piece(bytes);
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
        let protocol = |error: &dyn std::fmt::Display| CallError::Protocol(error.to_string());
        let request = request.map_err(|error| protocol(&error))?;
        let connect = |source| CallError::Connect { url: self.url.clone(), source };
        let sent = match address(&self.url).ok_or_else(|| protocol(&"url must be http:// or unix://"))? {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connect)?;
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.map_err(|error| protocol(&error))?;
                tokio::task::spawn_local(connection);
                sender.send_request(request).await
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(connect)?;
                let (mut sender, connection) =
                    http1::handshake(TokioIo::new(stream)).await.map_err(|error| protocol(&error))?;
                tokio::task::spawn_local(connection);
                sender.send_request(request).await
            }
        };
        let response = sent.map_err(|error| protocol(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(CallError::Unauthorized),
            status => Err(CallError::Protocol(format!("{} answered {status}", self.url))),
        }
    }
}

fn address(url: &str) -> Option<Address<'_>> {
    if let Some(path) = url.strip_prefix("unix://") {
        return (!path.is_empty()).then_some(Address::Unix(path));
    }
    let host = url.strip_prefix("http://")?.trim_end_matches('/');
    match host.rsplit_once(':') {
        _ if host.is_empty() || host.contains('/') => None,
        Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => {
            Some(Address::Tcp(host.to_owned()))
        }
        Some(_) => None,
        None => Some(Address::Tcp(format!("{host}:80"))),
    }
}
