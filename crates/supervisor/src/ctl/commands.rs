//! The commands of `supervisorctl`: a session with one daemon, and which word means which command.

mod change;
mod completion;
mod daemon;
mod fg;
mod follow;
mod groups;
mod logs;
mod procfs;
mod status;
mod tail;
mod top;
mod wait;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::{CallError, Daemon};
use super::fault::FaultCode;
use super::input::{self, Input, Line};
use super::interrupt::Interrupt;
use super::line::{self, Parsed};
use super::style::Style;
use super::trouble::Trouble;
use super::xmlrpc::Value;
use super::{topics, value};
use crate::program::name::namespec;

/// The version of the interface that both sides must speak.
pub const API_VERSION: &str = "3.0";

/// How often what is shown live is shown again.
const REFRESH: Duration = Duration::from_secs(1);

/// The exit codes of the genuine client (`LSBInitExitStatuses`, `LSBStatusExitStatuses`).
mod exit {
    pub(super) const SUCCESS: u8 = 0;
    pub(super) const GENERIC: u8 = 1;
    pub(super) const INVALID_ARGS: u8 = 2;
    pub(super) const UNIMPLEMENTED_FEATURE: u8 = 3;
    pub(super) const STATUS_NOT_RUNNING: u8 = 3;
    pub(super) const INSUFFICIENT_PRIVILEGES: u8 = 4;
    pub(super) const STATUS_UNKNOWN: u8 = 4;
    pub(super) const NOT_INSTALLED: u8 = 5;
    pub(super) const NOT_RUNNING: u8 = 7;
}

/// What follows a command in the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next line.
    Line,
    /// The end of the shell.
    End,
}

/// Where a session writes.
pub struct Output<'a> {
    /// What the commands say, errors included.
    pub out: &'a mut dyn Write,
    /// What goes wrong with a log that is followed.
    pub err: &'a mut dyn Write,
    /// How `out` may look.
    pub style: Style,
}

/// One run of the client: a daemon, where the output goes, and the exit code so far.
pub struct Session<'a> {
    daemon: Daemon,
    output: Output<'a>,
    /// Shared with the thread that waits for a line while something else happens.
    input: Arc<Mutex<Input>>,
    /// Whether it may ask the user.
    interactive: bool,
    interrupt: Option<Interrupt>,
    exit: u8,
}

/// Whether a command came to its end.
type Done = Result<(), Trouble>;

impl<'a> Session<'a> {
    /// A session with one daemon. An interactive one asks before it ends the daemon, and for a password.
    pub fn new(daemon: Daemon, output: Output<'a>, interactive: bool) -> io::Result<Self> {
        let input = Arc::new(Mutex::new(Input::standard()?));
        Ok(Self { daemon, output, input, interactive, interrupt: None, exit: exit::SUCCESS })
    }

    /// The daemon as it is called now: `open` and passwords change that.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Runs the command of the command line and gives its exit code.
    pub async fn command(&mut self, words: &[String]) -> io::Result<u8> {
        self.line(&words.join(" ")).await?;
        Ok(self.exit)
    }

    /// Runs a line of the shell. Ctrl-C ends the shell, if it does not end what the command follows.
    pub async fn shell_line(&mut self, line: &str) -> io::Result<Next> {
        let interrupt = self.caught()?;
        tokio::select! {
            biased;
            next = self.line(line) => next,
            () = interrupt.wait() => {
                self.after_interrupt()?;
                Ok(Next::End)
            }
        }
    }

    /// Shows the prompt and waits for a line, as a shell without terminal does.
    pub(super) fn prompt(&mut self, prompt: &str) -> io::Result<Line> {
        let interrupt = self.caught()?;
        self.output.out.write_all(prompt.as_bytes())?;
        self.output.out.flush()?;
        self.locked_input().line(Some(interrupt.fd()))
    }

    /// What is shown when Ctrl-C or Ctrl-D ends something.
    pub(super) fn after_interrupt(&mut self) -> io::Result<()> {
        writeln!(self.output.out)?;
        self.output.out.flush()
    }

