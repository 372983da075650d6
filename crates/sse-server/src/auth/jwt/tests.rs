//! Tokens that grant something, and all the ways in which one does not.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a secret of thirty-two bytes, or more";
const RSA: &str = include_str!("../../../tests/paths/keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../../tests/paths/keys/rsa.pub.pem");
const RSA_SHORT: &str = include_str!("../../../tests/paths/keys/rsa1024.pub.pem");
const OTHER_RSA: &str = include_str!("../../../tests/paths/keys/other-rsa.pem");
const EC: &str = include_str!("../../../tests/paths/keys/ec.pem");
const EC_PUBLIC: &str = include_str!("../../../tests/paths/keys/ec.pub.pem");
const EC_384: &str = include_str!("../../../tests/paths/keys/ec384.pub.pem");
const ED: &str = include_str!("../../../tests/paths/keys/ed.pem");
const ED_PUBLIC: &str = include_str!("../../../tests/paths/keys/ed.pub.pem");

const NOW_MS: u64 = 1_000_000_000;
const NOW: u64 = NOW_MS / 1000;

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::HS256 => EncodingKey::from_secret(SECRET.as_bytes()),
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::RS512 => {
            EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap()
        }
        Algorithm::ES256 => EncodingKey::from_ec_pem(EC.as_bytes()).unwrap(),
        _ => EncodingKey::from_ed_pem(ED.as_bytes()).unwrap(),
    }
}

fn claims() -> Value {
    json!({"sub":"app","exp":NOW + 60,"sse":{"publish":["job:*"],"subscribe":["job:42","session:x"]}})
}

fn token(algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &signer(algorithm)).unwrap()
}

fn verifier() -> Verifier {
    Verifier::from_key_file(SECRET).unwrap()
}

#[track_caller]
fn refused(verifier: &Verifier, token: &str) -> String {
    verifier.verify(token, NOW_MS).unwrap_err().to_string()
}

const NO_KEY: &str = "the token is signed with an algorithm or a key that is not accepted here";

/// The attack: a token of one algorithm is shown to a key of another.
#[test]
fn each_key_takes_its_own_algorithm_alone() {
    let keys = [
        (Algorithm::HS256, SECRET),
        (Algorithm::RS256, RSA_PUBLIC),
        (Algorithm::ES256, EC_PUBLIC),
        (Algorithm::EdDSA, ED_PUBLIC),
    ];
    for (algorithm, key) in keys {
        let verifier = Verifier::from_key_file(key).unwrap();
        for (other, _) in keys {
            let token = token(other, &claims());
            if other == algorithm {
                let Granted { grant, until_ms } = verifier.verify(&token, NOW_MS).unwrap();
                let names =
                    |filters: &[TopicFilter]| filters.iter().map(ToString::to_string).collect::<Vec<_>>();
                assert_eq!((grant.name.as_str(), until_ms), ("jwt:app", NOW_MS + 60_000));
                assert_eq!(names(&grant.publish), ["job:*"]);
                assert_eq!(names(&grant.subscribe), ["job:42", "session:x"]);
                assert!(!grant.is_open);
            } else {
                assert_eq!(refused(&verifier, &token), NO_KEY, "{algorithm:?} {other:?}");
            }
        }
    }
    let rsa = Verifier::from_key_file(RSA_PUBLIC).unwrap();
    for other in [Algorithm::PS256, Algorithm::RS512] {
        assert_eq!(refused(&rsa, &token(other, &claims())), NO_KEY, "the same key, another algorithm");
    }
}

/// The attacks: no signature at all, and HS256 with the public key, which everybody has, for its secret.
#[test]
fn neither_none_nor_a_public_key_as_secret_signs_anything() {
    let base64 = |text: &str| {
        use base64::Engine;
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text)
    };
    let payload = base64(&claims().to_string());
    let all = [SECRET, RSA_PUBLIC, EC_PUBLIC, ED_PUBLIC].map(|key| Verifier::from_key_file(key).unwrap());
    for verifier in &all {
        for name in ["none", "None", "NONE", "nOnE", ""] {
            let head = base64(&json!({"alg":name,"typ":"JWT"}).to_string());
            for signature in ["", "AAAA"] {
                assert_eq!(refused(verifier, &format!("{head}.{payload}.{signature}")), NO_KEY, "{name}");
            }
        }
        let head = base64(r#"{"typ":"JWT"}"#);
        assert_eq!(refused(verifier, &format!("{head}.{payload}.")), NO_KEY);
    }
    for (key, verifier) in [RSA_PUBLIC, EC_PUBLIC, ED_PUBLIC].iter().zip(&all[1..]) {
        for secret in [*key, key.trim()] {
            let forged = EncodingKey::from_secret(secret.as_bytes());
            let token = encode(&Header::new(Algorithm::HS256), &claims(), &forged).unwrap();
            assert_eq!(refused(verifier, &token), NO_KEY);
        }
    }
}

