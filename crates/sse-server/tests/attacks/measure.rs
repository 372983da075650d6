//! How much there is of an attack, and what it takes from the server's process.

use std::fs;

use crate::server::Server;

/// The number that continuous integration takes, or with `ATTACKS_FULL=1` the whole one.
pub(crate) fn rounds(few: usize, full: usize) -> usize {
    if std::env::var_os("ATTACKS_FULL").is_some_and(|value| value == "1") { full } else { few }
}

/// Memory of a server's process, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident: u64,
    /// The most it ever was.
    pub(crate) peak: u64,
}

#[track_caller]
pub(crate) fn memory(server: &Server) -> Memory {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.pid())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    Memory { resident: field("VmRSS:"), peak: field("VmHWM:") }
}

/// The most that the process has grown beyond `before`, told and not above the bound.
#[track_caller]
#[expect(clippy::print_stdout, reason = "it is the figure")]
pub(crate) fn assert_growth(server: &Server, before: Memory, what: &str, kib_max: u64) {
    let after = memory(server);
    let grown = after.peak.saturating_sub(before.resident);
    println!(
        "{what}: {} KiB before, {} KiB after, {} KiB at most",
        before.resident, after.resident, after.peak
    );
    assert!(grown <= kib_max, "{what}: grown by {grown} KiB, above {kib_max}");
}
