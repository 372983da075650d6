//! `GET /sse/dashboard/feed`: the figures that the dashboard shows, as a stream of its own beside the hub.
//!
//! It is no topic: nobody can publish to it, no filter reads it, no history keeps it, and no counter of streams and events
//! counts it. Each feed takes its own samples, so nothing is sampled while nobody looks.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;

use super::auth::Caller;
use super::error::Problem;
use super::health::{self, Health};
use super::time::now_ms;
use super::{State, auth, peer, subscribe};
use crate::hub::limits::{ConnectionConfig, ConnectionLimits, Permit, Refusal};
use crate::rates::{Look, Rates};

/// Feeds open at one time; one more is refused with 503.
const FEEDS_MAX: usize = 64;
/// Feeds of one address, or of one IPv6 /64, at one time; one more is refused with 429. The tabs of a browser share one.
const FEEDS_PER_ADDRESS_MAX: usize = 8;
/// The time from one sample to the next.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a feed lasts: the page comes back at once, and a client that reads nothing does not hold its place for ever.
const LIFE_MAX: Duration = Duration::from_secs(3600);
/// When a page may come back that was refused, or whose server drains.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const RETRY_MS: u64 = 2000;
/// What the client takes for the time between two heartbeats: it gives up after one and a half of them.
const HEARTBEAT_SECONDS: u64 = 10;

/// The open feeds.
#[derive(Debug)]
pub struct Feeds {
    limits: ConnectionLimits,
    ending: watch::Sender<bool>,
}

impl Default for Feeds {
    fn default() -> Self {
        let limits =
            ConnectionConfig { connections_max: FEEDS_MAX, connections_per_ip_max: FEEDS_PER_ADDRESS_MAX };
        Self { limits: ConnectionLimits::new(limits), ending: watch::Sender::new(false) }
    }
}

impl Feeds {
    /// Says goodbye to all of them.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }
}

/// What a page is told each second.
#[derive(Serialize)]
struct Figures {
    health: Health,
    /// Since the sample before; none in the first.
    rates: Option<Rates>,
}

/// The handler.
pub(super) async fn feed(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    if state.is_draining() {
        return subscribe::draining(&request);
    }
    let caller = state.login.as_ref().map(|_| auth::anybody(&request, &state)).transpose()?;
    if !subscribe::accepts_event_stream(request.headers()) {
        return Err(Problem::not_acceptable());
    }
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .force_close();
    if request.method() == Method::HEAD {
        let head = response.message_body(actix_web::body::None::new());
        return head.map(HttpResponse::map_into_boxed_body).map_err(|_| Problem::internal("no head"));
    }
    let address = peer::of(&request, &state.config.trusted_proxies);
    let permit = state.feeds.limits.admit(address).map_err(|refusal| refused(&refusal))?;
    let ending = state.feeds.ending.subscribe();
    let opened = Instant::now();
    let feed = Feed {
        request,
        state,
        caller,
        ending,
        opened,
        due: opened,
        look: None,
        id_ms: 0,
        is_over: false,
        _permit: permit,
    };
    Ok(response.streaming(stream::unfold(feed, Feed::next)))
}

/// These refusals are not counted: `rejected` is about the streams of users.
fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::PerIp { max, .. } => {
            Problem::too_many(format!("the limit of one address is {max} open dashboards"), RETRY_AFTER)
        }
        Refusal::PoolFull { max, .. } => {
            Problem::unavailable(format!("the limit of the server is {max} open dashboards"), RETRY_AFTER)
        }
    }
}

/// One page's feed.
struct Feed {
    request: HttpRequest,
    state: Data<State>,
    /// Who looks, where somebody is asked.
    caller: Option<Caller>,
    ending: watch::Receiver<bool>,
    opened: Instant,
    /// When the next sample is.
    due: Instant,
    look: Option<Look>,
    /// The newest id: tabs that share a feed tell by it what they have seen.
    id_ms: u64,
    is_over: bool,
    _permit: Permit,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        let is_first = self.look.is_none();
        let ending = self.ending.wait_for(|ends| *ends);
        let has_ended = tokio::time::timeout_at(self.due.into(), ending).await.is_ok();
        let text = if has_ended {
            self.goodbye(RETRY_MS)
        } else if !self.may_go_on() {
            return None;
        } else if self.opened.elapsed() >= LIFE_MAX {
            self.goodbye(0)
        } else if is_first {
            format!("{}{}", self.greeting(), self.sample())
        } else {
            self.sample()
        };
        Some((Ok(Bytes::from(text)), self))
    }

    /// A session may have ended, or a token have been taken out, since the sample before.
    fn may_go_on(&self) -> bool {
        self.caller.as_ref().is_none_or(|caller| {
            caller.until.is_none_or(|until| Instant::now() < until)
                && auth::still_holds(&self.request, &self.state, caller)
        })
    }

    fn next_id(&mut self) -> String {
        self.id_ms = now_ms().max(self.id_ms + 1);
        format!("{}-0", self.id_ms)
    }

    fn greeting(&mut self) -> String {
        let id = self.next_id();
        format!(
            "retry: {RETRY_MS}\nid: {id}\nevent: connected\ndata: {{\"heartbeat_seconds\":{HEARTBEAT_SECONDS},\"last_event_id\":\"{id}\"}}\n\n"
        )
    }

    fn sample(&mut self) -> String {
        let now = Instant::now();
        self.due = now + SAMPLE_INTERVAL;
        let look = Look::take(&self.state.metrics, self.state.fanout.counters(), now);
        let rates = self.look.as_ref().map(|before| look.since(before));
        self.look = Some(look);
        let figures = Figures { health: health::take(&self.state), rates };
        let json = serde_json::to_string(&figures).expect("numbers and texts are JSON");
        format!("id: {}\nevent: figures\ndata: {json}\n\n", self.next_id())
    }

    fn goodbye(&mut self, retry_ms: u64) -> String {
        self.is_over = true;
        format!("retry: {RETRY_MS}\nevent: shutdown\ndata: {{\"retry_ms\":{retry_ms}}}\n\n")
    }
}
