//! `GET /metrics`: the figures of `/sse/health` for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::State;
use crate::metrics::Exposition;

/// The handler.
pub(super) async fn metrics(state: Data<State>) -> HttpResponse {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let usage = state.sampler.usage(Instant::now());
    let history = state.backplane.history();
    let limits = state.limits.config();
    let mut text = Exposition::default();
    let up = u8::from(state.backplane.store_failure().is_none() && !state.is_draining());
    text.family("sse_ready", "gauge", "1 while the server takes streams and events.", &[("", up)]);
    let uptime = state.started.elapsed().as_secs_f64();
    text.family("sse_uptime_seconds", "gauge", "Time since the start.", &[("", uptime)]);
    for (name, help, value) in [
        ("sse_connections_active", "Streams open now.", state.limits.active()),
        ("sse_connections_max", "Streams that may be open; 0 is unlimited.", limits.connections_max),
        (
            "sse_connections_per_ip_limit",
            "Streams of one address; 0 is unlimited.",
            limits.connections_per_ip_max,
        ),
        ("sse_connections_peak", "Most streams ever open at once.", state.limits.peak()),
        ("sse_addresses", "Addresses with open streams.", state.limits.addresses()),
        ("sse_history_events", "Events kept.", history.events),
        ("sse_history_bytes", "Bytes of events kept.", history.bytes),
    ] {
        text.family(name, "gauge", help, &[("", value)]);
    }
    text.family(
        "sse_connections_rejected_total",
        "counter",
        "Requests refused, by reason.",
        &[
            ("{reason=\"pool_full\"}", get(&state.metrics.rejected_pool_full)),
            ("{reason=\"per_ip\"}", get(&state.metrics.rejected_per_ip)),
            ("{reason=\"unauthorized\"}", get(&state.metrics.rejected_unauthorized)),
            ("{reason=\"rate_limited\"}", get(&state.metrics.rejected_rate_limited)),
        ],
    );
    text.family(
        "sse_events_published_total",
        "counter",
        "Events accepted.",
        &[("", get(&state.metrics.published))],
    );
    text.reactors(state.fanout.counters());
    text.histogram(
        "sse_publish_latency_seconds",
        "From the arrival of a publish to its answer.",
        &state.metrics.publish_latency,
    );
    text.family(
        "sse_cpu_percent",
        "gauge",
        "CPU of the process; 100 is one core.",
        &[("", usage.cpu_percent)],
    );
    text.family("sse_memory_bytes", "gauge", "Resident memory of the process.", &[("", usage.memory_bytes)]);
    text.family("sse_open_files", "gauge", "Open file descriptors.", &[("", usage.open_files)]);
    text.family(
        "sse_open_files_max",
        "gauge",
        "File descriptors it may open.",
        &[("", usage.open_files_max)],
    );
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text.finish())
}
