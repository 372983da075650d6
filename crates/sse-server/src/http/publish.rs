//! `POST /sse/publish`: from bytes to events, all or none.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Data as Shared, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::error::Problem;
use super::{State, auth, unread};
use crate::backplane::{PublishError, Published};
use crate::config::BODY_PER_EVENT;
use crate::hub::grant::Grant;
use crate::hub::limits::TooMany;
use crate::hub::{Data, EventType, IdempotencyKey, NewEvent, Topic};
use crate::metrics::Metrics;

/// When to come back if the hub does not take events at the moment.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct One {
    id: String,
    receivers: u64,
}

#[derive(Serialize)]
struct Many {
    ids: Vec<String>,
    receivers: u64,
}

/// The handler.
pub(super) async fn publish(
    request: HttpRequest,
    payload: Payload,
    state: Shared<State>,
) -> Result<HttpResponse, Problem> {
    let admitted = Admitted::new(&request, &state)?;
    let format = Format::of(&request)?;
    let body = admitted.read(payload).await?;
    let (events, is_batch) = format.parse(&body, state.config.event_bytes_max)?;
    let published = admitted.publish(events).await?;
    let ids: Vec<String> = published.ids.iter().map(ToString::to_string).collect();
    Ok(match <[String; 1]>::try_from(ids) {
        Ok([id]) if !is_batch => HttpResponse::Ok().json(One { id, receivers: published.receivers }),
        Ok(ids) => HttpResponse::Ok().json(Many { ids: ids.into(), receivers: published.receivers }),
        Err(ids) => HttpResponse::Ok().json(Many { ids, receivers: published.receivers }),
    })
}

/// A publish whose caller may make it.
pub(super) struct Admitted<'a> {
    request: &'a HttpRequest,
    state: &'a State,
    grant: Grant,
    began: Instant,
}

impl<'a> Admitted<'a> {
    /// Asks whether the server takes events, and whether this caller may bring some.
    pub(super) fn new(request: &'a HttpRequest, state: &'a State) -> Result<Self, Problem> {
        let began = Instant::now();
        if state.is_draining() {
            return Err(Problem::unavailable("the server is draining and accepts no events", RETRY_AFTER));
        }
        let grant = auth::publisher(request, state)?;
        check_plain(request)?;
        check_length(request, body_bytes_max(state))?;
        Ok(Self { request, state, grant, began })
    }

    /// The whole body.
    pub(super) async fn read(&self, payload: Payload) -> Result<String, Problem> {
        let body = read(self.request, payload, body_bytes_max(self.state));
        let timeout = self.state.config.request_timeout;
        let body = tokio::time::timeout(timeout, body).await.map_err(|_| Problem::timeout(timeout))??;
        String::from_utf8(body).map_err(|_| Problem::bad_request("the body is not UTF-8"))
    }

    /// Publishes the events, if topics, rate and store allow it.
    pub(super) async fn publish(&self, events: Vec<NewEvent>) -> Result<Published, Problem> {
        let Self { state, grant, began, .. } = self;
        for topic in events.iter().flat_map(NewEvent::topics) {
            if !grant.may_publish(topic) {
                return Err(Problem::forbidden(format!("this token may not publish to the topic {topic}")));
            }
        }
        rate_limit(state, grant, events.len())?;
        let events = events.into_iter().map(|event| with_own_key(event, grant)).collect();
        let published = state.backplane.publish(events).await.map_err(|error| match error {
            PublishError::Store(_) | PublishError::Busy | PublishError::KeysFull { .. } => {
                Problem::unavailable(error.to_string(), RETRY_AFTER)
            }
            PublishError::Closed => {
                Problem::unavailable("the server is draining and accepts no events", RETRY_AFTER)
            }
        })?;
        state.metrics.published.fetch_add(published.accepted as u64, Ordering::Relaxed);
        state.metrics.publish_latency.observe(began.elapsed(), 1);
        Ok(published)
    }
}

/// Whoever may publish to some topics alone has keys of its own, or it could take the one that an event of another will have.
/// Those who may publish everything share theirs, so that a request can be repeated with another token.
fn with_own_key(event: NewEvent, grant: &Grant) -> NewEvent {
    let Some(key) = event.idempotency_key().filter(|_| !grant.publishes_everything()) else { return event };
    // As digests, so that whatever they are called, no part of one is taken for part of the other.
    let digests = [grant.name.as_str(), key.as_str()].map(Sha256::digest);
    let own = format!("{:x}", Sha256::digest(digests.concat()));
    let own = IdempotencyKey::parse(&own).expect("a digest is as long as a key may be");
    event.with_key(Some(own))
}

