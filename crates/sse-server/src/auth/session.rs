//! A session: whoever named the passcode, until it ends.

use std::fmt;
use std::str::FromStr;

/// The name of a session, made here at its login: 32 hexadecimal digits, random. It is no secret; the cookie is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// A new name.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The topic that this session alone reads.
    #[must_use]
    pub fn topic(self) -> String {
        format!("session:{self}")
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Not what a session's name or cookie looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no session")]
pub struct NotASession;

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = if digits { u128::from_str_radix(text, 16).ok() } else { None };
        id.map(Self).ok_or(NotASession)
    }
}

/// What a session's cookie holds, sealed. Times in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Its name, through all its cookies.
    pub id: SessionId,
    /// When it began.
    pub begun_ms: u64,
    /// When this cookie runs out.
    pub until_ms: u64,
}

impl Session {
    /// The same session with a cookie that runs out later.
    #[must_use]
    pub fn renewed(self, until_ms: u64) -> Self {
        Self { until_ms, ..self }
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.id, self.begun_ms, self.until_ms)
    }
}

impl FromStr for Session {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(NotASession);
        let id = word()?.parse()?;
        let begun_ms = word()?.parse().map_err(|_| NotASession)?;
        let until_ms = word()?.parse().map_err(|_| NotASession)?;
        if words.next().is_some() {
            return Err(NotASession);
        }
        Ok(Self { id, begun_ms, until_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_survives_its_cookie_and_nothing_else_is_one() {
        let session = Session { id: SessionId::random().unwrap(), begun_ms: 1, until_ms: 2 };
        assert_eq!(session.to_string().parse(), Ok(session));
        assert_eq!(session.id.topic().len(), "session:".len() + 32);
        assert_ne!(SessionId::random().unwrap(), SessionId::random().unwrap());
        let id = session.id;
        for text in ["", "x 1 2", &format!("{id} 1"), &format!("{id} 1 2 3"), &format!("{id} 1 -2")] {
            assert_eq!(text.parse::<Session>(), Err(NotASession), "{text}");
        }
        assert_eq!(
            id.to_string().to_uppercase().replace(char::is_numeric, "A").parse::<SessionId>(),
            Err(NotASession)
        );
    }
}
