//! The command `status`: once or again and again, as a table or as JSON.

use super::super::trouble::Trouble;
use super::super::value::{field, json, number};
use super::super::xmlrpc::Value;
use super::{Done, Output, REFRESH, Session, exit, full_name};
use crate::program::ProcessState;
use crate::program::name::Namespec;

/// The width of the column of names, at least.
pub(super) const NAME_WIDTH_MIN: usize = 30;
/// Between the columns.
pub(super) const GAP: usize = 3;
/// The width of the column of states.
pub(super) const STATE_WIDTH: usize = 10;

/// Screen rows when the terminal does not tell.
const ROWS_DEFAULT: usize = 24;

impl Session<'_> {
    pub(super) async fn status(&mut self, args: &[&str]) -> Done {
        let (flags, names): (Vec<&str>, Vec<&str>) =
            args.iter().partition(|arg| ["--json", "--watch"].contains(arg));
        let as_json = flags.contains(&"--json");
        if !flags.contains(&"--watch") {
            return self.status_once(&names, as_json).await;
        }
        let watched = self.until_interrupt(async |session| {
            let mut first = true;
            loop {
                let once = async |session: &mut Session<'_>| session.status_once(&names, as_json).await;
                let text = session.captured(once).await?;
                session.show_live(&text, first)?;
                first = false;
                tokio::time::sleep(REFRESH).await;
            }
        });
        watched.await?;
        self.ended_by_interrupt()
    }

    async fn status_once(&mut self, names: &[&str], as_json: bool) -> Done {
        if !self.up().await? {
            self.exit = exit::STATUS_UNKNOWN;
            return Ok(());
        }
        let infos = self.infos().await?;
        let (matching, missing) = select(&infos, names);
        for line in &missing {
            self.say(line)?;
            self.exit = exit::STATUS_UNKNOWN;
        }
        if as_json {
            let rows: Vec<serde_json::Value> = matching.iter().map(|info| json(info)).collect();
            let text = serde_json::to_string_pretty(&rows).map_err(std::io::Error::other)?;
            self.say(&text)?;
        } else {
            let names: Vec<String> = matching.iter().map(|info| full_name(info)).collect();
            let width = name_width(&names);
            for (name, info) in names.iter().zip(&matching) {
                let state = self.output.style.state(field(info, "statename"), STATE_WIDTH);
                self.say(&format!("{name:<width$}{state}{}", field(info, "description")))?;
            }
        }
        if matching.iter().any(|info| is_stopped(number(info, "state"))) {
            self.exit = exit::STATUS_NOT_RUNNING;
        }
        Ok(())
    }

    /// Ctrl-C is how what is live ends: all is well then.
    pub(super) fn ended_by_interrupt(&mut self) -> Done {
        self.exit = exit::SUCCESS;
        self.say("")
    }

    /// What `command` would print.
    pub(super) async fn captured(
        &mut self,
        command: impl AsyncFnOnce(&mut Session<'_>) -> Done,
    ) -> Result<String, Trouble> {
        let mut text = Vec::new();
        let mut inside = Session {
            daemon: self.daemon.clone(),
            output: Output { out: &mut text, err: &mut *self.output.err, style: self.output.style },
            input: self.input.clone(),
            interactive: self.interactive,
            interrupt: self.interrupt.clone(),
            exit: exit::SUCCESS,
        };
        let done = command(&mut inside).await;
        self.exit = inside.exit;
        done?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Shows what changes: in the same place of a terminal, else below what was shown before.
    pub(super) fn show_live(&mut self, text: &str, first: bool) -> Done {
        if self.output.style.terminal {
            let rows = terminal_size::terminal_size()
                .map_or(ROWS_DEFAULT, |(_, terminal_size::Height(rows))| usize::from(rows));
            self.output.out.write_all(screen(text, rows, first).as_bytes())?;
        } else {
            let gap = if first { "" } else { "\n" };
            write!(self.output.out, "{gap}{text}")?;
        }
        Ok(self.output.out.flush()?)
    }
}

/// A screenful that is written over the one before: each line clears its rest, the last what is below.
fn screen(text: &str, rows: usize, first: bool) -> String {
    let mut out = String::from(if first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
    let lines: Vec<&str> = text.lines().collect();
    let room = rows.saturating_sub(1).max(1);
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    for line in &lines[..shown] {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    if shown < lines.len() {
        out.push_str(&format!("… {} more\x1b[K\n", lines.len() - shown));
    }
    out + "\x1b[J"
}

/// The processes that are meant, and what to say of names that mean none.
pub(super) fn select<'a>(infos: &'a [Value], names: &[&str]) -> (Vec<&'a Value>, Vec<String>) {
    if names.is_empty() || names.contains(&"all") {
        return (infos.iter().collect(), Vec::new());
    }
    let (mut matching, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        let before = matching.len();
        let (group, process, error) = match Namespec::parse(name) {
            Namespec::Group(group) => {
                let error = format!("{group}: ERROR (no such group)");
                (group, None, error)
            }
            Namespec::Process { group, name: process } => {
                (group, Some(process), format!("{name}: ERROR (no such process)"))
            }
        };
        matching.extend(infos.iter().filter(|info| {
            field(info, "group") == group
                && process.as_ref().is_none_or(|process| field(info, "name") == process)
        }));
        if matching.len() == before {
            missing.push(error);
        }
    }
    (matching, missing)
}

pub(super) fn name_width(names: &[String]) -> usize {
    names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(NAME_WIDTH_MIN) + GAP
}

/// Whether a state is one of `STOPPED_STATES`.
pub(super) fn is_stopped(state: i64) -> bool {
    use ProcessState::{Exited, Fatal, Stopped, Unknown};
    [Stopped, Exited, Fatal, Unknown].into_iter().any(|stopped| i64::from(stopped.code()) == state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_processes_and_groups() {
        let info = |group: &str, name: &str| {
            Value::Struct(vec![("group".to_owned(), group.into()), ("name".to_owned(), name.into())])
        };
        let infos = [info("both", "a"), info("both", "b"), info("cat", "cat")];
        for (names, found, missing) in [
            (&[][..], &["both:a", "both:b", "cat"][..], &[][..]),
            (&["nope", "all"], &["both:a", "both:b", "cat"], &[]),
            (&["both:*"], &["both:a", "both:b"], &[]),
            (&["both:"], &["both:a", "both:b"], &[]),
            (&["cat", "both:b", "cat"], &["cat", "both:b", "cat"], &[]),
            (
                &["both", "nope:*", "cat:x"],
                &[],
                &[
                    "both: ERROR (no such process)",
                    "nope: ERROR (no such group)",
                    "cat:x: ERROR (no such process)",
                ],
            ),
        ] {
            let (matching, lines) = select(&infos, names);
            let matching: Vec<String> = matching.into_iter().map(full_name).collect();
            assert_eq!(
                (matching.as_slice(), lines.as_slice()),
                (
                    found.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice(),
                    missing.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>().as_slice(),
                )
            );
        }
    }

    #[test]
    fn a_screen_is_written_over_and_never_longer_than_the_terminal() {
        assert_eq!(screen("a\nb\n", 24, true), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(screen("a\n", 24, false), "\x1b[Ha\x1b[K\n\x1b[J");
        assert_eq!(screen("a\nb\nc\nd\n", 4, false), "\x1b[Ha\x1b[K\nb\x1b[K\n… 2 more\x1b[K\n\x1b[J");
    }
}
