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
    let build = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    text.family("sse_build_info", "gauge", "The version that runs.", &[(build, 1)]);
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
    let rate = state.metrics.events_per_second(Instant::now());
    text.family("sse_events_per_second", "gauge", "Events accepted per second, lately.", &[("", rate)]);
    let interval = state.config.heartbeat_interval.as_secs();
    text.family(
        "sse_heartbeat_interval_seconds",
        "gauge",
        "Silence after which a stream gets a heartbeat.",
        &[("", interval)],
    );
    let last = get(&state.fanout.counters().heartbeat_last_ms) as f64 / 1000.0;
    text.family(
        "sse_heartbeat_last_timestamp_seconds",
        "gauge",
        "When the last heartbeat was sent; 0 is never.",
        &[("", last)],
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
    let memory = usage.memory_percent;
    text.family(
        "sse_memory_percent",
        "gauge",
        "Used memory of the cgroup's limit, else of the machine.",
        &[("", memory)],
    );
    let [one, five, fifteen] = usage.load_average;
    let loads = [("{minutes=\"1\"}", one), ("{minutes=\"5\"}", five), ("{minutes=\"15\"}", fifteen)];
    text.family("sse_load_average", "gauge", "Load of the machine.", &loads);
    text.family("sse_open_files", "gauge", "Open file descriptors.", &[("", usage.open_files)]);
    text.family(
        "sse_open_files_max",
        "gauge",
        "File descriptors it may open.",
        &[("", usage.open_files_max)],
    );
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text.finish())
}