fn rate_limit(state: &State, grant: &Grant, events: usize) -> Result<(), Problem> {
    let count = u32::try_from(events).unwrap_or(u32::MAX);
    let rates = if grant.is_signed { &state.publish_rate_signed } else { &state.publish_rate };
    let taken = rates.lock().take(grant.name.clone(), count, Instant::now());
    match taken {
        Ok(()) => Ok(()),
        Err(TooMany::RetryAfter(time)) => {
            Metrics::count(&state.metrics.rejected_rate_limited);
            let rate = state.config.publish_rate;
            Err(Problem::too_many(
                format!("more than {rate} events per second were published with this token"),
                time,
            ))
        }
        Err(TooMany::AboveBurst(burst)) => {
            let detail =
                format!("the batch has {events} events, more than the {burst} that can be taken at once");
            Err(Problem::too_large(detail))
        }
    }
}

fn body_bytes_max(state: &State) -> usize {
    state.config.event_bytes_max.saturating_mul(BODY_PER_EVENT)
}

/// Nothing that comes in is decompressed, so no small body becomes a large one.
pub(super) fn check_plain(request: &HttpRequest) -> Result<(), Problem> {
    for value in request.headers().get_all(CONTENT_ENCODING) {
        if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
            return Err(Problem::unsupported(format!(
                "the content encoding {value:?} is not taken: send the body as it is"
            )));
        }
    }
    Ok(())
}

/// Whoever says that too much is to come is told before it comes.
fn check_length(request: &HttpRequest, bytes_max: usize) -> Result<(), Problem> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > bytes_max as u64 => Err(above_limit(bytes_max)),
        _ => Ok(()),
    }
}

fn above_limit(bytes_max: usize) -> Problem {
    Problem::too_large(format!("the body is above the limit of {bytes_max} bytes"))
}

/// The whole body, if it is not too large.
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    bytes_max: usize,
) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(piece) = payload.next().await {
        let piece =
            piece.map_err(|error| Problem::bad_request(format!("the body could not be read: {error}")))?;
        if body.len() + piece.len() > bytes_max {
            return Err(above_limit(bytes_max));
        }
        body.extend_from_slice(&piece);
    }
    unread::was_read(request);
    Ok(body)
}

/// The content type as the client wrote it, and without parameters in lower case.
pub(super) fn content_type(request: &HttpRequest) -> (&str, String) {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    (value, value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Lines,
    Form,
}

impl Format {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let (value, essence) = content_type(request);
        match essence.as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" => Ok(Self::Lines),
            "application/x-www-form-urlencoded" => Ok(Self::Form),
            _ => Err(Problem::unsupported(format!(
                "the content type {value:?} is not one of application/json, application/x-ndjson and \
                 application/x-www-form-urlencoded"
            ))),
        }
    }

    /// The events, and whether the answer is that of a batch.
    pub(super) fn parse(self, text: &str, data_bytes_max: usize) -> Result<(Vec<NewEvent>, bool), Problem> {
        let (events, is_batch) = match self {
            Self::Form => (vec![form(text)?], false),
            Self::Json if text.trim_start().starts_with('[') => {
                let items: Vec<&RawValue> =
                    serde_json::from_str(text).map_err(|error| malformed("", &error))?;
                let items =
                    items.iter().enumerate().map(|(n, item)| json(item.get(), &format!("event {n}: ")));
                (items.collect::<Result<_, _>>()?, true)
            }
            Self::Json => (vec![json(text, "")?], false),
            Self::Lines => {
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                let events = lines.map(|(n, line)| json(line, &format!("line {}: ", n + 1)));
                (events.collect::<Result<_, _>>()?, true)
            }
        };
        if events.is_empty() {
            return Err(Problem::bad_request("the batch has no events"));
        }
        for (n, event) in events.iter().enumerate() {
            check_size(event, data_bytes_max, is_batch.then_some(n))?;
        }
        Ok((events, is_batch))
    }
}

/// Whether the data is within its limit. `place`: which event of a batch it is.
pub(super) fn check_size(event: &NewEvent, bytes_max: usize, place: Option<usize>) -> Result<(), Problem> {
    let length = event.data().len();
    if length <= bytes_max {
        return Ok(());
    }
    let whose = place.map_or_else(|| "data".to_owned(), |n| format!("data of event {n}"));
    Err(Problem::too_large(format!("{whose} has {length} bytes, more than the limit of {bytes_max}")))
}

/// An event as publishers write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    topic: Topics,
    event: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`topic` must be a string or an array of strings")]
enum Topics {
    One(String),
    Many(Vec<String>),
}

fn malformed(place: &str, error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("{place}{error}"))
}

/// One event as its publisher wrote it.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a str, place: &str) -> Result<T, Problem> {
    // serde would read an array as the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err(Problem::bad_request(format!("{place}an event must be a JSON object")));
    }
    serde_json::from_str(text).map_err(|error| malformed(place, &error))
}

fn json(text: &str, place: &str) -> Result<NewEvent, Problem> {
    let written: Written<'_> = object(text, place)?;
    let key = written.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = key.map_err(|why| Problem::bad_request(format!("{place}idempotency_key: {why}")))?;
    let topics = match written.topic {
        Topics::One(topic) => vec![topic],
        Topics::Many(topics) => topics,
    };
    let data =
        Data::from_raw(written.data).map_err(|why| Problem::bad_request(format!("{place}data: {why}")))?;
    Ok(event(&topics, written.event.as_deref(), data, place)?.with_key(key))
}

