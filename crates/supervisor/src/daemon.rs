//! The daemon from its start to its end: who it is, where it listens, where it writes, and what it leaves behind.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use tokio::sync::mpsc;

use crate::config::{Config, HttpAddress, HttpServer, Source};
use crate::ctl::server::{self, Credentials, Limits, Pending, Places, Scope};
use crate::logs::{Compressor, Console, DaemonLog, SYSTEM, Standard, StdoutQueue, SyslogQueue, Writer};
use crate::os::again::{DETACHED, execute};
use crate::os::daemonize::{Detached, daemonize};
use crate::os::guardian::Guardian;
use crate::os::signals::{self, Signals};
use crate::os::sockets::{listen_tcp, listen_unix};
use crate::os::{limits, user};
use crate::supervisor::own_log::{log_file, try_log};
use crate::supervisor::{Ending, Parts, StderrCell, Supervisor};

/// Calls that wait for the loop; more wait in their connections.
const CALLS_MAX: usize = 64;
/// How long the end waits for clients to get their last answers.
const ANSWERS_WAIT: Duration = Duration::from_millis(500);
/// Threads that look up names of hosts for checks.
const BLOCKING_THREADS_MAX: usize = 4;
/// Connections that wait to be accepted.
const CONTROL_BACKLOG: i32 = 512;

/// Runs the daemon until it has stopped everything; if it is to begin anew, it does not return. What fails before it is up is an error.
///
/// The order is that of what each step needs: signals wait before anything is made, until the loop takes them; limits
/// and user before anything is opened, sockets before the process that was started is let go, all processes before all
/// threads.
pub fn run(config: Config, mut source: Source) -> anyhow::Result<Ending> {
    // Whoever ends it before it is up ends it in order too, so that nothing of it is left.
    signals::hold();
    let daemon = &config.supervisord;
    let is_ini = source.is_ini();
    let folder = source.directory.clone();
    // Programs are not to inherit it.
    let detached_before = std::env::var_os(DETACHED).is_some();
    source.environment.retain(|(name, _)| name != DETACHED);
    let mut told = limits::raise(daemon.minfds, daemon.minprocs).map_err(anyhow::Error::msg)?;
    if let Some(name) = &daemon.user {
        told.insert(0, user::become_user(name).map_err(anyhow::Error::msg)?);
    }
    let socket_files: Vec<PathBuf> = config.http_servers.iter().filter_map(socket_file).cloned().collect();
    let controls = config.http_servers.iter().map(control_socket).collect::<anyhow::Result<Vec<_>>>()?;
    // After the sockets: the log may be another daemon's, which is met there.
    if let Err(error) = try_log(daemon) {
        remove(&socket_files);
        return Err(error.into());
    }
    let detached = match daemon.nodaemon || detached_before {
        true => None,
        false => Some(daemonize().context("cannot leave the terminal")?),
    };
    let is_detached = detached_before || detached.is_some();
    let work_in = daemon.directory.as_deref().filter(|_| is_detached).map(Detached::work_in);
    // PID 1 takes everything with it anyway.
    let is_init = std::process::id() == 1;
    let guardian =
        if is_init { None } else { Some(Guardian::start().context("cannot make the guardian process")?) };
    let _ = nix::sys::prctl::set_child_subreaper(true);
    umask(Mode::from_bits_truncate(daemon.umask));

    let compressor = Compressor::start().context("cannot start the thread that compresses")?;
    let (stdout, stdout_done) =
        StdoutQueue::start(Standard::Out).context("cannot start the thread that writes to stdout")?;
    let stderr: Rc<StderrCell> = Rc::default();
    let log = start_log(&config, &compressor, &stdout);
    if let Some(text) = user::root_unasked(daemon.user.as_deref()).filter(|_| is_ini) {
        log::error!(target: DaemonLog::critical(), "{text}");
    }
    let told = told.into_iter().map(|text| (log::Level::Info, text));
    for (level, text) in config.sentences().into_iter().chain(told) {
        log::log!(level, "{text}");
    }
    let pidfile = daemon.pidfile.clone();
    let mask = daemon.umask;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()?;
    let local = tokio::task::LocalSet::new();
    let ending = local.block_on(&runtime, async {
        let signals = Signals::install().context("cannot install the signal handlers")?;
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let mut places = Vec::new();
        for (listener, http) in controls.into_iter().zip(&config.http_servers) {
            places.push(serve(listener, http, sender.clone())?);
            announce(http, is_ini);
        }
        if detached.is_some() {
            log::info!("daemonizing the supervisord process");
        }
        match work_in {
            Some(Ok(text)) => log::info!("{text}"),
            Some(Err(text)) => log::error!(target: DaemonLog::critical(), "{text}"),
            None => {}
        }
        write_pidfile(pidfile.as_deref());
        log::info!("supervisord started with pid {}", std::process::id());
        if let Some(detached) = detached {
            detached.up(mask).context("cannot leave the terminal")?;
        }
        let parts = Parts {
            config,
            source,
            guardian,
            compressor,
            stdout: stdout.clone(),
            stderr: Rc::clone(&stderr),
            log,
            calls,
        };
        let ending = Supervisor::run(parts, signals).await;
        let _ = tokio::time::timeout(ANSWERS_WAIT, last_answers(&places)).await;
        drop(sender);
        anyhow::Ok(ending)
    })?;
    log::info!("supervisord stopped");
    remove(&socket_files);
    remove(pidfile.as_slice());
    drop(local);
    drop(stdout);
    log.close();
    stdout_done.wait();
    if let Some((queue, done)) = Rc::try_unwrap(stderr).ok().and_then(OnceCell::into_inner) {
        drop(queue);
        done.wait();
    }
    if ending == Ending::Restart {
        return Err(execute(&folder, is_detached)).context("cannot begin anew");
    }
    Ok(ending)
}

