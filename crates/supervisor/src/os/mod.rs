//! The operating system: processes, signals, pipes, users, listening sockets.

pub mod again;
mod child;
pub mod daemonize;
pub mod guardian;
pub mod limits;
pub mod notify;
pub mod pipes;
pub mod reaper;
pub mod signals;
pub mod sockets;
pub mod spawn;
pub mod user;