    async fn line(&mut self, line: &str) -> io::Result<Next> {
        let (name, rest) = match line::parse(line) {
            Parsed::Empty => return Ok(Next::Line),
            Parsed::Command(name, rest) => (name, rest),
            Parsed::Unknown(line) => {
                self.unknown(line)?;
                return Ok(Next::Line);
            }
        };
        loop {
            let done = self.dispatch(name, rest, line.trim()).await;
            self.output.out.flush()?;
            match done {
                Ok(next) => return Ok(next),
                Err(Trouble::Output(error)) => return Err(error),
                Err(Trouble::Interrupted) => {
                    self.after_interrupt()?;
                    return Ok(Next::End);
                }
                Err(Trouble::Call(CallError::Unauthorized)) => {
                    writeln!(self.output.out, "Server requires authentication")?;
                    if !self.interactive {
                        // The genuine client tries again before it gives up, and tells that as well.
                        self.trouble(&CallError::Unauthorized.into())?;
                        return Ok(Next::Line);
                    }
                    match self.credentials() {
                        Ok(()) => continue,
                        Err(Trouble::Interrupted) => {
                            self.after_interrupt()?;
                            return Ok(Next::End);
                        }
                        Err(trouble) => self.trouble(&trouble)?,
                    }
                }
                Err(trouble) => self.trouble(&trouble)?,
            }
            return Ok(Next::Line);
        }
    }

    fn unknown(&mut self, line: &str) -> io::Result<()> {
        self.exit = exit::GENERIC;
        writeln!(self.output.out, "*** Unknown syntax: {line}")?;
        self.output.out.flush()
    }

    fn trouble(&mut self, trouble: &Trouble) -> io::Result<()> {
        self.exit = exit::GENERIC;
        writeln!(self.output.out, "{}", trouble.line())?;
        self.output.out.flush()
    }

    async fn dispatch(&mut self, name: &str, rest: &str, line: &str) -> Result<Next, Trouble> {
        let args: Vec<&str> = rest.split_whitespace().collect();
        match name {
            "EOF" | "quit" | "exit" => {
                self.say("")?;
                return Ok(Next::End);
            }
            "help" => self.help(rest)?,
            "status" => self.status(&args).await?,
            "start" => self.start(&args).await?,
            "stop" => self.stop(&args).await?,
            "restart" => self.restart(&args).await?,
            "signal" => self.signal(&args).await?,
            "clear" => self.clear(&args).await?,
            "pid" => self.pid(&args).await?,
            "tail" => self.tail(&args).await?,
            "maintail" => self.maintail(&args).await?,
            "fg" => self.fg(&args).await?,
            "avail" => self.avail(&args).await?,
            "reread" => self.reread(&args).await?,
            "update" => self.update(&args).await?,
            "add" => self.add(&args).await?,
            "remove" => self.remove(&args).await?,
            "reload" => self.reload(&args).await?,
            "shutdown" => self.shutdown(&args).await?,
            "version" => self.version(&args).await?,
            "open" => self.open(rest).await?,
            "top" => self.top(&args).await?,
            "logs" => self.logs(&args).await?,
            "wait" => self.wait(&args).await?,
            "completion" => self.completion(rest).await?,
            _ => self.unknown(line)?,
        }
        Ok(Next::Line)
    }

    fn say(&mut self, line: &str) -> Done {
        Ok(writeln!(self.output.out, "{line}")?)
    }

    fn error(&mut self, line: &str) -> Done {
        self.exit = exit::GENERIC;
        self.say(line)
    }

    /// A mistake in how the command was called, and how it is called.
    fn usage(&mut self, line: &str, command: &str) -> Done {
        self.error(line)?;
        self.say(topics::topic(command).unwrap_or_default())
    }

    fn help(&mut self, name: &str) -> Done {
        match (name, topics::topic(name)) {
            ("", _) => Ok(self.output.out.write_all(topics::list().as_bytes())?),
            (_, Some(text)) => self.say(text),
            (_, None) => self.say(&format!("*** No help on {name}")),
        }
    }

