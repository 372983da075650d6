//! Who has named a wrong passcode how often, and who must wait for it; told the time, never asking for it.
//!
//! An attempt is counted before its passcode is compared, in the same step: however many come at once, no more than
//! the limit are ever compared. What is counted is the client's real address, IPv6 by /64.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::hub::limits::counted_as;

/// The bounds of guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutConfig {
    /// Wrong passcodes of one address, after which it has to wait; 0 is unlimited.
    pub attempts_max: u32,
    /// How long it waits, and how long a wrong passcode is remembered.
    pub duration_ms: u64,
    /// Addresses remembered at one time. Beyond it those that are not yet known have to wait.
    pub addresses_max: usize,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is the passcode.
    Right,
    /// It is not; so many more may be tried, `None` for any number.
    Wrong {
        /// What is left.
        remaining: Option<u32>,
    },
    /// It was not compared: the address has to wait.
    Locked {
        /// For how long.
        for_ms: u64,
    },
    /// It was not compared: too many addresses have failed.
    Full,
}

/// Wrong passcodes of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) count: u32,
    pub(super) last_ms: u64,
}

/// The table of those who failed.
#[derive(Debug)]
pub(super) struct Lockout {
    config: LockoutConfig,
    failed: HashMap<IpAddr, Failures>,
    /// Looked through at most once a second, or newcomers would make it costly.
    swept_ms: Option<u64>,
}

impl Lockout {
    pub(super) fn new(config: LockoutConfig) -> Self {
        Self { config, failed: HashMap::new(), swept_ms: None }
    }

    /// Counts an attempt, and compares it only if this address may try.
    pub(super) fn attempt(
        &mut self,
        address: IpAddr,
        now_ms: u64,
        is_right: impl FnOnce() -> bool,
    ) -> Attempt {
        let LockoutConfig { attempts_max, duration_ms, .. } = self.config;
        if attempts_max == 0 {
            return if is_right() { Attempt::Right } else { Attempt::Wrong { remaining: None } };
        }
        let address = counted_as(address);
        let known = self.failed.get(&address).copied().filter(|failures| self.counts(failures, now_ms));
        if let Some(Failures { last_ms, .. }) = known.filter(|failures| failures.count >= attempts_max) {
            return Attempt::Locked { for_ms: last_ms.min(now_ms) + duration_ms - now_ms };
        }
        if !self.failed.contains_key(&address) && !self.has_room(now_ms) {
            return Attempt::Full;
        }
        let count = known.map_or(0, |failures| failures.count) + 1;
        self.failed.insert(address, Failures { count, last_ms: now_ms });
        if is_right() {
            self.failed.remove(&address);
            return Attempt::Right;
        }
        Attempt::Wrong { remaining: Some(attempts_max - count) }
    }

    /// What is known of an address.
    pub(super) fn failures(&self, address: IpAddr) -> Option<Failures> {
        self.failed.get(&counted_as(address)).copied()
    }

    /// What was written down before a restart. Beyond the bound nothing more is taken.
    pub(super) fn restore(&mut self, address: IpAddr, failures: Option<Failures>) {
        let address = counted_as(address);
        match failures {
            None => drop(self.failed.remove(&address)),
            Some(failures)
                if self.failed.len() < self.config.addresses_max || self.failed.contains_key(&address) =>
            {
                self.failed.insert(address, failures);
            }
            Some(_) => {}
        }
    }

    /// Addresses remembered.
    pub(super) fn len(&self) -> usize {
        self.failed.len()
    }

    /// Forgets what is over, and returns the rest.
    pub(super) fn sweep(&mut self, now_ms: u64) -> impl ExactSizeIterator<Item = (IpAddr, Failures)> {
        let duration_ms = self.config.duration_ms;
        self.failed.retain(|_, failures| is_recent(failures, duration_ms, now_ms));
        self.failed.iter().map(|(address, failures)| (*address, *failures))
    }

    fn has_room(&mut self, now_ms: u64) -> bool {
        let is_full = |failed: &HashMap<_, _>| failed.len() >= self.config.addresses_max;
        if !is_full(&self.failed) {
            return true;
        }
        if self.swept_ms.is_none_or(|at| now_ms.abs_diff(at) >= 1000) {
            self.swept_ms = Some(now_ms);
            let duration_ms = self.config.duration_ms;
            self.failed.retain(|_, failures| is_recent(failures, duration_ms, now_ms));
        }
        !is_full(&self.failed)
    }

