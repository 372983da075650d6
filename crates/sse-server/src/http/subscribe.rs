//! `GET /sse`: from a request to a stream that a reactor writes.

use std::time::{Duration, Instant, SystemTime};

use actix_web::http::header::{
    self, ACCEPT, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, Header, HeaderMap,
    USER_AGENT, VARY,
};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::accept::media_ranges;
use super::error::Problem;
use super::log::request_line;
use super::time::now_ms;
use super::{State, auth, headers, login, peer, session};
use crate::fanout::{AttachError, ConnectionId, ConnectionInfo, Encoding, NewStream, detach};
use crate::hub::limits::{Refusal, TooMany, counted_as};
use crate::hub::{After, EventId, EventType, Interest, TopicFilter};
use crate::metrics::Metrics;

/// When a client whose address is full may come back: one of its other streams may have ended by then.
const RETRY_AFTER_PER_IP: Duration = Duration::from_secs(5);
/// When a client may come back to a full server.
const RETRY_AFTER_POOL: Duration = Duration::from_secs(10);
/// When a client may come back to a server that is draining.
const RETRY_AFTER_DRAIN: Duration = Duration::from_secs(3);
/// Filters that one stream may name.
pub(super) const FILTERS_MAX: usize = 256;
/// The part of a client's name that is kept.
pub(super) const USER_AGENT_BYTES_MAX: usize = 160;

/// The handler.
pub(super) async fn subscribe(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    open(&request, &state, &[])
}

/// Opens a stream, or says why not. `types`: the event types of a stream whose query names none.
pub(super) fn open(request: &HttpRequest, state: &State, types: &[&str]) -> Result<HttpResponse, Problem> {
    if state.is_draining() {
        return draining(request);
    }
    let caller = auth::reader(request, state)?;
    let asked = Asked::parse(request.query_string(), request.headers());
    // Whoever may not read a topic is told so whatever else is wrong; what is malformed names none.
    let topics = asked.as_ref().ok().map(|asked| allowed(&caller, asked)).transpose()?;
    if !accepts_event_stream(request.headers()) {
        return Err(Problem::not_acceptable());
    }
    let mut asked = asked?;
    if asked.types.is_empty() {
        let types = types.iter().map(|name| EventType::parse(name));
        asked.types = types.collect::<Result<_, _>>().expect("our own names are types");
    }
    let interest = Interest::new(topics.unwrap_or_default(), asked.types, asked.envelope);
    if request.method() == Method::HEAD {
        return Ok(head_response(encoding(request, state.config.compression)));
    }
    let address = peer::of(request, &state.config.trusted_proxies);
    connect_rate(state, address)?;
    let permit = state.limits.admit(address).map_err(|refusal| refused(state, refusal))?;
    let socket = detach::duplicate(request)
        .ok_or_else(|| Problem::internal("this connection is not a plain socket"))?
        .map_err(|error| Problem::internal(format!("the connection cannot be taken over: {error}")))?;
    let connection = ConnectionInfo {
        id: ConnectionId::random().map_err(|error| Problem::internal(format!("no random bytes: {error}")))?,
        address,
        user_agent: user_agent(request.headers()),
        connected_at: SystemTime::now(),
        request: request_line(request).into(),
        holder: caller.holder.clone(),
        granted_until: caller.until,
    };
    let encoding = encoding(request, state.config.compression);
    let stream = NewStream {
        head: head(encoding, &extra(request, state, &caller)),
        encoding,
        interest,
        after: asked.after,
        permit,
        connection,
        on_end: std::sync::Arc::clone(&state.on_stream_end),
    };
    match state.fanout.attach(socket, stream) {
        Ok(()) => end_if_withdrawn(request, state, caller),
        Err(AttachError::Draining) => return draining(request),
        Err(AttachError::Watch(error)) => {
            return Err(Problem::internal(format!("the connection cannot be watched: {error}")));
        }
    }
    let mut response =
        HttpResponse::Ok().message_body(detach::Detached).map_err(|_| Problem::internal("no body"))?;
    response.extensions_mut().insert(detach::Detached);
    Ok(response.map_into_boxed_body())
}

