//! The command line of `supervisord`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use supervisor::config::Source;
use supervisor::daemon;
use supervisor::supervisor::Ending;

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
    match daemon::run(config, source) {
        Ok(Ending::Restart) | Ok(Ending::Ordered) => ExitCode::SUCCESS,
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
