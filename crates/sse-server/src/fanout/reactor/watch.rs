//! What the poll is to report of a stream's socket: what the client says, and room if a write is unfinished.
//!
//! A unix socket, unlike TCP, reports room whenever its other end takes something, which is after every write: it is
//! asked for room only while there is something to write.

use std::io;

use mio::Interest;
use mio::unix::SourceFd;

use super::Reactor;
use crate::fanout::EndReason;
use crate::fanout::group::Slot;
use crate::fanout::roster::to_token;
use crate::fanout::stream::Stream;

impl Reactor {
    /// Begins to watch a stream.
    pub(super) fn begin_watch(&mut self, slot: Slot) -> io::Result<()> {
        let handle = self.roster.handle(slot);
        let stream = &mut self.roster[slot];
        stream.is_watched_for_room = wants_room(stream);
        let (descriptor, interest) = (stream.descriptor(), interest(stream.is_watched_for_room));
        self.poll.registry().register(&mut SourceFd(&descriptor), to_token(handle), interest)
    }

    /// Has the poll report room if it is wanted now, and only then.
    pub(super) fn watch(&mut self, slot: Slot) {
        let handle = self.roster.handle(slot);
        let stream = &mut self.roster[slot];
        let wants = wants_room(stream);
        if wants == stream.is_watched_for_room {
            return;
        }
        stream.is_watched_for_room = wants;
        let descriptor = stream.descriptor();
        let poll = self.poll.registry();
        if let Err(error) = poll.reregister(&mut SourceFd(&descriptor), to_token(handle), interest(wants)) {
            log::warn!("cannot watch the socket of a stream: {error}");
            self.end(slot, EndReason::Client);
        }
    }
}

fn wants_room(stream: &Stream) -> bool {
    stream.is_stuck() || !stream.is_unix
}

fn interest(wants_room: bool) -> Interest {
    if wants_room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}