/// The filters that this caller gets for those asked for.
fn allowed(caller: &auth::Caller, asked: &Asked) -> Result<Vec<TopicFilter>, Problem> {
    if caller.grant.subscribe.is_empty() {
        return Err(Problem::forbidden("this token may read no topic"));
    }
    let narrowed = caller.grant.narrow(&asked.topics);
    narrowed.map_err(|filter| Problem::forbidden(format!("reading {filter} is not allowed")))
}

/// What a middleware would add to the head of another answer.
fn extra(request: &HttpRequest, state: &State, caller: &auth::Caller) -> String {
    let cookie = renewed(request, state, caller).map(|cookie| format!("Set-Cookie: {cookie}\r\n"));
    let mut lines = cookie.unwrap_or_default();
    for (name, value) in headers::cors(request.headers(), state) {
        lines.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    lines
}

/// The fresh cookie of a session whose old one has passed half its time: no middleware sees this head.
fn renewed(request: &HttpRequest, state: &State, caller: &auth::Caller) -> Option<String> {
    let login = state.login.as_ref()?;
    let renewed = login.renew(caller.session.as_ref()?, now_ms())?;
    Some(session::cookie(request, state, login, &renewed).to_string())
}

/// A session or a token may have been withdrawn between the look at it and the beginning of its stream. Whoever
/// withdraws one afterwards finds the stream.
fn end_if_withdrawn(request: &HttpRequest, state: &State, caller: auth::Caller) {
    if !auth::still_holds(request, state, &caller)
        && let Some(holder) = caller.holder
    {
        let fanout = state.fanout.clone();
        actix_web::rt::spawn(async move { login::end_streams(&fanout, &holder).await });
    }
}

/// The whole response head: nothing of actix comes after it.
fn head(encoding: Encoding, extra: &str) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let framing = match encoding {
        Encoding::Plain => "",
        Encoding::Chunked => "Transfer-Encoding: chunked\r\n",
        Encoding::Gzip => "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\nTransfer-Encoding: chunked\r\n",
    };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n{framing}{extra}Date: {date}\r\n\r\n"
    )
    .into_bytes()
}

/// Compressed for whoever names gzip and accepts it as gladly as plain text; what goes to HTTP/1.0 is not even framed.
pub(super) fn encoding(request: &HttpRequest, compression: bool) -> Encoding {
    if request.version() == Version::HTTP_10 {
        return Encoding::Plain;
    }
    let supported = [header::Encoding::gzip(), header::Encoding::identity()];
    let accepted = AcceptEncoding::parse(request).ok();
    let chosen = accepted.and_then(|accepted| accepted.negotiate(supported.iter()));
    if compression && chosen == Some(header::Encoding::gzip()) { Encoding::Gzip } else { Encoding::Chunked }
}

fn head_response(encoding: Encoding) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if encoding == Encoding::Gzip {
        response.insert_header((CONTENT_ENCODING, "gzip")).insert_header((VARY, "Accept-Encoding"));
    }
    response
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        // A stream has no length, so neither has its head.
        .message_body(actix_web::body::None::new())
        .map_or_else(|_| HttpResponse::InternalServerError().finish(), HttpResponse::map_into_boxed_body)
}

/// A plain EventSource dies for good on any status but 200, so it is told to come back; others get 503.
pub(super) fn draining(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    if !names_event_stream(request.headers()) {
        return Err(Problem::unavailable("the server is draining and opens no streams", RETRY_AFTER_DRAIN));
    }
    Ok(HttpResponse::build(StatusCode::OK)
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body("retry: 3000\n\n"))
}

fn connect_rate(state: &State, address: std::net::IpAddr) -> Result<(), Problem> {
    let rate = state.config.connect_rate;
    if rate == 0 {
        return Ok(());
    }
    let taken = state.connect_rate.lock().take(counted_as(address), 1, Instant::now());
    taken.map_err(|too_many| {
        Metrics::count(&state.metrics.rejected_rate_limited);
        let time = match too_many {
            TooMany::RetryAfter(time) => time,
            TooMany::AboveBurst(_) => Duration::from_secs(1),
        };
        Problem::too_many(format!("this address opened more than {rate} streams per second"), time)
    })
}

