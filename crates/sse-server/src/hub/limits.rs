//! How much one caller, and all of them, may take; told the time, never asking for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Why a stream is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address holds as many streams as it may.
    #[error("{active} of {max} streams of this address are open")]
    PerIp {
        /// Streams of the address.
        active: usize,
        /// The limit.
        max: usize,
    },
    /// The server holds as many streams as it may.
    #[error("{active} of {max} streams are open")]
    PoolFull {
        /// Streams of the server.
        active: usize,
        /// The limit.
        max: usize,
    },
}

/// How many streams may be open; 0 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Streams in all. Beyond it: refused, pool full.
    pub connections_max: usize,
    /// Streams of one address (IPv6: of one /64). Beyond it: refused, address full.
    pub connections_per_ip_max: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self { connections_max: 100, connections_per_ip_max: 10 }
    }
}

/// Counts open streams. The table of addresses is as large as the number of open streams at most.
#[derive(Debug, Clone)]
pub struct ConnectionLimits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ConnectionConfig,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    peak: usize,
    addresses: HashMap<IpAddr, u32>,
}

/// A stream's place; dropping it frees the place.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl ConnectionLimits {
    /// Nobody admitted yet.
    #[must_use]
    pub fn new(config: ConnectionConfig) -> Self {
        Self(Arc::new(Shared { config, open: Mutex::default() }))
    }

    /// Takes a place for a stream of this address; the address's own limit is asked first.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, Refusal> {
        let ConnectionConfig { connections_max, connections_per_ip_max } = self.0.config;
        let address = counted_as(address);
        let mut open = self.0.open.lock();
        let active = open.addresses.get(&address).map_or(0, |n| *n as usize);
        if connections_per_ip_max != 0 && active >= connections_per_ip_max {
            return Err(Refusal::PerIp { active, max: connections_per_ip_max });
        }
        if connections_max != 0 && open.total >= connections_max {
            return Err(Refusal::PoolFull { active: open.total, max: connections_max });
        }
        *open.addresses.entry(address).or_insert(0) += 1;
        open.total += 1;
        open.peak = open.peak.max(open.total);
        Ok(Permit { shared: Arc::clone(&self.0), address })
    }

    /// The limits in force.
    #[must_use]
    pub fn config(&self) -> ConnectionConfig {
        self.0.config
    }

    /// Places taken.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.open.lock().total
    }

    /// Most places ever taken at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.0.open.lock().peak
    }

    /// Addresses that hold a place.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.0.open.lock().addresses.len()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock();
        open.total -= 1;
        if let Some(count) = open.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.addresses.remove(&self.address);
            }
        }
    }
}

/// The address that limits count: IPv6 by its /64, an IPv4 address in IPv6 clothes as itself.
#[must_use]
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            IpAddr::V4,
        ),
    }
}

/// A token bucket: so many a second, twice that at once.
#[derive(Debug, Clone)]
pub struct RateLimit {
    per_second: f64,
    tokens: f64,
    filled_at: Instant,
}

/// The bucket has too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Enough will be there after this time.
    #[error("try again in {0:?}")]
    RetryAfter(Duration),
    /// More than the bucket ever holds.
    #[error("more than the burst of {0}")]
    AboveBurst(u32),
}

impl RateLimit {
    /// A full bucket; `per_second` 0 is unlimited.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: per_second * 2.0, filled_at: now }
    }

    /// Most that can be taken at once; `None` is unlimited.
    #[must_use]
    pub fn burst(&self) -> Option<u32> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made from a u32")]
        (self.per_second > 0.0).then_some((self.per_second * 2.0) as u32)
    }

    /// Takes `count` or nothing.
    pub fn take(&mut self, count: u32, now: Instant) -> Result<(), TooMany> {
        let Some(burst) = self.burst() else { return Ok(()) };
        if count > burst {
            return Err(TooMany::AboveBurst(burst));
        }
        self.fill(now);
        let missing = f64::from(count) - self.tokens;
        if missing > 0.0 {
            return Err(TooMany::RetryAfter(Duration::from_secs_f64(missing / self.per_second)));
        }
        self.tokens -= f64::from(count);
        Ok(())
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second * 2.0);
        self.filled_at = self.filled_at.max(now);
    }

    /// A bucket that is full again knows nothing that a new one would not.
    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.per_second * 2.0
    }
}

/// One bucket for each key, in a table that cannot grow without bound.
#[derive(Debug)]
pub struct RateTable<K> {
    per_second: u32,
    keys_max: usize,
    buckets: HashMap<K, RateLimit>,
    /// Looked through at most once a second, or newcomers would make it costly.
    swept_at: Option<Instant>,
}

