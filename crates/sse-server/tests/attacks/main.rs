//! Hostile clients against the real binary, direct and through the shipped nginx; each test begins with its attack.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod injection;
mod logs;
mod many;
mod measure;
mod size;
mod slow;
mod tricks;

#[path = "../paths/front.rs"]
mod front;
#[path = "../paths/server.rs"]
#[expect(dead_code, reason = "it is shared")]
mod server;
