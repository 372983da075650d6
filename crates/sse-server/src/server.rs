//! Builds the parts, binds the listeners, runs, drains.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::HttpServer;
use actix_web::web::Data;
use anyhow::Context;
use parking_lot::{Mutex, RwLock};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::access_log::AccessLog;
use crate::auth::tokens::Tokens;
use crate::auth::{self, ADDRESSES_MAX, ENDED_SESSIONS_MAX, LockoutConfig, Login};
use crate::backplane::{self, Backplane};
use crate::banner::{self, Place};
use crate::config::{Config, HistoryKind, LoginConfig, read_publish_tokens};
use crate::connections::Connections;
use crate::descriptors;
use crate::fanout::{self, Fanout, Holder, detach};
use crate::http::{
    CONNECT_RATE_ADDRESSES_MAX, Feeds, PUBLISH_RATE_SIGNED_MAX, PUBLISH_RATE_TOKENS_MAX, Scope, State,
    application, end_streams, on_stream_end,
};
use crate::hub::limits::{ConnectionConfig, ConnectionLimits, RateTable};
use crate::hub::{HistoryConfig, HubConfig};
use crate::listener::{self, Listener};
use crate::metrics::Metrics;
use crate::system::Sampler;
use crate::token::{self, PublishToken};

/// Threads that parse and answer requests; streams are written by others.
const WORKERS_MAX: usize = 4;
/// How long an idle connection is kept for its next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests that were read may take once the server ends.
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 5;
/// How long an ending server waits for those who keep connections to close them, or to use them once more. Above
/// the time for which nginx keeps one that it does not use.
const QUIET_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a drain waits for clients that do not take their last events and their goodbye.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often what is too old is let go while nothing is published.
const TEND_INTERVAL: Duration = Duration::from_secs(10);
/// Connections beside the streams: publishes, health checks, refusals.
const CONNECTIONS_SPARE: usize = 4096;

