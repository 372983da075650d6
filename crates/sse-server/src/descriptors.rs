//! How many descriptors the process may have, and whether they suffice for the streams that are allowed.

use std::num::NonZero;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors beside one for each stream: listeners, threads, the files of the history, and requests that are no
/// streams. Those that are left over serve more requests at one time.
const SPARE: u64 = 128;
/// Descriptors of each core: those of its reactor (epoll and eventfd).
const EACH_CORE: u64 = 2;

/// More streams are allowed than there can be descriptors for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "SSE_MAX_CONNECTIONS is {streams}, which takes {needed} descriptors in {program}, but a process may have \
     {allowed} here: {}raise the hard limit (ulimit -Hn, LimitNOFILE={needed} in a unit of systemd, \
     docker run --ulimit nofile={needed}, ulimits in a compose file)",
    // Zero would be unlimited.
    if *fits > 0 { format!("lower it to {fits} or less, or ") } else { String::new() }
)]
pub struct TooFew {
    /// The most streams at one time.
    pub streams: u64,
    /// What that takes.
    pub needed: u64,
    /// What a process may have.
    pub allowed: u64,
    /// As many streams would do.
    pub fits: u64,
    /// Whose descriptors they are.
    pub program: &'static str,
}

/// Whether so many streams, of `each` descriptors, and `spare` more fit into what is allowed. Zero streams are
/// unlimited, and whoever comes when there is none left is refused.
pub fn suffice(
    program: &'static str,
    (streams, each, spare): (u64, u64, u64),
    allowed: u64,
) -> Result<(), TooFew> {
    let needed = streams.saturating_mul(each).saturating_add(spare);
    if streams == 0 || needed <= allowed {
        return Ok(());
    }
    Err(TooFew { streams, needed, allowed, fits: allowed.saturating_sub(spare) / each, program })
}

/// Whether sse-server can hold so many streams here.
pub fn suffice_for(streams: usize) -> Result<(), TooFew> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    suffice("sse-server", (streams as u64, 1, spare(cores)), allowed())
}

/// What a machine with so many cores takes beside its streams.
fn spare(cores: usize) -> u64 {
    SPARE + EACH_CORE * cores as u64
}

/// The most that a process can get here: the hard limit.
#[must_use]
pub fn allowed() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard)
}

/// The soft limit becomes the hard one: every stream takes a descriptor.
pub fn raise() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err()
    {
        log::warn!("the limit of descriptors stays at {soft}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_a_reactor_with_descriptors_of_its_own() {
        assert_eq!([1, 2, 64].map(spare), [130, 132, 256]);
    }

    #[test]
    fn streams_that_do_not_fit_are_refused_with_what_would() {
        let fits =
            |streams, allowed| suffice("sse-server", (streams, 1, SPARE), allowed).map_err(|e| e.to_string());
        for (streams, allowed) in [(0, 0), (872, 1000), (1, 129), (u64::MAX - SPARE, u64::MAX)] {
            assert_eq!(fits(streams, allowed), Ok(()), "{streams} of {allowed}");
        }
        assert_eq!(
            fits(873, 1000).unwrap_err(),
            "SSE_MAX_CONNECTIONS is 873, which takes 1001 descriptors in sse-server, but a process may have 1000 here: \
             lower it to 872 or less, or raise the hard limit (ulimit -Hn, LimitNOFILE=1001 in a unit of systemd, \
             docker run --ulimit nofile=1001, ulimits in a compose file)"
        );
        assert!(fits(1, 100).unwrap_err().contains("may have 100 here: raise the hard limit"));
    }
}
