//! A publisher that waits for its answer, and checks it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use proptest::{prop_assert, prop_assert_eq};

use super::Checked;
use super::case;
use super::server::Server;
use super::truth::Truth;
use crate::backplane::{Backplane, PublishError, Published};
use crate::hub::{Data, EventType, IdempotencyKey, NewEvent, Topic};

type Answer = Result<Published, PublishError>;

pub(super) struct Publisher {
    /// The number of its first event.
    first: usize,
    events: usize,
    future: Pin<Box<dyn Future<Output = Answer>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Publisher {
    pub(super) fn new(backplane: &Backplane, first: usize, events: &[case::NewEvent]) -> Self {
        let batch = events.iter().enumerate().map(|(n, event)| new_event(first + n, event)).collect();
        let backplane = backplane.clone();
        let future = Box::pin(async move { backplane.publish(batch).await });
        Self { first, events: events.len(), future, woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.0.load(Relaxed)
    }

    pub(super) fn poll(&mut self) -> Option<Answer> {
        self.woken.0.store(false, Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// Whether the answer says what has happened.
    pub(super) fn check(
        &self,
        answer: Answer,
        truth: &mut Truth,
        server: &Server,
        keys_max: usize,
    ) -> Checked {
        let numbers = self.first..self.first + self.events;
        let Published { ids, receivers, accepted } = match answer {
            Ok(published) => published,
            Err(error) => {
                let is_full = matches!(error, PublishError::KeysFull { .. }) && keys_max == 0;
                prop_assert!(!is_full && !matches!(error, PublishError::Busy), "{}", error);
                let what = match error {
                    PublishError::Store(_) => "publishes refused by the store",
                    PublishError::Closed => "publishes refused at the end",
                    _ => "publishes refused for their keys",
                };
                truth.meet(what, 1);
                for asked in &mut truth.asked[numbers] {
                    prop_assert_eq!(asked.id, None, "committed, but answered: {}", error);
                    asked.refused = true;
                }
                return Ok(());
            }
        };
        prop_assert_eq!(ids.len(), self.events);
        let (mut new, mut expected) = (0, 0);
        for (number, id) in numbers.zip(ids) {
            let asked = &truth.asked[number];
            if asked.id.is_none() {
                let is_known = asked.event.key.is_some_and(|key| truth.is_known(key, id));
                prop_assert!(is_known, "event {} is answered as {}", number, id);
                truth.meet("keys known", 1);
                continue;
            }
            prop_assert_eq!(asked.id, Some(id));
            new += 1;
            let frame = truth.events.iter().find(|frame| frame.id() == id).expect("it is committed");
            expected += server.interests().filter(|interest| truth.wants(*interest, frame)).count() as u64;
        }
        prop_assert_eq!((accepted, receivers), (new, expected), "accepted and receivers");
        truth.meet("events accepted", new);
        Ok(())
    }
}

fn new_event(number: usize, asked: &case::NewEvent) -> NewEvent {
    let topics = asked.topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
    let event = asked.event.map(|event| EventType::parse(event).unwrap());
    let audience = asked.audience.map(|audience| EventType::parse(audience).unwrap());
    let data = Data::Text(format!("{number} {}", "x".repeat(asked.bytes)));
    let key = asked.key.map(|key| IdempotencyKey::parse(&key.to_string()).unwrap());
    NewEvent::new(topics, event, data).unwrap().only_for(audience).with_key(key)
}