fn refused(state: &State, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::PerIp { max, .. } => {
            Metrics::count(&state.metrics.rejected_per_ip);
            Problem::too_many(format!("{refusal}, the limit of one address is {max}"), RETRY_AFTER_PER_IP)
        }
        Refusal::PoolFull { max, .. } => {
            Metrics::count(&state.metrics.rejected_pool_full);
            Problem::unavailable(format!("{refusal}, the limit of the server is {max}"), RETRY_AFTER_POOL)
        }
    }
}

pub(super) fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    let end = text
        .char_indices()
        .map(|(n, c)| n + c.len_utf8())
        .take_while(|end| *end <= USER_AGENT_BYTES_MAX)
        .last();
    Some(text[..end.unwrap_or(0)].into())
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) topics: Vec<TopicFilter>,
    pub(super) types: Vec<EventType>,
    pub(super) envelope: bool,
    pub(super) after: After,
}

impl Asked {
    pub(super) fn parse(query: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let bad = |name: &str, why: crate::hub::Invalid| Problem::bad_request(format!("{name}: {why}"));
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|error| Problem::bad_request(format!("the query is malformed: {error}")))?;
        let mut asked = Self { topics: Vec::new(), types: Vec::new(), envelope: false, after: After::Live };
        for (name, value) in pairs {
            let words = value.split(',').map(str::trim);
            match name.as_str() {
                "topic" => {
                    for word in words {
                        asked.topics.push(TopicFilter::parse(word).map_err(|why| bad("topic", why))?);
                    }
                }
                "types" | "subscribe" => {
                    for word in words.filter(|word| !word.is_empty()) {
                        asked.types.push(EventType::parse(word).map_err(|why| bad(&name, why))?);
                    }
                }
                "last_event_id" | "lastEventId" if !value.is_empty() => {
                    asked.after = after(&value).ok_or_else(|| {
                        Problem::bad_request(format!(
                            "{name} is {value:?}, but it must be <ms>-<seq> or earliest"
                        ))
                    })?;
                }
                "envelope" => {
                    asked.envelope = match value.as_str() {
                        "1" => true,
                        "0" | "" => false,
                        _ => {
                            return Err(Problem::bad_request(format!(
                                "envelope is {value:?}, but it must be 0 or 1"
                            )));
                        }
                    };
                }
                // Anything else is the page's own, such as what keeps a cache away.
                _ => {}
            }
        }
        if asked.topics.len() > FILTERS_MAX || asked.types.len() > FILTERS_MAX {
            return Err(Problem::bad_request(format!(
                "a stream may name at most {FILTERS_MAX} topics and types"
            )));
        }
        if asked.topics.is_empty() {
            asked.topics.push(TopicFilter::every());
        }
        if let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) {
            asked.after = value.to_str().ok().and_then(after).unwrap_or(After::Malformed);
        }
        Ok(asked)
    }
}

fn after(text: &str) -> Option<After> {
    match text {
        "earliest" => Some(After::Earliest),
        text => text.parse::<EventId>().ok().map(After::Id),
    }
}

/// Whether the Accept header, if there is one, leaves room for `text/event-stream`.
pub(super) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).peekable();
    if values.peek().is_none() {
        return true;
    }
    let mut best: Option<(u8, bool)> = None;
    for (range, quality) in values.filter_map(media_ranges).flatten() {
        let specific = match range.as_str() {
            "text/event-stream" => 2,
            "text/*" => 1,
            "*/*" => 0,
            _ => continue,
        };
        // The most specific range decides (RFC 9110, 12.5.1).
        if best.is_none_or(|(known, _)| specific > known) {
            best = Some((specific, quality > 0.0));
        }
    }
    best.is_some_and(|(_, accepted)| accepted)
}

