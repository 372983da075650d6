//! One stream: its socket, its position, and the rest of an unfinished write.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{self, AddressFamily, MsgFlags, Shutdown, SockaddrLike};

use super::group::Slot;
use super::gzip::Given;
use super::{ConnectionInfo, EndReason, StreamEnd};
use crate::hub::limits::Permit;
use crate::hub::{EventId, GroupId, Ordinal};

/// Bytes that are read away when a stream ends; who sends more may miss its last event.
const INPUT_AT_END_MAX: usize = 64 << 10;

/// Where a stream is in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Has passed whatever its reactor has.
    Live,
    /// Behind: reads on by itself from this event.
    Behind(Ordinal),
    /// Waits until what it was given has been taken, with the rounds from this event on.
    Held(Ordinal),
    /// Gets nothing more.
    Leaving,
}

/// What the reactor writes to, and what it knows of it.
pub(super) struct Stream {
    socket: OwnedFd,
    /// Tells a late notice about an earlier stream of the same slot.
    pub(super) generation: u32,
    /// Whether its other end is on this machine: the proxy.
    pub(super) is_unix: bool,
    /// Whether its poll is asked to report room.
    pub(super) is_watched_for_room: bool,
    pub(super) group: GroupId,
    pub(super) place: Place,
    /// Where it stands among the group's live streams, or among those behind.
    pub(super) seat: Slot,
    /// The rest of an unfinished write, shared with all whose write broke in the same round.
    rest: Option<(Arc<[u8]>, usize)>,
    /// When it was last written to on its own.
    pub(super) written_ms: u64,
    /// Events up to this one are replayed to it, later ones are its own time.
    pub(super) joined: EventId,
    /// Whether it waits for nothing but its turn.
    pub(super) is_ready: bool,
    /// The id that it has passed, unless it is live.
    pub(super) passed: EventId,
    /// If something is being read for it from the store: dropped, it is not wanted any more.
    pub(super) fetching: Option<Arc<()>>,
    /// Whether that is the first it reads, so that it is held for it.
    pub(super) is_arriving: bool,
    pub(super) events: u64,
    pub(super) bytes: u64,
    input_bytes: usize,
    taken: Taken,
    /// If it is compressed.
    pub(super) gzip: Option<Box<Given>>,
    owner: Box<Owner>,
}

/// What only the end of a stream needs.
pub(super) struct Owner {
    pub(super) permit: Permit,
    pub(super) connection: ConnectionInfo,
    pub(super) on_end: Arc<dyn Fn(StreamEnd) + Send + Sync>,
}

/// When the client last took something from the kernel.
#[derive(Debug, Default)]
struct Taken {
    at_ms: u64,
    queued: u64,
    beyond: i64,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has it all.
    All,
    /// The kernel has so many bytes and no room for more.
    Part(usize),
    /// There is nobody any more.
    Ended(EndReason),
}

impl Stream {
    pub(super) fn new(socket: OwnedFd, group: GroupId, owner: Box<Owner>, now_ms: u64) -> Self {
        let address = socket::getsockname::<socket::SockaddrStorage>(socket.as_raw_fd());
        let family = address.ok().and_then(|address| address.family());
        Self {
            socket,
            generation: 0,
            is_unix: family == Some(AddressFamily::Unix),
            is_watched_for_room: false,
            group,
            place: Place::Leaving,
            seat: Slot::MAX,
            rest: None,
            written_ms: now_ms,
            joined: EventId::ZERO,
            is_ready: false,
            passed: EventId::ZERO,
            fetching: None,
            is_arriving: false,
            events: 0,
            bytes: 0,
            input_bytes: 0,
            taken: Taken { at_ms: now_ms, ..Taken::default() },
            gzip: None,
            owner,
        }
    }

