//! Starts the real parts of the stack for the tests in `tests/`.

mod client;
mod hub;
pub mod load;
mod poll;
mod process;
mod reader;
mod stack;

pub use client::{Answer, Connection, request};
pub use hub::{Hub, HubPlan};
pub use poll::{eventually, wait_until, within};
pub use process::Process;
pub use reader::{Event, Reader};
pub use stack::{Stack, TOKEN, repository, target, tools};
