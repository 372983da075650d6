//! Who may come in: passcode, sessions, and what must be remembered of them; told the time, never asking for it.
//!
//! - `lockout`: how often an address may guess.
//! - `session`, `revoked`: who was let in, and who no longer is.
//! - `journal`: both across restarts.
//! - [`tokens`]: who may publish.
//! - [`jwt`]: grants that others have signed.
//!
//! Nothing here knows HTTP: the sealed cookie, the page and the answers are made in `http/`.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod journal;
pub mod jwt;
mod lockout;
mod revoked;
mod session;
pub mod tokens;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use journal::{Entry, Journal};
pub use lockout::{Attempt, LockoutConfig};
use lockout::{Failures, Lockout};
use revoked::{Ended, Revoked};
pub use session::{NotASession, Session, SessionId};

/// Addresses whose wrong passcodes are remembered at one time.
pub const ADDRESSES_MAX: usize = 10_000;
/// Ended sessions that are remembered one by one.
pub const ENDED_SESSIONS_MAX: usize = 65_536;

/// What a login is made of.
#[derive(Clone)]
pub struct Config {
    /// What lets people in.
    pub passcode: String,
    /// What seals the cookies.
    pub secret_key: String,
    /// How often an address may guess.
    pub lockout: LockoutConfig,
    /// How long a cookie is good for; one that has passed half of it is renewed.
    pub session_lifetime_ms: u64,
    /// How long a session lasts at most, however often it is renewed; `None`: for ever.
    pub session_age_max_ms: Option<u64>,
    /// Ended sessions that are remembered one by one.
    pub ended_sessions_max: usize,
    /// The folder of what must survive a restart.
    pub data_dir: PathBuf,
}

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep what logins must remember in {path}")]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// The door.
#[derive(Debug)]
pub struct Login {
    passcode: [u8; 32],
    sealing_key: [u8; 64],
    session_lifetime_ms: u64,
    session_age_max_ms: Option<u64>,
    ledger: Mutex<Ledger>,
}

/// What changes, and must survive a restart.
#[derive(Debug)]
struct Ledger {
    lockout: Lockout,
    revoked: Revoked,
    journal: Journal,
}

impl Login {
    /// Opens the door with what is known from before.
    pub fn open(config: &Config, now_ms: u64) -> Result<Self, OpenError> {
        let path = config.data_dir.join("login.journal");
        let ledger = Ledger::open(&path, config, now_ms).map_err(|source| OpenError { path, source })?;
        Ok(Self {
            passcode: digest(&config.passcode),
            sealing_key: sealing_key(config),
            session_lifetime_ms: config.session_lifetime_ms,
            session_age_max_ms: config.session_age_max_ms,
            ledger: Mutex::new(ledger),
        })
    }

    /// Lets an address try a passcode, and writes down what came of it before it is told.
    pub fn attempt(&self, address: IpAddr, passcode: &str, now_ms: u64) -> Attempt {
        let shown = digest(passcode);
        // As digests both have one length, and the time it takes says nothing about where they differ.
        let is_right = || bool::from(shown.ct_eq(&self.passcode));
        self.ledger.lock().attempt(address, now_ms, is_right)
    }

    /// A new session.
    pub fn begin(&self, now_ms: u64) -> Result<Session, getrandom::Error> {
        let until_ms = self.until_ms(now_ms, now_ms);
        Ok(Session { id: SessionId::random()?, begun_ms: now_ms, until_ms })
    }

    /// When a cookie that is given now runs out, if its session began then.
    fn until_ms(&self, begun_ms: u64, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.session_lifetime_ms).min(self.end_ms(begun_ms))
    }

    /// When a session that began then is over, however often it was renewed.
    fn end_ms(&self, begun_ms: u64) -> u64 {
        self.session_age_max_ms.map_or(u64::MAX, |age_max| begun_ms.saturating_add(age_max))
    }

    /// Whether a session whose cookie was found whole may still come in.
    pub fn admits(&self, session: &Session, now_ms: u64) -> bool {
        // Its cookie may be older than the setting.
        let until_ms = session.until_ms.min(self.end_ms(session.begun_ms));
        until_ms > now_ms && !self.ledger.lock().revoked.holds(session)
    }

    /// The session with a fresh cookie, if half of the old one's time is over.
    pub fn renew(&self, session: &Session, now_ms: u64) -> Option<Session> {
        let left_ms = session.until_ms.saturating_sub(now_ms);
        let until_ms = self.until_ms(session.begun_ms, now_ms);
        (left_ms <= self.session_lifetime_ms / 2 && until_ms > session.until_ms)
            .then(|| session.renewed(until_ms))
    }

    /// Ends a session, with every cookie that it was ever given.
    pub fn end(&self, session: &Session, now_ms: u64) {
        // A renewal under way may give it one more cookie.
        let until_ms = now_ms.saturating_add(self.session_lifetime_ms).max(session.until_ms);
        let ended = Ended { begun_ms: session.begun_ms, until_ms };
        self.ledger.lock().end(session.id, ended, now_ms);
    }

    /// How long a fresh cookie is good for.
    pub fn session_lifetime_ms(&self) -> u64 {
        self.session_lifetime_ms
    }

    /// What seals the cookies: another passcode or another key, and no older cookie opens anything.
    pub fn sealing_key(&self) -> &[u8; 64] {
        &self.sealing_key
    }
}

