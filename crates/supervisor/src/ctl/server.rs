//! Answers clients over HTTP; every call goes to the daemon's loop and waits for its answer.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::fault::Fault;
use super::method::{Call, Channel};
use super::xmlrpc::{self, Value};
use super::{Body, follow, whole};

/// What the server grants its clients.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time; more wait to be accepted.
    pub connections_max: usize,
    /// Bytes of one call; more are refused with 413.
    pub body_bytes_max: usize,
    /// How long a request may take to arrive.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 256, body_bytes_max: 1 << 20, request_timeout: Duration::from_secs(30) }
    }
}

/// Who may call; compared as supervisord compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// What the loop answers.
pub type Answer = Result<Value, Fault>;
/// A call on its way to the loop.
pub type Pending = (Call, oneshot::Sender<Answer>);

/// Serves until the task is dropped.
pub async fn serve(
    listener: UnixListener,
    credentials: Option<Credentials>,
    limits: Limits,
    calls: mpsc::Sender<Pending>,
) {
    let places = Rc::new(Semaphore::new(limits.connections_max));
    let context = Rc::new(Context { credentials, limits, calls });
    loop {
        let Ok(place) = Rc::clone(&places).acquire_owned_rc().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("cannot accept a control connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let context = Rc::clone(&context);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let context = Rc::clone(&context);
                async move { Ok::<_, Infallible>(context.answer(request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(context.limits.request_timeout)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                log::debug!("a control connection ended: {error}");
            }
            drop(place);
        });
    }
}

/// `acquire_owned` for a semaphore that never leaves its thread.
trait AcquireRc {
    async fn acquire_owned_rc(self) -> Result<Place, tokio::sync::AcquireError>;
}

struct Place(Rc<Semaphore>);

impl AcquireRc for Rc<Semaphore> {
    async fn acquire_owned_rc(self) -> Result<Place, tokio::sync::AcquireError> {
        self.acquire().await?.forget();
        Ok(Place(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

struct Context {
    credentials: Option<Credentials>,
    limits: Limits,
    calls: mpsc::Sender<Pending>,
}

impl Context {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if !self.authorized(&request) {
            let mut response = plain(StatusCode::UNAUTHORIZED, "Unauthorized\n");
            let realm = HeaderValue::from_static("Basic realm=\"default\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
            return response;
        }
        let path = request.uri().path().to_owned();
        match *request.method() {
            Method::POST if path.starts_with("/RPC2") => self.rpc(request).await,
            Method::GET if path == "/mainlogtail" => self.log_tail(None, Channel::Stdout).await,
            Method::GET if path.starts_with("/logtail/") => match log_tail_path(&path) {
                Some((name, channel)) => self.log_tail(Some(name), channel).await,
                None => plain(StatusCode::NOT_FOUND, "Not Found\n"),
            },
            _ if path.starts_with("/RPC2") || path.starts_with("/logtail") || path == "/mainlogtail" => {
                plain(StatusCode::BAD_REQUEST, "Bad Request\n")
            }
            _ => plain(StatusCode::NOT_FOUND, "Not Found\n"),
        }
    }

    fn authorized(&self, request: &Request<Incoming>) -> bool {
        let Some(expected) = &self.credentials else { return true };
        let given = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
            .and_then(|encoded| BASE64_STANDARD.decode(encoded.trim()).ok());
        let wanted = format!("{}:{}", expected.username, expected.password);
        given.is_some_and(|given| equal(&given, wanted.as_bytes()))
    }

    async fn rpc(&self, request: Request<Incoming>) -> Response<Body> {
        let body = Limited::new(request.into_body(), self.limits.body_bytes_max).collect();
        let body = match tokio::time::timeout(self.limits.request_timeout, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large\n");
            }
            Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "Bad Request\n"),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "Request Timeout\n"),
        };
        let call = match xmlrpc::parse_call(&body) {
            Ok(call) => call,
            Err(error) => {
                log::debug!("a control request is refused: {error}");
                return plain(StatusCode::BAD_REQUEST, "Bad Request\n");
            }
        };
        let answer = match Call::parse(call) {
            Ok(call) => match self.call(call).await {
                Some(answer) => answer,
                None => return plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n"),
            },
            Err(fault) => Err(fault),
        };
        let mut response = Response::new(whole(xmlrpc::write_response(&answer)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        response
    }

    async fn call(&self, call: Call) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.calls.send((call, answer)).await.ok()?;
        answered.await.ok()
    }

    async fn log_tail(&self, name: Option<String>, channel: Channel) -> Response<Body> {
        match self.call(Call::LogPath { channel, name }).await {
            Some(Ok(Value::Text(path))) => {
                let mut response = Response::new(follow::body(path.into()));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
                response
            }
            _ => plain(StatusCode::NOT_FOUND, "Not Found\n"),
        }
    }
}

/// `/logtail/NAME/stdout` and `/logtail/NAME/stderr`, where NAME may be percent-encoded.
fn log_tail_path(path: &str) -> Option<(String, Channel)> {
    let (name, channel) = path.strip_prefix("/logtail/")?.trim_end_matches('/').rsplit_once('/')?;
    let channel = match channel {
        "stdout" => Channel::Stdout,
        "stderr" => Channel::Stderr,
        _ => return None,
    };
    let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
    Some((name.into_owned(), channel))
}

/// Compares in a time that depends on the lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
