//! The configuration: environment over TOML over defaults, checked as a whole before a port opens.

mod access;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod manual;
mod settings;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use crate::auth::jwt::Verifier;
use crate::auth::tokens::Listed;
use crate::hub::TopicFilter;

pub use access::{JwtFiles, LoginConfig, read_publish_tokens};
use settings::{REFUSED, WITHOUT_EFFECT, nearest};
pub use settings::{SETTINGS, Setting};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`.
    Tcp(String),
    /// A unix socket's file.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} must be host:port or unix:PATH, with a path of at most 107 bytes");
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = (1..=107).contains(&path.len()) && !path.contains('\0');
            return if fits { Ok(Self::Unix(PathBuf::from(path))) } else { Err(wrong()) };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryKind {
    /// In memory: it ends with the process.
    Memory,
    /// On disk, in the data folder.
    Disk,
}

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses beside those handed over; empty: the default, if nothing was handed over.
    pub listen: Vec<Listen>,
    /// One more address, for figures alone.
    pub metrics_listen: Option<Listen>,
    /// The folder of what must survive a restart.
    pub data_dir: PathBuf,
    /// Streams in all; 0 is unlimited.
    pub connections_max: usize,
    /// Streams of one address; 0 is unlimited.
    pub connections_per_ip_max: usize,
    /// Streams opened per second and address; 0 is unlimited.
    pub connect_rate: u32,
    /// Silence after which a stream gets a heartbeat.
    pub heartbeat_interval: Duration,
    /// After this a stream that takes nothing is closed; zero is never.
    pub idle_timeout: Duration,
    /// Milliseconds over which clients spread their return.
    pub reconnect_spread_ms: u64,
    /// How long after a round the next one waits for more events; zero is not at all.
    pub flush_interval: Duration,
    /// What publishers show; `None`: made and kept in `data_dir`.
    pub publish_token: Option<String>,
    /// More of them, each with its name.
    pub publish_tokens: Vec<Listed>,
    /// The file they came from, to be read again.
    pub publish_tokens_file: Option<PathBuf>,
    /// Events per second and token; 0 is unlimited.
    pub publish_rate: u32,
    /// Bytes of one event's data.
    pub event_bytes_max: usize,
    /// How long an idempotency key stands for its event.
    pub idempotency_window: Duration,
    /// Idempotency keys remembered at one time; 0 is unlimited.
    pub idempotency_keys_max: usize,
    /// Where the history is kept.
    pub history: HistoryKind,
    /// Events kept; 0 is unlimited.
    pub history_events_max: usize,
    /// Bytes of events kept; 0 is unlimited.
    pub history_bytes_max: usize,
    /// Age of events kept; zero is unlimited.
    pub history_age_max: Duration,
    /// Bytes of the newest events that are in memory too when the history is on disk.
    pub history_cache_bytes: usize,
    /// Whether streams are compressed for clients that accept it.
    pub compression: bool,
    /// How hard, 1 to 9.
    pub compression_level: u32,
    /// Bytes below which a round is not compressed.
    pub compression_threshold: usize,
    /// Whose word about a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a request may take to arrive.
    pub request_timeout: Duration,
    /// The keys of signed tokens, if there are any.
    pub jwt: Option<Verifier>,
    /// The files they came from, to be read again.
    pub jwt_files: JwtFiles,
    /// What anybody may read; `None`: everything, or nothing where somebody has to log in.
    pub public_topics: Option<Vec<TopicFilter>>,
    /// Other sites whose pages may read and publish.
    pub cors_origins: Vec<String>,
    /// Who has to log in, and how; `None`: nobody.
    pub login: Option<LoginConfig>,
    /// Where supervisord says how its programs are, for the dashboard.
    pub supervisor_socket: Option<PathBuf>,
    /// What should be said at the start.
    pub warnings: Vec<String>,
    /// Every setting as it is in force, and where it comes from.
    effective: Vec<(Setting, String, &'static str)>,
}

/// A request body may be this many times as large as an event's data.
pub const BODY_PER_EVENT: usize = 16;

/// A value as it was written.
struct Raw {
    text: String,
    /// `SSE_X` or `file:line: key`, for messages.
    name: String,
    origin: &'static str,
}

impl Config {
    /// The configuration from a TOML file, if there is one, and the environment. On failure: every mistake, a
    /// sentence each.
    pub fn load(file: Option<&Path>, env: &[(String, String)]) -> Result<Self, Vec<String>> {
        let text = file.map(std::fs::read_to_string).transpose();
        match text {
            Ok(text) => Self::parse(file.zip(text.as_deref()), env),
            Err(error) => {
                let file = file.unwrap_or(Path::new("")).display();
                let mut mistakes = vec![format!("cannot read {file}: {error}")];
                mistakes.extend(Self::parse(None, env).err().into_iter().flatten());
                Err(mistakes)
            }
        }
    }

    /// The same from the text of a file.
    fn parse(file: Option<(&Path, &str)>, env: &[(String, String)]) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut raw = BTreeMap::new();
        if let Some((file, text)) = file {
            read_toml(file, text, &mut raw, &mut mistakes);
        }
        let warnings = read_env(env, &mut raw, &mut mistakes);
        Reader { raw, mistakes }.read(warnings)
    }

    /// The listeners: what was named, or the default if nothing else was given.
    #[must_use]
    pub fn listen_or_default(&self) -> Vec<Listen> {
        if self.listen.is_empty() {
            vec![Listen::Tcp("127.0.0.1:5001".to_owned())]
        } else {
            self.listen.clone()
        }
    }

    /// Adds addresses of the command line before those of the configuration: there the health check asks.
    pub fn listen_first(&mut self, named: Vec<Listen>) {
        if named.is_empty() {
            return;
        }
        self.listen.splice(0..0, named);
        let shown: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        if let Some(entry) = self.effective.iter_mut().find(|(setting, ..)| setting.key == "listen") {
            (entry.1, entry.2) = (shown.join(","), "command line");
        }
    }

    /// What is in force, as TOML; secrets are masked.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for (setting, text, origin) in &self.effective {
            let shown = if setting.secret && !text.is_empty() { "********" } else { text };
            let value = toml_value(shown);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{} = {value}  # {origin}", setting.key);
        }
        out
    }
}

/// Every setting with its default and its sentence, as a file to start from.
#[must_use]
pub fn example() -> String {
    let mut out = String::from(
        "# Every setting of sse-server with its default. The environment variable named behind each wins over this file.\n",
    );
    for setting in SETTINGS {
        let _ = write!(
            out,
            "\n# {} ({})\n{} = {}\n",
            setting.doc,
            setting.variable,
            setting.key,
            toml_value(setting.default)
        );
    }
    out
}

fn toml_value(text: &str) -> String {
    // A number only if it is written in the one way: a folder may be called 007.
    let is_number = text.parse::<i64>().is_ok_and(|number| number >= 0 && number.to_string() == text);
    if is_number || matches!(text, "true" | "false") {
        text.to_owned()
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}

fn read_toml(file: &Path, text: &str, raw: &mut BTreeMap<&'static str, Raw>, mistakes: &mut Vec<String>) {
    let line =
        |offset: usize| 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = line(error.span().map_or(0, |span| span.start));
        mistakes.push(format!("{}:{at}: {}", file.display(), error.message().replace('\n', " ")));
    }
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        // A key in quotes may have line breaks.
        let name = format!("{}:{}: {}", file.display(), line(key.span().start), key.get_ref().escape_debug());
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key.get_ref().as_ref()) else {
            let near = nearest(key.get_ref(), SETTINGS.iter().map(|setting| setting.key));
            mistakes.push(format!("{name} is not a setting{near}"));
            continue;
        };
        let word = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => {
                Some(i64::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
            }
            DeValue::Boolean(value) => Some(value.to_string()),
            _ => None,
        };
        let text = match value.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| word(item.get_ref()))
                .collect::<Option<Vec<_>>>()
                .map(|words| words.join(",")),
            value => word(value),
        };
        match text {
            Some(text) => drop(raw.insert(setting.key, Raw { text, name, origin: "file" })),
            None => mistakes.push(format!("{name} must be a number or a string")),
        }
    }
}

fn read_env(
    env: &[(String, String)],
    raw: &mut BTreeMap<&'static str, Raw>,
    mistakes: &mut Vec<String>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, text) in env.iter().filter(|(_, text)| !text.is_empty()) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable == name) {
            let value = Raw { text: text.clone(), name: name.clone(), origin: "environment" };
            raw.insert(setting.key, value);
        } else if REFUSED.contains(&name.as_str()) {
            mistakes.push(format!("{name} is set, but this version has no such feature: unset it"));
        } else if WITHOUT_EFFECT.contains(&name.as_str()) {
            warnings.push(format!("{name} has no effect in this version"));
        } else if name.starts_with("SSE_") && name != "SSE_USER" {
            let near = nearest(name, SETTINGS.iter().map(|setting| setting.variable));
            warnings.push(format!("{} is not a setting of sse-server{near}", name.escape_debug()));
        }
    }
    warnings
}

struct Reader {
    raw: BTreeMap<&'static str, Raw>,
    mistakes: Vec<String>,
}

impl Reader {
    fn read(mut self, mut warnings: Vec<String>) -> Result<Config, Vec<String>> {
        let effective = SETTINGS
            .iter()
            .map(|setting| match self.raw.get(setting.key) {
                Some(raw) => (*setting, raw.text.clone(), raw.origin),
                None => (*setting, setting.default.to_owned(), "default"),
            })
            .collect();
        let seconds = Duration::from_secs;
        let config = Config {
            listen: self.list("listen", |text| text.parse()),
            metrics_listen: self.one_listener("metrics_listen"),
            data_dir: PathBuf::from(self.text("data_dir")),
            connections_max: self.number("max_connections", 0, 1_000_000),
            connections_per_ip_max: self.number("max_connections_per_ip", 0, 1_000_000),
            connect_rate: self.number("connect_rate", 0, 1_000_000),
            heartbeat_interval: seconds(self.number("heartbeat_interval", 1, 86_400)),
            idle_timeout: seconds(self.number("idle_timeout", 0, 86_400)),
            reconnect_spread_ms: self.number("reconnect_spread", 0, 3_600_000),
            flush_interval: Duration::from_millis(self.number("flush_interval", 0, 10_000)),
            publish_token: self.token(),
            publish_tokens: self.publish_tokens(),
            publish_tokens_file: self.path("publish_tokens_file"),
            publish_rate: self.number("publish_rate", 0, 100_000_000),
            event_bytes_max: self.number("max_event_bytes", 1, 64 << 20),
            idempotency_window: seconds(self.number("idempotency_window", 1, 86_400)),
            idempotency_keys_max: self.number("idempotency_keys", 0, 1_000_000_000),
            history: self.history(),
            history_events_max: self.number("history_events", 0, 1_000_000_000),
            history_bytes_max: self.number("history_bytes", 0, 1 << 40),
            history_age_max: seconds(self.number("history_age", 0, 10 * 365 * 86_400)),
            history_cache_bytes: self.number("history_cache_bytes", 0, 1 << 40),
            compression: self.compression(),
            compression_level: self.number("compression_level", 1, 9),
            compression_threshold: self.number("compression_threshold", 0, 64 << 20),
            trusted_proxies: self.list("trusted_proxies", network),
            request_timeout: seconds(self.number("request_timeout", 1, 3600)),
            jwt: self.jwt(),
            jwt_files: self.jwt_files(),
            public_topics: self.public_topics(),
            cors_origins: self.list("cors_origins", access::origin),
            login: self.login(&mut warnings),
            supervisor_socket: self.path("supervisor_socket"),
            warnings,
            effective,
        };
        if self.mistakes.is_empty() { Ok(config) } else { Err(self.mistakes) }
    }

    fn text(&self, key: &str) -> String {
        let default =
            || SETTINGS.iter().find(|setting| setting.key == key).map_or("", |setting| setting.default);
        self.raw.get(key).map_or_else(|| default().to_owned(), |raw| raw.text.clone())
    }

    fn mistake(&mut self, key: &str, why: &str) {
        let (name, text) = match self.raw.get(key) {
            Some(raw) => (raw.name.clone(), raw.text.clone()),
            None => (key.to_owned(), String::new()),
        };
        self.mistakes.push(format!("{name} is {text:?}, but {why}"));
    }

    fn number<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        key: &str,
        least: T,
        most: T,
    ) -> T {
        match self.text(key).trim().parse::<T>() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.mistake(key, &format!("it must be a whole number from {least} to {most}"));
                least
            }
        }
    }

    fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut found = Vec::new();
        for word in self.text(key).split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match parse(word) {
                Ok(value) => found.push(value),
                Err(why) => self.mistake(key, &why),
            }
        }
        found
    }

    fn one_listener(&mut self, key: &str) -> Option<Listen> {
        let mut found = self.list(key, |text| text.parse());
        if found.len() > 1 {
            self.mistake(key, "it must be one address");
        }
        found.pop()
    }

    fn token(&mut self) -> Option<String> {
        let token = self.text("publish_token");
        if token.is_empty() {
            return None;
        }
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            let name = self.raw.get("publish_token").map(|raw| raw.name.clone()).unwrap_or_default();
            self.mistakes.push(format!("{name} must be visible ASCII characters without spaces"));
        }
        Some(token)
    }

    fn compression(&mut self) -> bool {
        match &*self.text("compression") {
            "gzip" => true,
            "off" => false,
            _ => {
                self.mistake("compression", "it must be gzip or off");
                false
            }
        }
    }

    fn history(&mut self) -> HistoryKind {
        match self.text("history").as_str() {
            "memory" => HistoryKind::Memory,
            "disk" => HistoryKind::Disk,
            _ => {
                self.mistake("history", "it must be memory or disk");
                HistoryKind::Memory
            }
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| format!("{text:?} must be an address or a network, such as 10.0.0.1 or 10.0.0.0/8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let env: Vec<_> = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Config::load(None, &env)
    }

    #[test]
    fn the_example_file_holds_every_default() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sse-server.toml");
        assert_eq!(std::fs::read_to_string(file).unwrap_or_default(), example(), "docs/sse-server.toml");
        let from_file = Config::load(Some(Path::new(file)), &[]).unwrap();
        let defaults = load(&[]).unwrap();
        assert_eq!(from_file.to_toml().replace("# file", "# default"), defaults.to_toml());
    }

    #[test]
    fn the_environment_wins_over_the_file_and_an_empty_variable_is_unset() {
        let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        std::fs::write(
            file.path(),
            "max_connections = 7\nhistory_events = 0x10\nidle_timeout = 5\nlisten = [\"127.0.0.1:1\", \"unix:/x\"]\n",
        )
        .unwrap();
        let env = [("SSE_MAX_CONNECTIONS", "8"), ("SSE_IDLE_TIMEOUT", "")]
            .map(|(n, t)| (n.to_owned(), t.to_owned()));
        let config = Config::load(Some(file.path()), &env).unwrap();
        assert_eq!((config.connections_max, config.idle_timeout), (8, Duration::from_secs(5)));
        assert_eq!(config.listen, [Listen::Tcp("127.0.0.1:1".to_owned()), Listen::Unix("/x".into())]);
        let shown = config.to_toml();
        assert!(shown.contains("max_connections = 8  # environment\n"), "{shown}");
        assert!(shown.contains("history_events = 16  # file\n"), "{shown}");
        assert!(shown.contains("idle_timeout = 5  # file\n"), "{shown}");
        assert!(shown.contains("heartbeat_interval = 30  # default\n"), "{shown}");
    }

    #[test]
    fn every_mistake_is_one_sentence_with_name_value_and_what_is_allowed() {
        let mistakes = load(&[
            ("SSE_MAX_CONNECTIONS", "many"),
            ("SSE_HEARTBEAT_INTERVAL", "0"),
            ("SSE_LISTEN", "5001"),
            ("SSE_TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
            ("SSE_HISTORY", "tape"),
            ("SSE_PUBLISH_TOKEN", "two words"),
            ("SSE_REDIS_URL", "redis://x"),
        ])
        .unwrap_err();
        let mut expected = [
            "SSE_MAX_CONNECTIONS is \"many\", but it must be a whole number from 0 to 1000000",
            "SSE_HEARTBEAT_INTERVAL is \"0\", but it must be a whole number from 1 to 86400",
            "SSE_LISTEN is \"5001\", but \"5001\" must be host:port or unix:PATH, with a path of at most 107 bytes",
            "SSE_TRUSTED_PROXIES is \"10.0.0.0/8, proxy\", but \"proxy\" must be an address or a network, such as 10.0.0.1 or 10.0.0.0/8",
            "SSE_HISTORY is \"tape\", but it must be memory or disk",
            "SSE_PUBLISH_TOKEN must be visible ASCII characters without spaces",
            "SSE_REDIS_URL is set, but this version has no such feature: unset it",
        ];
        let mut mistakes: Vec<&str> = mistakes.iter().map(String::as_str).collect();
        mistakes.sort_unstable();
        expected.sort_unstable();
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn an_unknown_name_names_the_nearest_one() {
        let config = load(&[("SSE_MAX_CONECTIONS", "5"), ("SSE_LIMITS", "cluster")]).unwrap();
        assert_eq!(
            config.warnings,
            [
                "SSE_MAX_CONECTIONS is not a setting of sse-server, did you mean SSE_MAX_CONNECTIONS?",
                "SSE_LIMITS has no effect in this version"
            ]
        );
        let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        std::fs::write(file.path(), "\nidle_timout = 5\nhistory = {}\n\"a\\nb\" = 1\n").unwrap();
        let name = file.path().display();
        assert_eq!(
            Config::load(Some(file.path()), &[]).unwrap_err(),
            [
                format!("{name}:2: idle_timout is not a setting, did you mean idle_timeout?"),
                format!("{name}:3: history must be a number or a string"),
                format!("{name}:4: a\\nb is not a setting")
            ]
        );
    }

    #[test]
    fn a_name_of_digits_is_shown_as_it_is() {
        for (name, shown) in
            [("007", "\"007\""), ("7", "7"), ("18446744073709551615", "\"18446744073709551615\"")]
        {
            let config = load(&[("DATA_DIR", name)]).unwrap();
            let line = format!("data_dir = {shown}  # environment\n");
            assert!(config.to_toml().contains(&line), "{}", config.to_toml());
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config = load(&[("SSE_PUBLISH_TOKEN", "very-secret")]).unwrap();
        assert!(config.to_toml().contains("publish_token = \"********\"  # environment"));
        assert!(!config.to_toml().contains("very-secret"));
    }
}
