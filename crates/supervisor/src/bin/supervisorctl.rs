//! The command line of `supervisorctl`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use supervisor::ctl::client::Daemon;
use supervisor::ctl::commands::Session;
use supervisor::ctl::discover::discover;

const USAGE: &str = "\
supervisorctl -- control applications run by supervisord from the cmd line.

Usage: supervisorctl [options] command [arguments]

Options:
-c/--configuration FILENAME -- configuration file path (searches if not given)
-h/--help -- print this usage message and exit
-s/--serverurl URL -- URL on which supervisord server is listening
     (http://localhost:9001 or unix:///path; default: the socket of the running stack)
-u/--username USERNAME -- username to use for authentication with server
-p/--password PASSWORD -- password to use for authentication with server

Commands:
  status [--json] [NAME…|GROUP:*|all]   start NAME…|all      stop NAME…|all    restart NAME…|all
  signal SIGNAL NAME…|all               pid [NAME…|all]      clear NAME…|all   version
  tail [-f|-BYTES] NAME [stdout|stderr] maintail [-f|-BYTES] shutdown
";

const EXIT_USAGE: u8 = 2;

#[derive(Default)]
struct Arguments {
    config: Option<PathBuf>,
    url: Option<String>,
    username: Option<String>,
    password: Option<String>,
    help: bool,
    command: Vec<String>,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    use lexopt::prelude::*;
    let mut found = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('c') | Long("configuration") => found.config = Some(parser.value()?.into()),
            Short('s') | Long("serverurl") => found.url = Some(parser.value()?.string()?),
            Short('u') | Long("username") => found.username = Some(parser.value()?.string()?),
            Short('p') | Long("password") => found.password = Some(parser.value()?.string()?),
            Short('i') | Long("interactive") => {}
            Short('h') | Long("help") => found.help = true,
            Value(command) => {
                found.command.push(command.string()?);
                // What follows belongs to the command, `-f` of `tail` included.
                found.command.extend(parser.raw_args()?.map(|word| word.to_string_lossy().into_owned()));
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&format!("Error: {error}")),
    }
}

fn complain(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{text}\nFor help, use supervisorctl -h");
    ExitCode::from(EXIT_USAGE)
}

fn run() -> io::Result<u8> {
    let fail = |text: String| {
        complain(&text);
        Ok(EXIT_USAGE)
    };
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => return fail(format!("Error: {error}")),
    };
    if arguments.help {
        io::stdout().write_all(USAGE.as_bytes())?;
        return Ok(0);
    }
    if arguments.command.is_empty() {
        return fail("Error: a command is needed, such as status".to_owned());
    }
    let found = match (&arguments.url, &arguments.config) {
        (Some(_), None) => Ok(supervisor::ctl::discover::Found::default()),
        (_, config) => discover(config.as_deref(), &std::env::current_dir()?),
    };
    let found = match found {
        Ok(found) => found,
        Err(why) => return fail(format!("Error: {why}")),
    };
    let Some(url) = arguments.url.or(found.url).filter(|url| Daemon::is_address(url)) else {
        return fail("Error: url must be http://host:port or unix:///path".to_owned());
    };
    let username = arguments.username.or(found.username);
    let password = arguments.password.or(found.password);
    let daemon = Daemon { url, credentials: username.zip(password) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        Session::new(daemon, &mut io::stdout().lock()).run(&arguments.command).await
    })
}
