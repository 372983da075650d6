//! The supervisor: what it is made of, from the bottom up.
//!
//! | module | what it is |
//! |---|---|
//! | [`program`] | the life of a program as a pure state machine, and the order of many |
//! | [`events`] | what listeners are told, and the protocol in which they are |
//! | [`config`] | the configuration, checked as a whole |

pub mod config;
pub mod ctl;
pub mod daemon;
pub mod events;
pub mod logs;
pub mod os;
pub mod probe;
pub mod program;
pub mod supervisor;