fn form(text: &str) -> Result<NewEvent, Problem> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(text)
        .map_err(|error| Problem::bad_request(format!("the form is malformed: {error}")))?;
    let (mut topics, mut kind, mut data) = (Vec::new(), None, None);
    for (name, value) in pairs {
        let twice = match name.as_str() {
            "topic" => {
                topics.push(value);
                false
            }
            "event" => kind.replace(value).is_some(),
            "data" => data.replace(value).is_some(),
            _ => {
                let detail = format!("unknown field `{name}`, expected one of `topic`, `event`, `data`");
                return Err(Problem::bad_request(detail));
            }
        };
        if twice {
            return Err(Problem::bad_request(format!("duplicate field `{name}`")));
        }
    }
    if topics.is_empty() {
        return Err(Problem::bad_request("missing field `topic`"));
    }
    let data = data.ok_or_else(|| Problem::bad_request("missing field `data`"))?;
    let kind = kind.filter(|kind| !kind.is_empty());
    event(&topics, kind.as_deref(), Data::Text(data), "")
}

fn event(topics: &[String], kind: Option<&str>, data: Data, place: &str) -> Result<NewEvent, Problem> {
    let bad = |field: &str, why: crate::hub::Invalid| Problem::bad_request(format!("{place}{field}: {why}"));
    let topics = topics.iter().map(|topic| Topic::parse(topic)).collect::<Result<Vec<_>, _>>();
    let topics = topics.map_err(|why| bad("topic", why))?;
    let kind = kind.map(EventType::parse_published).transpose().map_err(|why| bad("event", why))?;
    NewEvent::new(topics, kind, data).map_err(|why| bad("topic", why))
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    #[track_caller]
    fn check(format: Format, body: &str, expected: Result<usize, (u16, &str)>) {
        let found = format.parse(body, 20);
        let found =
            found.map(|(events, _)| events.len()).map_err(|p| (p.status_code().as_u16(), p.to_string()));
        assert_eq!(found, expected.map_err(|(status, text)| (status, text.to_owned())), "{body}");
    }

    #[test]
    fn bodies_become_events_or_a_sentence_that_names_the_field() {
        use Format::{Form, Json, Lines};
        check(Json, r#"{"topic":"a","data":1}"#, Ok(1));
        check(Json, r#" {"topic":["a","b"],"event":null,"data":"x"}"#, Ok(1));
        check(Json, r#"[{"topic":"a","data":1},{"topic":"b","event":"e","data":null}]"#, Ok(2));
        check(Lines, "{\"topic\":\"a\",\"data\":1}\n\n{\"topic\":\"b\",\"data\":2}\n", Ok(2));
        check(Form, "topic=a&data=x+y&event=e", Ok(1));
        check(Json, r#"[["a",null,1,null]]"#, Err((400, "event 0: an event must be a JSON object")));
        check(Json, "7", Err((400, "an event must be a JSON object")));
        check(Json, "", Err((400, "an event must be a JSON object")));
        check(Json, r#"{"topic":"a","data":1} x"#, Err((400, "trailing characters at line 1 column 24")));
        check(Json, "[]", Err((400, "the batch has no events")));
        check(Lines, "\n\n", Err((400, "the batch has no events")));
        check(Json, r#"{"data":1}"#, Err((400, "missing field `topic` at line 1 column 10")));
        check(Json, r#"{"topic":"a"}"#, Err((400, "missing field `data` at line 1 column 13")));
        check(
            Json,
            r#"{"topic":"a","data":1,"data":2}"#,
            Err((400, "duplicate field `data` at line 1 column 28")),
        );
        check(
            Json,
            r#"{"topic":"a","data":1,"dta":2}"#,
            Err((
                400,
                "unknown field `dta`, expected one of `topic`, `event`, `data`, `idempotency_key` at line 1 column 27",
            )),
        );
        check(
            Json,
            r#"{"topic":1,"data":1}"#,
            Err((400, "`topic` must be a string or an array of strings at line 1 column 10")),
        );
        check(
            Lines,
            "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a b\",\"data\":1}",
            Err((400, "line 2: topic: topic \"a b\" is not 1 to 128 characters of A-Z a-z 0-9 _ . : / -")),
        );
        check(
            Json,
            r#"[{"topic":"a","event":"heartbeat","data":1}]"#,
            Err((
                400,
                "event 0: event: event type \"heartbeat\" is the server's own and cannot be published",
            )),
        );
        check(Json, r#"{"topic":[],"data":1}"#, Err((400, "topic: an event needs at least one topic")));
        check(
            Json,
            r#"{"topic":"a","data":"123456789012345678901"}"#,
            Err((413, "data has 21 bytes, more than the limit of 20")),
        );
        check(Form, "topic=a", Err((400, "missing field `data`")));
        check(
            Form,
            "topic=a&data=1&x=2",
            Err((400, "unknown field `x`, expected one of `topic`, `event`, `data`")),
        );
        check(Form, "topic=a&data=1&data=2", Err((400, "duplicate field `data`")));
    }
}
