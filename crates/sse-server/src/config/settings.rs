//! Every setting: its key, what it means, and its default; the one list that everything else is made from.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in TOML.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Its default, as it would be written.
    pub default: &'static str,
    /// Whether its value is shown to nobody.
    pub secret: bool,
    /// One sentence.
    pub doc: &'static str,
}

const fn setting(
    key: &'static str,
    variable: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { key, variable, default, secret: false, doc }
}

/// All of them, in the order in which they are shown.
pub const SETTINGS: [Setting; 38] = [
    setting(
        "listen",
        "SSE_LISTEN",
        "",
        "Addresses to listen on, host:port or unix:PATH, with commas between them; beside sockets that were handed over. Without either: 127.0.0.1:5001.",
    ),
    setting(
        "metrics_listen",
        "SSE_METRICS_LISTEN",
        "",
        "One more address, for /metrics and /sse/health alone.",
    ),
    setting(
        "data_dir",
        "DATA_DIR",
        "data",
        "The folder of what must survive a restart: the history, the position of the event ids, the publish token, the logins.",
    ),
    setting("max_connections", "SSE_MAX_CONNECTIONS", "100", "Streams open at one time; 0 is unlimited."),
    setting(
        "max_connections_per_ip",
        "SSE_MAX_CONNECTIONS_PER_IP",
        "10",
        "Streams of one address, or of one IPv6 /64, at one time; 0 is unlimited.",
    ),
    setting(
        "connect_rate",
        "SSE_CONNECT_RATE",
        "0",
        "Streams opened per second by one address, twice that at once; 0 is unlimited.",
    ),
    setting(
        "heartbeat_interval",
        "SSE_HEARTBEAT_INTERVAL",
        "30",
        "Seconds of silence after which a stream gets a heartbeat; 1 to 86400.",
    ),
    setting(
        "idle_timeout",
        "SSE_IDLE_TIMEOUT",
        "300",
        "Seconds after which a stream that takes no byte is closed; 0 is never.",
    ),
    setting(
        "reconnect_spread",
        "SSE_RECONNECT_SPREAD",
        "5000",
        "Milliseconds over which clients spread their return after a goodbye; 0 to 3600000.",
    ),
    setting(
        "flush_interval",
        "SSE_FLUSH_INTERVAL",
        "0",
        "Milliseconds for which events that come after a round are gathered for the next; 0 to 10000, 0 is not at all.",
    ),
    Setting {
        key: "publish_token",
        variable: "SSE_PUBLISH_TOKEN",
        default: "",
        secret: true,
        doc: "What publishers show as Authorization: Bearer. Without it one is made and kept in DATA_DIR/publish.token.",
    },
    setting(
        "publish_tokens_file",
        "SSE_PUBLISH_TOKENS_FILE",
        "",
        "A file of more publish tokens, a line name:token each, with a rate for each name and, as name:token topics=job:*,build:*, the only topics it is for; read again at SIGHUP.",
    ),
    setting(
        "publish_rate",
        "SSE_PUBLISH_RATE",
        "1000",
        "Events per second that one token may publish, twice that at once; 0 is unlimited.",
    ),
    setting(
        "max_event_bytes",
        "SSE_MAX_EVENT_BYTES",
        "262144",
        "Bytes of one event's data; a request may be 16 times as large. 1 to 67108864.",
    ),
    setting(
        "idempotency_window",
        "SSE_IDEMPOTENCY_WINDOW",
        "300",
        "Seconds for which an idempotency key stands for its event; 1 to 86400.",
    ),
    setting(
        "idempotency_keys",
        "SSE_IDEMPOTENCY_KEYS",
        "1000000",
        "Idempotency keys remembered at one time; beyond it new ones are refused with 503. 0 is unlimited.",
    ),
    setting(
        "history",
        "SSE_HISTORY",
        "memory",
        "Where the history is kept: memory, or disk, under DATA_DIR, where it survives a restart, a crash and a power loss.",
    ),
    setting(
        "history_events",
        "SSE_HISTORY_EVENTS",
        "100000",
        "Events kept for those who come back; 0 is unlimited.",
    ),
    setting("history_bytes", "SSE_HISTORY_BYTES", "67108864", "Bytes of events kept; 0 is unlimited."),
    setting("history_age", "SSE_HISTORY_AGE", "86400", "Seconds that an event is kept; 0 is unlimited."),
    setting(
        "history_cache_bytes",
        "SSE_HISTORY_CACHE_BYTES",
        "8388608",
        "Bytes of the newest events that are held in memory too when the history is on disk; older ones are read from there.",
    ),
    setting(
        "compression",
        "SSE_COMPRESSION",
        "gzip",
        "gzip: a stream whose client accepts it is compressed, once for all that get the same events; off: none is.",
    ),
    setting(
        "compression_level",
        "SSE_COMPRESSION_LEVEL",
        "6",
        "How hard compression tries: 1, fastest, to 9, smallest.",
    ),
    setting(
        "compression_threshold",
        "SSE_COMPRESSION_THRESHOLD",
        "0",
        "Bytes below which what a stream is given at once goes uncompressed; 0 to 67108864.",
    ),
    setting(
        "trusted_proxies",
        "SSE_TRUSTED_PROXIES",
        "",
        "Addresses and networks whose word about a client's address counts, with commas between them. A unix socket is always trusted.",
    ),
    setting(
        "request_timeout",
        "SSE_REQUEST_TIMEOUT",
        "15",
        "Seconds that a request may take to arrive; 1 to 3600.",
    ),
    setting(
        "jwt_key_file",
        "SSE_JWT_KEY_FILE",
        "",
        "A file with the key of signed tokens: a public key in PEM (RSA: RS256, P-256: ES256, Ed25519: EdDSA), or else the secret of HS256; read again at SIGHUP.",
    ),
    setting("jwks_file", "SSE_JWKS_FILE", "", "A file with a set of such keys (JWKS); read again at SIGHUP."),
    setting(
        "public_topics",
        "SSE_PUBLIC_TOPICS",
        "",
        "Topics and filters that anybody may read, with commas between them. Without it: every topic, or none where there is a login or a key of signed tokens.",
    ),
    setting(
        "cors_origins",
        "SSE_CORS_ORIGINS",
        "",
        "Origins of other sites whose pages may read and publish here, with their cookies, such as https://app.example; with commas between them.",
    ),
    setting(
        "login_enabled",
        "LOGIN_ENABLED",
        "false",
        "true: whoever reads a stream or a page must have logged in with the passcode, or show a token; false: nobody.",
    ),
    Setting {
        key: "login_code",
        variable: "LOGIN_CODE",
        default: "",
        secret: true,
        doc: "The passcode, at most 1024 bytes; needed where the login is on. Another one ends every session.",
    },
    Setting {
        key: "session_secret_key",
        variable: "SESSION_SECRET_KEY",
        default: "",
        secret: true,
        doc: "What seals the cookies of sessions, 16 characters or more. Without it one is made and kept in DATA_DIR/session.key.",
    },
    setting(
        "max_login_attempts",
        "MAX_LOGIN_ATTEMPTS",
        "5",
        "Wrong passcodes of one address, or of one IPv6 /64, after which it has to wait; 0 is unlimited.",
    ),
    setting(
        "lockout_duration",
        "LOCKOUT_DURATION",
        "15",
        "Minutes that it waits, and for which a wrong passcode is remembered; 1 to 10080.",
    ),
    setting(
        "session_lifetime",
        "SESSION_LIFETIME",
        "604800",
        "Seconds for which a session lasts when it is not used; 1 to 31536000.",
    ),
    setting(
        "session_max_age",
        "SESSION_MAX_AGE",
        "2592000",
        "Seconds for which a session lasts at most, however much it is used; 0 to 315360000, 0 is without end.",
    ),
    setting(
        "supervisor_socket",
        "SSE_SUPERVISOR_SOCKET",
        "",
        "The socket at which supervisord says how its programs are (a section with status_only = true), for the dashboard.",
    ),
];

/// Names of what is to come: refused, because to ignore them would promise what is not kept.
pub(super) const REFUSED: [&str; 2] = ["SSE_REDIS_URL", "SSE_NAMESPACE"];

/// Names of what is to come that change nothing but speed or convenience: said, and passed over.
pub(super) const WITHOUT_EFFECT: [&str; 1] = ["SSE_LIMITS"];

/// `, did you mean …?` if one of the known names is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map_or_else(String::new, |(_, name)| format!(", did you mean {name}?"))
}
