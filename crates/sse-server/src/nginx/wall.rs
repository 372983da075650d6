//! The first wall: nginx refuses one address what sse-server, the second wall, would refuse it too, and nothing else.

/// Streams that nginx may still be ending for an address whose places at sse-server are free again.
const STREAMS_ENDING: u64 = 16;

/// Logins that an address may begin per second: many people can be one address.
const LOGINS_PER_SECOND: u64 = 10;

/// Logins that it may begin at once, beside the wrong ones that it may make.
const LOGINS_AT_ONCE: u64 = 20;

/// The memory of a table, in MiB; its states have 64 bytes in nginx's `limit_conn` and 64 to 128 in `limit_req`.
const TABLE_MIB: u64 = 10;

/// How many states of `limit_conn` go into one of them.
const STATES_PER_MIB: u64 = 16_000;

/// What one address may have; in each, 0 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    /// Streams at one time, at sse-server.
    pub streams_max: u64,
    /// Streams that it may open per second, twice that at once.
    pub opened_per_second: u64,
    /// Wrong passcodes before it has to wait; also 0 where there is no login.
    pub login_attempts_max: u64,
}

impl Default for Wall {
    fn default() -> Self {
        Self { streams_max: 10, opened_per_second: 0, login_attempts_max: 0 }
    }
}

impl Wall {
    /// Whether lines that depend on `option` are wanted; `None` if it is nothing of this.
    pub(super) fn wants(&self, option: &str) -> Option<bool> {
        Some(match option {
            "wall_opened" => self.opened_per_second > 0,
            "wall_login" => self.login_attempts_max > 0,
            _ => return None,
        })
    }

    /// `streams_all` is the most streams of all addresses; 0 is unlimited.
    pub(super) fn directives(&self, mark: &str, streams_all: u64) -> Option<Vec<String>> {
        let line = match mark {
            "wall_streams_zone" | "wall_streams" if self.streams_max == 0 => return Some(Vec::new()),
            "wall_streams_zone" => {
                let addresses = if streams_all == 0 { 1_000_000 } else { streams_all };
                let mib = TABLE_MIB.max(addresses.div_ceil(STATES_PER_MIB) + 1);
                format!("limit_conn_zone $client_network zone=streams:{mib}m;")
            }
            "wall_streams" => format!(
                "limit_conn streams {};",
                // nginx knows no larger number.
                (self.streams_max.saturating_mul(2) + STREAMS_ENDING).min(65_535)
            ),
            // Twice what sse-server lets in, so that it is full only when that one has refused for a while.
            "wall_opened_zone" => format!(
                "limit_req_zone $client_network zone=opened:{TABLE_MIB}m rate={}r/s;",
                self.opened_per_second.saturating_mul(2)
            ),
            "wall_opened" => {
                format!("limit_req zone=opened burst={} nodelay;", self.opened_per_second.saturating_mul(4))
            }
            "wall_login_zone" => {
                format!("limit_req_zone $login_network zone=login:{TABLE_MIB}m rate={LOGINS_PER_SECOND}r/s;")
            }
            "wall_login" if self.login_attempts_max == 0 => return Some(Vec::new()),
            "wall_login" => format!(
                "limit_req zone=login burst={} nodelay;",
                self.login_attempts_max.saturating_add(LOGINS_AT_ONCE)
            ),
            _ => return None,
        };
        Some(vec![line])
    }
}
