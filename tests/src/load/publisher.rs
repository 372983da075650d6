//! A publisher that never gives up on an event: the same key until it is answered 200.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::id::Id;
use super::link::{Failure, Link, Reply};
use crate::poll::wait_until;
use crate::stack::TOKEN;

/// How long an event is repeated after the end was called.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);
/// What is waited before an event is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(5);
/// A publisher that was held up by more does not catch up.
const ARREARS_MAX: Duration = Duration::from_millis(50);
/// Events of the largest batch.
const BATCH_MAX: u64 = 20;

/// What publishers do.
#[derive(Debug, Clone)]
pub struct Publishing {
    /// Where to: the server's own port or nginx's.
    pub port: u16,
    /// How many publish at one time.
    pub publishers: u32,
    /// Events per second of each; 0 is as fast as it is answered.
    pub rate: u32,
    /// Whether events carry an `idempotency_key`. Without one, repeating doubles what had been taken.
    pub keys: bool,
    /// Whether some events go out on two connections at one time. Needs keys.
    pub twins: bool,
    /// What the choices of the publishers come from.
    pub seed: u64,
}

/// Shared by the publishers and whoever runs them.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) stop: AtomicBool,
    pub(super) hold: AtomicBool,
    pub(super) answered: AtomicU64,
}

/// What one publisher did.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The id that event `n` was answered with.
    pub ids: Vec<Id>,
    /// What it met instead of 200, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Requests that went out twice at one time.
    pub twins: u64,
    /// What the answers may not do.
    pub breaches: Vec<String>,
}

/// One publisher, on its own thread.
pub(super) struct Publisher {
    number: u32,
    plan: Publishing,
    control: Arc<Control>,
    log: Arc<Mutex<Published>>,
    rng: Rng,
    links: [Link; 2],
    stopped: Option<Instant>,
}

impl Publisher {
    pub(super) fn new(
        number: u32,
        plan: Publishing,
        control: Arc<Control>,
        log: Arc<Mutex<Published>>,
    ) -> Self {
        let rng = Rng::with_seed(plan.seed.wrapping_add(u64::from(number)));
        let links = [Link::new(plan.port), Link::new(plan.port)];
        Self { number, plan, control, log, rng, links, stopped: None }
    }

    /// Publishes until it is told to stop, and ends with an event that was answered.
    pub(super) fn run(mut self) {
        let (mut n, mut due) = (0, Instant::now());
        while !self.control.stop.load(Ordering::SeqCst) {
            if self.holds() {
                continue;
            }
            let batch = (self.rng.u32(..16) == 0).then(|| self.rng.u64(1..=BATCH_MAX));
            let request = self.request(n, batch);
            let Some(ids) = self.deliver(&request, batch.unwrap_or(1)) else { return };
            n += ids.len() as u64;
            self.control.answered.fetch_add(ids.len() as u64, Ordering::SeqCst);
            self.log().ids.extend(&ids);
            if let Some(pause) = Duration::from_secs(ids.len() as u64).checked_div(self.plan.rate) {
                due = (due + pause).max(Instant::now().checked_sub(ARREARS_MAX).unwrap_or(due));
                wait_until(due, &self.control.stop);
            }
        }
    }

    /// Waits a little if nothing is to be published at the moment.
    fn holds(&self) -> bool {
        let holds = self.control.hold.load(Ordering::SeqCst) && !self.control.stop.load(Ordering::SeqCst);
        if holds {
            wait_until(Instant::now() + REPEAT_AFTER, &self.control.stop);
        }
        holds
    }