impl<K: Hash + Eq> RateTable<K> {
    /// At most `keys_max` keys are remembered; when the table is full, those whose bucket is full
    /// again are forgotten, and if there is none, newcomers are told to come back in a second.
    #[must_use]
    pub fn new(per_second: u32, keys_max: usize) -> Self {
        Self { per_second, keys_max, buckets: HashMap::new(), swept_at: None }
    }

    /// Takes `count` from the key's bucket, or nothing.
    pub fn take(&mut self, key: K, count: u32, now: Instant) -> Result<(), TooMany> {
        if self.per_second == 0 {
            return Ok(());
        }
        if self.buckets.len() >= self.keys_max && !self.buckets.contains_key(&key) {
            let second = Duration::from_secs(1);
            if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= second) {
                self.buckets.retain(|_, bucket| !bucket.is_full(now));
                self.swept_at = Some(now);
            }
            if self.buckets.len() >= self.keys_max {
                return Err(TooMany::RetryAfter(second));
            }
        }
        self.buckets.entry(key).or_insert_with(|| RateLimit::new(self.per_second, now)).take(count, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limits(connections_max: usize, connections_per_ip_max: usize) -> ConnectionLimits {
        ConnectionLimits::new(ConnectionConfig { connections_max, connections_per_ip_max })
    }

    #[test]
    fn address_is_refused_before_the_pool_and_a_dropped_permit_frees_both() {
        let limits = limits(3, 2);
        let (a, b) = (ip("10.0.0.1"), ip("10.0.0.2"));
        let mut held = vec![limits.admit(a).unwrap(), limits.admit(a).unwrap(), limits.admit(b).unwrap()];
        assert_eq!(limits.admit(a).unwrap_err(), Refusal::PerIp { active: 2, max: 2 });
        assert_eq!(limits.admit(b).unwrap_err(), Refusal::PoolFull { active: 3, max: 3 });
        assert_eq!((limits.active(), limits.addresses()), (3, 2));
        held.remove(0);
        assert!(limits.admit(a).is_ok());
        held.clear();
        assert_eq!((limits.active(), limits.addresses(), limits.peak()), (0, 0, 3));
    }

    #[test]
    fn zero_is_unlimited() {
        let limits = limits(0, 0);
        let held: Vec<_> = (0..1000).map(|_| limits.admit(ip("10.0.0.1")).unwrap()).collect();
        assert_eq!(limits.active(), held.len());
    }

    /// The attack: one host has 2^64 IPv6 addresses, or writes its IPv4 address in IPv6.
    #[test]
    fn ipv6_counts_by_64_and_mapped_ipv4_as_itself() {
        let cases = [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
        ];
        for (a, b, same) in cases {
            assert_eq!(counted_as(ip(a)) == counted_as(ip(b)), same, "{a} {b}");
        }
    }

    #[test]
    fn bucket_gives_twice_its_rate_at_once_and_then_its_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let wait = |ms| Err(TooMany::RetryAfter(Duration::from_millis(ms)));
        let mut limit = RateLimit::new(10, start);
        let cases = [
            (0, 21, Err(TooMany::AboveBurst(20))),
            (0, 20, Ok(())),
            (0, 1, wait(100)),
            (50, 1, wait(50)),
            (100, 1, Ok(())),
            (90, 1, wait(100)),
            (600, 5, Ok(())),
            (600, 10, wait(1000)),
            (9000, 20, Ok(())),
            (9000, 1, wait(100)),
        ];
        for (ms, count, expected) in cases {
            assert_eq!(limit.take(count, at(ms)), expected, "{count} at {ms} ms");
        }
        assert_eq!(RateLimit::new(0, start).take(u32::MAX, start), Ok(()));
    }

    /// The attack: each request comes with another key, so that the table of buckets fills memory.
    #[test]
    fn table_forgets_full_buckets_and_never_grows_beyond_its_bound() {
        let start = Instant::now();
        let mut table = RateTable::new(1, 100);
        for key in 0..100 {
            assert_eq!(table.take(key, 1, start), Ok(()));
        }
        let refused = Err(TooMany::RetryAfter(Duration::from_secs(1)));
        assert_eq!(table.take(100, 1, start), refused, "nobody's spent bucket is forgotten");
        assert_eq!(table.take(5, 2, start), refused, "who is known is served from its bucket");
        assert_eq!(table.take(100, 1, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(table.buckets.len(), 1);
    }
}
