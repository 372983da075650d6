//! The command line of `sse-server`.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sse_server::config::{Config, Listen, SETTINGS};
use sse_server::fanout::detach::DETACHED;
use sse_server::{descriptors, nginx, server};

const USAGE: &str = "\
An event hub that pushes Server-Sent Events to browsers.

Usage: sse-server [--config FILE] [--listen ADDR]… [COMMAND]

Commands:
  run           serve (the default)
  check         print the effective configuration, or every mistake, and start nothing
  healthcheck   exit with 0 if a server answers at the first listener, else with 1
  nginx --template FILE [--output FILE] [--check-port]
                render the configuration of the nginx in front

Options:
  --config FILE   TOML with the keys of sse-server.toml(5); environment variables win over it
  --listen ADDR   host:port or unix:PATH, more than once if wanted; default 127.0.0.1:5001
  -h, --help      print this text and exit
  -V, --version   print the version and exit

Every setting is an environment variable too, such as SSE_MAX_CONNECTIONS or DATA_DIR: `sse-server check` lists
them with their values and where each comes from.

Examples:
  sse-server                                  serve at http://localhost:5001, data in ./data
  sse-server --listen 0.0.0.0:80              to everybody
  SSE_HISTORY=disk DATA_DIR=/srv/sse sse-server
                                              with a history that survives restarts
  sse-server --config sse-server.toml check   is the file right?
  curl -N 'http://localhost:5001/sse?topic=job:*'
                                              listen; the first start shows the line that publishes

Exit status: 0 after an ordered end (SIGTERM), 1 if it cannot serve, 2 if the configuration makes no sense.
Signals: SIGHUP reads tokens and keys again, SIGUSR1 says goodbye to every stream.
";

