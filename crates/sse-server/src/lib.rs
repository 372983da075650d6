//! The event hub: what it is made of, from the bottom up.
//!
//! - [`hub`]: the rules. Names, ids, frames, history, limits; no clock, no runtime, no sockets, no files.
//! - [`store`]: where accepted events are committed before anybody sees them.
//! - [`backplane`]: where an accepted event gets its id and its place in the one order.
//! - [`fanout`]: the streams' sockets, written by reactor threads.
//! - [`nginx`]: the configuration of the nginx in front, rendered from a template.

pub mod backplane;
pub mod fanout;
pub mod hub;
pub mod nginx;
pub mod store;
