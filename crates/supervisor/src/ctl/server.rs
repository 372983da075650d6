//! Answers clients over HTTP; every call goes to the daemon's loop and waits for its answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LAST_MODIFIED, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};

pub use super::auth::Credentials;
use super::fault::{Fault, FaultCode};
use super::guarded::Guarded;
use super::method::{Call, Channel};
use super::reply::{self, Reply};
use super::seats::{Phase, Seat, Seats};
use super::xmlrpc::{self, MethodCall, Results, Value};
use super::{follow, help, multicall, status};

/// What a listener grants its clients.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time. When all places are taken, the one whose request has been on its way longest gives
    /// way; if there is none, the one that has been idle longest; then the oldest follower of a log; then the call
    /// that has been waiting longest.
    pub connections_max: usize,
    /// Connections at one time that have not yet sent a request, or one with the right password.
    pub unknown_connections_max: usize,
    /// How long a connection keeps its place at least.
    pub settle_time: Duration,
    /// Bytes of the head of a request; more are refused with 431. Pipelined requests are read by as much.
    pub head_bytes_max: usize,
    /// Header fields of a request; more are refused with 431.
    pub headers_max: usize,
    /// How long the head of a request may take to arrive.
    pub head_timeout: Duration,
    /// Bytes of one call; more are refused with 413.
    pub body_bytes_max: usize,
    /// How long they may take to arrive.
    pub body_timeout: Duration,
    /// How long a connection may stay between two calls. Event listeners hold one for their whole life, and do
    /// not open a second.
    pub idle_timeout: Duration,
    /// How long a client that has closed its half of the connection is still answered.
    pub half_closed_time: Duration,
    /// How long a client may leave bytes unread that are for it.
    pub write_timeout: Duration,
    /// Bytes of requests, and of answers that clients have not yet read, all together; beyond it, whose have been
    /// kept longest loses its connection.
    pub held_bytes_max: usize,
    /// Those who follow a log at one time; more are refused with 503.
    pub followers_max: usize,
    /// Calls in one `system.multicall`.
    pub multicall_calls_max: usize,
    /// Bytes of its answer; beyond it, the rest of its calls are not made.
    pub multicall_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            unknown_connections_max: 192,
            settle_time: Duration::from_millis(200),
            head_bytes_max: 16 << 10,
            headers_max: 64,
            head_timeout: Duration::from_secs(30),
            body_bytes_max: 1 << 20,
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(24 * 60 * 60),
            half_closed_time: Duration::from_secs(1),
            write_timeout: Duration::from_secs(30),
            held_bytes_max: 64 << 20,
            followers_max: 32,
            multicall_calls_max: 1024,
            multicall_bytes_max: 16 << 20,
        }
    }
}

/// What the loop answers.
pub type Answer = Result<Value, Fault>;
/// A call on its way to the loop.
pub type Pending = (Call, oneshot::Sender<Answer>);

/// Where connections come from.
pub trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// The next one.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // None of these is needed to serve it.
        let _ = stream.set_nodelay(true);
        let _ = setsockopt(&stream, sockopt::KeepAlive, &true);
        let _ = setsockopt(&stream, sockopt::TcpKeepIdle, &SILENT_SECONDS);
        Ok(stream)
    }
}

/// After how much silence the network is asked whether the client's machine is still there; some ten minutes
/// later it is given up. Who follows a silent log would keep its place for ever otherwise.
const SILENT_SECONDS: u32 = 60;

/// How long nothing is accepted after that has failed, for want of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The places of a listener.
#[derive(Debug, Clone)]
pub struct Places(Rc<Seats>);

impl Places {
    /// As many as these limits allow.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Seats::new(limits))
    }

    /// Until everybody who has asked has the whole answer.
    pub async fn answered(&self) {
        self.0.answered().await;
    }
}

/// What a listener answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Control,
    /// `GET /status` alone, by which nothing can be changed.
    Status,
}

/// Serves until the task is dropped.
pub async fn serve<L: Listener>(
    listener: L,
    credentials: Option<Credentials>,
    scope: Scope,
    places: Places,
    calls: mpsc::Sender<Pending>,
) {
    let Places(seats) = places;
    let limits = seats.limits();
    let reads = Semaphore::new(1);
    let context = Rc::new(Context { credentials, scope, limits, calls, reads, seats: Rc::clone(&seats) });
    let mut complained = false;
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                if !complained {
                    log::warn!("cannot accept a control connection: {error}");
                }
                complained = true;
                seats.dismiss_one();
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        complained = false;
        let taken = seats.take().await;
        let context = Rc::clone(&context);
        tokio::task::spawn_local(async move {
            let seat = Rc::clone(&taken.seat);
            let service = service_fn(|request| {
                let (context, seat) = (Rc::clone(&context), Rc::clone(&seat));
                async move { Ok::<_, Infallible>(context.answer(&seat, request).await) }
            });
            let served = http1::Builder::new()
                .title_case_headers(true)
                .header_read_timeout(None)
                .max_headers(limits.headers_max)
                .max_buf_size(limits.head_bytes_max)
                .serve_connection(TokioIo::new(Guarded::new(stream, Rc::clone(&seat), limits)), service);
            tokio::select! {
                served = served => if let Err(error) = served {
                    log::debug!("a control connection ended: {error}");
                },
                () = seat.must_leave() => log::debug!("a control connection gave way to another"),
            }
            drop(taken);
        });
        // So that it is read from before the next one may take its place.
        tokio::task::yield_now().await;
    }
}