impl Ledger {
    fn open(path: &Path, config: &Config, now_ms: u64) -> io::Result<Self> {
        let (entries, unreadable) = Journal::read(path)?;
        if unreadable > 0 {
            log::warn!("{unreadable} lines of {} could not be read and are passed over", path.display());
        }
        let mut lockout = Lockout::new(config.lockout);
        let mut revoked = Revoked::new(config.ended_sessions_max);
        for entry in entries {
            match entry {
                Entry::Failed { address, count, last_ms } => {
                    lockout.restore(address, Some(Failures { count, last_ms }));
                }
                Entry::Cleared { address } => lockout.restore(address, None),
                Entry::Ended { id, begun_ms, until_ms } => {
                    if let Ok(id) = id.parse() {
                        revoked.insert(id, Ended { begun_ms, until_ms }, now_ms);
                    }
                }
                Entry::Floor { begun_ms } => revoked.raise_floor(begun_ms),
            }
        }
        let journal = Journal::begin(path, &in_force(&mut lockout, &mut revoked, now_ms))?;
        Ok(Self { lockout, revoked, journal })
    }

    fn attempt(&mut self, address: IpAddr, now_ms: u64, is_right: impl FnOnce() -> bool) -> Attempt {
        let was_known = self.lockout.failures(address).is_some();
        let attempt = self.lockout.attempt(address, now_ms, is_right);
        match attempt {
            Attempt::Wrong { .. } => {
                if let Some(Failures { count, last_ms }) = self.lockout.failures(address) {
                    self.write(&Entry::Failed { address, count, last_ms }, false, now_ms);
                }
            }
            Attempt::Right if was_known => self.write(&Entry::Cleared { address }, false, now_ms),
            Attempt::Right | Attempt::Locked { .. } | Attempt::Full => {}
        }
        attempt
    }

    fn end(&mut self, id: SessionId, ended: Ended, now_ms: u64) {
        if self.revoked.insert(id, ended, now_ms) {
            self.write(&Entry::Floor { begun_ms: self.revoked.floor_ms() }, true, now_ms);
        }
        let Ended { begun_ms, until_ms } = ended;
        self.write(&Entry::Ended { id: id.to_string(), begun_ms, until_ms }, true, now_ms);
    }

    /// It holds in memory whatever becomes of the disk, so a full one ends no session late and lets nobody guess on.
    fn write(&mut self, entry: &Entry, is_lasting: bool, now_ms: u64) {
        let Self { lockout, revoked, journal } = self;
        let count = lockout.len() + revoked.len() + 1;
        let written = journal.append(entry, is_lasting, count, || in_force(lockout, revoked, now_ms));
        if let Err(error) = written {
            log::error!("a restart would forget a change of the logins, which could not be written: {error}");
        }
    }
}

/// Everything that still counts.
fn in_force(lockout: &mut Lockout, revoked: &mut Revoked, now_ms: u64) -> Vec<Entry> {
    let floor = Entry::Floor { begun_ms: revoked.floor_ms() };
    let failed = lockout.sweep(now_ms).map(|(address, failures)| {
        let Failures { count, last_ms } = failures;
        Entry::Failed { address, count, last_ms }
    });
    let ended = revoked.sweep(now_ms).map(|(id, ended)| {
        let Ended { begun_ms, until_ms } = ended;
        Entry::Ended { id: id.to_string(), begun_ms, until_ms }
    });
    std::iter::once(floor).chain(failed).chain(ended).collect()
}

