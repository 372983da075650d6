//! The interactive shell: prompt, editing, history and completion at a terminal; plain lines without one.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::{History, MemHistory, SearchDirection};
use rustyline::validate::Validator;
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::client::Daemon;
use super::commands::{Next, Session};
use super::complete::{Wanted, candidates, wanted};
use super::discover::Found;
use super::input::Line;
use super::xmlrpc::Value;

/// Lines that the history keeps.
const HISTORY_MAX: usize = 1000;

/// How long a completion waits for the daemon.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

/// What the commands run on.
#[derive(Debug)]
pub struct Engine {
    runtime: Runtime,
    local: LocalSet,
}

impl Engine {
    /// One thread, which does everything.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, local: LocalSet::new() })
    }

    /// Runs something to its end.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.local.block_on(&self.runtime, future)
    }

    /// Ends without waiting for a thread that waits for input.
    pub fn leave(self) {
        drop(self.local);
        self.runtime.shutdown_background();
    }
}

/// Shows the status, then runs line after line until the user has enough.
pub fn run(session: &mut Session<'_>, found: &Found, engine: &Rc<Engine>) -> io::Result<()> {
    if engine.run(session.shell_line("status"))? == Next::End {
        return Ok(());
    }
    let prompt = format!("{}> ", found.prompt);
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        at_terminal(session, &prompt, found.history_file.as_deref(), engine)
    } else {
        without_terminal(session, &prompt, engine)
    }
}

fn without_terminal(session: &mut Session<'_>, prompt: &str, engine: &Engine) -> io::Result<()> {
    loop {
        let line = match engine.run(async { session.prompt(prompt) })? {
            Line::Text(line) => line,
            Line::End => "EOF".to_owned(),
            Line::Interrupted => return session.after_interrupt(),
        };
        if engine.run(session.shell_line(&line))? == Next::End {
            return Ok(());
        }
    }
}

fn at_terminal(
    session: &mut Session<'_>,
    prompt: &str,
    history: Option<&Path>,
    engine: &Rc<Engine>,
) -> io::Result<()> {
    let config = Config::builder()
        .behavior(Behavior::Stdio)
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_MAX)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(io::Error::other)?
        .build();
    let empty = MemHistory::with_config(&config);
    let mut editor: Editor<Typing, MemHistory> =
        Editor::with_history(config, empty).map_err(io::Error::other)?;
    if let Some(history) = history {
        load(history, editor.history_mut());
    }
    let result = edited(session, prompt, engine, &mut editor);
    if let Some(history) = history {
        save(history, editor.history());
    }
    result
}

fn edited(
    session: &mut Session<'_>,
    prompt: &str,
    engine: &Rc<Engine>,
    editor: &mut Editor<Typing, MemHistory>,
) -> io::Result<()> {
    loop {
        let known = RefCell::new(None);
        editor.set_helper(Some(Typing {
            engine: Rc::clone(engine),
            daemon: session.daemon().clone(),
            known,
        }));
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            // The editor has left the line already.
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            Err(ReadlineError::Io(error)) => return Err(error),
            Err(ReadlineError::Errno(error)) => return Err(error.into()),
            Err(error) => return Err(io::Error::other(error)),
        };
        if !line.is_empty() {
            editor.add_history_entry(line.as_str()).map_err(io::Error::other)?;
        }
        if engine.run(session.shell_line(&line))? == Next::End {
            return Ok(());
        }
    }
}

/// The lines of a history, one a line, as readline keeps them. Without a file there is none.
fn load(file: &Path, history: &mut MemHistory) {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    for line in &lines[lines.len().saturating_sub(HISTORY_MAX)..] {
        let _ = history.add(line);
    }
}

/// What cannot be kept is not kept: a shell ends without a word about it, as the genuine one does.
fn save(file: &Path, history: &MemHistory) {
    let mut text = String::new();
    for index in 0..history.len() {
        if let Ok(Some(found)) = history.get(index, SearchDirection::Forward) {
            text.push_str(&found.entry);
            text.push('\n');
        }
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let _ = opened.and_then(|mut file| file.write_all(text.as_bytes()));
}

/// Completes what is typed, asking the daemon once a line.
struct Typing {
    engine: Rc<Engine>,
    daemon: Daemon,
    known: RefCell<Option<Vec<Value>>>,
}

impl Typing {
    fn infos(&self) -> Vec<Value> {
        let asked = || {
            let call = self.daemon.call("supervisor.getAllProcessInfo", &[]);
            let answer = self.engine.run(async { tokio::time::timeout(COMPLETION_TIMEOUT, call).await });
            answer.ok().and_then(Result::ok).map(|infos| infos.items().to_vec()).unwrap_or_default()
        };
        self.known.borrow_mut().get_or_insert_with(asked).clone()
    }
}

impl Completer for Typing {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let line = &line[..position];
        let infos = match wanted(line) {
            Wanted::Group | Wanted::Process => self.infos(),
            _ => Vec::new(),
        };
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        Ok((start, candidates(line, &infos).into_iter().map(|word| word + " ").collect()))
    }
}

impl Hinter for Typing {
    type Hint = String;
}

impl Highlighter for Typing {}

impl Validator for Typing {}

impl Helper for Typing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_kept_as_readline_keeps_it_and_bounded() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("history");
        let config = Config::builder().max_history_size(HISTORY_MAX).unwrap().build();
        let mut history = MemHistory::with_config(&config);
        load(&file, &mut history);
        assert_eq!(history.len(), 0);
        for n in 0..HISTORY_MAX + 5 {
            history.add(&format!("status {n}")).unwrap();
        }
        save(&file, &history);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("status 5\nstatus 6\n") && text.ends_with("status 1004\n"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut again = MemHistory::with_config(&config);
        load(&file, &mut again);
        assert_eq!(again.len(), HISTORY_MAX);
    }
}
