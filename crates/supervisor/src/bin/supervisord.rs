//! The command line of `supervisord`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use supervisor::config::Source;
use supervisor::config::arguments::{self, Action, USAGE};
use supervisor::daemon;
use supervisor::supervisor::Ending;

const EXIT_FATAL: u8 = 10;
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program =
        words.next().map_or_else(|| "supervisord".to_owned(), |name| name.to_string_lossy().into_owned());
    let usage =
        |why: &str| complain(&format!("Error: {why}\nFor help, use {program} -h"), EXIT_CONFIGURATION);
    let (mut environment, mut inherited) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => environment.push((name.to_owned(), value.to_owned())),
            _ => inherited.push((name, value)),
        }
    }
    let arguments = match arguments::parse(words, &environment) {
        Ok(arguments) => arguments,
        Err(why) => return usage(&why),
    };
    let configuration = match &arguments.action {
        Action::Help => return say(USAGE),
        Action::Version => return say(&format!("{}\n", env!("CARGO_PKG_VERSION"))),
        Action::Convert(file) => Ok(file.clone()),
        Action::Run | Action::Check => match arguments.configuration {
            Some(file) => Ok(file),
            None => arguments::find(&arguments::places(&std::env::current_exe().unwrap_or_default())),
        },
    };
    let file = match configuration {
        Ok(file) => file,
        Err(why) => return usage(&why),
    };
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let source = Source { file, environment, inherited, host, directory, overrides: arguments.overrides };
    match arguments.action {
        Action::Check => return check(&source),
        Action::Convert(_) => {
            return match source.convert() {
                Ok(converted) => {
                    let stays =
                        |file: &PathBuf| format!("{}: stays INI, and is still included\n", file.display());
                    let told: String = converted.stay.iter().map(stays).collect();
                    let refused = converted.refused.iter().map(|mistake| {
                        format!("the TOML would be refused, at line {}: {}\n", mistake.line, mistake.text)
                    });
                    let told = refused.fold(told, |told, line| told + &line);
                    let _ = io::stderr().write_all(told.as_bytes());
                    say(&converted.toml)
                }
                Err(mistakes) => complain(&mistakes.to_string(), EXIT_CONFIGURATION),
            };
        }
        _ => {}
    }
    let config = match source.load() {
        Ok(config) => config,
        // An INI file is refused in the words and the form that its users know.
        Err(mistakes) if source.is_ini() => {
            let lines: Vec<String> = mistakes.0.iter().map(|mistake| format!("Error: {mistake}")).collect();
            return complain(
                &format!("{}\nFor help, use {program} -h", lines.join("\n")),
                EXIT_CONFIGURATION,
            );
        }
        Err(mistakes) => return complain(&mistakes.to_string(), EXIT_CONFIGURATION),
    };
    match daemon::run(config, source) {
        Ok(Ending::Restart | Ending::Ordered) => ExitCode::SUCCESS,
        Ok(Ending::Fatal) => ExitCode::from(EXIT_FATAL),
        Err(error) => usage(&format!("{error:#}")),
    }
}

fn check(source: &Source) -> ExitCode {
    let report = source.check();
    let mut out = String::new();
    for warning in &report.warnings {
        out += &format!("{}\n", warning.warning());
    }
    for mistake in &report.mistakes {
        out += &format!("{mistake}\n");
    }
    let _ = io::stderr().write_all(out.as_bytes());
    match report.config.filter(|_| report.mistakes.is_empty()) {
        Some(config) => {
            say(&format!("{}: valid, {} programs\n", source.file.display(), config.programs.len()))
        }
        None => ExitCode::from(EXIT_CONFIGURATION),
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
