//! `/sse/connections`: the open streams for who operates the server, and the end of one.

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::error::Problem;
use super::time::rfc3339;
use super::{State, auth};
use crate::fanout::{ConnectionId, NoAnswer, StreamInfo};
use crate::hub::EventType;

/// Streams on one page, if the query says nothing, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// When to ask again if the reactors did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The part of a wrong id that is repeated.
const ID_CHARS_MAX: usize = 64;

#[derive(Serialize)]
struct Listed {
    connections: Vec<Connection>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Connection {
    id: String,
    address: String,
    topics: Vec<String>,
    types: Vec<String>,
    connected_at: String,
    events: u64,
    bytes: u64,
    lag: u64,
    encoding: &'static str,
    user_agent: Option<Box<str>>,
}

/// `GET /sse/connections`.
pub(super) async fn list(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &state)?;
    let Page { limit, after } = Page::parse(request.query_string())?;
    let (streams, more) = state.fanout.list(after, limit).await.map_err(no_answer)?;
    let next = streams.last().filter(|_| more).map(|stream| stream.id.to_string());
    let connections = streams.into_iter().map(Connection::from).collect();
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Listed { connections, next }))
}

/// `DELETE /sse/connections/{id}`.
pub(super) async fn kick(
    request: HttpRequest,
    id: Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &state)?;
    let open = match id.parse() {
        Ok(id) => state.fanout.kick(id).await.map_err(no_answer)?,
        Err(_) => false,
    };
    if !open {
        let id: String = id.chars().take(ID_CHARS_MAX).collect();
        return Err(Problem::no_such(format!("no open stream has the id {id:?}")));
    }
    Ok(HttpResponse::NoContent().finish())
}

pub(super) fn no_answer(error: NoAnswer) -> Problem {
    Problem::unavailable(error.to_string(), RETRY_AFTER)
}

/// The types that a stream asked for.
pub(super) fn types(stream: &StreamInfo) -> Vec<String> {
    stream.interest.asked_types().iter().map(EventType::as_str).map(ToOwned::to_owned).collect()
}

impl From<StreamInfo> for Connection {
    fn from(stream: StreamInfo) -> Self {
        Self {
            id: stream.id.to_string(),
            address: stream.address.to_string(),
            topics: stream.interest.asked_topics().iter().map(ToString::to_string).collect(),
            types: types(&stream),
            connected_at: rfc3339(stream.connected_at),
            events: stream.events,
            bytes: stream.bytes,
            lag: stream.lag,
            encoding: stream.encoding,
            user_agent: stream.user_agent,
        }
    }
}

/// Which streams are asked for.
#[derive(Debug, PartialEq)]
struct Page {
    limit: usize,
    after: Option<ConnectionId>,
}

impl Page {
    fn parse(query: &str) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|error| Problem::bad_request(format!("the query is malformed: {error}")))?;
        let mut page = Self { limit: LIMIT, after: None };
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    page.limit = limit.ok_or_else(|| {
                        Problem::bad_request(format!(
                            "limit is {value:?}, but it must be a whole number from 1 to {LIMIT_MAX}"
                        ))
                    })?;
                }
                "after" => {
                    page.after = Some(value.parse().map_err(|_| {
                        Problem::bad_request(format!(
                            "after is {value:?}, but it must be the id of a stream, 16 hexadecimal digits"
                        ))
                    })?);
                }
                // Anything else is the page's own, such as what keeps a cache away.
                _ => {}
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_bounded_and_a_wrong_one_is_named() {
        let page =
            |limit, after: Option<&str>| Ok(Page { limit, after: after.map(|id| id.parse().unwrap()) });
        let limit = |text| format!("limit is {text:?}, but it must be a whole number from 1 to 1000");
        let after =
            |text| format!("after is {text:?}, but it must be the id of a stream, 16 hexadecimal digits");
        for (query, expected) in [
            ("", page(100, None)),
            ("limit=&after=&_=7", page(100, None)),
            ("limit=1", page(1, None)),
            ("limit=1000&after=00000000000000ff", page(1000, Some("00000000000000ff"))),
            ("limit=0", Err(limit("0"))),
            ("limit=1001", Err(limit("1001"))),
            ("limit=-1", Err(limit("-1"))),
            ("limit=many", Err(limit("many"))),
            ("limit=18446744073709551616", Err(limit("18446744073709551616"))),
            ("after=null", Err(after("null"))),
            ("after=00000000000000FF", Err(after("00000000000000FF"))),
        ] {
            assert_eq!(Page::parse(query).map_err(|problem| problem.to_string()), expected, "{query}");
        }
    }
}
