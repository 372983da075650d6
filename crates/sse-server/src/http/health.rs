//! `/sse/health`: how the server is, for people, probes and Docker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use serde::Serialize;

use super::State;
use super::time::rfc3339;
use crate::fanout::EndReason;
use crate::system::Usage;

/// Part of a limit from which on there is a warning.
const WARNING_FROM: f64 = 0.8;

/// The answer.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
    uptime_seconds: f64,
    connections: Connections,
    events: Events,
    heartbeat: Heartbeat,
    compression: Compression,
    history: History,
    system: System,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Connections {
    active: usize,
    max: usize,
    per_ip_limit: usize,
    utilization: f64,
    peak: usize,
    total: u64,
    addresses: usize,
    rejected: Rejected,
    closed: Closed,
}

#[derive(Serialize)]
struct Rejected {
    pool_full: u64,
    per_ip: u64,
    unauthorized: u64,
    rate_limited: u64,
}

#[derive(Serialize)]
struct Closed {
    client: u64,
    slow: u64,
    idle: u64,
    drain: u64,
    kicked: u64,
    expired: u64,
}

#[derive(Serialize)]
struct Events {
    published: u64,
    delivered: u64,
    replayed: u64,
    bytes_sent: u64,
    per_second: f64,
}

#[derive(Serialize)]
struct Heartbeat {
    interval_seconds: u64,
    sent: u64,
    failures: u64,
    last_sent: Option<String>,
}

#[derive(Serialize)]
struct Compression {
    enabled: bool,
    streams: u64,
    bytes_in: u64,
    bytes_out: u64,
    saved_percent: f64,
}

#[derive(Serialize)]
struct History {
    kind: &'static str,
    events: usize,
    bytes: usize,
    oldest: Option<String>,
    newest: Option<String>,
}

#[derive(Serialize)]
struct System {
    cpu_percent: f64,
    memory_bytes: u64,
    memory_percent: f64,
    open_files: u64,
    open_files_max: u64,
    load_average: [f64; 3],
}

/// `GET /sse/health`.
pub(super) async fn health(state: Data<State>) -> HttpResponse {
    let health = take(&state);
    let mut response = match health.status {
        "healthy" | "warning" => HttpResponse::Ok(),
        _ => HttpResponse::ServiceUnavailable(),
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(health)
}

/// How the server is now.
pub(super) fn take(state: &State) -> Health {
    let usage = state.sampler.usage(Instant::now());
    let (status, reasons) = judge(state, &usage);
    look(state, usage, status, reasons)
}

/// `GET /sse/health/live`.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain").body("live")
}

/// `GET /sse/health/ready`.
pub(super) async fn ready(state: Data<State>) -> HttpResponse {
    let (mut response, word) = if state.is_draining() {
        (HttpResponse::ServiceUnavailable(), "draining")
    } else if state.backplane.store_failure().is_some() {
        (HttpResponse::ServiceUnavailable(), "failing")
    } else {
        (HttpResponse::Ok(), "ready")
    };
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain").body(word)
}

fn judge(state: &State, usage: &Usage) -> (&'static str, Vec<String>) {
    let failure = state.backplane.store_failure();
    let mut reasons: Vec<String> =
        failure.iter().map(|why| format!("the store does not accept events: {}", why.in_full())).collect();
    if state.is_draining() {
        reasons.push("the server is draining".to_owned());
    }
    let mut warnings = Vec::new();
    let (active, max) = (state.limits.active(), state.limits.config().connections_max);
    if part(active as f64, max as f64) >= WARNING_FROM {
        warnings.push(format!("{active} of {max} streams are open (SSE_MAX_CONNECTIONS)"));
    }
    if usage.memory_percent >= WARNING_FROM * 100.0 {
        warnings.push(format!("{} % of the memory is in use", usage.memory_percent));
    }
    if part(usage.open_files as f64, usage.open_files_max as f64) >= WARNING_FROM {
        warnings.push(format!("{} of {} file descriptors are open", usage.open_files, usage.open_files_max));
    }
    let status = match (failure.is_some(), state.is_draining(), warnings.is_empty()) {
        (true, _, _) => "critical",
        (false, true, _) => "draining",
        (false, false, false) => "warning",
        (false, false, true) => "healthy",
    };
    reasons.append(&mut warnings);
    (status, reasons)
}

fn look(state: &State, usage: Usage, status: &'static str, reasons: Vec<String>) -> Health {
    let now = Instant::now();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = state.fanout.counters();
    let closed = |reason| counters.closed.get(reason);
    let history = state.backplane.history();
    let (active, limits) = (state.limits.active(), state.limits.config());
    let last_ms = get(&counters.heartbeat_last_ms);
    Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: (now.duration_since(state.started).as_secs_f64() * 10.0).round() / 10.0,
        connections: Connections {
            active,
            max: limits.connections_max,
            per_ip_limit: limits.connections_per_ip_max,
            utilization: part(active as f64, limits.connections_max as f64),
            peak: state.limits.peak(),
            total: get(&counters.opened),
            addresses: state.limits.addresses(),
            rejected: Rejected {
                pool_full: get(&state.metrics.rejected_pool_full),
                per_ip: get(&state.metrics.rejected_per_ip),
                unauthorized: get(&state.metrics.rejected_unauthorized),
                rate_limited: get(&state.metrics.rejected_rate_limited),
            },
            closed: Closed {
                client: closed(EndReason::Client),
                slow: closed(EndReason::Slow),
                idle: closed(EndReason::Idle),
                drain: closed(EndReason::Drain),
                kicked: closed(EndReason::Kicked),
                expired: closed(EndReason::Expired),
            },
        },
        events: Events {
            published: get(&state.metrics.published),
            delivered: get(&counters.delivered),
            replayed: get(&counters.replayed),
            bytes_sent: get(&counters.bytes_sent),
            per_second: state.metrics.events_per_second(now),
        },
        heartbeat: Heartbeat {
            interval_seconds: state.config.heartbeat_interval.as_secs(),
            sent: get(&counters.heartbeats),
            failures: get(&counters.heartbeat_failures),
            last_sent: (last_ms > 0).then(|| rfc3339(UNIX_EPOCH + Duration::from_millis(last_ms))),
        },
        compression: Compression {
            enabled: state.config.compression,
            streams: get(&counters.gzip_streams),
            bytes_in: get(&counters.gzip_bytes_in),
            bytes_out: get(&counters.gzip_bytes_out),
            saved_percent: saved_percent(get(&counters.gzip_bytes_in), get(&counters.gzip_bytes_out)),
        },
        history: History {
            kind: history.kind,
            events: history.events,
            bytes: history.bytes,
            oldest: history.oldest.map(|id| id.to_string()),
            newest: history.newest.map(|id| id.to_string()),
        },
        system: System {
            cpu_percent: usage.cpu_percent,
            memory_bytes: usage.memory_bytes,
            memory_percent: usage.memory_percent,
            open_files: usage.open_files,
            open_files_max: usage.open_files_max,
            load_average: usage.load_average,
        },
        reasons,
    }
}

/// What compression has saved of the text, in percent; less than nothing if it was not worth it.
fn saved_percent(text: u64, sent: u64) -> f64 {
    if text == 0 { 0.0 } else { ((1.0 - sent as f64 / text as f64) * 1000.0).round() / 10.0 }
}

/// The used part of a limit, 0 to 1; of no limit nothing is used.
fn part(used: f64, limit: f64) -> f64 {
    if limit <= 0.0 { 0.0 } else { (used / limit * 1000.0).round() / 1000.0 }
}