const EXIT_FAILED: u8 = 1;
const EXIT_CONFIGURATION: u8 = 2;
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Arguments {
    config: Option<PathBuf>,
    listen: Vec<String>,
    command: String,
    rest: Vec<String>,
    help: bool,
    version: bool,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    use lexopt::prelude::*;
    let mut found = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config") => found.config = Some(parser.value()?.into()),
            Long("listen") => found.listen.push(parser.value()?.string()?),
            Short('h') | Long("help") => found.help = true,
            Short('V') | Long("version") => found.version = true,
            Value(word) if found.command.is_empty() => {
                found.command = word.string()?;
                if found.command == "nginx" {
                    found.rest = parser.raw_args()?.map(|word| word.to_string_lossy().into_owned()).collect();
                }
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            return complain(&format!("{error}; sse-server --help tells what there is"), EXIT_CONFIGURATION);
        }
    };
    if arguments.help {
        return say(USAGE);
    }
    if arguments.version {
        return say(&format!("sse-server {}\n", env!("CARGO_PKG_VERSION")));
    }
    let (env, unreadable): (Vec<_>, Vec<_>) = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.into_string()))
        .partition(|(_, value)| value.is_ok());
    let ours = |name: &str| SETTINGS.iter().any(|setting| setting.variable == name);
    if let Some((name, _)) = unreadable.iter().find(|(name, _)| ours(name)) {
        return complain(&format!("{name} is not UTF-8"), EXIT_CONFIGURATION);
    }
    let env: Vec<(String, String)> =
        env.into_iter().filter_map(|(name, value)| Some((name, value.ok()?))).collect();
    let mut config = match Config::load(arguments.config.as_deref(), &env) {
        Ok(config) => config,
        Err(mistakes) => return complain(&mistakes.join("\n"), EXIT_CONFIGURATION),
    };
    match arguments.listen.iter().map(|text| text.parse()).collect::<Result<Vec<Listen>, _>>() {
        Ok(named) => config.listen_first(named),
        Err(why) => return complain(&format!("--listen {why}"), EXIT_CONFIGURATION),
    }
    match arguments.command.as_str() {
        "" | "run" => match descriptors::suffice_for(config.connections_max) {
            Ok(()) => run(config),
            Err(too_few) => complain(&too_few.to_string(), EXIT_CONFIGURATION),
        },
        "check" => {
            if let Err(too_few) = descriptors::suffice_for(config.connections_max) {
                return complain(&too_few.to_string(), EXIT_CONFIGURATION);
            }
            for warning in &config.warnings {
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
            say(&config.to_toml())
        }
        "healthcheck" => healthcheck(&config),
        "nginx" => render_nginx(&config, arguments.rest),
        other => complain(
            &format!(
                "{other:?} is not one of the commands run, check, healthcheck and nginx; sse-server --help tells more"
            ),
            EXIT_CONFIGURATION,
        ),
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

fn run(config: Config) -> ExitCode {
    start_log();
    match actix_rt::System::new().block_on(server::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Everything but requests goes to stderr. A detached stream is no error, though actix-http takes it for one.
fn start_log() {
    let mut builder = env_logger::Builder::from_env(
        env_logger::Env::default().default_filter_or("info,actix_server=warn,fjall=off,lsm_tree=off,sfa=off"),
    );
    builder.format(|out, record| {
        let time = out.timestamp_millis();
        if record.args().to_string() == DETACHED {
            return Ok(());
        }
        // Empty where stderr is no terminal, or NO_COLOR asks for none.
        let style = out.default_level_style(record.level());
        writeln!(out, "{time} {style}{:5}{style:#} {}", record.level(), record.args())
    });
    builder.init();
}

fn healthcheck(config: &Config) -> ExitCode {
    let listen = config.listen_or_default();
    let Some(address) = listen.first() else { return ExitCode::from(EXIT_FAILED) };
    match is_live(address) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => complain(&format!("{address} answers, but not as a live server"), EXIT_FAILED),
        Err(error) => complain(
            &format!("{address} does not answer: {error}; start it, or name its address with --listen"),
            EXIT_FAILED,
        ),
    }
}

fn is_live(address: &Listen) -> io::Result<bool> {
    let request = b"GET /sse/health/live HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let mut answer = [0; 12];
    match address {
        Listen::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(HEALTHCHECK_TIMEOUT))?;
            stream.set_write_timeout(Some(HEALTHCHECK_TIMEOUT))?;
            stream.write_all(request)?;
            stream.read_exact(&mut answer)?;
        }
        Listen::Tcp(address) => {
            let address = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
            let resolved = address
                .to_socket_addrs()?
                .next()
                .ok_or_else(|| io::Error::other("the host has no address"))?;
            let mut stream = TcpStream::connect_timeout(&resolved, HEALTHCHECK_TIMEOUT)?;
            stream.set_read_timeout(Some(HEALTHCHECK_TIMEOUT))?;
            stream.write_all(request)?;
            stream.read_exact(&mut answer)?;
        }
    }
    Ok(answer.ends_with(b" 200"))
}

fn render_nginx(config: &Config, rest: Vec<String>) -> ExitCode {
    let rendered = || -> Result<String, nginx::Error> {
        let invocation = nginx::Invocation::parse(rest)?;
        let settings = nginx::Settings {
            connections_max: config.connections_max as u64,
            wall: nginx::Wall {
                streams_max: config.connections_per_ip_max as u64,
                opened_per_second: config.connect_rate.into(),
                login_attempts_max: config.login.as_ref().map_or(0, |login| login.attempts_max.into()),
            },
            event_bytes_max: config.event_bytes_max as u64,
            idle_timeout_seconds: config.idle_timeout.as_secs(),
            trusted_proxies: config.trusted_proxies.clone(),
            cors_origins: config.cors_origins.clone(),
            login: config.login.is_some(),
            descriptors_max: descriptors::allowed(),
            ..nginx::Settings::default()
        };
        let (env, is_root) = (|name: &str| std::env::var(name).ok(), nix::unistd::geteuid().is_root());
        let settings = settings.surroundings(env, is_root, &config.data_dir)?;
        settings.check_descriptors()?;
        invocation.run(&settings)
    };
    match rendered() {
        Ok(text) => say(&text),
        Err(error) => complain(&error.to_string(), EXIT_CONFIGURATION),
    }
}
