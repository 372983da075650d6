//! A client that behaves like an `EventSource`, and checks whatever it gets.

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::Checked;
use super::socket::{Item, Socket};
use super::stream::Handle;
use super::truth::{Expected, Truth};
use crate::hub::{After, EventId, Frame};

pub(super) struct Client {
    /// The number of its interest.
    pub(super) interest: usize,
    /// What it comes back with; `None`: it has seen no id.
    pub(super) last_id: Option<EventId>,
    pub(super) connection: Option<Connection>,
}

pub(super) struct Connection {
    pub(super) reader: usize,
    pub(super) handle: Handle,
    pub(super) socket: Socket,
    pub(super) expected: Expected,
    /// What matches after this id has to come next; `None` before the greeting.
    pub(super) cursor: Option<EventId>,
}

impl Client {
    pub(super) fn new(interest: usize) -> Self {
        Self { interest, last_id: None, connection: None }
    }

    /// What an `EventSource` asks for when it comes back.
    pub(super) fn own(&self) -> After {
        self.last_id.map_or(After::Live, After::Id)
    }

    /// Takes at most so many items from its connection; returns how many came.
    pub(super) fn read(&mut self, items: usize, truth: &mut Truth) -> Result<usize, TestCaseError> {
        let mut read = 0;
        while read < items
            && let Some(item) = self.connection.as_ref().and_then(|connection| connection.socket.receive())
        {
            self.take(&item, truth)?;
            truth.meet(
                match item {
                    Item::Greeting(_) => "greetings seen",
                    Item::Event(_) => "events seen",
                    Item::Heartbeat(_) => "heartbeats seen",
                },
                1,
            );
            read += 1;
        }
        Ok(read)
    }

    fn take(&mut self, item: &Item, truth: &Truth) -> Checked {
        let connection = self.connection.as_mut().expect("something came over it");
        let id = match (item, connection.cursor) {
            (Item::Greeting(start), None) => {
                prop_assert_eq!(start.position, connection.expected.position);
                connection.cursor = Some(connection.expected.cursor);
                start.position
            }
            (Item::Event(frame), Some(cursor)) => {
                let id = frame.id();
                let due = truth.next(cursor, self.interest);
                let wire = |frame: &Frame| String::from_utf8_lossy(frame.wire()).into_owned();
                let due = due.map(|due| wire(due));
                prop_assert_eq!(Some(wire(frame)), due, "after {} comes another event", cursor);
                prop_assert!(Some(id) > self.last_id, "{} comes after {:?}", id, self.last_id);
                connection.cursor = Some(id);
                id
            }
            (Item::Heartbeat(id), Some(cursor)) => {
                let due = truth.next(cursor, self.interest).map(|frame| frame.id());
                let passed = due.filter(|due| due <= id);
                prop_assert_eq!(passed, None, "heartbeat {} has passed an event that did not come", id);
                // A greeting's position need not be an event's id, a heartbeat's is: both mean the same place.
                let last = self.last_id.unwrap_or(EventId::ZERO);
                prop_assert!(!truth.has_between(*id, last), "heartbeat {} after {}", id, last);
                *id
            }
            (item, cursor) => return Err(TestCaseError::fail(format!("{item:?} at {cursor:?}"))),
        };
        self.last_id = Some(id);
        Ok(())
    }

    /// Whether everything that it must see has come.
    pub(super) fn has_all(&self, truth: &Truth) -> Checked {
        let cursor = self.connection.as_ref().and_then(|connection| connection.cursor);
        prop_assert!(cursor.is_some(), "a stream was not greeted");
        let due = cursor.and_then(|cursor| truth.next(cursor, self.interest)).map(|frame| frame.id());
        prop_assert_eq!(due, None, "a matching event did not come");
        Ok(())
    }
}
