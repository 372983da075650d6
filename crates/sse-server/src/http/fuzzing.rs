//! What must hold for every request, whoever made it: its body, its query and its headers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use actix_web::ResponseError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use ipnet::IpNet;
use serde_json::Value;

use super::error::Problem;
use super::legacy::Broadcast;
use super::publish::{Format, object};
use super::{auth, peer, subscribe};
use crate::access_log::{self, Line};
use crate::fanout;
use crate::fuzzing::event_stream::{Dispatched, parse, with_line_feeds};
use crate::hub::{After, Data, Draft, EventId, EventType, Frame, Interest, NewEvent, TopicFilter};

const DATA_BYTES_MAX: usize = 1024;
const ID: EventId = EventId { ms: 1_700_000_000_000, seq: 7 };

/// A publish: the first byte names the form (`l`: a line each, `f`: a form, `b`: a broadcast, else JSON), the rest is the
/// body. What is accepted reads the same in a browser, and is one event there for each that was published.
pub fn publish(input: &[u8]) -> bool {
    let Some((form, body)) = input.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let parsed = match form {
        b'l' => Format::Lines.parse(text, DATA_BYTES_MAX),
        b'f' => Format::Form.parse(text, DATA_BYTES_MAX),
        b'b' => object::<Broadcast<'_>>(text, "").and_then(|b| b.event()).map(|event| (vec![event], false)),
        _ => Format::Json.parse(text, DATA_BYTES_MAX),
    };
    let events = match parsed {
        Ok((events, _)) => events,
        Err(problem) => {
            assert_refusal(&problem);
            return false;
        }
    };
    let written = if *form == b'f' { None } else { written(text, *form == b'l') };
    if let Some(written) = &written {
        assert_eq!(written.len(), events.len(), "each is published once");
    }
    for (n, event) in events.into_iter().enumerate() {
        assert_reads_back(event, written.as_ref().map(|values| &values[n]));
    }
    true
}

/// The data of each event, as another parser reads the body; `None` if it reads no such numbers or strings.
fn written(text: &str, is_lines: bool) -> Option<Vec<Value>> {
    let mut values: Vec<Value> = if is_lines {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(serde_json::from_str).collect::<Result<_, _>>().ok()?
    } else {
        match serde_json::from_str(text).ok()? {
            Value::Array(values) => values,
            value => vec![value],
        }
    };
    Some(values.iter_mut().map(|value| value["data"].take()).collect())
}

fn assert_reads_back(event: NewEvent, written: Option<&Value>) {
    let data = event.data().clone();
    let frame = Draft::new(event, Instant::now()).seal(ID);
    let seen = only(frame.wire());
    assert_eq!(seen.id, ID.to_string());
    assert_eq!(seen.event, frame.event().map_or(EventType::MESSAGE, EventType::as_str));
    let sent = match &data {
        Data::Text(text) => with_line_feeds(text),
        Data::Json(json) => json.clone(),
    };
    assert_eq!(seen.data, sent);
    match written {
        Some(Value::String(text)) => assert_eq!(seen.data, with_line_feeds(text)),
        Some(value) => assert_eq!(serde_json::from_str::<Value>(&seen.data).ok().as_ref(), Some(value)),
        None => {}
    }
    assert_envelope(&frame, &data, written);
}

fn assert_envelope(frame: &Frame, data: &Data, written: Option<&Value>) {
    let mut wire = Vec::new();
    frame.write(&Interest::new(vec![TopicFilter::every()], Vec::new(), true), &mut wire);
    let seen = only(&wire);
    assert_eq!(seen.id, ID.to_string());
    let envelope: Value = match serde_json::from_str(&seen.data) {
        Ok(envelope) => envelope,
        // A number that no parser holds may be published, and is passed on as it is.
        Err(error) => {
            return assert!(matches!(data, Data::Json(_)) && written.is_none(), "{error}: {seen:?}");
        }
    };
    let public = frame.topics().iter().filter(|topic| !topic.is_private());
    let topics: Vec<&str> = public.map(|topic| topic.as_str()).collect();
    assert_eq!(envelope["topics"], Value::from(topics));
    if let Data::Text(text) = data {
        assert_eq!(envelope["data"], Value::from(text.as_str()));
    }
    if let Some(value) = written {
        assert_eq!(&envelope["data"], value);
    }
}

