//! The settings of who may come in.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Reader;
use crate::auth::jwt::Verifier;
use crate::auth::tokens::{self, Listed};
use crate::hub::TopicFilter;

/// The shortest key that seals a cookie; all that is known of it is its length.
const SECRET_KEY_CHARS_MIN: usize = 16;
/// The longest passcode, in bytes.
pub(super) const PASSCODE_BYTES_MAX: usize = 1024;
/// A passcode with fewer characters is told to be weak.
const PASSCODE_CHARS_SAFE: usize = 6;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The tokens of a file, or what is wrong with it.
pub fn read_publish_tokens(path: &Path) -> Result<Vec<Listed>, String> {
    tokens::parse(&read(path)?).map_err(|wrong| wrong.to_string())
}

/// A small file of text; why not, as the end of a sentence. What has no length, such as a device, is read no further.
fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the file cannot be read: {error}");
    let file = fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    if length > FILE_BYTES_MAX {
        return Err(format!("the file has {length} bytes, more than the {FILE_BYTES_MAX} that are read"));
    }
    if read.map_err(unreadable)? as u64 > FILE_BYTES_MAX {
        return Err(format!("the file has more than the {FILE_BYTES_MAX} bytes that are read"));
    }
    Ok(text)
}

/// An origin as a browser names it: scheme, host and port, and no more. What nginx reads is made of this, too.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let origin = text.to_ascii_lowercase();
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b)),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0));
    if !is_host || !is_port {
        return Err(format!(
            "{text:?} must be an origin, such as https://app.example or http://localhost:3000"
        ));
    }
    // A browser leaves out the port that everybody knows.
    let default = if origin.starts_with("https:") { ":443" } else { ":80" };
    Ok(origin.strip_suffix(default).filter(|_| port.is_some()).map_or(origin.clone(), ToOwned::to_owned))
}

/// Where the keys of signed tokens are.
#[derive(Debug, Clone, Default)]
pub struct JwtFiles {
    key: Option<PathBuf>,
    set: Option<PathBuf>,
}

impl JwtFiles {
    /// The keys of both files, `None` if there is no file; or the setting that is wrong, and why.
    pub fn read(&self) -> Result<Option<Verifier>, (&'static str, String)> {
        let mut verifier: Option<Verifier> = None;
        for (key, path, parse) in [
            ("jwt_key_file", &self.key, Verifier::from_key_file as fn(&str) -> _),
            ("jwks_file", &self.set, Verifier::from_jwks),
        ] {
            if let Some(path) = path {
                let keys = read(path).and_then(|text| parse(&text)).map_err(|why| (key, why))?;
                verifier.get_or_insert_default().extend(keys);
            }
        }
        Ok(verifier)
    }
}

/// How to log in.
#[derive(Clone)]
pub struct LoginConfig {
    /// What lets people in.
    pub passcode: String,
    /// What seals the cookies; `None`: made and kept in `data_dir`.
    pub secret_key: Option<String>,
    /// Wrong passcodes of one address, after which it has to wait; 0 is unlimited.
    pub attempts_max: u32,
    /// How long it waits.
    pub lockout: Duration,
    /// How long a session lasts when it is not used.
    pub session_lifetime: Duration,
    /// How long it lasts at most; `None`: for ever.
    pub session_age_max: Option<Duration>,
}

