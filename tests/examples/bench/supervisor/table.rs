//! The figures of all rows and tools, with what ours is of each of the others.

use std::fmt;

use super::rows::{Bar, Cell, Row};
use super::tools::{GENUINE, OURS, Tool};
use crate::machine::{median, number};

/// One line of it, with the middle figure of each tool.
struct Line {
    title: &'static str,
    unit: &'static str,
    bar: Bar,
    figures: Vec<Option<f64>>,
    notes: Vec<Vec<usize>>,
}

/// The table.
pub(crate) struct Table {
    tools: Vec<&'static str>,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Table {
    /// A column for each tool.
    pub(crate) fn new(tools: &[Box<dyn Tool>]) -> Self {
        Self { tools: tools.iter().map(|tool| tool.name()).collect(), lines: Vec::new(), notes: Vec::new() }
    }

    /// A row: for each round, what each tool showed.
    pub(crate) fn add(&mut self, row: &Row, rounds: &[Vec<Cell>]) {
        let mut line = Line {
            title: row.title,
            unit: row.unit,
            bar: row.bar,
            figures: Vec::new(),
            notes: vec![Vec::new(); self.tools.len()],
        };
        for tool in 0..self.tools.len() {
            let cells = || rounds.iter().filter_map(|round| round.get(tool));
            let figures: Vec<f64> = cells().filter_map(|cell| cell.figure).collect();
            // One that failed once has no figure.
            let whole = figures.len() == rounds.len();
            line.figures.push(whole.then(|| median(figures)));
            for note in cells().filter_map(|cell| cell.note.as_ref()) {
                let number = self.note(note);
                if !line.notes[tool].contains(&number) {
                    line.notes[tool].push(number);
                }
            }
        }
        self.lines.push(line);
    }

    fn note(&mut self, text: &str) -> usize {
        let found = self.notes.iter().position(|note| note == text);
        found.unwrap_or_else(|| {
            self.notes.push(text.to_owned());
            self.notes.len() - 1
        }) + 1
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.tools.iter().position(|tool| *tool == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, genuine) = (self.column(OURS), self.column(GENUINE));
        write!(f, "{:<50}{:>10}", "", "bar")?;
        for tool in &self.tools {
            write!(f, "{tool:>20}")?;
        }
        writeln!(f, "  bar is")?;
        for line in &self.lines {
            let figure = |column: Option<usize>| column.and_then(|n| line.figures.get(n).copied()).flatten();
            let our_figure = figure(ours);
            let bar = line.bar.at(figure(genuine)).map_or_else(|| "-".to_owned(), |bar| line.bar.text(bar));
            write!(f, "{:<50}{bar:>10}", format!("{}, {}", line.title, line.unit))?;
            for (tool, value) in line.figures.iter().enumerate() {
                let mut cell = value.map_or_else(|| "-".to_owned(), number);
                if Some(tool) != ours
                    && let (Some(our_figure), Some(value)) = (our_figure, *value)
                    && value > 0.0
                {
                    cell += &format!(" ({}x)", number(our_figure / value));
                }
                let notes: Vec<_> = line.notes[tool].iter().map(ToString::to_string).collect();
                if !notes.is_empty() {
                    cell += &format!(" [{}]", notes.join(","));
                }
                write!(f, "{cell:>20}")?;
            }
            let verdict = match (our_figure, line.bar.at(figure(genuine))) {
                (Some(figure), Some(bar)) if line.bar.is_met(figure, bar) => "met",
                (Some(_), Some(_)) => "MISSED",
                _ => "-",
            };
            writeln!(f, "  {verdict}")?;
        }
        writeln!(f, "in brackets: ours divided by it")?;
        for (number, note) in self.notes.iter().enumerate() {
            writeln!(f, "[{}] {note}", number + 1)?;
        }
        Ok(())
    }
}