struct Context {
    credentials: Option<Credentials>,
    scope: Scope,
    limits: Limits,
    calls: mpsc::Sender<Pending>,
    /// Answers with the content of logs are made one at a time, as they may be large.
    reads: Semaphore,
    seats: Rc<Seats>,
}

impl Context {
    async fn answer(&self, seat: &Rc<Seat>, request: Request<Incoming>) -> Response<Reply> {
        seat.enter(Phase::Body);
        let bodiless = request.method() == Method::HEAD;
        let response = self.route(seat, request).await;
        if seat.phase() != Phase::Follow {
            seat.enter(Phase::Answer);
        }
        if let Some(bytes) = response.body().size_hint().exact().filter(|_| !bodiless) {
            self.seats.hold(seat, usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        response.map(|body| Reply::new(body, Rc::clone(seat)))
    }

    async fn route(&self, seat: &Rc<Seat>, request: Request<Incoming>) -> Response<super::Body> {
        if !self.authorized(&request) {
            self.discard(request.into_body()).await;
            let mut response = reply::error(StatusCode::UNAUTHORIZED);
            let realm = HeaderValue::from_static("Basic realm=\"default\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        seat.know();
        let path =
            percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
        let path = path.split([';', '?', '#']).next().unwrap_or_default();
        let (get, post) = (request.method() == Method::GET, request.method() == Method::POST);
        if self.scope == Scope::Status {
            if path == status::PATH && get {
                return self.status(seat).await;
            }
            self.discard(request.into_body()).await;
            return reply::plain(StatusCode::NOT_FOUND, "here is GET /status and nothing else\n");
        }
        if path.starts_with("/RPC2") {
            if post {
                return self.rpc(seat, request).await;
            }
        } else if let Some(rest) = path.strip_prefix("/logtail") {
            if get {
                return match log_tail_path(rest) {
                    Some((name, channel)) => self.log_tail(seat, Some(name), channel).await,
                    None => reply::error(StatusCode::NOT_FOUND),
                };
            }
        } else if path.starts_with("/mainlogtail") {
            if get {
                return self.log_tail(seat, None, Channel::Stdout).await;
            }
        } else if path == "/" && get {
            return reply::plain(
                StatusCode::NOT_FOUND,
                "there are no pages here: use supervisorctl, or XML-RPC at /RPC2\n",
            );
        } else if get || request.method() == Method::HEAD {
            return reply::error(StatusCode::NOT_FOUND);
        }
        reply::error(StatusCode::BAD_REQUEST)
    }

    fn authorized(&self, request: &Request<Incoming>) -> bool {
        let Some(credentials) = &self.credentials else { return true };
        request.headers().get(AUTHORIZATION).is_some_and(|header| credentials.allow(header.as_bytes()))
    }

    async fn rpc(&self, seat: &Seat, request: Request<Incoming>) -> Response<super::Body> {
        let body = match self.body(seat, request).await {
            Ok(body) => body,
            Err(status) => return reply::error(status),
        };
        seat.enter(Phase::Answer);
        match xmlrpc::parse_call(&body) {
            Ok(call) => match self.result(call).await {
                Some(answer) => {
                    let mut response = Response::new(super::whole(answer));
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
                    response
                }
                None => reply::error(StatusCode::INTERNAL_SERVER_ERROR),
            },
            Err(error) => {
                log::debug!("a control request is refused: {error}");
                reply::error(StatusCode::BAD_REQUEST)
            }
        }
    }

    async fn body(&self, seat: &Seat, request: Request<Incoming>) -> Result<Bytes, StatusCode> {
        let has = |name| request.headers().contains_key(name);
        if !has(CONTENT_LENGTH) && !has(TRANSFER_ENCODING) {
            return Err(StatusCode::LENGTH_REQUIRED);
        }
        let body_bytes_max = self.limits.body_bytes_max;
        let size = request.body().size_hint();
        if size.lower() > body_bytes_max as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let held = size.upper().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(body_bytes_max);
        self.seats.hold(seat, held);
        let body = Limited::new(request.into_body(), body_bytes_max).collect();
        let body = tokio::time::timeout(self.limits.body_timeout, body).await;
        seat.release(held);
        match body {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
                Err(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
        }
    }

    /// Reads a body that nobody wants, as a client that is still sending would not see the answer.
    async fn discard(&self, mut body: Incoming) {
        let mut left = self.limits.body_bytes_max;
        let read = async {
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                left = left.saturating_sub(bytes);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(self.limits.body_timeout, read).await;
    }

    /// The answer as it is sent; nothing if the loop has ended.
    async fn result(&self, call: MethodCall) -> Option<String> {
        if call.name == multicall::NAME {
            return match multicall::calls(call.params, self.limits.multicall_calls_max) {
                Ok(calls) => self.many(calls).await,
                Err(fault) => Some(xmlrpc::write_response(&Err(fault))),
            };
        }
        let (answer, _turn) = self.one(call).await?;
        Some(xmlrpc::write_response(&answer))
    }

    async fn many(&self, calls: Vec<Result<MethodCall, Fault>>) -> Option<String> {
        let mut results = Results::default();
        for call in calls {
            if results.bytes() > self.limits.multicall_bytes_max {
                results.push(Err(Fault::new(FaultCode::Failed, "the answer has become too large")));
                continue;
            }
            match call {
                Ok(call) => {
                    let (answer, _turn) = self.one(call).await?;
                    results.push(answer);
                }
                Err(fault) => results.push(Err(fault)),
            }
        }
        Some(results.finish())
    }

    /// An answer; the turn is kept until it is written.
    async fn one(&self, call: MethodCall) -> Option<(Answer, Option<SemaphorePermit<'_>>)> {
        if let Some(answer) = help::answer(&call) {
            return Some((answer, None));
        }
        let call = match Call::parse(call) {
            Ok(call) => call,
            Err(fault) => return Some((Err(fault), None)),
        };
        let reads =
            matches!(call, Call::ReadLog { .. } | Call::ReadProcessLog { .. } | Call::TailProcessLog { .. });
        let turn = if reads { Some(self.reads.acquire().await.ok()?) } else { None };
        Some((self.call(call).await?, turn))
    }

    async fn call(&self, call: Call) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.calls.send((call, answer)).await.ok()?;
        answered.await.ok()
    }

    async fn status(&self, seat: &Seat) -> Response<super::Body> {
        seat.enter(Phase::Answer);
        match self.programs().await {
            Some(programs) => {
                let mut response = Response::new(super::whole(status::write(&programs)));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            None => reply::error(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Nothing if the daemon ends.
    async fn programs(&self) -> Option<Vec<status::Program>> {
        let infos = self.call(Call::GetAllProcessInfo).await?.ok()?;
        let mut programs = Vec::new();
        for info in infos.items().iter().take(status::PROGRAMS_MAX) {
            let mut program = status::Program::new(info.clone());
            for channel in [Channel::Stdout, Channel::Stderr] {
                let _turn = self.reads.acquire().await.ok()?;
                let (name, offset, length) = (program.name(), 0, status::TAIL_BYTES);
                let answer = self.call(Call::TailProcessLog { channel, name, offset, length }).await?;
                program.tail(channel, &answer);
            }
            programs.push(program);
        }
        Some(programs)
    }

    async fn log_tail(&self, seat: &Seat, name: Option<String>, channel: Channel) -> Response<super::Body> {
        if self.seats.followers() >= self.limits.followers_max {
            return reply::plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many clients follow logs, try again when one has ended\n",
            );
        }
        seat.enter(Phase::Follow);
        let main = name.is_none();
        match self.call(Call::LogPath { channel, name }).await {
            Some(Ok(Value::Text(path))) => {
                let followed = follow::Followed::new(path.into());
                let modified = followed.modified();
                let mut response = Response::new(followed.body());
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
                if let Some(modified) = modified.and_then(|text| HeaderValue::try_from(text).ok()) {
                    headers.insert(LAST_MODIFIED, modified);
                }
                if !main {
                    // nginx would hold the lines back.
                    headers.insert("X-Accel-Buffering", HeaderValue::from_static("no"));
                }
                response
            }
            _ => {
                seat.enter(Phase::Answer);
                reply::error(StatusCode::NOT_FOUND)
            }
        }
    }
}

/// `/NAME`, `/NAME/stdout` or `/NAME/stderr`, after `/logtail`.
fn log_tail_path(path: &str) -> Option<(String, Channel)> {
    let (_, path) = path.split_once('/')?;
    let (name, channel) = path.split_once('/').unwrap_or((path, "stdout"));
    let channel = match channel {
        "stdout" => Channel::Stdout,
        "stderr" => Channel::Stderr,
        _ => return None,
    };
    Some((name.to_owned(), channel))
}
