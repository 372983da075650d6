//! TLS at nginx: whose certificate it shows, and where plain HTTP is led.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Error as Nginx, checked_path, port};

/// The word for a certificate that is made at the first start and kept in `DATA_DIR`.
const SELF_SIGNED: &str = "self-signed";

/// Where that one is, with its key, below `DATA_DIR`; `docker/self-signed.sh` makes it.
const SELF_SIGNED_FILE: &str = "self-signed.pem";

/// How long a browser that came over TLS comes over nothing else: a year.
const HSTS_SECONDS: u64 = 31_536_000;

/// The fewest streams of one connection; browsers open 100 at most unless they are told a smaller number.
const STREAMS_LEAST: u64 = 128;

/// The most, for each is a request that a worker holds for one client.
const STREAMS_MOST: u64 = 10_000;

/// Streams of one connection beyond those of events: pages, publishes, refusals.
const STREAMS_SPARE: u64 = 64;

/// How nginx speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file of the certificate and those that lead to its issuer, in PEM.
    pub certificate: PathBuf,
    /// The file of its private key, in PEM.
    pub key: PathBuf,
    /// The port that nginx listens on for it, at every address.
    pub port: u16,
    /// The port under which clients see that one, if plain HTTP is led there.
    pub redirect: Option<u16>,
    /// How long a browser that came over TLS comes over nothing else; 0 is not said.
    pub hsts_seconds: u64,
}

/// Why nginx cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate without a key.
    #[error("TLS_CERT is {0:?}, but TLS_KEY is not set: set it to the file of the certificate's private key")]
    NoKey(String),
    /// A key without a certificate.
    #[error("TLS_KEY is {0:?}, but TLS_CERT is not set: set it to the file of the key's certificate")]
    NoCertificate(String),
    /// A key beside the certificate that has its own.
    #[error("TLS_KEY is {0:?}, but the self-signed certificate has a key of its own: unset TLS_KEY")]
    KeyOfSelfSigned(String),
    /// A redirect to nowhere.
    #[error(
        "TLS_REDIRECT is {0:?}, but there is no TLS to lead to: set TLS_CERT and TLS_KEY, or TLS_CERT=self-signed"
    )]
    NowhereToLead(String),
    /// Neither yes nor no.
    #[error("TLS_REDIRECT is {0:?}, but it must be 1 or 0")]
    Redirect(String),
    /// No number of seconds.
    #[error("TLS_HSTS is {0:?}, but it must be a number of seconds, or 0 for none")]
    Hsts(String),
    /// One port for both.
    #[error("TLS_PORT is {0}, but PORT is the same: choose another one")]
    SamePort(u16),
    /// A file that cannot be read.
    #[error("{name} is {path:?}, but the file cannot be read: {source}")]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of something else.
    #[error("{name} is {path:?}, but the file holds no {what} in PEM")]
    NotPem {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What is missing there.
        what: &'static str,
    },
    /// A key that somebody would have to unlock at every start.
    #[error(
        "TLS_KEY is {0:?}, but that key has a passphrase, which nobody can type here: write one without (openssl pkey -in KEY -out NEW)"
    )]
    Passphrase(PathBuf),
}

