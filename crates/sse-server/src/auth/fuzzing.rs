//! What must hold for every token and every line of a login's journal, whoever made it.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;

use super::journal::Journal;
use super::jwt::{FILTERS_MAX, Granted, NAME_CHARS_MAX, Verifier};
use super::session::Session;
use super::tokens::{self, Tokens};

const SECRET: &str = "a secret of thirty-two bytes, or more";
const NOW_MS: u64 = 1_000_000_000;

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::from_key_file(SECRET).expect("it is long enough"));
static SIGNER: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_secret(SECRET.as_bytes()));

/// The first byte says what it is: `s`, claims to be signed here; `k`, a file of keys; else a token, which this key has
/// not signed.
pub fn jwt(input: &[u8]) -> bool {
    let Some((kind, rest)) = input.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    match kind {
        b's' => signed(text),
        b'k' => Verifier::from_key_file(text).is_ok() | Verifier::from_jwks(text).is_ok(),
        _ => {
            assert!(VERIFIER.verify(text, NOW_MS).is_err(), "forged: {text}");
            false
        }
    }
}

fn signed(claims: &str) -> bool {
    let Ok(claims) = serde_json::from_str::<Value>(claims) else { return false };
    let Ok(token) = encode(&Header::new(Algorithm::HS256), &claims, &SIGNER) else { return false };
    let Ok(Granted { grant, until_ms }) = VERIFIER.verify(&token, NOW_MS) else { return false };
    assert!(until_ms > NOW_MS);
    assert!(grant.publish.len() <= FILTERS_MAX && grant.subscribe.len() <= FILTERS_MAX);
    assert!(grant.name.chars().count() <= "jwt:".len() + NAME_CHARS_MAX && !grant.is_open, "{grant:?}");
    // No part of it can be changed.
    let mut changed = token.into_bytes();
    for at in [0, changed.len() / 2, changed.len() - 2] {
        let was = changed[at];
        changed[at] = if was == b'A' { b'B' } else { b'A' };
        let text = std::str::from_utf8(&changed).expect("it is ASCII");
        assert!(VERIFIER.verify(text, NOW_MS).is_err(), "{text}");
        changed[at] = was;
    }
    true
}

/// A file of publish tokens: each that is accepted is found again, and is its own line's.
pub fn tokens(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(listed) = tokens::parse(text) else { return false };
    let count = listed.len();
    let tokens = Tokens::new("the token that is no file's", listed);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut found = 0;
    for line in lines {
        let (name, rest) = line.split_once(':').expect("it was accepted");
        let (token, topics) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
        let publisher = tokens.find(token.as_bytes()).expect("it is good");
        assert_eq!(publisher.name(), name.trim());
        assert_eq!(publisher.operates(), topics.is_empty(), "{line}");
        found += 1;
    }
    assert_eq!(found, count);
    count > 0
}

/// A journal of logins, and what a cookie holds: a line that cannot be read costs no other.
pub fn login_journal(input: &[u8]) -> bool {
    let (entries, unreadable) = Journal::parse(input);
    let lines = input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(entries.len() + unreadable, lines);
    let written = Journal::text(&entries);
    assert_eq!(Journal::parse(&written), (entries.clone(), 0));
    if let Some(session) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Session>().ok()) {
        assert_eq!(session.to_string().parse(), Ok(session));
    }
    !entries.is_empty()
}
