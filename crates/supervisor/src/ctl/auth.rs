//! Who may call: HTTP Basic, with the password as it is or as `{SHA}` and its SHA-1 in hexadecimal.

use base64::Engine;
use sha1::{Digest, Sha1};

use super::xmlrpc::BASE64;

/// A name and its password, as the configuration has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password, or `{SHA}` and its SHA-1 in hexadecimal.
    pub password: String,
}

impl Credentials {
    /// Whether the value of an `Authorization` header names them. How long this takes tells nothing of them.
    pub(super) fn allow(&self, header: &[u8]) -> bool {
        let Some((username, password)) = basic(header) else { return false };
        let username = equal(&Sha1::digest(&username), &Sha1::digest(&self.username));
        let given = Sha1::digest(&password);
        let password = match self.password.strip_prefix("{SHA}") {
            Some(digest) => equal(hexadecimal(&given).as_bytes(), digest.as_bytes()),
            None => equal(&given, &Sha1::digest(&self.password)),
        };
        username & password
    }
}

fn basic(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let decoded = BASE64.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that depends on the lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn only_the_name_with_its_password_is_allowed() {
        let plain = |password: &str| Credentials { username: "u".to_owned(), password: password.to_owned() };
        // The SHA-1 of "thepassword".
        let hashed = plain("{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d");
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (credentials, header, expected) in [
            (plain("p:q"), basic("u:p:q"), true),
            (plain("p"), basic("u:p").replace("Basic", "bAsIc"), true),
            (plain("p"), basic("u:p").replace('=', ""), true),
            (plain("p"), basic("u:x"), false),
            (plain("p"), basic("x:p"), false),
            (plain("p"), basic("u"), false),
            (plain("p"), basic(""), false),
            (plain("p"), basic("u:p").replace("Basic", "Digest"), false),
            (plain("p"), "Basic %%%".to_owned(), false),
            (plain("p"), "Basic".to_owned(), false),
            (plain(""), basic("u:"), true),
            (hashed.clone(), basic("u:thepassword"), true),
            (hashed.clone(), basic("u:thepassworx"), false),
            (hashed.clone(), basic("u:82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"), false),
            (hashed.clone(), basic("u:{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"), false),
            (plain("{SHA}"), basic("u:"), false),
        ] {
            assert_eq!(credentials.allow(header.as_bytes()), expected, "{credentials:?} {header}");
        }
        assert!(!hashed.allow(b"Basic \xff"));
    }
}