impl Tls {
    /// What the environment says; `plain` is the port of plain HTTP.
    pub(super) fn read(
        set: &impl Fn(&str) -> Option<String>,
        plain: u16,
        data_dir: &Path,
    ) -> Result<Option<Tls>, Nginx> {
        let redirect = match set("TLS_REDIRECT").map(|text| (text.to_ascii_lowercase(), text)) {
            None => None,
            Some((word, text)) => match word.as_str() {
                "1" | "true" | "yes" | "on" => Some(text),
                "0" | "false" | "no" | "off" => None,
                _ => return Err(Error::Redirect(text).into()),
            },
        };
        let is_self_signed = set("TLS_CERT").is_some_and(|word| word == SELF_SIGNED);
        let (certificate, key) = match (set("TLS_CERT"), set("TLS_KEY")) {
            (None, None) => return redirect.map_or(Ok(None), |text| Err(Error::NowhereToLead(text).into())),
            (None, Some(key)) => return Err(Error::NoCertificate(key).into()),
            (Some(_), Some(key)) if is_self_signed => return Err(Error::KeyOfSelfSigned(key).into()),
            (Some(_), None) if is_self_signed => {
                let folder = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
                let file = checked_path("DATA_DIR", folder.join(SELF_SIGNED_FILE))?;
                (file.clone(), file)
            }
            (Some(certificate), None) => return Err(Error::NoKey(certificate).into()),
            (Some(certificate), Some(key)) => {
                (checked_path("TLS_CERT", certificate.into())?, checked_path("TLS_KEY", key.into())?)
            }
        };
        read_pem("TLS_CERT", &certificate, "-----BEGIN CERTIFICATE-----", "certificate")?;
        let text = read_pem("TLS_KEY", &key, "PRIVATE KEY-----", "private key")?;
        if text.contains("ENCRYPTED") {
            return Err(Error::Passphrase(key).into());
        }
        let port = port("TLS_PORT", set)?.unwrap_or(443);
        if port == plain {
            return Err(Error::SamePort(port).into());
        }
        let public = super::port("TLS_PUBLIC_PORT", set)?.unwrap_or(port);
        let hsts_seconds = match set("TLS_HSTS") {
            // Nobody trusts such a certificate; whoever does all the same, for one program, would lose the others of its host.
            None if is_self_signed => 0,
            None => HSTS_SECONDS,
            Some(text) => text.parse().map_err(|_| Error::Hsts(text))?,
        };
        Ok(Some(Tls { certificate, key, port, redirect: redirect.map(|_| public), hsts_seconds }))
    }

    pub(super) fn directives(&self, mark: &str, ipv6: bool, streams_per_ip_max: u64) -> Option<Vec<String>> {
        let port = self.port;
        Some(match mark {
            "tls_listen" => {
                let mut lines = vec![format!("listen {port} ssl http2 default_server backlog=4096;")];
                if ipv6 {
                    lines.push(format!("listen [::]:{port} ssl http2 default_server backlog=4096;"));
                }
                lines
            }
            "tls_certificate" => vec![
                format!("ssl_certificate \"{}\";", self.certificate.display()),
                format!("ssl_certificate_key \"{}\";", self.key.display()),
            ],
            "tls_streams" => {
                vec![format!("http2_max_concurrent_streams {};", streams_of_a_connection(streams_per_ip_max))]
            }
            "tls_redirect" => {
                let port = match self.redirect {
                    None | Some(443) => String::new(),
                    Some(port) => format!(":{port}"),
                };
                vec![format!("default \"https://$host{port}$request_uri\";")]
            }
            "tls_hsts" => vec![format!("\"on \" \"max-age={}\";", self.hsts_seconds)],
            _ => return None,
        })
    }
}

/// As many as one address may have, and more; 0, unlimited, is as many as are ever allowed.
fn streams_of_a_connection(per_ip_max: u64) -> u64 {
    match per_ip_max {
        0 => STREAMS_MOST,
        streams => streams.saturating_add(STREAMS_SPARE).clamp(STREAMS_LEAST, STREAMS_MOST),
    }
}

