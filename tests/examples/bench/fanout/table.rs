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
    key: &'static str,
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
            self.lines.push(Line { key: row.key, title, bars, growth, figures });
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
        let own = |tool| self.of(line, tool);
        let (tool, words, is, is_met) = match bar {
            Bar::Most(tool, most) => (tool, format!("<= {most}"), own(tool), own(tool).map(|is| is <= most)),
            Bar::Least(tool, least) => {
                (tool, format!(">= {least}"), own(tool), own(tool).map(|is| is >= least))
            }
            Bar::MostOf(tool, most, other) => {
                let best = self.best(Some(line), other, |a, b| a < b);
                let (name, is) = ratio(own(tool), best, other);
                (tool, format!("<= {most} x {name}"), is, is.map(|is| is <= most))
            }
            Bar::LeastOf(tool, least, other) => {
                let best = self.best(Some(line), other, |a, b| a > b);
                let (name, is) = ratio(own(tool), best, other);
                (tool, format!(">= {least} x {name}"), is, is.map(|is| is >= least))
            }
            Bar::LeastOfRow(tool, least, other, key) => {
                let there = self.lines.iter().find(|line| line.key == key);
                let best = self.best(there, other, |a, b| a > b);
                let (name, is) = ratio(own(tool), best, other);
                (tool, format!(">= {least} x {name} ({key})"), is, is.map(|is| is >= least))
            }
        };
        let is = is.map_or_else(|| "-".to_owned(), number);
        let met = is_met.map_or("not measured", |is_met| if is_met { "met" } else { "MISSED" });
        format!("{} {words}: {is} {met}", tool.name())
    }

    /// The best figure of a server that stands in several columns; nothing if one of them failed, which might be the best.
    fn best(&self, line: Option<&Line>, tool: Tool, is_better: fn(f64, f64) -> bool) -> Option<(Tool, f64)> {
        let line = line?;
        let mut best: Option<(Tool, f64)> = None;
        for (form, figure) in self.tools.iter().zip(&line.figures) {
            match figure {
                _ if !tool.forms().contains(form) => {}
                Figure::None => {}
                Figure::Failed(_) => return None,
                Figure::Is(value) if best.is_none_or(|(_, other)| is_better(*value, other)) => {
                    best = Some((*form, *value));
                }
                Figure::Is(_) => {}
            }
        }
        best
    }
}

/// One figure divided by another, and by whose.
fn ratio(own: Option<f64>, best: Option<(Tool, f64)>, other: Tool) -> (&'static str, Option<f64>) {
    let name = best.map_or(other, |(tool, _)| tool).name();
    (name, own.zip(best).map(|(own, (_, best))| own / best))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::rows::Line as RowLine;

    const TOOLS: [Tool; 3] = [Tool::Ours, Tool::Nchan, Tool::NchanAuto];

    fn row(key: &'static str, bar: Bar) -> Row {
        let lines = vec![RowLine { title: key.to_owned(), bars: vec![bar], growth: None }];
        Row { key, tools: &TOOLS, lines, measure: |_| Ok(Vec::new()) }
    }

    /// The verdicts on the last of these rows, each with one figure of ours, nchan and nchan-auto; none: it failed.
    fn verdict(rows: &[(&'static str, Bar, [Option<f64>; 3])]) -> String {
        let mut table = Table::new(&TOOLS);
        for (key, bar, figures) in rows {
            let cell =
                |figure: &Option<f64>| Some(figure.map(|is| vec![is]).ok_or(anyhow::anyhow!("failed")));
            table.add(&row(key, *bar), vec![figures.iter().map(cell).collect()]);
        }
        let last = table.lines.last().expect("a line");
        table.verdict(last, last.bars[0])
    }

    #[test]
    fn ours_is_compared_with_the_better_form_of_a_peer() {
        let least = Bar::LeastOf(Tool::Ours, 20.0, Tool::Nchan);
        let most = Bar::MostOf(Tool::Ours, 1.0, Tool::Nchan);
        let of = |bar, figures| verdict(&[("row", bar, figures)]);
        assert_eq!(of(least, [Some(300.0), Some(10.0), Some(20.0)]), "ours >= 20 x nchan-auto: 15.0 MISSED");
        assert_eq!(of(least, [Some(300.0), Some(15.0), Some(5.0)]), "ours >= 20 x nchan: 20.0 met");
        assert_eq!(of(most, [Some(9.0), Some(10.0), Some(6.0)]), "ours <= 1 x nchan-auto: 1.50 MISSED");
        assert_eq!(of(most, [Some(9.0), Some(10.0), Some(12.0)]), "ours <= 1 x nchan: 0.900 met");
        assert_eq!(of(most, [Some(9.0), Some(10.0), None]), "ours <= 1 x nchan: - not measured");
    }

    #[test]
    fn a_bar_may_name_the_first_figure_of_another_row() {
        let bar = Bar::LeastOfRow(Tool::Ours, 20.0, Tool::Nchan, "full");
        let rows = [("part", bar, [Some(1000.0), Some(500.0), Some(500.0)])];
        assert_eq!(verdict(&rows), "ours >= 20 x nchan (full): - not measured");
        let full = ("full", Bar::Least(Tool::Ours, 1.0), [Some(5000.0), Some(10.0), Some(40.0)]);
        assert_eq!(verdict(&[full, rows[0]]), "ours >= 20 x nchan-auto (full): 25.0 met");
    }
}
