//! Starts the real parts of the stack for the tests in `tests/`.

mod certificate;
mod client;
mod hub;
pub mod load;
mod poll;
mod process;
mod reader;
mod stack;
mod supervisord;
mod terminal;

pub use certificate::certify;
pub use client::{Answer, Connection, free_port, request};
pub use hub::{Hub, HubPlan};
pub use poll::{eventually, wait_until, within};
pub use process::Process;
pub use reader::{Event, Reader};
pub use stack::{Stack, TOKEN, repository, target, tools};
pub use supervisord::{PASSWORD, Supervisord, USER, Which};
pub use terminal::Terminal;
