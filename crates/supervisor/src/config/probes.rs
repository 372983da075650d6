//! What a program is asked, and how patiently: `ready`, `alive`, `backoff` and `start_limit`.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::Keys;
use super::program::{Alive, Backoff, Check, Ready, StartLimit};
use super::{units, words};

/// The questions; the last is none, but an answer without one.
const CHECKS: [&str; 5] = ["http", "tcp", "unix", "exec", "notify"];

fn check(kind: &str, text: &str) -> Result<Option<Check>, String> {
    match kind {
        "http" => http(text).map(Some),
        "tcp" => tcp(text).map(|address| Some(Check::Tcp(address))),
        "unix" => Ok(Some(Check::Unix(PathBuf::from(text)))),
        "exec" => match words::split(text).ok().filter(|words| !words.is_empty()) {
            Some(words) => Ok(Some(Check::Exec(words))),
            None => Err("must be a command".to_owned()),
        },
        _ => units::boolean(text).map(|on| on.then_some(Check::Notify)),
    }
}

/// What a table says beside its check.
type Others = Vec<(&'static str, String)>;

/// The one check of a table, and what else it says.
fn table(keys: &mut Keys<'_>, key: &'static str, others: &[&'static str]) -> Option<(Option<Check>, Others)> {
    let known: Vec<&'static str> = CHECKS.iter().chain(others).copied().collect();
    let pairs = keys.table(key, &known)?;
    let (mut checks, mut rest, mut named) = (Vec::new(), Vec::new(), 0);
    for (name, text) in pairs {
        if others.contains(&name) {
            rest.push((name, text));
            continue;
        }
        named += 1;
        let found = check(name, &text).map_err(|why| format!("`{key}.{name}` is {text:?}, but it {why}"));
        checks.extend(keys.note(key, found).flatten());
    }
    if checks.len() != 1 && (named != 1 || checks.len() > 1) {
        keys.mistake(key, format!("`{key}` must name exactly one of http, tcp, unix, exec and notify"));
        return None;
    }
    Some((checks.pop(), rest))
}

fn time(keys: &mut Keys<'_>, key: &str, name: &str, text: &str) -> Option<Duration> {
    let time = units::duration(text).map_err(|why| format!("`{key}.{name}` is {text:?}, but it {why}"));
    let time = keys.note(key, time)?;
    if time.is_zero() {
        keys.mistake(key, format!("`{key}.{name}` must be above 0"));
        return None;
    }
    Some(time)
}

pub(super) fn ready(keys: &mut Keys<'_>) -> Option<Ready> {
    let (check, rest) = table(keys, "ready", &["timeout", "interval"])?;
    let (mut timeout, mut interval) = (Duration::from_secs(30), Duration::from_millis(100));
    for (name, text) in rest {
        match (name, time(keys, "ready", name, &text)) {
            ("timeout", Some(time)) => timeout = time,
            (_, Some(time)) => interval = time,
            _ => {}
        }
    }
    check.map(|check| Ready { check, timeout, interval })
}

pub(super) fn alive(keys: &mut Keys<'_>) -> Option<Alive> {
    let (check, rest) = table(keys, "alive", &["interval", "timeout", "failures"])?;
    let (mut interval, mut timeout, mut failures) = (Duration::from_secs(10), Duration::from_secs(3), 3);
    for (name, text) in rest {
        match name {
            "failures" => match text.parse() {
                Ok(number) if (1..=1000).contains(&number) => failures = number,
                _ => keys.mistake(
                    "alive",
                    format!("`alive.failures` is {text:?}, but it must be a number from 1 to 1000"),
                ),
            },
            "interval" => interval = time(keys, "alive", name, &text).unwrap_or(interval),
            _ => timeout = time(keys, "alive", name, &text).unwrap_or(timeout),
        }
    }
    check.map(|check| Alive { check, interval, timeout, failures })
}

fn http(url: &str) -> Result<Check, String> {
    let wrong = || "must be like http://127.0.0.1:5001/path or http+unix:///run/x.sock:/path".to_owned();
    if let Some(rest) = url.strip_prefix("http+unix://") {
        let (socket, path) = rest.split_once(":/").ok_or_else(wrong)?;
        if !socket.starts_with('/') {
            return Err(wrong());
        }
        return Ok(Check::HttpUnix { socket: PathBuf::from(socket), path: format!("/{path}") });
    }
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
    let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    tcp(&address).map_err(|_| wrong()).map(|address| Check::Http { address, path })
}

fn tcp(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(text.to_owned())
        }
        _ => Err("must be host:port".to_owned()),
    }
}

pub(super) fn backoff(keys: &mut Keys<'_>) -> Option<Backoff> {
    let pairs = keys.table("backoff", &["initial", "factor", "max", "jitter"])?;
    let mut backoff =
        Backoff { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(30), jitter: 0.0 };
    for (key, text) in pairs {
        let number = |low: f64, high: f64| match text.parse::<f64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(format!("must be a number from {low} to {high}")),
        };
        let done = match key {
            "initial" => units::duration(&text).map(|time| backoff.initial = time),
            "max" => units::duration(&text).map(|time| backoff.max = time),
            "factor" => number(1.0, 100.0).map(|factor| backoff.factor = factor),
            _ => number(0.0, 1.0).map(|jitter| backoff.jitter = jitter),
        };
        keys.note("backoff", done.map_err(|why| format!("`backoff.{key}` is {text:?}, but it {why}")));
    }
    Some(backoff)
}

pub(super) fn start_limit(keys: &mut Keys<'_>) -> Option<StartLimit> {
    let pairs = keys.table("start_limit", &["starts", "within"])?;
    let mut limit = StartLimit { starts: 10, within: Duration::from_secs(60) };
    for (key, text) in pairs {
        let done = match key {
            "starts" => match text.parse() {
                Ok(starts) if (1..=10_000).contains(&starts) => {
                    limit.starts = starts;
                    Ok(())
                }
                _ => Err("must be a number from 1 to 10000".to_owned()),
            },
            _ => units::duration(&text).map(|time| limit.within = time),
        };
        keys.note(
            "start_limit",
            done.map_err(|why| format!("`start_limit.{key}` is {text:?}, but it {why}")),
        );
    }
    Some(limit)
}
