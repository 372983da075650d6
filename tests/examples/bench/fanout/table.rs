//! The figures of all rows and servers, with what they are to be.

use std::fmt;

use super::plot::Point;
use super::rows::{Bar, Growth, Row};
use super::servers::Tool;
use crate::machine::{median, number};

/// What each server showed in one round; nothing if the row is not for it.
type Cells = Vec<Option<anyhow::Result<Vec<f64>>>>;

/// One figure of each server.
struct Line {
    title: String,
    bars: Vec<Bar>,
    growth: Option<Growth>,
    figures: Vec<Figure>,
}

#[derive(Clone, Copy)]
enum Figure {
    None,
    Is(f64),
    /// The number of the note that says why.
    Failed(usize),
}

/// The table.
pub(crate) struct Table {
    tools: Vec<Tool>,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Table {
    /// A column for each server.
    pub(crate) fn new(tools: &[Tool]) -> Self {
        Self { tools: tools.to_vec(), lines: Vec::new(), notes: Vec::new() }
    }

    /// A row: for each round, what each server showed. One that failed once has no figure.
    pub(crate) fn add(&mut self, row: &Row, rounds: Vec<Cells>) {
        let mut figures: Vec<Vec<Figure>> = row.lines.iter().map(|_| Vec::new()).collect();
        for tool in 0..self.tools.len() {
            let cells: Vec<_> = rounds.iter().filter_map(|round| round[tool].as_ref()).collect();
            let failed = cells.iter().find_map(|cell| cell.as_ref().err());
            let failed = failed.map(|error| {
                self.notes.push(format!("{}, {}: {error:#}", row.key, self.tools[tool].name()));
                self.notes.len()
            });
            for (n, line) in figures.iter_mut().enumerate() {
                let values = cells.iter().filter_map(|cell| cell.as_ref().ok()?.get(n).copied());
                let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
                line.push(match failed {
                    Some(note) => Figure::Failed(note),
                    None if values.is_empty() => Figure::None,
                    None => Figure::Is(median(values)),
                });
            }
        }
        for (line, figures) in row.lines.iter().zip(figures) {
            let (title, bars, growth) = (line.title.clone(), line.bars.clone(), line.growth.clone());
            self.lines.push(Line { title, bars, growth, figures });
        }
    }

    /// Figures that could not be taken.
    pub(crate) fn failures(&self) -> usize {
        self.notes.len()
    }

    /// The figures that are points of a curve.
    pub(crate) fn points(&self) -> Vec<Point> {
        let grown = self.lines.iter().filter_map(|line| Some((line, line.growth.as_ref()?)));
        let points = grown.flat_map(|(line, growth)| {
            self.tools.iter().filter_map(move |tool| {
                let value = self.of(line, *tool)?;
                Some(Point { what: growth.what, of: growth.of, tool: *tool, at: growth.at as f64, value })
            })
        });
        points.collect()
    }

    fn of(&self, line: &Line, tool: Tool) -> Option<f64> {
        let column = self.tools.iter().position(|other| *other == tool)?;
        if let Figure::Is(value) = line.figures[column] { Some(value) } else { None }
    }

    /// What a figure is to be, and whether it is.
    fn verdict(&self, line: &Line, bar: Bar) -> String {
        let (tool, words, is, is_met) = match bar {
            Bar::Most(tool, most) => {
                let is = self.of(line, tool);
                (tool, format!("<= {most}"), is, is.map(|is| is <= most))
            }
            Bar::Least(tool, least) => {
                let is = self.of(line, tool);
                (tool, format!(">= {least}"), is, is.map(|is| is >= least))
            }
            Bar::MostOf(tool, most, other) => {
                let is = self.ratio(line, tool, other);
                (tool, format!("<= {most} x {}", other.name()), is, is.map(|is| is <= most))
            }
            Bar::LeastOf(tool, least, other) => {
                let is = self.ratio(line, tool, other);
                (tool, format!(">= {least} x {}", other.name()), is, is.map(|is| is >= least))
            }
        };
        let is = is.map_or_else(|| "-".to_owned(), number);
        let met = is_met.map_or("not measured", |is_met| if is_met { "met" } else { "MISSED" });
        format!("{} {words}: {is} {met}", tool.name())
    }

    fn ratio(&self, line: &Line, tool: Tool, other: Tool) -> Option<f64> {
        Some(self.of(line, tool)? / self.of(line, other)?)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<76}", "")?;
        for tool in &self.tools {
            write!(f, "{:>16}", tool.name())?;
        }
        writeln!(f, "  targets")?;
        for line in &self.lines {
            write!(f, "{:<76}", line.title)?;
            let ours = self.of(line, Tool::Ours);
            for (tool, figure) in self.tools.iter().zip(&line.figures) {
                let cell = match (figure, ours) {
                    (Figure::None, _) => "-".to_owned(),
                    (Figure::Failed(note), _) => format!("failed [{note}]"),
                    (Figure::Is(value), Some(ours)) if *tool != Tool::Ours && ours > 0.0 => {
                        format!("{} ({}x)", number(*value), number(value / ours))
                    }
                    (Figure::Is(value), _) => number(*value),
                };
                write!(f, "{cell:>16}")?;
            }
            let verdicts: Vec<String> = line.bars.iter().map(|bar| self.verdict(line, *bar)).collect();
            writeln!(f, "  {}", verdicts.join("; "))?;
        }
        writeln!(f, "in brackets: divided by ours")?;
        for (number, note) in self.notes.iter().enumerate() {
            writeln!(f, "[{}] {note}", number + 1)?;
        }
        Ok(())
    }
}
