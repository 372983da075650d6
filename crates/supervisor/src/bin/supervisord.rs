//! The command line of `supervisord`.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use supervisor::config::{Config, HttpAddress, HttpServer, Source};
use supervisor::ctl::server::{self, Credentials, Limits};
use supervisor::logs::{Compressor, Console, DaemonLog, LogConfig, StdoutQueue, Writer};
use supervisor::os::again;
use supervisor::os::guardian::Guardian;
use supervisor::os::signals::Signals;
use supervisor::os::sockets::{listen_tcp, listen_unix};
use supervisor::supervisor::{Ending, Parts, Supervisor};
use tokio::sync::mpsc;

const USAGE: &str = "\
supervisord -- run a set of applications as daemons.

Usage: supervisord [options]
       supervisord check [options]      report every mistake of the configuration, start nothing

Options:
-c/--configuration FILENAME -- configuration file (*.toml)
-n/--nodaemon -- run in the foreground (this version always does)
-h/--help -- print this usage message and exit
-v/--version -- print supervisord version number and exit
";

const EXIT_FATAL: u8 = 10;
const EXIT_CONFIGURATION: u8 = 2;
/// Calls that wait for the loop; more wait in their connections.
const CALLS_MAX: usize = 64;
/// Connections that wait to be accepted.
const CONTROL_BACKLOG: i32 = 512;

/// Where a configuration is looked for when none is named.
const CONFIGS: [&str; 3] = ["supervisord.toml", "etc/supervisord.toml", "/etc/supervisord.toml"];

enum Command {
    Run(PathBuf),
    Check(PathBuf),
    Help,
    Version,
}

fn command() -> Result<Command, String> {
    use lexopt::prelude::*;
    let (mut config, mut check) = (None, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('c') | Long("configuration") => {
                config = Some(PathBuf::from(parser.value().map_err(|error| error.to_string())?));
            }
            Short('n') | Long("nodaemon") => {}
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('v') | Long("version") => return Ok(Command::Version),
            Value(word) if word == "check" && !check => check = true,
            other => return Err(other.unexpected().to_string()),
        }
    }
    let config = config.or_else(|| CONFIGS.map(PathBuf::from).into_iter().find(|config| config.exists()));
    let config = config.ok_or("No config file found at default paths (supervisord.toml, etc/supervisord.toml, /etc/supervisord.toml); use the -c option to specify a config file")?;
    Ok(if check { Command::Check(config) } else { Command::Run(config) })
}

fn main() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(why) => {
            return complain(&format!("Error: {why}\nFor help, use supervisord -h"), EXIT_CONFIGURATION);
        }
    };
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (file, check) = match command {
        Command::Help => return say(USAGE),
        Command::Version => return say(&format!("{}\n", env!("CARGO_PKG_VERSION"))),
        Command::Run(file) => (file, false),
        Command::Check(file) => (file, true),
    };
    let source = Source { file: file.clone(), environment, host };
    let config = match source.load() {
        Ok(config) => config,
        Err(mistakes) => return complain(&mistakes.to_string(), EXIT_CONFIGURATION),
    };
    if check {
        return say(&format!("{}: valid, {} programs\n", file.display(), config.programs.len()));
    }
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    match run(config, source) {
        Ok(Ending::Restart) => {
            let error = again::execute(&folder);
            complain(&format!("Error: cannot begin anew: {error}"), EXIT_CONFIGURATION)
        }
        Ok(Ending::Ordered) => ExitCode::SUCCESS,
        Ok(Ending::Fatal) => ExitCode::from(EXIT_FATAL),
        Err(error) => complain(&format!("Error: {error:#}"), EXIT_CONFIGURATION),
    }
}

fn say(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

fn run(config: Config, source: Source) -> anyhow::Result<Ending> {
    use anyhow::Context;
    if let Some(directory) = &config.supervisord.directory {
        std::env::set_current_dir(directory)
            .with_context(|| format!("cannot work in {}", directory.display()))?;
    }
    let controls = config.http_servers.iter().map(control_socket).collect::<anyhow::Result<Vec<_>>>()?;
    // While there is one thread; PID 1 takes everything with it anyway.
    let is_init = std::process::id() == 1;
    let guardian =
        if is_init { None } else { Some(Guardian::start().context("cannot make the guardian process")?) };
    let _ = nix::sys::prctl::set_child_subreaper(true);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(config.supervisord.umask));

    let compressor = Compressor::start().context("cannot start the thread that compresses")?;
    let (stdout, stdout_done) =
        StdoutQueue::start().context("cannot start the thread that writes to stdout")?;
    let log = start_log(&config, &compressor, &stdout);
    let pidfile = config.supervisord.pidfile.clone();
    write_pidfile(pidfile.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let socket_files: Vec<PathBuf> = config.http_servers.iter().filter_map(socket_file).cloned().collect();
    let ending = local.block_on(&runtime, async {
        let signals = Signals::install().context("cannot install the signal handlers")?;
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        for (listener, http) in controls.into_iter().zip(&config.http_servers) {
            serve(listener, http, sender.clone())?;
            log::info!("RPC interface 'supervisor' initialized");
        }
        log::info!("supervisord started with pid {}", std::process::id());
        let parts = Parts { config, source, guardian, compressor, stdout: stdout.clone(), log, calls };
        let ending = Supervisor::run(parts, signals).await;
        drop(sender);
        anyhow::Ok(ending)
    })?;
    log::info!("supervisord stopped");
    for file in socket_files.into_iter().chain(pidfile) {
        let _ = fs::remove_file(file);
    }
    drop(local);
    drop(stdout);
    log.close();
    stdout_done.wait();
    Ok(ending)
}

fn serve(listener: OwnedFd, http: &HttpServer, calls: mpsc::Sender<server::Pending>) -> io::Result<()> {
    let credentials = http.username.clone().zip(http.password.clone());
    let credentials = credentials.map(|(username, password)| Credentials { username, password });
    match http.address {
        HttpAddress::Unix { .. } => {
            let listener = UnixListener::from(listener);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::UnixListener::from_std(listener)?;
            tokio::task::spawn_local(server::serve(listener, credentials, Limits::default(), calls));
        }
        HttpAddress::Tcp { .. } => {
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::task::spawn_local(server::serve(listener, credentials, Limits::default(), calls));
        }
    }
    Ok(())
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
            let place = format!("{}:{port}", if host.is_empty() { "0.0.0.0" } else { host });
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
    let file = daemon.logfile.as_ref().map(|path| {
        let config = LogConfig {
            path: path.clone(),
            maxbytes: daemon.logfile_maxbytes,
            backups: daemon.logfile_backups,
            compress: daemon.logfile_compress,
        };
        Writer::new(config, Some(compressor.clone()))
    });
    let stdout = stdout.clone();
    let console: Option<Console> =
        (!daemon.silent).then(|| -> Console { Box::new(move |line: &[u8]| stdout.write(line)) });
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