/// Whether the Accept header names `text/event-stream` itself, as every EventSource does.
pub(super) fn names_event_stream(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(ACCEPT).filter_map(media_ranges).flatten();
    ranges.any(|(range, quality)| range == "text/event-stream" && quality > 0.0)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn an_accept_header_decides_as_http_says() {
        for (value, accepts, names) in [
            ("text/event-stream", true, true),
            ("*/*", true, false),
            ("text/*;q=0.5", true, false),
            ("text/html, text/event-stream;q=0", false, false),
            ("application/json", false, false),
            ("*/*;q=0.1, text/event-stream;q=0", false, false),
            ("TEXT/Event-Stream ; q=0.3", true, true),
        ] {
            let map = headers(&[("accept", value)]);
            assert_eq!((accepts_event_stream(&map), names_event_stream(&map)), (accepts, names), "{value}");
        }
        assert!(accepts_event_stream(&headers(&[])) && !names_event_stream(&headers(&[])));
    }

    #[test]
    fn compressed_is_what_is_accepted_as_gladly() {
        for (accepted, expected) in [
            (None, Encoding::Chunked),
            (Some(""), Encoding::Chunked),
            (Some("gzip, deflate, br, zstd"), Encoding::Gzip),
            (Some("deflate, gzip;q=1.0, *;q=0.5"), Encoding::Gzip),
            (Some("*"), Encoding::Chunked),
            (Some("br"), Encoding::Chunked),
            (Some("gzip;q=0"), Encoding::Chunked),
            (Some("gzip;q=0, *"), Encoding::Chunked),
            (Some("identity, gzip;q=0.5"), Encoding::Chunked),
            (Some("identity;q=0.5, gzip;q=0.5"), Encoding::Gzip),
            (Some("identity;q=0, gzip"), Encoding::Gzip),
            (Some("GZIP"), Encoding::Gzip),
            (Some("x-gzip"), Encoding::Chunked),
            (Some("nonsense;;"), Encoding::Chunked),
        ] {
            let mut request = actix_web::test::TestRequest::get();
            if let Some(accepted) = accepted {
                request = request.insert_header(("accept-encoding", accepted));
            }
            let request = request.to_http_request();
            assert_eq!(encoding(&request, true), expected, "{accepted:?}");
            assert_eq!(encoding(&request, false), Encoding::Chunked);
        }
        let old = actix_web::test::TestRequest::get().insert_header(("accept-encoding", "gzip"));
        assert_eq!(encoding(&old.version(Version::HTTP_10).to_http_request(), true), Encoding::Plain);
    }

    #[test]
    fn a_query_says_what_is_wanted() {
        let id = |text: &str| After::Id(text.parse().unwrap());
        let asked = Asked::parse(
            "topic=a,b&topic=job:*&types=x&subscribe=y&envelope=1&lastEventId=5-1&_=3",
            &headers(&[]),
        );
        let asked = asked.unwrap();
        assert_eq!(asked.topics.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "job:*"]);
        assert_eq!(asked.types.iter().map(EventType::as_str).collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!((asked.envelope, asked.after), (true, id("5-1")));
        // The header wins, and a malformed one is told by a reset, not by a refusal that ends an EventSource.
        for (value, expected) in [
            ("7-0", id("7-0")),
            ("nonsense", After::Malformed),
            ("earliest", After::Earliest),
            ("", id("5-1")),
        ] {
            let asked = Asked::parse("last_event_id=5-1", &headers(&[("last-event-id", value)])).unwrap();
            assert_eq!(asked.after, expected, "{value}");
        }
        assert_eq!(Asked::parse("", &headers(&[])).unwrap().topics, [TopicFilter::every()]);
    }

    #[test]
    fn a_malformed_query_is_refused_with_its_name() {
        for (query, expected) in [
            (
                "topic=a%20b",
                "topic: topic filter \"a b\" is neither a topic, nor a prefix of one followed by *, nor * alone",
            ),
            (
                "topic=",
                "topic: topic filter \"\" is neither a topic, nor a prefix of one followed by *, nor * alone",
            ),
            ("types=a%0Db", "types: event type \"a\\rb\" is not 1 to 64 characters without CR, LF and NUL"),
            ("last_event_id=5", "last_event_id is \"5\", but it must be <ms>-<seq> or earliest"),
            ("envelope=yes", "envelope is \"yes\", but it must be 0 or 1"),
        ] {
            assert_eq!(Asked::parse(query, &headers(&[])).unwrap_err().to_string(), expected);
        }
    }
}
