//! Output on its way to disk: rotated files of whole lines, and reading them back.

pub mod auto;
mod compress;
mod console;
mod daemon;
mod rotation;
mod syslog;
pub mod tail;
mod writer;

pub use compress::Compressor;
pub use console::{Standard, StdoutDone, StdoutQueue};
pub use daemon::{Console, DaemonLog};
pub use syslog::{SYSTEM, SyslogDone, SyslogLines, SyslogQueue};
pub use writer::{LogConfig, OpenError, Outcome, Writer};
