//! `GET /status` of a listener with `status_only`: how the programs are and their last lines, as JSON, and nothing else.

use serde_json::json;

use super::fault::Fault;
use super::method::Channel;
use super::xmlrpc::Value;

/// Where it is.
pub(super) const PATH: &str = "/status";
/// Programs of one answer; the rest is left out.
pub(super) const PROGRAMS_MAX: usize = 100;
/// Bytes of an output that are looked at.
pub(super) const TAIL_BYTES: i64 = 4096;
/// Lines of an output, and characters of each of them.
const LINES_MAX: usize = 10;
const LINE_CHARS_MAX: usize = 300;

/// A program in the making.
pub(super) struct Program {
    info: Value,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

impl Program {
    /// From the answer to `getProcessInfo`.
    pub(super) fn new(info: Value) -> Self {
        Self { info, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// How clients call it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.text("group"), self.text("name"))
    }

    /// Takes the answer to `tailProcessStdoutLog` or `tailProcessStderrLog`.
    pub(super) fn tail(&mut self, channel: Channel, answer: &Result<Value, Fault>) {
        let items = answer.as_ref().map(Value::items).unwrap_or_default();
        let Some(text) = items.first().and_then(Value::text) else { return };
        let is_cut = matches!(items.get(2), Some(Value::Bool(true)));
        let lines = lines(text, is_cut);
        match channel {
            Channel::Stdout => self.stdout = lines,
            Channel::Stderr => self.stderr = lines,
        }
    }

    fn text(&self, name: &str) -> &str {
        self.info.member(name).and_then(Value::text).unwrap_or_default()
    }

    fn json(&self) -> serde_json::Value {
        let ready = match self.info.member("ready") {
            Some(Value::Bool(ready)) => Some(*ready),
            _ => None,
        };
        json!({
            "name": self.text("name"), "group": self.text("group"), "state": self.text("statename"),
            "description": self.text("description"), "ready": ready, "stdout": self.stdout, "stderr": self.stderr,
        })
    }
}

/// The answer's text.
pub(super) fn write(programs: &[Program]) -> String {
    json!({"programs": programs.iter().map(Program::json).collect::<Vec<_>>()}).to_string()
}

/// The last whole lines of a text, without what a terminal would obey. Of a text that was cut the first one is not whole.
fn lines(text: &str, is_cut: bool) -> Vec<String> {
    let skipped = usize::from(is_cut);
    let lines: Vec<&str> = text.lines().skip(skipped).filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(LINES_MAX);
    lines[first..].iter().map(|line| readable(line)).collect()
}

fn readable(line: &str) -> String {
    let mut chars = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut text: String = chars.by_ref().take(LINE_CHARS_MAX).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_last_whole_ones_and_harmless() {
        let many: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let last: Vec<String> = (11..=20).map(|n| format!("line {n}")).collect();
        assert_eq!(lines(&many, false), last);
        assert_eq!(lines("half\nwhole\n\n  \nno end", true), ["whole", "no end"]);
        assert_eq!(lines("half", true), [""; 0]);
        assert_eq!(lines("a\x1b[31mb\tc\r\n", false), ["a [31mb c"]);
        let long = "ü".repeat(LINE_CHARS_MAX);
        assert_eq!(lines(&long, false), std::slice::from_ref(&long));
        assert_eq!(lines(&format!("{long}x"), false), [format!("{long}…")]);
    }
}
