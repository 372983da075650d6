//! What a supervisor must survive: each fault once as an ordinary process and once as PID 1.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures, and what a failed test leaves")]

mod bomb;
mod clock;
mod daemon;
mod deaths;
mod early;
mod flood;
mod fuse;
mod handover;
mod hostile;
mod hygiene;
mod logs;
mod nginx;
mod orphans;
mod recycled;
mod reload;
mod scale;
mod spawning;
mod strace;
mod stubborn;