    pub(super) fn descriptor(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Whose it is.
    pub(super) fn connection(&self) -> &ConnectionInfo {
        &self.owner.connection
    }

    /// Whether an unfinished write has to go first.
    pub(super) fn is_stuck(&self) -> bool {
        self.rest.is_some()
    }

    /// One write of one system call.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Sent {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match socket::send(self.socket.as_raw_fd(), bytes, flags) {
                Ok(n) => {
                    self.bytes += n as u64;
                    return if n == bytes.len() { Sent::All } else { Sent::Part(n) };
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => return Sent::Part(0),
                Err(Errno::EINTR) => {}
                Err(error) => return Sent::Ended(ended_by(error)),
            }
        }
    }

    /// Whether the other end has taken all that the kernel was given.
    pub(super) fn has_taken_all(&self) -> bool {
        outq(&self.socket).unwrap_or(0) == 0
    }

    /// Keeps what a write did not get rid of.
    pub(super) fn keep(&mut self, bytes: Arc<[u8]>, sent: usize) {
        self.rest = Some((bytes, sent));
    }

    /// Goes on with an unfinished write.
    pub(super) fn flush(&mut self, now_ms: u64) -> Sent {
        let Some((bytes, at)) = self.rest.take() else { return Sent::All };
        let sent = self.send(&bytes[at..]);
        if let Sent::Part(n) = sent {
            if n > 0 {
                self.taken.at_ms = now_ms;
            }
            self.rest = Some((bytes, at + n));
        } else {
            self.taken.at_ms = now_ms;
        }
        sent
    }

    /// Reads away what the client says after its request; nothing is expected. `None`: it may go on;
    /// a client that closed its half counts as gone, for no reader of events does that and stays.
    pub(super) fn drain_input(&mut self, scratch: &mut [u8], bytes_max: usize) -> Option<EndReason> {
        loop {
            match socket::recv(self.socket.as_raw_fd(), scratch, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Some(EndReason::Client),
                Ok(n) => {
                    self.input_bytes += n;
                    if self.input_bytes > bytes_max {
                        return Some(EndReason::Client);
                    }
                }
                Err(Errno::EAGAIN) => return None,
                Err(Errno::EINTR) => {}
                Err(error) => return Some(ended_by(error)),
            }
        }
    }

    /// Looks whether the client has taken something since the last look, and returns for how long it
    /// has not. A client with nothing to take is not idle.
    pub(super) fn idle_ms(&mut self, now_ms: u64) -> u64 {
        let queued = outq(&self.socket).unwrap_or(0);
        // What the kernel counts may include its own overhead, so each sign of progress is enough.
        let beyond = i64::try_from(self.bytes).unwrap_or(i64::MAX) - i64::try_from(queued).unwrap_or(0);
        let nothing_to_take = queued == 0 && self.rest.is_none();
        if nothing_to_take || queued < self.taken.queued || beyond > self.taken.beyond {
            self.taken.at_ms = now_ms;
        }
        (self.taken.queued, self.taken.beyond) = (queued, beyond);
        now_ms.saturating_sub(self.taken.at_ms)
    }

    /// Closes the socket and tells whom it concerns.
    pub(super) fn end(mut self, reason: EndReason) {
        // The descriptor may still have a twin in actix, so closing alone might not end the connection.
        // What the client sent must be read, or closing throws away what is on its way to it.
        let said = matches!(reason, EndReason::Drain | EndReason::Kicked | EndReason::Expired);
        let how = if said { Shutdown::Write } else { Shutdown::Both };
        let _ = self.drain_input(&mut [0; 4096], self.input_bytes + INPUT_AT_END_MAX);
        let _ = socket::shutdown(self.socket.as_raw_fd(), how);
        drop(self.socket);
        let Owner { permit, connection, on_end } = *self.owner;
        drop(permit);
        on_end(StreamEnd { connection, reason, events: self.events, bytes: self.bytes });
    }
}

/// What an error of a socket says about its client. TCP gives a silent peer up at its user timeout, and then names
/// what the network said of it meanwhile, if it said something.
fn ended_by(error: Errno) -> EndReason {
    match error {
        Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::ENETUNREACH => EndReason::Idle,
        _ => EndReason::Client,
    }
}

/// Bytes that the kernel holds and the other end has not taken.
fn outq(socket: &OwnedFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and TIOCOUTQ (SIOCOUTQ on sockets) writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Has the kernel refuse bytes for a TCP client beyond so many that it cannot send yet; other sockets
/// refuse the option.
pub(super) fn bound_unsent(socket: &OwnedFd, bytes_max: u32) {
    let size = libc::socklen_t::try_from(size_of::<u32>()).expect("four");
    // SAFETY: the descriptor is open, and the option reads four bytes that outlive the call.
    unsafe {
        let value = (&raw const bytes_max).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, value, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_that_was_given_up_is_idle_and_one_that_hung_up_is_not() {
        for (error, reason) in [
            (Errno::ETIMEDOUT, EndReason::Idle),
            (Errno::EHOSTUNREACH, EndReason::Idle),
            (Errno::EHOSTDOWN, EndReason::Idle),
            (Errno::ENETUNREACH, EndReason::Idle),
            (Errno::ECONNRESET, EndReason::Client),
            (Errno::EPIPE, EndReason::Client),
        ] {
            assert_eq!(ended_by(error), reason, "{error}");
        }
    }
}