/// The attack: a public key is in the file in another form than PEM alone, and is taken for the secret of HS256, with which
/// everybody then signs.
#[test]
fn no_public_key_is_taken_for_a_secret_in_whatever_form_it_is() {
    let bare = |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n");
    let set = json!({"keys":[jwk(Algorithm::RS256, None)]}).to_string();
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIgNC6hmYZbC0RXmFVR3VzY0bXJ6YWJjZGVmZ2hpamts app";
    let json = "the file has JSON, and a set of keys is what SSE_JWKS_FILE is for";
    let no_pem = "the file has a key without the lines of PEM: put -----BEGIN PUBLIC KEY----- before it and -----END PUBLIC KEY----- after it";
    let openssh = "the file has a key of OpenSSH, and a public key has to be in PEM here, such as `ssh-keygen -e -m pkcs8` makes";
    for (text, sentence) in [
        (set.as_str(), json),
        (&jwk(Algorithm::ES256, None).to_string(), json),
        (&bare(RSA_PUBLIC), no_pem),
        (&bare(RSA_PUBLIC).replace('\n', ""), no_pem),
        (&bare(EC_PUBLIC), no_pem),
        (&bare(ED_PUBLIC), no_pem),
        (ssh, openssh),
        (&ssh.replace("ssh-ed25519", "ecdsa-sha2-nistp256"), openssh),
    ] {
        assert_eq!(Verifier::from_key_file(text).map(|_| ()), Err(sentence.to_owned()), "{text}");
    }
    for before in ["Bag Attributes\n    friendlyName: app\n", "\u{feff}", "# the issuer's key\n"] {
        let text = format!("{before}{RSA_PUBLIC}");
        let verifier = Verifier::from_key_file(&text).unwrap();
        assert!(verifier.verify(&token(Algorithm::RS256, &claims()), NOW_MS).is_ok(), "{before}");
        let forged = EncodingKey::from_secret(text.trim().as_bytes());
        let forged = encode(&Header::new(Algorithm::HS256), &claims(), &forged).unwrap();
        assert_eq!(refused(&verifier, &forged), NO_KEY, "{before}");
    }
    for secret in ["MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "{a secret that is no JSON at all, and long}"] {
        assert!(Verifier::from_key_file(secret).is_ok(), "{secret}");
    }
}

/// The attacks: a token of another issuer, one that was changed, cut, or put together from two.
#[test]
fn signature_covers_every_byte() {
    let rsa = Verifier::from_key_file(RSA_PUBLIC).unwrap();
    let other = EncodingKey::from_rsa_pem(OTHER_RSA.as_bytes()).unwrap();
    let foreign = encode(&Header::new(Algorithm::RS256), &claims(), &other).unwrap();
    assert_eq!(refused(&rsa, &foreign), "the signature of the token is wrong");
    let (verifier, good) = (verifier(), token(Algorithm::HS256, &claims()));
    assert!(verifier.verify(&good, NOW_MS).is_ok());
    for n in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[n] = if bytes[n] == b'A' { b'g' } else { b'A' };
        assert!(verifier.verify(&String::from_utf8(bytes).unwrap(), NOW_MS).is_err(), "{n}");
        assert!(verifier.verify(&good[..n], NOW_MS).is_err(), "{n}");
    }
    let mut wide = claims();
    wide["sse"]["publish"] = json!(["*"]);
    let wide = token(Algorithm::HS256, &wide);
    let [a, b]: [Vec<&str>; 2] = [&good, &wide].map(|token| token.split('.').collect());
    assert_eq!(refused(&verifier, &[a[0], b[1], a[2]].join(".")), "the signature of the token is wrong");
    assert!(verifier.verify(&format!("{good}."), NOW_MS).is_err());
    assert!(verifier.verify(&format!("{good} "), NOW_MS).is_err());
    for text in ["", ".", "..", "...", "a.b.c", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert!(verifier.verify(text, NOW_MS).is_err(), "{text}");
    }
}

/// The attack: a token is used before or after its time, or lasts for ever.
#[test]
fn token_counts_in_its_time_alone_and_always_has_an_end() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        token(Algorithm::HS256, &claims)
    };
    for (name, value, expected) in [
        ("exp", json!(NOW), Some("the token has expired")),
        ("exp", json!(NOW - 1), Some("the token has expired")),
        ("exp", json!(0), Some("the token has expired")),
        ("exp", json!(-5), Some("the token has expired")),
        ("exp", json!(NOW as f64 + 0.5), None),
        ("exp", json!(1e300), None),
        ("exp", json!(null), Some("the token has no claim exp")),
        ("exp", json!("1000060"), Some("the token is malformed")),
        ("nbf", json!(NOW + 1), Some("the token is not valid yet")),
        ("nbf", json!(NOW), None),
        ("sse", json!(null), Some("the token has no claim sse")),
        ("sse", json!("*"), Some("the token has no claim sse")),
        ("sse", json!({}), None),
        ("aud", json!("another service"), None),
    ] {
        let found = verifier().verify(&with(name, value.clone()), NOW_MS).map_err(|why| why.to_string());
        assert_eq!(found.err().as_deref(), expected, "{name} {value}");
    }
    for list in [json!("*"), json!([1]), json!(["a b"]), json!(vec!["a"; 257])] {
        for name in ["publish", "subscribe"] {
            let expected =
                format!("the claim sse.{name} of the token is not a list of at most 256 topics and filters");
            assert_eq!(refused(&verifier(), &with("sse", json!({ name: list }))), expected, "{list}");
        }
    }
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let critical = encode(&header, &claims(), &signer(Algorithm::HS256)).unwrap();
    assert_eq!(refused(&verifier(), &critical), "the token is malformed");
}