    fn counts(&self, failures: &Failures, now_ms: u64) -> bool {
        is_recent(failures, self.config.duration_ms, now_ms)
    }
}

/// Whether a failure still counts. After a clock that went back, one from the future counts as new.
fn is_recent(failures: &Failures, duration_ms: u64, now_ms: u64) -> bool {
    failures.last_ms.min(now_ms) + duration_ms > now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn lockout(addresses_max: usize) -> Lockout {
        Lockout::new(LockoutConfig { attempts_max: 3, duration_ms: 15 * MINUTE, addresses_max })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wrong(remaining: u32) -> Attempt {
        Attempt::Wrong { remaining: Some(remaining) }
    }

    #[test]
    fn address_waits_after_its_last_attempt_and_begins_anew_after_it() {
        let mut lockout = lockout(10);
        let a = ip("192.0.2.1");
        for (at, right, expected) in [
            (1000, false, wrong(2)),
            (2000, true, Attempt::Right),
            (3000, false, wrong(2)),
            (4000, false, wrong(1)),
            (5000, false, wrong(0)),
            (6000, true, Attempt::Locked { for_ms: 15 * MINUTE - 1000 }),
            (5000 + 15 * MINUTE - 1, true, Attempt::Locked { for_ms: 1 }),
            (5000 + 15 * MINUTE, false, wrong(2)),
            (5000 + 30 * MINUTE - 1, false, wrong(1)),
            // What is long over does not count.
            (5000 + 45 * MINUTE, false, wrong(2)),
        ] {
            assert_eq!(lockout.attempt(a, at, || right), expected, "{at}");
        }
    }

    /// The attack: the right passcode is tried while the address is locked, to learn that it is right.
    #[test]
    fn locked_address_learns_nothing_for_nothing_is_compared() {
        let mut lockout = lockout(10);
        let a = ip("192.0.2.1");
        let mut compared = 0;
        for _ in 0..100 {
            lockout.attempt(a, 1000, || {
                compared += 1;
                false
            });
        }
        assert_eq!(compared, 3);
    }

    /// The attack: one host has 2^64 IPv6 addresses, or writes its IPv4 address in IPv6.
    #[test]
    fn addresses_of_one_host_count_as_one() {
        let mut lockout = lockout(10);
        assert_eq!(lockout.attempt(ip("2001:db8::1"), 0, || false), wrong(2));
        assert_eq!(lockout.attempt(ip("2001:db8::ffff:1"), 0, || false), wrong(1));
        assert_eq!(lockout.attempt(ip("2001:db8:0:1::1"), 0, || false), wrong(2));
        assert_eq!(lockout.attempt(ip("192.0.2.1"), 0, || false), wrong(2));
        assert_eq!(lockout.attempt(ip("::ffff:192.0.2.1"), 0, || false), wrong(1));
    }

    /// The attack: so many addresses fail that the table forgets the one that guesses.
    #[test]
    fn full_table_forgets_nobody_who_still_counts() {
        let mut lockout = lockout(2);
        assert_eq!(lockout.attempt(ip("192.0.2.1"), 0, || false), wrong(2));
        assert_eq!(lockout.attempt(ip("192.0.2.2"), 5 * MINUTE, || false), wrong(2));
        assert_eq!(lockout.attempt(ip("192.0.2.3"), 6 * MINUTE, || true), Attempt::Full);
        assert_eq!(lockout.attempt(ip("192.0.2.1"), 7 * MINUTE, || false), wrong(1));
        assert_eq!(lockout.attempt(ip("192.0.2.3"), 21 * MINUTE, || false), wrong(2), "there is room again");
        assert_eq!(lockout.failed.len(), 2);
    }

    /// The attack: the clock is set back, and a lock from the future never ends.
    #[test]
    fn lock_is_never_longer_than_configured_and_none_is_without_limit() {
        let mut lockout = lockout(10);
        let a = ip("192.0.2.1");
        for _ in 0..3 {
            lockout.attempt(a, 100 * MINUTE, || false);
        }
        assert_eq!(lockout.attempt(a, MINUTE, || true), Attempt::Locked { for_ms: 15 * MINUTE });
        let mut open = Lockout::new(LockoutConfig { attempts_max: 0, duration_ms: 1, addresses_max: 0 });
        for _ in 0..100 {
            assert_eq!(open.attempt(a, 0, || false), Attempt::Wrong { remaining: None });
        }
    }
}