impl std::fmt::Debug for LoginConfig {
    /// Without its secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginConfig")
            .field("attempts_max", &self.attempts_max)
            .field("lockout", &self.lockout)
            .field("session_lifetime", &self.session_lifetime)
            .field("session_age_max", &self.session_age_max)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Everything is checked, also where the login is off: a value that makes no sense is told before it is needed.
    pub(super) fn login(&mut self, warnings: &mut Vec<String>) -> Option<LoginConfig> {
        let is_enabled = self.switch("login_enabled");
        let config = LoginConfig {
            passcode: self.text("login_code"),
            secret_key: self.secret_key(),
            attempts_max: self.number("max_login_attempts", 0, 1_000_000),
            lockout: Duration::from_secs(60 * self.number("lockout_duration", 1, 10_080)),
            session_lifetime: Duration::from_secs(self.number("session_lifetime", 1, 31_536_000)),
            session_age_max: Some(self.number("session_max_age", 0, 315_360_000))
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
        };
        let length = config.passcode.len();
        if length > PASSCODE_BYTES_MAX {
            let name = self.name("login_code");
            self.mistakes
                .push(format!("{name} has {length} bytes, but at most {PASSCODE_BYTES_MAX} are allowed"));
        }
        if !is_enabled {
            return None;
        }
        if length == 0 {
            self.mistake(
                "login_enabled",
                "LOGIN_CODE is not set: set it to the passcode, or LOGIN_ENABLED to false",
            );
        } else if config.passcode.chars().count() < PASSCODE_CHARS_SAFE {
            let name = self.name("login_code");
            warnings.push(format!(
                "{name} has fewer than {PASSCODE_CHARS_SAFE} characters: many addresses together can guess it"
            ));
        }
        if let Some(age_max) = config.session_age_max.filter(|age_max| *age_max < config.session_lifetime) {
            let (lifetime, age_max) = (config.session_lifetime.as_secs(), age_max.as_secs());
            warnings.push(format!(
                "SESSION_LIFETIME is {lifetime}, but a session ends after SESSION_MAX_AGE, {age_max} seconds"
            ));
        }
        Some(config)
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    pub(super) fn publish_tokens(&mut self) -> Vec<Listed> {
        let Some(path) = self.path("publish_tokens_file") else { return Vec::new() };
        read_publish_tokens(&path).unwrap_or_else(|why| {
            self.mistake("publish_tokens_file", &why);
            Vec::new()
        })
    }

    pub(super) fn jwt_files(&self) -> JwtFiles {
        JwtFiles { key: self.path("jwt_key_file"), set: self.path("jwks_file") }
    }

    pub(super) fn jwt(&mut self) -> Option<Verifier> {
        self.jwt_files().read().unwrap_or_else(|(key, why)| {
            self.mistake(key, &why);
            None
        })
    }

    pub(super) fn public_topics(&mut self) -> Option<Vec<TopicFilter>> {
        let filters = self.list("public_topics", |word| match TopicFilter::parse(word) {
            Ok(TopicFilter::Exact(topic)) if topic.is_private() => {
                Err(format!("{topic} is read by its session alone"))
            }
            filter => filter.map_err(|why| why.to_string()),
        });
        (!filters.is_empty()).then_some(filters)
    }

    fn switch(&mut self, key: &str) -> bool {
        match self.text(key).trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.mistake(key, "it must be true or false");
                false
            }
        }
    }

    fn secret_key(&mut self) -> Option<String> {
        let key = self.text("session_secret_key");
        if key.is_empty() {
            return None;
        }
        let length = key.chars().count();
        if length < SECRET_KEY_CHARS_MIN {
            let name = self.name("session_secret_key");
            self.mistakes.push(format!(
                "{name} has {length} characters, but it must have {SECRET_KEY_CHARS_MIN} or more, such as `openssl rand -hex 32` makes"
            ));
        }
        Some(key)
    }

    /// Where a setting was made, for a message that does not show its value.
    fn name(&self, key: &str) -> String {
        self.raw.get(key).map_or_else(|| key.to_owned(), |raw| raw.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load;

    #[test]
    fn login_is_on_only_with_a_passcode() {
        let on = [("LOGIN_CODE", "open sesame")];
        for (text, is_on) in [("true", true), ("TRUE", true), ("1", true), ("false", false), ("Off", false)] {
            let config = load(&[on[0], ("LOGIN_ENABLED", text)]).unwrap();
            assert_eq!((config.login.is_some(), config.warnings.len()), (is_on, 0), "{text}");
        }
        assert!(load(&on).unwrap().login.is_none());
        let longer = [("LOGIN_ENABLED", "true"), on[0], ("SESSION_LIFETIME", "31536000")];
        let sentence =
            "SESSION_LIFETIME is 31536000, but a session ends after SESSION_MAX_AGE, 2592000 seconds";
        assert_eq!(load(&longer).unwrap().warnings, [sentence]);
        assert!(load(&[&longer[..], &[("SESSION_MAX_AGE", "0")]].concat()).unwrap().warnings.is_empty());
        let config = load(&[("LOGIN_ENABLED", "true"), ("LOGIN_CODE", "12345")]).unwrap();
        assert_eq!(
            config.warnings,
            ["LOGIN_CODE has fewer than 6 characters: many addresses together can guess it"]
        );
    }

    #[test]
    fn mistakes_of_the_login_name_variable_and_value_but_no_secret() {
        let long = "x".repeat(1025);
        for (env, sentence) in [
            (
                &[("LOGIN_ENABLED", "true")][..],
                "LOGIN_ENABLED is \"true\", but LOGIN_CODE is not set: set it to the passcode, or LOGIN_ENABLED to false",
            ),
            (
                &[("SSE_PUBLIC_TOPICS", "news, a b")],
                "SSE_PUBLIC_TOPICS is \"news, a b\", but topic filter \"a b\" is neither a topic, nor a prefix of one followed by *, nor * alone",
            ),
            (
                &[("SSE_PUBLIC_TOPICS", "session:x")],
                "SSE_PUBLIC_TOPICS is \"session:x\", but session:x is read by its session alone",
            ),
            (&[("LOGIN_ENABLED", "maybe")], "LOGIN_ENABLED is \"maybe\", but it must be true or false"),
            (&[("LOGIN_CODE", &*long)], "LOGIN_CODE has 1025 bytes, but at most 1024 are allowed"),
            (
                &[("SESSION_SECRET_KEY", "short")],
                "SESSION_SECRET_KEY has 5 characters, but it must have 16 or more, such as `openssl rand -hex 32` makes",
            ),
            (
                &[("MAX_LOGIN_ATTEMPTS", "-1")],
                "MAX_LOGIN_ATTEMPTS is \"-1\", but it must be a whole number from 0 to 1000000",
            ),
            (
                &[("LOCKOUT_DURATION", "0")],
                "LOCKOUT_DURATION is \"0\", but it must be a whole number from 1 to 10080",
            ),
            (
                &[("SESSION_MAX_AGE", "-1")],
                "SESSION_MAX_AGE is \"-1\", but it must be a whole number from 0 to 315360000",
            ),
            (
                &[("SESSION_LIFETIME", "1h")],
                "SESSION_LIFETIME is \"1h\", but it must be a whole number from 1 to 31536000",
            ),
        ] {
            assert_eq!(load(env).unwrap_err(), [sentence]);
        }
    }

    /// The attack: an origin that ends nginx's directive, or lets in more than the site that is meant.
    #[test]
    fn origin_is_scheme_host_and_port_and_nothing_else() {
        let origins =
            "https://App.example, http://localhost:3000,https://a.b:443,http://[::1]:80, http://[::1]";
        let config = load(&[("SSE_CORS_ORIGINS", origins)]).unwrap();
        assert_eq!(
            config.cors_origins,
            ["https://app.example", "http://localhost:3000", "https://a.b", "http://[::1]", "http://[::1]"]
        );
        for wrong in [
            "*",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://*.example",
            "ftp://a",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a b",
            "https://a\"",
            "https://a;",
            "https://u@a",
            "https://[::1",
            "https://[x]",
            "https://ü.example",
        ] {
            let expected = format!(
                "SSE_CORS_ORIGINS is {wrong:?}, but {wrong:?} must be an origin, such as https://app.example or http://localhost:3000"
            );
            assert_eq!(load(&[("SSE_CORS_ORIGINS", wrong)]).unwrap_err(), [expected]);
        }
    }

    #[test]
    fn file_of_tokens_is_read_whole_or_its_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(path, "app:s3cret\n").unwrap();
        let config = load(&[("SSE_PUBLISH_TOKENS_FILE", path)]).unwrap();
        assert_eq!(config.publish_tokens.len(), 1);
        assert!(!format!("{config:?}{}", config.to_toml()).contains("s3cret"));
        std::fs::write(path, "app:s3cret\nbroken\n").unwrap();
        let mistakes = load(&[("SSE_PUBLISH_TOKENS_FILE", path)]).unwrap_err();
        assert_eq!(mistakes, [format!("SSE_PUBLISH_TOKENS_FILE is {path:?}, but line 2 is not name:token")]);
        let mistakes = load(&[("SSE_PUBLISH_TOKENS_FILE", "/nowhere/tokens")]).unwrap_err();
        let endless = load(&[("SSE_PUBLISH_TOKENS_FILE", "/dev/zero")]).unwrap_err();
        let sentence = "SSE_PUBLISH_TOKENS_FILE is \"/dev/zero\", but the file has more than the 1048576 bytes that are read";
        assert_eq!(endless, [sentence]);
        let missing = "the file cannot be read: No such file or directory (os error 2)";
        assert_eq!(mistakes, [format!("SSE_PUBLISH_TOKENS_FILE is \"/nowhere/tokens\", but {missing}")]);
    }

    #[test]
    fn passcode_and_key_are_never_shown() {
        let secrets = [("LOGIN_CODE", "open sesame"), ("SESSION_SECRET_KEY", "sixteen characters")];
        let config = load(&[secrets[0], secrets[1], ("LOGIN_ENABLED", "true")]).unwrap();
        for (_, secret) in secrets {
            assert!(!config.to_toml().contains(secret) && !format!("{:?}", config.login).contains(secret));
        }
    }
}
