//! The events of the daemon, and the protocol in which listeners are told of them.
//!
//! ```text
//!  what happened ──▶ Event ──▶ publish ──▶ Pool (buffer, oldest first) ──▶ Delivery ──▶ a listener's stdin
//!                                              ▲ rejected, died, unsent                      │
//!                                              └───────────── Listener ◀── Outcome ── its stdout
//!  a program's output ──▶ Channel ──▶ Piece: log bytes, or a communication ──▶ Event
//! ```
//!
//! Names, payloads, envelopes, sentences and rules are those of supervisor 4.3 `events.py`, `dispatchers.py` and
//! `process.py:EventListenerPool`. Nothing here reads a clock or a pipe.

mod ansi;
mod capture;
mod event;
mod handler;
mod kind;
mod listener;
mod pool;
mod text;

pub use ansi::Stripper;
pub use capture::{Channel, Piece};
pub use event::{Event, Period, Stream};
pub use handler::ResultHandler;
pub use kind::Kinds;
pub use listener::{Listener, ListenerState, Outcome};
pub use pool::{Delivery, Pool, Published, Serial, publish};
pub use text::{Line, text};
