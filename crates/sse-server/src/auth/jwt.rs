//! Grants that others have signed: JSON Web Tokens with the claim `sse` (RFC 7519, RFC 8725); told the time.
//!
//! A key has one algorithm, which follows from what the key is, and a token must name it: neither `none` nor HS256 with a
//! public key for its secret is ever tried (RFC 8725, 3.1).

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::hub::TopicFilter;
use crate::hub::grant::Grant;

use super::digest;

/// The longest token that is read.
const TOKEN_BYTES_MAX: usize = 8192;
/// Filters in each of the two lists.
pub(super) const FILTERS_MAX: usize = 256;
/// Keys in a set.
const KEYS_MAX: usize = 100;
/// The shortest secret of HS256 (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// The shortest RSA key (RFC 7518, 3.3), as the bytes of its modulus.
const RSA_BYTES_MIN: usize = 256;
/// The longest `sub` that names a publisher.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// Why a token grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no three parts, or they are not what they should be.
    #[error("the token is malformed")]
    Malformed,
    /// No key here has this algorithm or this name.
    #[error("the token is signed with an algorithm or a key that is not accepted here")]
    NoKey,
    /// It was signed by somebody else, or changed.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It lasts for ever.
    #[error("the token has no claim exp")]
    Endless,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It has not begun.
    #[error("the token is not valid yet")]
    TooEarly,
    /// It is for something else.
    #[error("the token has no claim sse")]
    NoClaim,
    /// Its claim cannot be read.
    #[error("the claim sse.{0} of the token is not a list of at most {FILTERS_MAX} topics and filters")]
    Claim(&'static str),
}

/// What a token grants, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// To whom what.
    pub grant: Grant,
    /// Milliseconds since 1970.
    pub until_ms: u64,
}

/// A key that verifies, and nothing else.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys.
#[derive(Clone, Default)]
pub struct Verifier {
    keys: Vec<Key>,
}

impl fmt::Debug for Verifier {
    /// Without what is secret of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|key| (&key.id, key.algorithm)).collect();
        f.debug_tuple("Verifier").field(&keys).finish()
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    sub: Option<String>,
    sse: Option<Sse>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Sse {
    Lists { publish: Option<Lists>, subscribe: Option<Lists> },
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lists {
    Filters(Vec<String>),
    Other(IgnoredAny),
}

impl Verifier {
    /// The key of a file: a public key in PEM, or else the secret of HS256. What is wrong is the end of a sentence, and
    /// shows no key.
    pub fn from_key_file(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let (algorithm, key) = match text.find("-----BEGIN") {
            // Some programs write before it whose key it is.
            Some(begin) => from_pem(&text[begin..])?,
            None => from_secret(text)?,
        };
        Ok(Self { keys: vec![Key { id: None, algorithm, key }] })
    }

    /// The keys of a set (RFC 7517), without those that are not for signatures.
    pub fn from_jwks(text: &str) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("it is no key set: {error}"))?;
        let signs = |jwk: &&Jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
        let keys: Vec<Key> = set
            .keys
            .iter()
            .filter(signs)
            .enumerate()
            .map(|(n, jwk)| from_jwk(jwk).map_err(|why| format!("key {n} of the set {why}")))
            .collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err("the set has no key for signatures".to_owned()),
            1..=KEYS_MAX => Ok(Self { keys }),
            count => Err(format!("the set has {count} keys, more than {KEYS_MAX}")),
        }
    }

    /// The keys of both.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
    }

    /// What a token grants now.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Granted, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Malformed);
        }
        let claims = self.claims(token)?;
        let ms = |seconds: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
            let ms = (seconds * 1000.0) as u64;
            ms
        };
        let until_ms = claims.exp.map(ms).ok_or(Refused::Endless)?;
        if until_ms <= now_ms {
            return Err(Refused::Expired);
        }
        if claims.nbf.is_some_and(|nbf| ms(nbf) > now_ms) {
            return Err(Refused::TooEarly);
        }
        let Some(Sse::Lists { publish, subscribe }) = claims.sse else { return Err(Refused::NoClaim) };
        let name = claims.sub.filter(|sub| !sub.is_empty()).map_or_else(
            || format!("jwt#{:02x?}", &digest(token)[..8]),
            |sub| format!("jwt:{}", sub.chars().take(NAME_CHARS_MAX).collect::<String>()),
        );
        let (publish, subscribe) = (filters(publish, "publish")?, filters(subscribe, "subscribe")?);
        Ok(Granted { grant: Grant { name, publish, subscribe, is_open: false, is_signed: true }, until_ms })
    }

    /// The claims, if one of the keys has signed them.
    fn claims(&self, token: &str) -> Result<Claims, Refused> {
        let header = decode_header(token).map_err(|_| unknown_header(token))?;
        // What must be understood is not (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(Refused::Malformed);
        }
        let fits = |key: &&Key| {
            let is_named = header.kid.as_ref().zip(key.id.as_ref()).is_none_or(|(asked, id)| asked == id);
            key.algorithm == header.alg && is_named
        };
        let mut refused = Refused::NoKey;
        for key in self.keys.iter().filter(fits) {
            let mut validation = Validation::new(key.algorithm);
            // The times are looked at by the clock that the caller gives. There is no audience to be of.
            validation.required_spec_claims.clear();
            (validation.validate_exp, validation.validate_nbf, validation.validate_aud) =
                (false, false, false);
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => {
                    use jsonwebtoken::errors::ErrorKind;
                    refused = match error.kind() {
                        ErrorKind::InvalidSignature => Refused::Signature,
                        _ => Refused::Malformed,
                    };
                }
            }
        }
        Err(refused)
    }
}

