//! The sessions that were ended before their time, so that a copy of their cookie opens nothing; told the time.

use std::collections::HashMap;

use super::session::{Session, SessionId};

/// Sessions that were ended. When the table is full, the oldest are forgotten, and with them every session that began
/// no later: what was once refused is never let in again, and whoever is refused for nothing logs in anew.
#[derive(Debug)]
pub(super) struct Revoked {
    sessions_max: usize,
    ended: HashMap<SessionId, Ended>,
    /// Sessions that began before this are refused.
    floor_ms: u64,
}

/// When a session began, and when the last of its cookies runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) begun_ms: u64,
    pub(super) until_ms: u64,
}

impl Revoked {
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { sessions_max, ended: HashMap::new(), floor_ms: 0 }
    }

    /// Ends a session; `until_ms`: when the last cookie that it may have been given runs out. Returns whether the floor
    /// was raised for it.
    pub(super) fn insert(&mut self, id: SessionId, ended: Ended, now_ms: u64) -> bool {
        let mut raised = false;
        if self.ended.len() >= self.sessions_max && !self.ended.contains_key(&id) {
            drop(self.sweep(now_ms));
            if self.ended.len() >= self.sessions_max {
                self.forget_oldest();
                raised = true;
            }
        }
        self.ended.insert(id, ended);
        raised
    }

    pub(super) fn holds(&self, session: &Session) -> bool {
        session.begun_ms < self.floor_ms || self.ended.contains_key(&session.id)
    }

    /// Sessions remembered one by one.
    pub(super) fn len(&self) -> usize {
        self.ended.len()
    }

    pub(super) fn floor_ms(&self) -> u64 {
        self.floor_ms
    }

    pub(super) fn raise_floor(&mut self, floor_ms: u64) {
        self.floor_ms = self.floor_ms.max(floor_ms);
    }

    /// Forgets those whose cookies have run out, and returns the rest.
    pub(super) fn sweep(&mut self, now_ms: u64) -> impl ExactSizeIterator<Item = (SessionId, Ended)> {
        self.ended.retain(|_, ended| ended.until_ms > now_ms);
        self.ended.iter().map(|(id, ended)| (*id, *ended))
    }

    /// A quarter at once, so that the next ones find room.
    fn forget_oldest(&mut self) {
        let mut begun: Vec<u64> = self.ended.values().map(|ended| ended.begun_ms).collect();
        begun.sort_unstable();
        if let Some(last) = begun.get((self.sessions_max / 4).min(begun.len().saturating_sub(1))) {
            self.floor_ms = self.floor_ms.max(last + 1);
        }
        self.ended.retain(|_, ended| ended.begun_ms >= self.floor_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u8, begun_ms: u64) -> Session {
        Session { id: SessionId::from_bytes([n; 16]), begun_ms, until_ms: begun_ms + 1000 }
    }

    /// The attack: so many sessions log out that the one whose cookie was copied is forgotten, and opens again.
    #[test]
    fn session_once_ended_stays_ended_however_many_follow() {
        let mut revoked = Revoked::new(8);
        let all: Vec<Session> = (0..100).map(|n| session(n, 10 * u64::from(n))).collect();
        for (n, each) in all.iter().enumerate() {
            let ended = Ended { begun_ms: each.begun_ms, until_ms: 10_000 };
            revoked.insert(each.id, ended, 2000);
            assert!(all[..=n].iter().all(|ended| revoked.holds(ended)), "{n}");
            assert!(revoked.ended.len() <= 8);
        }
        assert!(!revoked.holds(&session(200, 1000)), "a newer session is not touched");
        assert!(revoked.holds(&session(200, 100)), "one as old as the forgotten ones is");
    }

    #[test]
    fn session_whose_cookies_have_run_out_is_forgotten_first() {
        let mut revoked = Revoked::new(2);
        for n in 0..10 {
            let at = 1000 * u64::from(n);
            let raised = revoked.insert(session(n, at).id, Ended { begun_ms: at, until_ms: at + 1000 }, at);
            assert!(!raised, "{n}");
        }
        assert_eq!(revoked.floor_ms(), 0);
        assert_eq!(revoked.sweep(9500).len(), 1);
    }
}
