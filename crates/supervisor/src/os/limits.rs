//! The limits that the daemon itself needs: `minfds` and `minprocs`.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises what is too low, the hard limit too if the daemon may, as `options.py:set_rlimits_or_exit` of supervisor
/// 4.3 does. Returns the sentences for the log, or the one with which the daemon ends.
pub fn raise(minfds: u64, minprocs: u64) -> Result<Vec<String>, String> {
    let mut told = Vec::new();
    for (limit, minimum) in [(&DESCRIPTORS, minfds), (&PROCESSES, minprocs)] {
        let (soft, hard) = getrlimit(limit.resource)
            .map_err(|errno| format!("cannot read the limit {}: {}", limit.name, errno.desc()))?;
        let Some((soft, raised)) = wanted(soft, hard, minimum) else { continue };
        setrlimit(limit.resource, soft, raised).map_err(|_| limit.refusal(minimum, hard))?;
        told.push(format!("Increased {} limit to {minimum}", limit.name));
    }
    Ok(told)
}

/// The limits to set, soft and hard, if the soft one is below the minimum.
fn wanted(soft: u64, hard: u64, minimum: u64) -> Option<(u64, u64)> {
    (soft != RLIM_INFINITY && soft < minimum).then_some((minimum, hard.max(minimum)))
}

struct Limit {
    resource: Resource,
    name: &'static str,
    key: &'static str,
    subject: &'static str,
    things: [&'static str; 3],
}

const DESCRIPTORS: Limit = Limit {
    resource: Resource::RLIMIT_NOFILE,
    name: "RLIMIT_NOFILE",
    key: "minfds",
    subject: "process",
    things: ["file descriptors", "file descriptors", "file descriptors"],
};

const PROCESSES: Limit = Limit {
    resource: Resource::RLIMIT_NPROC,
    name: "RLIMIT_NPROC",
    key: "minprocs",
    subject: "program",
    things: ["available processes", "processes", "processes"],
};

impl Limit {
    fn refusal(&self, minimum: u64, hard: u64) -> String {
        let (key, subject, [first, second, third]) = (self.key, self.subject, self.things);
        format!(
            "The minimum number of {first} required to run this {subject} is {minimum} as per the \"{key}\" \
             command-line argument or config file setting. The current environment will only allow you to open \
             {hard} {second}.  Either raise the number of usable {third} in your environment (see README.rst) or \
             lower the {key} setting in the config file to allow the {subject} to start."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_low_is_raised() {
        for (soft, hard, minimum, expected) in [
            (1024, 4096, 1024, None),
            (1024, 4096, 2048, Some((2048, 4096))),
            (1024, 4096, 8192, Some((8192, 8192))),
            (1024, RLIM_INFINITY, 8192, Some((8192, RLIM_INFINITY))),
            (RLIM_INFINITY, RLIM_INFINITY, 8192, None),
        ] {
            assert_eq!(wanted(soft, hard, minimum), expected, "{soft} {hard} {minimum}");
        }
    }

    #[test]
    fn a_limit_that_cannot_be_had_is_told_with_its_key() {
        assert_eq!(
            DESCRIPTORS.refusal(5_000, 1_024),
            "The minimum number of file descriptors required to run this process is 5000 as per the \"minfds\" \
             command-line argument or config file setting. The current environment will only allow you to open \
             1024 file descriptors.  Either raise the number of usable file descriptors in your environment (see \
             README.rst) or lower the minfds setting in the config file to allow the process to start."
        );
        assert_eq!(
            PROCESSES.refusal(5_000, 1_024),
            "The minimum number of available processes required to run this program is 5000 as per the \
             \"minprocs\" command-line argument or config file setting. The current environment will only allow \
             you to open 1024 processes.  Either raise the number of usable processes in your environment (see \
             README.rst) or lower the minprocs setting in the config file to allow the program to start."
        );
        // More descriptors than the system gives anybody.
        assert!(raise(u64::MAX - 1, 0).unwrap_err().starts_with("The minimum number of file descriptors"));
        assert_eq!(raise(1, 1), Ok(Vec::new()));
    }
}
