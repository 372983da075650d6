//! The event hub: what it is made of, from the bottom up.
//!
//! - [`hub`]: the rules. Names, ids, frames, history, limits; no clock, no runtime, no sockets, no files.
//! - [`store`]: where accepted events are committed before anybody sees them.
//! - [`backplane`]: where an accepted event gets its id and its place in the one order.
//! - [`fanout`]: the streams' sockets, written by reactor threads.
//! - [`metrics`], [`system`], [`access_log`]: what is counted, measured and noted.
//! - [`rates`]: what happened between two looks at what is counted.
//! - [`programs`]: what supervisord says of its programs.
//! - [`auth`]: passcode, sessions, and what must be remembered of them.
//! - [`http`]: requests and answers.
//! - [`config`], [`token`], [`listener`], [`descriptors`]: what the server is started with; [`banner`]: what its first start says.
//! - [`connections`]: what an ending server waits for.
//! - [`server`]: the wiring; it runs and drains.
//! - [`nginx`]: the configuration of the nginx in front, rendered from a template.
//! - `fuzzing`, in tests and fuzz targets alone: what must hold for every input.
//! - `model`, in tests alone: the hub against a simple model of what each client must see.

pub mod access_log;
pub mod auth;
pub mod backplane;
pub mod banner;
pub mod config;
pub mod connections;
pub mod descriptors;
pub mod fanout;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod hub;
pub mod listener;
pub mod metrics;
#[cfg(test)]
mod model;
pub mod nginx;
pub mod programs;
pub mod rates;
pub mod server;
pub mod store;
pub mod system;
pub mod token;
