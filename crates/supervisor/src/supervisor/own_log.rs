//! The daemon's own log, as its configuration says: tried before a start, and before one that ends what runs.

use std::time::Instant;

use nix::sys::stat::{Mode, umask};

use crate::config::Supervisord;
use crate::logs::{LogConfig, OpenError, Standard, Writer};

/// The file of the daemon's own log. On a standard output it would stand twice, and writing there may block.
pub(crate) fn log_file(daemon: &Supervisord) -> Option<LogConfig> {
    let path = daemon.logfile.clone().filter(|path| Standard::of(path).is_none())?;
    Some(LogConfig {
        path,
        maxbytes: daemon.logfile_maxbytes,
        backups: daemon.logfile_backups,
        compress: daemon.logfile_compress,
    })
}

/// Opens the log once, while whoever starts the daemon, or has it begin anew, can still be told: later nobody ever
/// would be. What may pass by itself is no reason not to start.
pub(crate) fn try_log(daemon: &Supervisord) -> Result<(), OpenError> {
    let Some(config) = log_file(daemon) else { return Ok(()) };
    let before = umask(Mode::from_bits_truncate(daemon.umask));
    let opened = Writer::new(config, None).open_now(Instant::now());
    umask(before);
    match opened {
        Err(error) if !error.may_pass() => Err(error),
        _ => Ok(()),
    }
}