/// A server for one kind of listener, not yet listening.
macro_rules! http_server {
    ($state:expr, $scope:expr) => {{
        let (state, scope) = (Data::clone($state), $scope);
        let timeout = state.config.request_timeout;
        let connections = state.connections.clone();
        let connections_max = match state.config.connections_max {
            0 => 1_000_000,
            max => max + CONNECTIONS_SPARE,
        };
        let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX));
        HttpServer::new(move || application!(state, scope))
            .on_connect(move |connection, data| {
                detach::on_connect(connection, data);
                data.insert(connections.connected());
            })
            .workers(workers)
            .max_connections(connections_max)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(timeout)
            .shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS)
            .disable_signals()
    }};
}
/// Runs until SIGTERM or SIGINT, and until every stream has said goodbye.
pub async fn run(config: Config) -> anyhow::Result<()> {
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    descriptors::raise();
    let mut signals = Signals::install().context("cannot install the signal handlers")?;
    let mut listeners = listener::handed_over()?;
    let named = if listeners.is_empty() { config.listen_or_default() } else { config.listen.clone() };
    for address in &named {
        listeners.push(listener::open(address)?);
    }
    let figures = config.metrics_listen.as_ref().map(listener::open).transpose()?;
    std::fs::create_dir_all(&config.data_dir).with_context(|| {
        format!("cannot make DATA_DIR {}: name a folder that can be written", config.data_dir.display())
    })?;
    let PublishToken { token: publish_token, new_file } = match &config.publish_token {
        Some(token) => PublishToken { token: token.clone(), new_file: None },
        None => token::load_or_make(&config.data_dir)?,
    };
    let banner = new_file.and_then(|file| Some(banner::banner(&place(&listeners)?, &file)));
    let (access_log, flush) = AccessLog::start(io::stdout()).context("cannot start the access log")?;
    let login = config.login.as_ref().map(|login| open_login(&config, login)).transpose()?;
    let state = build(config, &publish_token, login, access_log)?;
    let tended = state.backplane.clone();
    let tending = actix_rt::spawn(async move {
        loop {
            actix_rt::time::sleep(TEND_INTERVAL).await;
            tended.tend();
        }
    });

    let mut server = http_server!(&state, Scope::All);
    for listener in listeners {
        let address = describe(&listener);
        server = match listener {
            Listener::Tcp(listener) => server.listen(listener),
            Listener::Unix(listener) => server.listen_uds(listener),
        }
        .with_context(|| format!("cannot serve on {address}"))?;
        log::info!("listening on {address}");
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    let figures_handle = match figures {
        Some(listener) => {
            let address = describe(&listener);
            let figures = http_server!(&state, Scope::Figures).workers(1);
            let figures = match listener {
                Listener::Tcp(listener) => figures.listen(listener),
                Listener::Unix(listener) => figures.listen_uds(listener),
            };
            let figures = figures.with_context(|| format!("cannot serve on {address}"))?.run();
            let handle = figures.handle();
            actix_rt::spawn(figures);
            log::info!("figures on {address}");
            Some(handle)
        }
        None => None,
    };
    // Last, so that what it says to paste works.
    if let Some(banner) = banner {
        log::info!("{banner}");
    }
    tell_manager(NotifyState::Ready);

    loop {
        match signals.next().await {
            Signal::Drain => {
                log::info!(
                    "SIGUSR1: draining {} streams, then answering as draining",
                    state.fanout.streams()
                );
                state.draining.store(true, Ordering::SeqCst);
                state.feeds.end();
                let fanout = state.fanout.clone();
                actix_rt::spawn(async move { fanout.drain().await });
            }
            Signal::Reread => reread(&state).await,
            Signal::End(name) => {
                log::info!("{name}: draining {} streams, then ending", state.fanout.streams());
                break;
            }
        }
    }
    tell_manager(NotifyState::Stopping);
    // Nothing more is accepted from here on; who comes to a handed-over listener waits in its backlog. Whoever has
    // a connection is served, and told that it ends with the answer: a connection closed without a word may have
    // swallowed a request, and a publish that nobody may send twice.
    handle.pause().await;
    state.feeds.end();
    state.connections.end();
    let _ = tokio::time::timeout(QUIET_TIMEOUT, state.connections.none()).await;
    state.draining.store(true, Ordering::SeqCst);
    let stopped = handle.stop(true);
    state.fanout.drain().await;
    stopped.await;
    if let Some(handle) = figures_handle {
        handle.stop(false).await;
    }
    tending.abort();
    if let Err(error) = state.backplane.close().await {
        log::error!("the position of the event ids could not be kept exactly: {}", error.in_full());
    }
    log::info!("ended");
    drop(state);
    flush.wait();
    Ok(())
}

/// Takes tokens and keys as their files are now, those that are whole.
async fn reread(state: &State) {
    if let Some(jwt) = &state.jwt {
        match state.config.jwt_files.read() {
            Ok(keys) => {
                *jwt.write() = keys.unwrap_or_default();
                log::info!("SIGHUP: the keys of signed tokens were read");
            }
            Err((key, why)) => log::error!("SIGHUP: the keys stay as they are: {key}: {why}"),
        }
    }
    if let Some(path) = &state.config.publish_tokens_file {
        reread_tokens(state, path).await;
    } else if state.jwt.is_none() {
        log::info!("SIGHUP: there is no file of tokens or keys to read again");
    }
}

/// The streams of tokens that are gone end.
async fn reread_tokens(state: &State, path: &Path) {
    match read_publish_tokens(path) {
        Ok(listed) => {
            let count = listed.len();
            let gone = state.tokens.replace(listed);
            log::info!("SIGHUP: {count} tokens were read from {}, {} are gone", path.display(), gone.len());
            for name in gone {
                end_streams(&state.fanout, &Holder::Token(name.into())).await;
            }
        }
        Err(why) => log::error!("SIGHUP: the tokens stay as they are: {}: {why}", path.display()),
    }
}

fn open_login(config: &Config, login: &LoginConfig) -> anyhow::Result<Login> {
    let secret_key = match &login.secret_key {
        Some(key) => key.clone(),
        None => token::session_key(&config.data_dir)?,
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let config = auth::Config {
        passcode: login.passcode.clone(),
        secret_key,
        lockout: LockoutConfig {
            attempts_max: login.attempts_max,
            duration_ms: ms(login.lockout),
            addresses_max: ADDRESSES_MAX,
        },
        session_lifetime_ms: ms(login.session_lifetime),
        session_age_max_ms: login.session_age_max.map(ms),
        ended_sessions_max: ENDED_SESSIONS_MAX,
        data_dir: config.data_dir.clone(),
    };
    Ok(Login::open(&config, ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))?)
}

fn build(
    mut config: Config,
    publish_token: &str,
    login: Option<Login>,
    access_log: AccessLog,
) -> anyhow::Result<Data<State>> {
    let age_max_ms = u64::try_from(config.history_age_max.as_millis()).unwrap_or(u64::MAX);
    let history = HistoryConfig {
        events_max: config.history_events_max,
        bytes_max: config.history_bytes_max,
        age_max_ms,
        ring_bytes_max: (config.history == HistoryKind::Disk).then_some(config.history_cache_bytes),
    };
    let backplane = Backplane::open(backplane::Config {
        data_dir: config.data_dir.clone(),
        hub: HubConfig { history, ..HubConfig::default() },
        idempotency_window: config.idempotency_window,
        idempotency_keys_max: config.idempotency_keys_max,
        ..backplane::Config::default()
    })
    .with_context(|| format!("cannot keep the history in DATA_DIR {}", config.data_dir.display()))?;
    let fanout = Fanout::start(
        fanout::Config {
            heartbeat_interval: config.heartbeat_interval,
            idle_timeout: config.idle_timeout,
            reconnect_spread_ms: config.reconnect_spread_ms,
            drain_timeout: DRAIN_TIMEOUT,
            flush_interval: config.flush_interval,
            gzip_level: config.compression_level,
            gzip_threshold: config.compression_threshold,
            ..fanout::Config::default()
        },
        backplane.clone(),
    )
    .context("cannot start the threads that write streams")?;
    let limits = ConnectionLimits::new(ConnectionConfig {
        connections_max: config.connections_max,
        connections_per_ip_max: config.connections_per_ip_max,
    });
    let jwt = config.jwt.take().map(RwLock::new);
    let tokens = Tokens::new(publish_token, std::mem::take(&mut config.publish_tokens));
    Ok(Data::new(State {
        connect_rate: Mutex::new(RateTable::new(config.connect_rate, CONNECT_RATE_ADDRESSES_MAX)),
        publish_rate: Mutex::new(RateTable::new(config.publish_rate, PUBLISH_RATE_TOKENS_MAX)),
        publish_rate_signed: Mutex::new(RateTable::new(config.publish_rate, PUBLISH_RATE_SIGNED_MAX)),
        on_stream_end: on_stream_end(access_log.clone()),
        config,
        backplane,
        fanout,
        limits,
        jwt,
        tokens,
        login,
        metrics: Metrics::default(),
        access_log,
        sampler: Sampler::default(),
        started: Instant::now(),
        draining: AtomicBool::new(false),
        connections: Connections::default(),
        feeds: Feeds::default(),
    }))
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// SIGUSR1.
    Drain,
    /// SIGHUP.
    Reread,
    /// SIGTERM or SIGINT.
    End(&'static str),
}

/// The signals that the server answers.
struct Signals {
    wake: tokio::net::UnixStream,
    raised: Vec<(Arc<AtomicBool>, Signal)>,
}

impl Signals {
    fn install() -> io::Result<Self> {
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let mut raised = Vec::new();
        for (number, signal) in [
            (SIGUSR1, Signal::Drain),
            (SIGHUP, Signal::Reread),
            (SIGTERM, Signal::End("SIGTERM")),
            (SIGINT, Signal::End("SIGINT")),
        ] {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(number, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(number, write.try_clone()?)?;
            raised.push((flag, signal));
        }
        Ok(Self { wake: tokio::net::UnixStream::from_std(read)?, raised })
    }

    async fn next(&mut self) -> Signal {
        loop {
            if let Some((_, signal)) = self.raised.iter().find(|(flag, _)| flag.swap(false, Ordering::SeqCst))
            {
                return *signal;
            }
            if self.wake.readable().await.is_ok() {
                let _ = self.wake.try_read(&mut [0; 64]);
            }
        }
    }
}

/// Tells whoever started the server, if they want to know (`NOTIFY_SOCKET`).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("whoever started the server cannot be told how it is (NOTIFY_SOCKET): {error}");
    }
}

/// How the server is found on this machine: through nginx if it is in front, else at the first address, else at the first socket.
fn place(listeners: &[Listener]) -> Option<Place> {
    if let Some(url) = std::env::var("READY_URL").ok().filter(|url| !url.is_empty()) {
        return Some(Place::Url(url));
    }
    let tcp = |listener: &Listener| match listener {
        Listener::Tcp(listener) => listener.local_addr().ok().map(Place::of),
        Listener::Unix(_) => None,
    };
    let unix = |listener: &Listener| match listener {
        Listener::Unix(listener) => {
            Some(Place::Socket(listener.local_addr().ok()?.as_pathname()?.to_owned()))
        }
        Listener::Tcp(_) => None,
    };
    listeners.iter().find_map(tcp).or_else(|| listeners.iter().find_map(unix))
}

fn describe(listener: &Listener) -> String {
    match listener {
        Listener::Tcp(listener) => {
            listener.local_addr().map_or_else(|_| "tcp".to_owned(), |a: SocketAddr| a.to_string())
        }
        Listener::Unix(listener) => {
            let path = listener
                .local_addr()
                .ok()
                .and_then(|address| Some(address.as_pathname()?.display().to_string()));
            format!("unix:{}", path.unwrap_or_default())
        }
    }
}
