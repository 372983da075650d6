//! `/events`, `/events/status`, `/events/broadcast`, `/sse-test`: the paths of the stack that this one replaces.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data as Shared, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::connections::{no_answer, types};
use super::error::Problem;
use super::publish::{Admitted, check_size, content_type, object};
use super::time::rfc3339;
use super::{State, subscribe};
use crate::fanout::{Holder, StreamInfo};
use crate::hub::{Data, EventType, Invalid, NewEvent, Topic};

/// The types of a stream that names none.
const TYPES: [&str; 3] = ["summary_complete", "summary_progress", "system"];

/// The topic of what is for everybody.
const BROADCAST: &str = "broadcast";

/// `GET /sse-test`.
pub(super) async fn test_page() -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, "/sse/test")).finish()
}

/// `GET /events`.
pub(super) async fn events(request: HttpRequest, state: Shared<State>) -> Result<HttpResponse, Problem> {
    subscribe::open(&request, &state, &TYPES)
}

/// Streams that the status shows at most: it is open to anybody, and has no pages.
const STATUS_MAX: usize = 1000;

#[derive(Serialize)]
struct Status {
    total_connections: usize,
    connections: Vec<Connection>,
}

#[derive(Serialize)]
struct Connection {
    connection_id: String,
    /// Without a login there are no sessions.
    session_id: Option<String>,
    user_ip: String,
    created_at: String,
    last_activity: String,
    is_active: bool,
    subscriptions: Vec<String>,
    queue_size: u64,
}

/// `GET /events/status`.
pub(super) async fn status(state: Shared<State>) -> Result<HttpResponse, Problem> {
    let (streams, more) = state.fanout.list(None, STATUS_MAX).await.map_err(no_answer)?;
    let total_connections = if more { state.limits.active() } else { streams.len() };
    let connections = streams.iter().map(Connection::from).collect();
    let status = Status { total_connections, connections };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(status))
}

impl From<&StreamInfo> for Connection {
    fn from(stream: &StreamInfo) -> Self {
        Self {
            connection_id: stream.id.to_string(),
            session_id: match &stream.holder {
                Some(Holder::Session(id)) => Some(id.to_string()),
                Some(Holder::Token(_)) | None => None,
            },
            user_ip: stream.address.to_string(),
            created_at: rfc3339(stream.connected_at),
            last_activity: rfc3339(stream.written_at),
            is_active: true,
            subscriptions: types(stream),
            queue_size: stream.lag,
        }
    }
}

/// A broadcast as the older clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Broadcast<'a> {
    event_type: String,
    #[serde(borrow)]
    data: &'a RawValue,
    session_filter: Option<String>,
    subscription_filter: Option<String>,
}

#[derive(Serialize)]
struct Broadcasted {
    success: bool,
    message: String,
    total_connections: usize,
}

/// `POST /events/broadcast`.
pub(super) async fn broadcast(
    request: HttpRequest,
    payload: Payload,
    state: Shared<State>,
) -> Result<HttpResponse, Problem> {
    let admitted = Admitted::new(&request, &state)?;
    let (written, essence) = content_type(&request);
    if essence != "application/json" {
        return Err(Problem::unsupported(format!("the content type {written:?} is not application/json")));
    }
    let body = admitted.read(payload).await?;
    let broadcast: Broadcast<'_> = object(&body, "")?;
    let event = broadcast.event()?;
    check_size(&event, state.config.event_bytes_max, None)?;
    admitted.publish(vec![event]).await?;
    Ok(HttpResponse::Ok().json(Broadcasted {
        success: true,
        message: format!("Broadcasted {} event", broadcast.event_type),
        total_connections: state.limits.active(),
    }))
}

impl Broadcast<'_> {
    pub(super) fn event(&self) -> Result<NewEvent, Problem> {
        let bad = |field: &str, why: Invalid| Problem::bad_request(format!("{field}: {why}"));
        let topic = match self.session_filter.as_deref() {
            None => BROADCAST.to_owned(),
            // Whoever lost the id of a session on the way does not mean everybody.
            Some("") => {
                return Err(Problem::bad_request(
                    "session_filter is \"\", but it must be the id of a session or null",
                ));
            }
            Some(session) => format!("session:{session}"),
        };
        let topic = Topic::parse(&topic).map_err(|why| bad("session_filter", why))?;
        let kind = EventType::parse_published(&self.event_type).map_err(|why| bad("event_type", why))?;
        let audience = self.subscription_filter.as_deref().map(EventType::parse).transpose();
        let audience = audience.map_err(|why| bad("subscription_filter", why))?;
        let data = Data::from_raw(self.data).map_err(|why| bad("data", why))?;
        let event = NewEvent::new(vec![topic], Some(kind), data).map_err(|why| bad("data", why))?;
        Ok(event.only_for(audience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Result<(&str, Option<&str>), &str>) {
        let event = object::<Broadcast<'_>>(body, "").and_then(|broadcast| broadcast.event());
        let found = match &event {
            Ok(event) => Ok((event.topics()[0].as_str(), event.audience().map(EventType::as_str))),
            Err(problem) => Err(problem.to_string()),
        };
        assert_eq!(found, expected.map_err(ToOwned::to_owned), "{body}");
    }

    #[test]
    fn broadcasts_become_events_or_a_sentence_that_names_the_field() {
        check(
            r#"{"event_type":"test","data":{},"session_filter":null,"subscription_filter":null}"#,
            Ok(("broadcast", None)),
        );
        check(r#"{"event_type":"test","data":{"n":1}}"#, Ok(("broadcast", None)));
        check(r#"{"event_type":"test","data":"x","session_filter":"s-1"}"#, Ok(("session:s-1", None)));
        check(
            r#"{"event_type":"test","data":1,"session_filter":"s","subscription_filter":"system"}"#,
            Ok(("session:s", Some("system"))),
        );
        check("[\"test\",{},null,null]", Err("an event must be a JSON object"));
        check(r#"{"data":{}}"#, Err("missing field `event_type` at line 1 column 11"));
        check(r#"{"event_type":"test"}"#, Err("missing field `data` at line 1 column 21"));
        check(
            r#"{"event_type":null,"data":{}}"#,
            Err("invalid type: null, expected a string at line 1 column 18"),
        );
        check(
            r#"{"event_type":"test","data":{},"topic":"a"}"#,
            Err("unknown field `topic`, expected one of `event_type`, `data`, `session_filter`, \
                 `subscription_filter` at line 1 column 38"),
        );
        check(
            r#"{"event_type":"shutdown","data":{}}"#,
            Err("event_type: event type \"shutdown\" is the server's own and cannot be published"),
        );
        check(
            r#"{"event_type":"","data":{}}"#,
            Err("event_type: event type \"\" is not 1 to 64 characters without CR, LF and NUL"),
        );
        check(
            r#"{"event_type":"test","data":{},"session_filter":""}"#,
            Err("session_filter is \"\", but it must be the id of a session or null"),
        );
        check(
            r#"{"event_type":"test","data":{},"session_filter":"a b"}"#,
            Err("session_filter: topic \"session:a b\" is not 1 to 128 characters of A-Z a-z 0-9 _ . : / -"),
        );
        check(
            r#"{"event_type":"test","data":{},"subscription_filter":""}"#,
            Err("subscription_filter: event type \"\" is not 1 to 64 characters without CR, LF and NUL"),
        );
    }
}