/// What is wrong with a head that cannot be read: `none`, for one, is no algorithm at all.
fn unknown_header(token: &str) -> Refused {
    if token.split('.').count() == 3 { Refused::NoKey } else { Refused::Malformed }
}

fn filters(list: Option<Lists>, name: &'static str) -> Result<Vec<TopicFilter>, Refused> {
    match list {
        None => Ok(Vec::new()),
        Some(Lists::Filters(words)) if words.len() <= FILTERS_MAX => words
            .iter()
            .map(|word| TopicFilter::parse(word))
            .collect::<Result<_, _>>()
            .map_err(|_| Refused::Claim(name)),
        Some(_) => Err(Refused::Claim(name)),
    }
}

/// A key in a form that is not read here: as a secret it would be one that everybody has.
fn check_not_public(text: &str) -> Result<(), String> {
    if text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Err("the file has JSON, and a set of keys is what SSE_JWKS_FILE is for".to_owned());
    }
    if ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| text.starts_with(kind)) {
        return Err("the file has a key of OpenSSH, and a public key has to be in PEM here, such as `ssh-keygen -e -m pkcs8` makes".to_owned());
    }
    let bare: String = text.split_ascii_whitespace().collect();
    if BASE64_STANDARD.decode(bare).is_ok_and(|bytes| is_der(&bytes)) {
        return Err("the file has a key without the lines of PEM: put -----BEGIN PUBLIC KEY----- before it and -----END PUBLIC KEY----- after it".to_owned());
    }
    Ok(())
}

/// Whether it is one sequence of DER (X.690), as every key is; of random bytes one in 65,536 looks so.
fn is_der(bytes: &[u8]) -> bool {
    let length = match bytes {
        [0x30, 0x82, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
        [0x30, 0x81, a, ..] => 3 + usize::from(*a),
        [0x30, a, ..] if *a < 0x80 => 2 + usize::from(*a),
        _ => return false,
    };
    length == bytes.len()
}

fn from_secret(text: &str) -> Result<(Algorithm, DecodingKey), String> {
    check_not_public(text)?;
    let length = text.len();
    if length < SECRET_BYTES_MIN {
        return Err(format!(
            "the file has a secret of {length} bytes, and HS256 needs {SECRET_BYTES_MIN} or more, such as `openssl rand -hex 32` makes"
        ));
    }
    Ok((Algorithm::HS256, DecodingKey::from_secret(text.as_bytes())))
}

fn from_pem(text: &str) -> Result<(Algorithm, DecodingKey), String> {
    if text.contains("PRIVATE KEY") {
        return Err("the file has a private key, and only the public one belongs here".to_owned());
    }
    let pem = text.as_bytes();
    let length = |key: &DecodingKey| key.try_get_as_bytes().map_or(0, <[u8]>::len);
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        return if length(&key) < RSA_BYTES_MIN {
            Err("the file has an RSA key of fewer than 2048 bits".to_owned())
        } else {
            Ok((Algorithm::RS256, key))
        };
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        return if length(&key) == POINT_BYTES {
            Ok((Algorithm::ES256, key))
        } else {
            Err("the file has an elliptic curve key that is not of P-256".to_owned())
        };
    }
    DecodingKey::from_ed_pem(pem)
        .map(|key| (Algorithm::EdDSA, key))
        .map_err(|_| "the file has no public key of RSA, P-256 or Ed25519 that can be read".to_owned())
}

/// An uncompressed point of P-256.
const POINT_BYTES: usize = 65;
/// A public key of Ed25519.
const ED25519_BYTES: usize = 32;

fn from_jwk(jwk: &Jwk) -> Result<Key, String> {
    let unreadable = || "cannot be read".to_owned();
    let key = DecodingKey::from_jwk(jwk).map_err(|_| unreadable())?;
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(parameters) => {
            // Four characters of base64 are three bytes.
            if parameters.n.trim_end_matches('=').len() * 3 / 4 < RSA_BYTES_MIN {
                return Err("is an RSA key of fewer than 2048 bits".to_owned());
            }
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(parameters) => {
            if parameters.curve != EllipticCurve::P256 || length != POINT_BYTES {
                return Err("is an elliptic curve key that is not of P-256".to_owned());
            }
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(parameters) => {
            if parameters.curve != EllipticCurve::Ed25519 || length != ED25519_BYTES {
                return Err("is not of Ed25519".to_owned());
            }
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => {
            if length < SECRET_BYTES_MIN {
                return Err(format!(
                    "is a secret of {length} bytes, and HS256 needs {SECRET_BYTES_MIN} or more"
                ));
            }
            (Algorithm::HS256, KeyAlgorithm::HS256)
        }
        _ => return Err(unreadable()),
    };
    match jwk.common.key_algorithm {
        Some(other) if other != named => {
            Err(format!("is for {other:?}, and keys of its kind are taken for {named:?} alone"))
        }
        _ => Ok(Key { id: jwk.common.key_id.clone(), algorithm, key }),
    }
}

#[cfg(test)]
mod tests;