fn digest(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn sealing_key(config: &Config) -> [u8; 64] {
    let mut hash = Sha512::new();
    // Of fixed length, so that no part of one can be taken for part of the other.
    hash.update(digest(&config.secret_key));
    hash.update(digest(&config.passcode));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        Config {
            passcode: "open sesame".to_owned(),
            secret_key: "k".repeat(32),
            lockout: LockoutConfig { attempts_max: 3, duration_ms: 60_000, addresses_max: 10 },
            session_lifetime_ms: 1000,
            session_age_max_ms: None,
            ended_sessions_max: 10,
            data_dir: folder.to_owned(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The attack: the server is made to restart, so that it forgets who guessed and who was sent out.
    #[test]
    fn restart_forgets_neither_wrong_passcodes_nor_ended_sessions() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = config(folder.path());
        let login = Login::open(&config, 0).unwrap();
        for remaining in [2, 1] {
            let wrong = Attempt::Wrong { remaining: Some(remaining) };
            assert_eq!(login.attempt(ip("192.0.2.1"), "guess", 0), wrong);
            assert_eq!(login.attempt(ip("192.0.2.2"), "guess", 0), wrong);
        }
        assert_eq!(login.attempt(ip("192.0.2.2"), "open sesame", 0), Attempt::Right);
        let (ended, open) = (login.begin(5).unwrap(), login.begin(5).unwrap());
        login.end(&ended, 10);
        assert!(!login.admits(&ended, 10) && login.admits(&open, 10));
        drop(login);

        let login = Login::open(&config, 20).unwrap();
        assert_eq!(login.attempt(ip("192.0.2.1"), "guess", 20), Attempt::Wrong { remaining: Some(0) });
        assert_eq!(login.attempt(ip("192.0.2.2"), "guess", 20), Attempt::Wrong { remaining: Some(2) });
        assert!(!login.admits(&ended, 20) && login.admits(&open, 20));
        drop(login);
        let login = Login::open(&config, 30).unwrap();
        assert_eq!(
            login.attempt(ip("192.0.2.1"), "open sesame", 30),
            Attempt::Locked { for_ms: 60_000 - 10 }
        );
    }

    /// The attack: a copy of a cookie that was renewed is used after the logout.
    #[test]
    fn session_ends_with_all_its_cookies_and_by_itself() {
        let folder = tempfile::TempDir::new().unwrap();
        let login = Login::open(&config(folder.path()), 0).unwrap();
        let first = login.begin(0).unwrap();
        assert_eq!(login.renew(&first, 499), None);
        let second = login.renew(&first, 500).unwrap();
        assert_eq!((second.id, second.begun_ms, second.until_ms), (first.id, 0, 1500));
        assert!(login.admits(&first, 999) && !login.admits(&first, 1000) && login.admits(&second, 1000));
        login.end(&first, 900);
        assert!(!login.admits(&first, 900) && !login.admits(&second, 1400));
    }

    /// The attack: a cookie that was copied is kept alive by using it, for ever.
    #[test]
    fn session_ends_at_its_greatest_age_however_often_it_is_renewed() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = Config { session_age_max_ms: Some(2500), ..config(folder.path()) };
        let login = Login::open(&config, 0).unwrap();
        let mut session = login.begin(100).unwrap();
        for (now, until) in
            [(600, Some(1600)), (1200, Some(2200)), (1700, Some(2600)), (2100, None), (2599, None)]
        {
            let renewed = login.renew(&session, now);
            assert_eq!(renewed.map(|renewed| renewed.until_ms), until, "at {now}");
            session = renewed.unwrap_or(session);
            assert!(login.admits(&session, now), "at {now}");
        }
        assert!(!login.admits(&session, 2600));
        let longer = Session { until_ms: 90_000, ..session };
        assert!(
            login.admits(&longer, 2599) && !login.admits(&longer, 2600),
            "a cookie from before the setting"
        );
        drop(login);
        let short = Config { session_age_max_ms: Some(10), ..config };
        assert_eq!(Login::open(&short, 0).unwrap().begin(100).unwrap().until_ms, 110, "below the lifetime");
    }

    /// The attack: many connections guess at the same moment, before any of them is counted.
    #[test]
    fn no_more_passcodes_are_compared_than_allowed_however_many_come_at_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let login = Login::open(&config(folder.path()), 0).unwrap();
        let compared = std::thread::scope(|scope| {
            let guesses: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| (0..50).map(|_| login.attempt(ip("192.0.2.1"), "guess", 0)).collect())
                })
                .collect();
            let all = guesses.into_iter().flat_map(|guess| -> Vec<Attempt> { guess.join().unwrap() });
            all.filter(|attempt| matches!(attempt, Attempt::Wrong { .. })).count()
        });
        assert_eq!(compared, 3);
    }

    #[test]
    fn another_passcode_or_key_is_another_seal() {
        let folder = tempfile::TempDir::new().unwrap();
        let one = config(folder.path());
        let seal = |config: &Config| *Login::open(config, 0).unwrap().sealing_key();
        assert_eq!(seal(&one), seal(&one));
        assert_ne!(seal(&one), seal(&Config { passcode: "other".to_owned(), ..one.clone() }));
        assert_ne!(seal(&one), seal(&Config { secret_key: "o".repeat(32), ..one.clone() }));
    }
}