fn remove(files: &[PathBuf]) {
    for file in files {
        let _ = fs::remove_file(file);
    }
}

fn announce(http: &HttpServer, is_ini: bool) {
    if http.status_only {
        return;
    }
    log::info!("RPC interface 'supervisor' initialized");
    let (name, reachable) = match &http.address {
        HttpAddress::Unix { .. } => ("unix_http_server", false),
        HttpAddress::Tcp { .. } => ("inet_http_server", true),
    };
    // A unix socket is guarded by its permissions; only the genuine words are kept for those who know them.
    if http.username.is_none() && (reachable || is_ini) {
        log::error!(
            target: DaemonLog::critical(),
            "Server '{name}' running without any HTTP authentication checking"
        );
    }
}

fn serve(listener: OwnedFd, http: &HttpServer, calls: mpsc::Sender<Pending>) -> io::Result<Places> {
    let credentials = http.username.clone().zip(http.password.clone());
    let credentials = credentials.map(|(username, password)| Credentials { username, password });
    let scope = if http.status_only { Scope::Status } else { Scope::Control };
    let places = Places::new(Limits::default());
    match http.address {
        HttpAddress::Unix { .. } => {
            let listener = UnixListener::from(listener);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::UnixListener::from_std(listener)?;
            tokio::task::spawn_local(server::serve(listener, credentials, scope, places.clone(), calls));
        }
        HttpAddress::Tcp { .. } => {
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::task::spawn_local(server::serve(listener, credentials, scope, places.clone(), calls));
        }
    }
    Ok(places)
}

/// Waits until everybody has the whole answer to what he asked, `shutdown` itself included.
async fn last_answers(places: &[Places]) {
    for places in places {
        places.answered().await;
    }
}

fn socket_file(server: &HttpServer) -> Option<&PathBuf> {
    match &server.address {
        HttpAddress::Unix { file, .. } => Some(file),
        HttpAddress::Tcp { .. } => None,
    }
}

fn control_socket(server: &HttpServer) -> anyhow::Result<OwnedFd> {
    let (listener, place) = match &server.address {
        HttpAddress::Unix { file, chmod, chown } => {
            (listen_unix(file, CONTROL_BACKLOG, Some(*chmod), chown.as_deref()), file.display().to_string())
        }
        HttpAddress::Tcp { host, port } => {
            let host = match host.as_str() {
                "" => "0.0.0.0".to_owned(),
                host if host.contains(':') => format!("[{host}]"),
                host => host.to_owned(),
            };
            let place = format!("{host}:{port}");
            (listen_tcp(&place, CONTROL_BACKLOG), place)
        }
    };
    listener.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            anyhow::anyhow!(
                "Another program is already listening on a port that one of our HTTP servers is configured to use \
                 ({place}).  Shut this program down first before starting supervisord."
            )
        } else {
            anyhow::anyhow!("cannot listen on {place}: {error}")
        }
    })
}

fn start_log(config: &Config, compressor: &Compressor, stdout: &StdoutQueue) -> &'static DaemonLog {
    let daemon = &config.supervisord;
    let standard = daemon.logfile.as_deref().and_then(Standard::of);
    let file = log_file(daemon).map(|config| Writer::new(config, Some(compressor.clone())));
    let stdout = stdout.clone();
    let shown = daemon.nodaemon && !daemon.silent || standard.is_some();
    let syslog = if daemon.syslog { SyslogQueue::start(PathBuf::from(SYSTEM)).ok() } else { None };
    let syslog = syslog.map(|(queue, _)| Mutex::new(queue.lines(&daemon.identifier)));
    let console: Option<Console> = (shown || syslog.is_some()).then(|| -> Console {
        Box::new(move |line: &[u8]| {
            if shown {
                stdout.write(line);
            }
            if let Some(syslog) = &syslog {
                syslog.lock().unwrap_or_else(PoisonError::into_inner).write(line);
            }
        })
    });
    // It lives as long as the process.
    let log: &'static DaemonLog = Box::leak(Box::new(DaemonLog::new(daemon.loglevel, file, console)));
    if log::set_logger(log).is_ok() {
        log::set_max_level(daemon.loglevel);
    }
    log
}

fn write_pidfile(file: Option<&Path>) {
    let Some(file) = file else { return };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = made.and_then(|()| fs::write(file, format!("{}\n", std::process::id()))) {
        log::error!(target: DaemonLog::critical(), "could not write pidfile {}: {error}", file.display());
    }
}