    /// Catches Ctrl-C from now on.
    fn caught(&mut self) -> io::Result<Interrupt> {
        if let Some(interrupt) = &self.interrupt {
            return Ok(interrupt.clone());
        }
        Ok(self.interrupt.insert(Interrupt::install()?).clone())
    }

    /// Runs what follows something. Gives whether it was Ctrl-C that ended it; what it was about to do is left then.
    async fn until_interrupt(&mut self, body: impl AsyncFnOnce(&mut Self) -> Done) -> Result<bool, Trouble> {
        let interrupt = self.caught()?;
        tokio::select! {
            biased;
            done = body(self) => done.map(|()| false),
            () = interrupt.wait() => Ok(true),
        }
    }

    fn locked_input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the user for a line.
    fn ask(&mut self, question: &str) -> Result<String, Trouble> {
        write!(self.output.out, "{question}")?;
        self.output.out.flush()?;
        let line = self.locked_input().line(self.interrupt.as_ref().map(Interrupt::fd))?;
        self.answer(line)
    }

    fn answer(&mut self, line: Line) -> Result<String, Trouble> {
        match line {
            Line::Text(text) => Ok(text),
            Line::End => Err(Trouble::end_of_input()),
            Line::Interrupted => {
                if let Some(interrupt) = &self.interrupt {
                    interrupt.take();
                }
                Err(Trouble::Interrupted)
            }
        }
    }

    fn credentials(&mut self) -> Done {
        let username = self.ask("Username:")?;
        let line = input::password(
            "Password:",
            &mut self.locked_input(),
            self.interrupt.as_ref().map(Interrupt::fd),
        )?;
        let password = self.answer(line)?;
        self.say("")?;
        self.daemon.credentials = Some((username, password));
        Ok(())
    }

    /// Whether there is a daemon that speaks our version.
    async fn up(&mut self) -> Result<bool, Trouble> {
        match self.daemon.call("supervisor.getVersion", &[]).await {
            Ok(Value::Text(version)) if version == API_VERSION => return Ok(true),
            Ok(version) => {
                let version = version.text().unwrap_or("unknown").to_owned();
                self.say(&format!(
                    "Sorry, this version of supervisorctl expects to talk to a server with API version \
                     {API_VERSION}, but the remote version is {version}."
                ))?;
                self.exit = exit::NOT_INSTALLED;
            }
            Err(CallError::Fault(fault)) if fault.code == FaultCode::UnknownMethod.code() => {
                self.say(
                    "Sorry, supervisord responded but did not recognize the supervisor namespace commands that \
                     supervisorctl uses to control it.  Please check that the [rpcinterface:supervisor] section is \
                     enabled in the configuration file (see sample.conf).",
                )?;
                self.exit = exit::UNIMPLEMENTED_FEATURE;
            }
            Err(error) => match absent(&error) {
                Some((words, code)) => {
                    let line = format!("{} {words}", self.daemon.url);
                    self.say(&line)?;
                    self.exit = code;
                }
                None => return Err(error.into()),
            },
        }
        Ok(false)
    }

    async fn infos(&mut self) -> Result<Vec<Value>, Trouble> {
        Ok(self.daemon.call("supervisor.getAllProcessInfo", &[]).await?.items().to_vec())
    }
}

/// What is said when nobody listens, and the exit code.
fn absent(error: &CallError) -> Option<(&'static str, u8)> {
    match error {
        CallError::Connect { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused => Some(("refused connection", exit::INSUFFICIENT_PRIVILEGES)),
            io::ErrorKind::NotFound => Some(("no such file", exit::NOT_RUNNING)),
            _ => None,
        },
        _ => None,
    }
}

fn is_fault(error: &CallError, code: FaultCode) -> bool {
    matches!(error, CallError::Fault(fault) if fault.code == code.code())
}

fn full_name(info: &Value) -> String {
    namespec(value::field(info, "group"), value::field(info, "name"))
}