    fn log(&self) -> MutexGuard<'_, Published> {
        self.log.lock().expect("no publisher panics")
    }

    /// The ids that the events were answered with. Nothing if it had to give up.
    fn deliver(&mut self, request: &[u8], count: u64) -> Option<Vec<Id>> {
        let is_twin = self.plan.twins && self.plan.keys && self.rng.u32(..8) == 0;
        let sent: Vec<_> =
            self.links.iter_mut().take(1 + usize::from(is_twin)).map(|l| l.send(request)).collect();
        let mut answers = Vec::new();
        for (which, sent) in sent.into_iter().enumerate() {
            let mut reply = sent.and_then(|()| self.links[which].receive());
            let ids = loop {
                if let Some(ids) = self.judge(reply, count)? {
                    break ids;
                }
                wait_until(Instant::now() + REPEAT_AFTER, &AtomicBool::new(false));
                while self.holds() {}
                reply = self.links[which].send(request).and_then(|()| self.links[which].receive());
            };
            answers.push(ids);
        }
        if is_twin {
            self.log().twins += 1;
            if answers[0] != answers[1] {
                self.breach(format!("twins were answered {:?} and {:?}", answers[0], answers[1]));
            }
        }
        answers.pop()
    }

    /// The ids of a success; `Some(None)` to repeat; `None` to give up.
    fn judge(&mut self, reply: Result<Reply, Failure>, count: u64) -> Option<Option<Vec<Id>>> {
        let what = match reply {
            Ok(Reply { status: 200, body }) => {
                let ids = ids(&body).filter(|ids| ids.len() as u64 == count);
                if ids.is_none() {
                    self.breach(format!("{count} events were answered {body}"));
                    return None;
                }
                return Some(ids);
            }
            Ok(Reply { status, body }) => {
                let problem: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                let why = format!("{status} {}", problem["detail"].as_str().unwrap_or(&body));
                if status < 500 && status != 429 {
                    self.breach(why);
                    return None;
                }
                why
            }
            Err(failure) => failure.to_string(),
        };
        *self.log().errors.entry(what).or_default() += 1;
        if self.control.stop.load(Ordering::SeqCst)
            && self.stopped.get_or_insert_with(Instant::now).elapsed() > GIVE_UP_AFTER
        {
            self.breach(format!("no answer within {GIVE_UP_AFTER:?} of the end"));
            return None;
        }
        Some(None)
    }

    fn breach(&mut self, what: String) {
        let what = format!("publisher {}: {what}", self.number);
        self.log().breaches.push(what);
    }

    /// One event, or a batch of them.
    fn request(&mut self, n: u64, batch: Option<u64>) -> Vec<u8> {
        let events: Vec<String> = (n..n + batch.unwrap_or(1)).map(|n| self.event(n)).collect();
        let body = if batch.is_some() { format!("[{}]", events.join(",")) } else { events.concat() };
        format!(
            "POST /sse/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn event(&mut self, n: u64) -> String {
        let p = self.number;
        // Some belong to two topics that the subscribers' filter matches, and come once all the same.
        let topic = match self.rng.u32(..10) {
            0 => format!("[\"load:{p}\",\"load:all\"]"),
            _ => format!("\"load:{p}\""),
        };
        let key = match self.plan.keys {
            true => format!(",\"idempotency_key\":\"{:x}-{p}-{n}\"", self.plan.seed),
            false => String::new(),
        };
        format!("{{\"topic\":{topic},\"event\":\"tick\",\"data\":{{\"p\":{p},\"n\":{n}}}{key}}}")
    }
}

/// The ids of an answer, of one event or of a batch.
fn ids(body: &str) -> Option<Vec<Id>> {
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    let parse = |id: &serde_json::Value| id.as_str()?.parse().ok();
    match &answer["ids"] {
        serde_json::Value::Array(ids) => ids.iter().map(parse).collect(),
        _ => parse(&answer["id"]).map(|id| vec![id]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_kinds_of_answers_are_read() {
        assert_eq!(ids(r#"{"id":"1-2","receivers":0}"#), Some(vec![Id { ms: 1, seq: 2 }]));
        let two = vec![Id { ms: 1, seq: 2 }, Id { ms: 1, seq: 3 }];
        assert_eq!(ids(r#"{"ids":["1-2","1-3"],"receivers":4}"#), Some(two));
        assert_eq!((ids("{}"), ids("x"), ids(r#"{"ids":["1-2",7]}"#)), (None, None, None));
    }
}
