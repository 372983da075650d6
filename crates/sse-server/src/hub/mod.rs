//! The rules of the hub, without clock, runtime, sockets or files.

mod event;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod grant;
mod history;
mod idempotency;
mod index;
pub mod limits;
mod order;
mod sequence;
mod topic;

pub use event::{After, Data, EventId, EventType, NewEvent};
pub use frame::{Draft, Frame};
pub use history::{
    History, HistoryConfig, Ordinal, Portion, Recovered, RecoveredEvent, Released, Reset, ResetReason, Start,
    Unread,
};
pub use idempotency::{Claim, IdempotencyKey, KeyUse, Keys, NotClaimed};
pub use index::{GroupId, Index};
pub use order::{Appended, Hub, HubConfig, ReaderId, Stats, Subscription, Taken, Wake};
pub use sequence::{NotIssued, Sequence};
pub use topic::{Interest, Topic, TopicFilter, TypeFilter};

/// What a name, an id or a body breaks; the message is fit for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not `<ms>-<seq>`.
    #[error("event id {0:?} is not <ms>-<seq>, two decimal numbers")]
    EventId(String),
    /// A type that is empty, too long, or breaks the line it stands on.
    #[error("event type {0:?} is not 1 to 64 characters without CR, LF and NUL")]
    EventType(String),
    /// A type that only the server sends.
    #[error("event type {0:?} is the server's own and cannot be published")]
    ReservedType(String),
    /// A key that is empty or too long; so many characters.
    #[error("{0} characters are not 1 to 128")]
    IdempotencyKey(usize),
    /// Not a topic.
    #[error("topic {0:?} is not 1 to 128 characters of A-Z a-z 0-9 _ . : / -")]
    Topic(String),
    /// Neither a topic nor a prefix of one followed by `*`.
    #[error("topic filter {0:?} is neither a topic, nor a prefix of one followed by *, nor * alone")]
    TopicFilter(String),
    /// An event without topic.
    #[error("an event needs at least one topic")]
    NoTopic,
    /// JSON whose strings are not text (a lone surrogate).
    #[error("data is not valid JSON: {0}")]
    Data(String),
}
