//! The command line of `supervisorctl`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use supervisor::ctl::commands::{Output, Session};
use supervisor::ctl::discover::{Surroundings, discover};
use supervisor::ctl::options::Options;
use supervisor::ctl::shell::{self, Engine};
use supervisor::ctl::style::Style;

const USAGE: &str = "\
supervisorctl -- control applications run by supervisord from the cmd line.

Usage: %s [options] [action [arguments]]

Options:
-c/--configuration FILENAME -- configuration file path (searches if not given)
-h/--help -- print usage message and exit
-i/--interactive -- ask before shutdown and reload, and for a password
-s/--serverurl URL -- URL on which supervisord server is listening
     (http://localhost:9001 or unix:///path; default: the socket of the running stack)
-u/--username USERNAME -- username to use for authentication with server
-p/--password PASSWORD -- password to use for authentication with server
-r/--history_file FILENAME -- keep the history of the interactive shell there

action [arguments] -- see below

Without an action an interactive shell is started. Use the action \"help\" to find
out about available actions.

Examples:
  supervisorctl status                                how all programs are doing
  supervisorctl restart web
  supervisorctl tail -f web stderr                    follow a log until Ctrl-C
  supervisorctl logs -f                               follow all of them
  supervisorctl wait web --for ready --timeout 30s
  supervisorctl -s http://localhost:9001 status       of another daemon

See supervisorctl(1).
";

const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string()),
    }
}

fn program() -> String {
    std::env::args_os()
        .next()
        .map_or_else(|| "supervisorctl".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn complain(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "Error: {text}\nFor help, use {} -h", program());
    ExitCode::from(EXIT_USAGE)
}

fn run() -> io::Result<u8> {
    let fail = |text: String| {
        complain(&text);
        Ok(EXIT_USAGE)
    };
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let options = match Options::parse(&words) {
        Ok(options) => options,
        Err(why) => return fail(why),
    };
    if options.help {
        io::stdout().write_all(USAGE.replace("%s", &program()).as_bytes())?;
        return Ok(0);
    }
    let found = match discover(&options, &Surroundings::here()?) {
        Ok(found) => found,
        Err(why) => return fail(why),
    };
    let engine = Rc::new(Engine::new()?);
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let output = Output { out: &mut out, err: &mut err, style: Style::of_stdout() };
    let is_shell = options.command.is_empty();
    let mut session = Session::new(found.daemon(), output, options.interactive || is_shell)?;
    let code = if is_shell {
        // The shell's exit code says nothing about its commands.
        shell::run(&mut session, &found, &engine).map(|()| 0)
    } else {
        engine.run(session.command(&options.command))
    };
    drop(session);
    if let Some(engine) = Rc::into_inner(engine) {
        engine.leave();
    }
    code
}
