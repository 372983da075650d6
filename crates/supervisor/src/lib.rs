//! The supervisor: what it is made of, from the bottom up.
//!
//! | module | what it is |
//! |---|---|
//! | [`program`] | the life of a program as a pure state machine, and the order of many |
//! | [`events`] | what listeners are told, and the protocol in which they are |
//! | [`config`] | the configuration, checked as a whole |
//! | [`os`] | processes, signals, pipes, users, sockets: all that is the system's |
//! | [`probe`] | asks a program whether it serves |
//! | [`logs`] | output on its way to files, to the daemon's own outputs and to the system's log |
//! | [`ctl`] | the control interface: server, client and shell |
//! | [`supervisor`] | the loop that carries out what the rules decide |
//! | [`daemon`] | the process around the loop, from its start to its end |
//! | `fuzzing` | in tests and fuzz targets alone: what must hold for every input |

pub mod config;
pub mod ctl;
pub mod daemon;
pub mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod logs;
pub mod os;
pub mod probe;
pub mod program;
pub mod supervisor;
