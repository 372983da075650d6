//! The way into a program's standard input: what does not fit into its pipe waits here, up to a limit.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use tokio::net::unix::pipe::Sender;

use super::entry::Task;

/// Bytes that wait for a program that does not read.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Why nothing more goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StdinError {
    /// The program has closed its input.
    Closed,
    /// Too much is waiting already.
    Full,
}

/// A program's input, open until this is dropped.
#[derive(Debug)]
pub(super) struct Stdin {
    pipe: Rc<Sender>,
    waiting: Rc<RefCell<Vec<u8>>>,
    task: Option<Task>,
}

impl Stdin {
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: Rc::new(Sender::from_owned_fd(pipe)?), waiting: Rc::default(), task: None })
    }

    /// Writes what fits at once, and the rest when the program has read.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), StdinError> {
        let mut waiting = self.waiting.borrow_mut();
        // All or nothing; what comes alone is taken whatever its size, for nothing waits beside it.
        if !waiting.is_empty() && waiting.len() + bytes.len() > WAITING_BYTES_MAX {
            return Err(StdinError::Full);
        }
        if waiting.is_empty() {
            while !bytes.is_empty() {
                match self.pipe.try_write(bytes) {
                    Ok(length) => bytes = &bytes[length..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Err(StdinError::Closed),
                }
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let idle = waiting.is_empty();
        waiting.extend_from_slice(bytes);
        drop(waiting);
        if idle {
            self.task =
                Some(tokio::task::spawn_local(flush(Rc::clone(&self.pipe), Rc::clone(&self.waiting))).into());
        }
        Ok(())
    }
}

async fn flush(pipe: Rc<Sender>, waiting: Rc<RefCell<Vec<u8>>>) {
    while pipe.writable().await.is_ok() {
        let mut bytes = waiting.borrow_mut();
        match pipe.try_write(&bytes) {
            Ok(length) => drop(bytes.drain(..length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => bytes.clear(),
        }
        if bytes.is_empty() {
            return;
        }
    }
}
