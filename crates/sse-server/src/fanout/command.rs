//! What an operator asks of the reactors: which streams are open, and the end of one.
//!
//! A reactor answers in its turn, after it has taken in the streams on their way to it, so whoever was attached
//! before the question is found. Streams know nothing of this: a list looks at all of them, a delivery pays nothing.

use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::group::Slot;
use super::mailbox::Arrival;
use super::roster::Roster;
use super::stream::Place;
use super::{ConnectionId, ConnectionInfo, Fanout, Holder};
use crate::hub::{Interest, Ordinal};

/// How long the reactors have to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A question to one reactor. Who does not wait for the answer any more gets none, and no stream ends.
pub(super) enum Command {
    /// Streams by id, from just above `after`, so many at most.
    List { after: Option<ConnectionId>, count_max: usize, answer: oneshot::Sender<Vec<StreamInfo>> },
    /// The end of a stream; answered with whether it was there.
    Kick { id: ConnectionId, answer: oneshot::Sender<bool> },
    /// The end of every stream of a holder, whoever waits for the answer: how many there were.
    Withdraw { holder: Holder, answer: oneshot::Sender<usize> },
}

/// An open stream at one moment.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Its name.
    pub id: ConnectionId,
    /// The client's real address.
    pub address: IpAddr,
    /// What the client calls itself.
    pub user_agent: Option<Box<str>>,
    /// When the request came.
    pub connected_at: SystemTime,
    /// What it wants; in the words of the first of the streams that want the same.
    pub interest: Arc<Interest>,
    /// Events handed to the kernel.
    pub events: u64,
    /// Bytes handed to the kernel, response head and framing included.
    pub bytes: u64,
    /// Events in the order that it has not been given, wanted or not; a live stream has none.
    pub lag: u64,
    /// The content coding of its bytes.
    pub encoding: &'static str,
    /// When it was last written to.
    pub written_at: SystemTime,
    /// Whose grant it was opened with.
    pub holder: Option<Holder>,
}

/// A reactor did not answer within [`ANSWER_WITHIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the threads that write the streams did not answer within {} s", ANSWER_WITHIN.as_secs())]
pub struct NoAnswer;

impl Fanout {
    /// The open streams by id, from just above `after`, at most `count_max`, and whether there are more. A stream
    /// that stays open is on exactly one of the pages that follow each other, whichever come and go. Needs a tokio
    /// runtime.
    pub async fn list(
        &self,
        after: Option<ConnectionId>,
        count_max: usize,
    ) -> Result<(Vec<StreamInfo>, bool), NoAnswer> {
        // One more from each, to know whether there is one.
        let count = count_max.saturating_add(1);
        let answers = self.ask(|answer| Command::List { after, count_max: count, answer }).await?;
        let mut streams: Vec<StreamInfo> = answers.into_iter().flatten().collect();
        streams.sort_unstable_by_key(|stream| stream.id);
        let more = streams.len() > count_max;
        streams.truncate(count_max);
        Ok((streams, more))
    }

    /// Ends a stream, if it is open; returns whether it was. When this returns, its place is free. Needs a tokio
    /// runtime.
    pub async fn kick(&self, id: ConnectionId) -> Result<bool, NoAnswer> {
        let answers = self.ask(|answer| Command::Kick { id, answer }).await?;
        Ok(answers.contains(&true))
    }

    /// Ends every stream that this holder opened, and returns how many there were. A stream handed over before is
    /// among them. Needs a tokio runtime.
    pub async fn withdraw(&self, holder: &Holder) -> Result<usize, NoAnswer> {
        let answers = self.ask(|answer| Command::Withdraw { holder: holder.clone(), answer }).await?;
        Ok(answers.into_iter().sum())
    }

    /// The answers of all reactors.
    async fn ask<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Result<Vec<T>, NoAnswer> {
        let mut waiting = Vec::with_capacity(self.0.reactors.len());
        for handle in &self.0.reactors {
            let (answer, answered) = oneshot::channel();
            handle.mailbox.command(command(answer));
            waiting.push(answered);
        }
        let answers = async {
            let mut answers = Vec::with_capacity(waiting.len());
            for answered in waiting {
                answers.push(answered.await.map_err(|_| NoAnswer)?);
            }
            Ok(answers)
        };
        tokio::time::timeout(ANSWER_WITHIN, answers).await.map_err(|_| NoAnswer)?
    }
}

/// Where a stream of this reactor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Slot(Slot),
    Arrival(usize),
}

/// The streams of one reactor by id, those on their way included. `next`: what the reactor takes next; `end`: the end
/// of the order.
pub(super) fn list(
    (roster, arrivals): (&Roster, &[Arrival]),
    (next, end): (Ordinal, Ordinal),
    now_ms: u64,
    after: Option<ConnectionId>,
    count_max: usize,
) -> Vec<StreamInfo> {
    let seated = roster.iter().map(|(slot, stream)| (stream.connection().id, Found::Slot(slot)));
    let coming = arrivals.iter().enumerate();
    let coming = coming.map(|(n, arrival)| (arrival.owner.connection.id, Found::Arrival(n)));
    let mut first: BinaryHeap<(ConnectionId, Found)> = BinaryHeap::new();
    for found in seated.chain(coming).filter(|(id, _)| after.is_none_or(|after| *id > after)) {
        if first.len() < count_max {
            first.push(found);
        } else if let Some(mut last) = first.peek_mut().filter(|last| **last > found) {
            *last = found;
        }
    }
    let now = SystemTime::now();
    let info = |(_, found)| match found {
        Found::Slot(slot) => {
            let (stream, group) = roster.stream_and_group(slot);
            let (given, written_ms) = match stream.place {
                Place::Live => (next, stream.written_ms.max(group.written_ms)),
                Place::Behind(next) | Place::Held(next) => (next, stream.written_ms),
                Place::Leaving => (end, stream.written_ms),
            };
            let silent = Duration::from_millis(now_ms.saturating_sub(written_ms));
            StreamInfo {
                events: stream.events,
                bytes: stream.bytes,
                lag: end.saturating_sub(given),
                written_at: now.checked_sub(silent).unwrap_or(now).max(stream.connection().connected_at),
                ..fresh(stream.connection(), group.interest(), group.encoding().content_coding())
            }
        }
        Found::Arrival(n) => {
            let Arrival { subscription, encoding, owner, .. } = &arrivals[n];
            StreamInfo {
                lag: end.saturating_sub(subscription.start.next),
                ..fresh(&owner.connection, &subscription.interest, encoding.content_coding())
            }
        }
    };
    first.into_sorted_vec().into_iter().map(info).collect()
}

/// A stream that was given nothing yet.
fn fresh(connection: &ConnectionInfo, interest: &Arc<Interest>, encoding: &'static str) -> StreamInfo {
    StreamInfo {
        id: connection.id,
        address: connection.address,
        user_agent: connection.user_agent.clone(),
        connected_at: connection.connected_at,
        interest: Arc::clone(interest),
        events: 0,
        bytes: 0,
        lag: 0,
        encoding,
        written_at: connection.connected_at,
        holder: connection.holder.clone(),
    }
}