/// The one event of these bytes.
fn only(wire: &[u8]) -> Dispatched {
    let mut seen = parse(wire);
    assert_eq!(seen.len(), 1, "{:?}", String::from_utf8_lossy(wire));
    seen.remove(0)
}

/// One sentence, and the client's own mistake.
fn assert_refusal(problem: &Problem) {
    assert!(problem.status_code().is_client_error(), "{problem:?}");
    assert!(!problem.to_string().is_empty(), "{problem:?}");
}

/// Headers that are looked at.
const HEADERS_MAX: usize = 64;
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 1);
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

/// A subscription: the first line is the query, each further one a header.
pub fn subscribe(input: &[u8]) -> bool {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Ok(query) = std::str::from_utf8(lines.next().unwrap_or_default()) else { return false };
    let mut request = TestRequest::get();
    for header in lines.take(HEADERS_MAX).filter_map(header) {
        request = request.append_header(header);
    }
    let request = request.to_http_request();
    let headers = request.headers();
    assert_address(headers);
    assert_one_log_line(query, headers);
    let _ = auth::names_html(headers);
    let _ = subscribe::accepts_event_stream(headers);
    let _ = subscribe::names_event_stream(headers);
    let _ = subscribe::encoding(&request, true);
    let asked = match subscribe::Asked::parse(query, headers) {
        Ok(asked) => asked,
        Err(problem) => {
            assert_refusal(&problem);
            return false;
        }
    };
    assert!((1..=subscribe::FILTERS_MAX).contains(&asked.topics.len()), "{asked:?}");
    assert!(asked.types.len() <= subscribe::FILTERS_MAX, "{asked:?}");
    for filter in &asked.topics {
        assert_eq!(TopicFilter::parse(&filter.to_string()).as_ref(), Ok(filter));
    }
    if let After::Id(id) = asked.after {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    assert_greeting(Interest::new(asked.topics, asked.types, asked.envelope));
    true
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..at]).ok()?;
    Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
}

/// Whatever a client says of itself, it is who the socket, or the trusted proxy, says that it is.
fn assert_address(headers: &HeaderMap) {
    let trusted: [IpNet; 1] = [IpNet::new(PROXY.ip(), 8).expect("a network")];
    assert_eq!(peer::address(Some(STRANGER), headers, &trusted), STRANGER.ip());
    let client = HeaderValue::from_static("203.0.113.9");
    let named = IpAddr::from([203, 0, 113, 9]);
    let mut proxied = headers.clone();
    proxied.append(HeaderName::from_static("x-real-ip"), client.clone());
    assert_eq!(peer::address(Some(PROXY), &proxied, &trusted), named);
    proxied.remove("x-real-ip");
    proxied.append(HeaderName::from_static("x-forwarded-for"), client);
    assert_eq!(peer::address(Some(PROXY), &proxied, &trusted), named);
    let _ = peer::address(None, headers, &trusted);
}

/// A request is one line of the access log, whatever it calls itself.
fn assert_one_log_line(query: &str, headers: &HeaderMap) {
    let user_agent = subscribe::user_agent(headers);
    assert!(user_agent.as_ref().is_none_or(|text| text.len() <= subscribe::USER_AGENT_BYTES_MAX));
    let text = access_log::text(&Line {
        address: STRANGER.ip(),
        request: &format!("GET /sse?{query} HTTP/1.1"),
        status: 200,
        bytes: 0,
        took: Duration::ZERO,
        user_agent: user_agent.as_deref(),
        stream: None,
    });
    let line = text.strip_suffix('\n').expect("a line");
    assert!(!line.contains(char::is_control), "{line:?}");
    let bare = line.replace("\\\\", "").replace("\\\"", "");
    assert_eq!(bare.matches('"').count(), 4, "{line:?}");
}

/// The greeting repeats what was asked for, and is one event whatever that was.
fn assert_greeting(interest: Interest) {
    let seen = only(&fanout::fuzzing::greeting(&interest));
    assert_eq!(seen.event, "connected");
    let data: Value = serde_json::from_str(&seen.data).expect("JSON");
    let types: Vec<&str> = interest.asked_types().iter().map(EventType::as_str).collect();
    let topics: Vec<String> = interest.asked_topics().iter().map(ToString::to_string).collect();
    assert_eq!((&data["types"], &data["topics"]), (&Value::from(types), &Value::from(topics)));
}