/// The attack: a token without a name shares no rate with another one.
#[test]
fn token_without_a_subject_has_a_name_of_its_own() {
    let name =
        |claims: &Value| verifier().verify(&token(Algorithm::HS256, claims), NOW_MS).unwrap().grant.name;
    let mut nameless = claims();
    nameless.as_object_mut().unwrap().remove("sub");
    let first = name(&nameless);
    assert_eq!(first, name(&nameless));
    nameless["exp"] = json!(NOW + 61);
    assert_ne!(first, name(&nameless));
    nameless["sub"] = json!("x".repeat(1000));
    assert_eq!(name(&nameless), format!("jwt:{}", "x".repeat(64)));
}

fn jwk(algorithm: Algorithm, id: Option<&str>) -> Value {
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(&signer(algorithm), algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(id);
    jwk
}

#[test]
fn set_of_keys_is_asked_by_name_and_algorithm() {
    let set = json!({"keys":[
        jwk(Algorithm::RS256, Some("r")), jwk(Algorithm::ES256, Some("e")), jwk(Algorithm::EdDSA, None),
        jwk(Algorithm::HS256, Some("h")), {"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"},
    ]});
    let set = Verifier::from_jwks(&set.to_string()).unwrap();
    for (algorithm, id, good) in [
        (Algorithm::RS256, Some("r"), true),
        (Algorithm::RS256, None, true),
        (Algorithm::RS256, Some("e"), false),
        (Algorithm::ES256, Some("e"), true),
        (Algorithm::ES256, Some("nobody"), false),
        (Algorithm::EdDSA, Some("any"), true),
        (Algorithm::HS256, Some("h"), true),
        (Algorithm::HS256, Some("r"), false),
    ] {
        let header = Header { kid: id.map(ToOwned::to_owned), ..Header::new(algorithm) };
        let token = encode(&header, &claims(), &signer(algorithm)).unwrap();
        let found = set.verify(&token, NOW_MS).map(drop);
        assert_eq!(found, if good { Ok(()) } else { Err(Refused::NoKey) }, "{algorithm:?} {id:?}");
    }
    assert!(!format!("{set:?}{:?}", verifier()).contains("secret"));
}

#[test]
fn weak_foreign_and_private_keys_are_refused_in_a_sentence_that_shows_none() {
    for (text, sentence) in [
        (
            "short",
            "the file has a secret of 5 bytes, and HS256 needs 32 or more, such as `openssl rand -hex 32` makes",
        ),
        (RSA, "the file has a private key, and only the public one belongs here"),
        (RSA_SHORT, "the file has an RSA key of fewer than 2048 bits"),
        (EC_384, "the file has an elliptic curve key that is not of P-256"),
        ("-----BEGIN x", "the file has no public key of RSA, P-256 or Ed25519 that can be read"),
    ] {
        assert_eq!(Verifier::from_key_file(text).unwrap_err(), sentence);
    }
    let other_alg = |mut jwk: Value, alg: &str| {
        jwk["alg"] = json!(alg);
        jwk
    };
    for (keys, sentence) in [
        (json!([]), "the set has no key for signatures"),
        (
            json!([{"kty":"oct","k":"c2hvcnQ"}]),
            "key 0 of the set is a secret of 5 bytes, and HS256 needs 32 or more",
        ),
        (
            json!([jwk(Algorithm::HS256, None), {"kty":"RSA","n":"AQAB","e":"AQAB"}]),
            "key 1 of the set is an RSA key of fewer than 2048 bits",
        ),
        (
            json!([other_alg(jwk(Algorithm::RS256, None), "PS256")]),
            "key 0 of the set is for PS256, and keys of its kind are taken for RS256 alone",
        ),
        (
            json!([{"kty":"EC","crv":"P-384","x":"AAAA","y":"AAAA"}]),
            "key 0 of the set is an elliptic curve key that is not of P-256",
        ),
    ] {
        assert_eq!(Verifier::from_jwks(&json!({"keys":keys}).to_string()).unwrap_err(), sentence);
    }
    let mistake = Verifier::from_jwks("{}").unwrap_err();
    assert!(mistake.starts_with("it is no key set: missing field `keys`"), "{mistake}");
}
