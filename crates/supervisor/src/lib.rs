//! The supervisor: what it is made of, from the bottom up.
//!
//! | module | what it is |
//! |---|---|
//! | [`program`] | the life of a program as a pure state machine, and the order of many |
//! | [`config`] | the configuration, checked as a whole |

pub mod config;
pub mod ctl;
pub mod logs;
pub mod os;
pub mod probe;
pub mod program;
pub mod supervisor;
