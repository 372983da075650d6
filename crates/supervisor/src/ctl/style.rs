//! Colours, which only a terminal gets: what is piped is plain, because scripts read it.

use std::io::{self, IsTerminal};

/// Whether the output is a terminal, and whether it may be coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// The output is a terminal.
    pub terminal: bool,
    /// It understands colours, and nobody asked for none (`NO_COLOR`).
    pub colour: bool,
}

/// The colours that names are told apart by.
const NAMES: [&str; 6] = ["36", "33", "32", "35", "34", "31"];

impl Style {
    /// That of the standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { terminal, colour: terminal && !plain }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A state's name, filled up to a column.
    pub(super) fn state(self, state: &str, width: usize) -> String {
        let code = match state {
            "RUNNING" => "32",
            "STARTING" | "STOPPING" | "BACKOFF" => "33",
            "FATAL" | "UNKNOWN" => "31",
            _ => "2",
        };
        self.paint(code, &format!("{state:<width$}"))
    }

    /// The `n`th name.
    pub(super) fn name(self, n: usize, text: &str) -> String {
        self.paint(NAMES[n % NAMES.len()], text)
    }

    /// A table's head.
    pub(super) fn head(self, text: &str) -> String {
        self.paint("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_colours() {
        let plain = Style::default();
        assert_eq!(plain.state("RUNNING", 10), "RUNNING   ");
        assert_eq!(plain.name(0, "x"), "x");
        let colour = Style { terminal: true, colour: true };
        assert_eq!(colour.state("RUNNING", 10), "\x1b[32mRUNNING   \x1b[0m");
        assert_eq!(colour.name(6, "x"), colour.name(0, "x"));
    }
}