/// The text of a file that must hold `mark`.
fn read_pem(name: &'static str, path: &Path, mark: &str, what: &'static str) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Unreadable { name, path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !text.contains(mark) {
        return Err(Error::NotPem { name, path: path.to_owned(), what });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";

    fn read(folder: &Path, pairs: &[(&str, &str)]) -> Result<Option<Tls>, String> {
        let value = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let set = |name: &str| value(name).map(|value| value.replace("DIR", &folder.display().to_string()));
        Tls::read(&set, 80, folder)
            .map_err(|error| error.to_string().replace(&folder.display().to_string(), "DIR"))
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cert.pem", CERTIFICATE.to_owned()),
            ("key.pem", KEY.to_owned()),
            ("locked.pem", KEY.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE")),
            (SELF_SIGNED_FILE, format!("{KEY}{CERTIFICATE}")),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn certificate_and_key_turn_it_on() {
        let folder = folder();
        let read = |pairs: &[(&str, &str)]| read(folder.path(), pairs).unwrap();
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("TLS_REDIRECT", "0"), ("TLS_PORT", "1")]), None);
        let both = [("TLS_CERT", "DIR/cert.pem"), ("TLS_KEY", "DIR/key.pem")];
        let tls = Tls {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            port: 443,
            redirect: None,
            hsts_seconds: HSTS_SECONDS,
        };
        assert_eq!(read(&both), Some(tls.clone()));
        let more = [("TLS_PORT", "5443"), ("TLS_REDIRECT", "1"), ("TLS_HSTS", "60")];
        let expected = Tls { port: 5443, redirect: Some(5443), hsts_seconds: 60, ..tls.clone() };
        assert_eq!(read(&[&both[..], &more].concat()), Some(expected));
        let expected = Tls { redirect: Some(8443), ..tls.clone() };
        let more = [("TLS_REDIRECT", "yes"), ("TLS_PUBLIC_PORT", "8443")];
        assert_eq!(read(&[&both[..], &more].concat()), Some(expected));
        let file = folder.path().join(SELF_SIGNED_FILE);
        let expected = Tls { certificate: file.clone(), key: file, hsts_seconds: 0, ..tls };
        assert_eq!(read(&[("TLS_CERT", "self-signed")]), Some(expected));
    }

    #[test]
    fn every_mistake_is_one_sentence() {
        let folder = folder();
        let both = [("TLS_CERT", "DIR/cert.pem"), ("TLS_KEY", "DIR/key.pem")];
        let path =
            "it must be an absolute path without control characters, quotes, `\\`, `$`, `;`, `{` and `}`";
        let number = "it must be a number from 1 to 65535";
        #[rustfmt::skip]
        let table: [(&[(&str, &str)], String); 16] = [
            (&[("TLS_CERT", "/c.pem")], "TLS_CERT is \"/c.pem\", but TLS_KEY is not set: set it to the file of the certificate's private key".into()),
            (&[("TLS_KEY", "/k.pem")], "TLS_KEY is \"/k.pem\", but TLS_CERT is not set: set it to the file of the key's certificate".into()),
            (&[("TLS_CERT", "self-signed"), ("TLS_KEY", "/k")], "TLS_KEY is \"/k\", but the self-signed certificate has a key of its own: unset TLS_KEY".into()),
            (&[("TLS_REDIRECT", "1")], "TLS_REDIRECT is \"1\", but there is no TLS to lead to: set TLS_CERT and TLS_KEY, or TLS_CERT=self-signed".into()),
            (&[both[0], both[1], ("TLS_REDIRECT", "perhaps")], "TLS_REDIRECT is \"perhaps\", but it must be 1 or 0".into()),
            (&[both[0], both[1], ("TLS_HSTS", "1y")], "TLS_HSTS is \"1y\", but it must be a number of seconds, or 0 for none".into()),
            (&[both[0], both[1], ("TLS_PORT", "80")], "TLS_PORT is 80, but PORT is the same: choose another one".into()),
            (&[both[0], both[1], ("TLS_PORT", "0")], format!("TLS_PORT is \"0\", but {number}")),
            (&[both[0], both[1], ("TLS_PUBLIC_PORT", "x")], format!("TLS_PUBLIC_PORT is \"x\", but {number}")),
            (&[("TLS_CERT", "cert.pem"), both[1]], format!("TLS_CERT is \"cert.pem\", but {path}")),
            (&[both[0], ("TLS_KEY", "/k\"; user root")], format!("TLS_KEY is \"/k\\\"; user root\", but {path}")),
            (&[("TLS_CERT", "DIR/none"), both[1]], "TLS_CERT is \"DIR/none\", but the file cannot be read: No such file or directory (os error 2)".into()),
            (&[both[0], ("TLS_KEY", "DIR/none")], "TLS_KEY is \"DIR/none\", but the file cannot be read: No such file or directory (os error 2)".into()),
            (&[("TLS_CERT", "DIR/key.pem"), both[1]], "TLS_CERT is \"DIR/key.pem\", but the file holds no certificate in PEM".into()),
            (&[both[0], ("TLS_KEY", "DIR/cert.pem")], "TLS_KEY is \"DIR/cert.pem\", but the file holds no private key in PEM".into()),
            (&[both[0], ("TLS_KEY", "DIR/locked.pem")], "TLS_KEY is \"DIR/locked.pem\", but that key has a passphrase, which nobody can type here: write one without (openssl pkey -in KEY -out NEW)".into()),
        ];
        for (pairs, sentence) in table {
            assert_eq!(read(folder.path(), pairs).unwrap_err(), sentence);
        }
    }

    #[test]
    fn one_connection_may_have_all_streams_of_its_address() {
        let cases = [(1, 128), (10, 128), (64, 128), (65, 129), (500, 564), (1_000_000, 10_000), (0, 10_000)];
        for (per_ip, streams) in cases {
            assert_eq!(streams_of_a_connection(per_ip), streams, "{per_ip}");
        }
    }
}
