//! What differs from run to run: pids, times, durations, folders, ports, the random part of a log's name.

use regex::Regex;

/// The patterns, and the words of one run.
pub(crate) struct Mask {
    words: Vec<(String, String)>,
    patterns: Vec<(Regex, &'static str)>,
}

const PATTERNS: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", "TIME "),
    (r"\bpid([: ])[1-9]\d*", "pid${1}PID"),
    (r"uptime (\d+ days?, )?\d+:\d\d:\d\d", "uptime UPTIME"),
    (r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d\d \d\d:\d\d [AP]M", "WHEN"),
    (r#""pid": [1-9]\d*"#, r#""pid": PID"#),
    (r#""(start|stop|now)": [1-9]\d*"#, r#""$1": TIME"#),
    (r"\([1-9]\d*\) with SIGKILL", "(PID) with SIGKILL"),
    (r"(-std(?:out|err)---\S+?-)[A-Za-z0-9_]{8}\.log", "${1}RANDOM.log"),
    (r"0x[0-9a-f]{6,}", "ADDRESS"),
    (r" at \d{10,} ", " at ADDRESS "),
    (r"^(TIME DEBG )fd \d+ closed", "${1}fd FD closed"),
    (r"when:\d+", "when:TIME"),
    (r"^((?:date|last-modified): ).*", "${1}WHEN"),
];

impl Mask {
    /// `words` are replaced first, in their order.
    pub(crate) fn new(words: Vec<(String, String)>) -> Self {
        let patterns = PATTERNS.iter().map(|(pattern, put)| (Regex::new(pattern).expect("a pattern"), *put));
        Self { words, patterns: patterns.collect() }
    }

    /// The lines of a text, masked.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(|line| self.line(line)).collect();
        forget_short_waits(&mut lines);
        // Which of several children is reaped first, and how often a wait is told, says nothing.
        for run in lines.chunk_by_mut(|one, next| kind(one).is_some() && kind(one) == kind(next)) {
            run.sort_unstable();
        }
        let mut told = std::collections::BTreeSet::new();
        let repeats =
            |line: &str| line.contains(" INFO waiting for ") || line.contains(" DEBG received SIGCHLD ");
        lines.retain(|line| !repeats(line) || told.insert(line.clone()));
        lines
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (word, put) in &self.words {
            if line.contains(word.as_str()) {
                line = line.replace(word.as_str(), put);
            }
        }
        for (pattern, put) in &self.patterns {
            if pattern.is_match(&line) {
                line = pattern.replace_all(&line, *put).into_owned();
            }
        }
        line
    }
}

/// A wait that ends before anything else happens is told or not as it falls.
fn forget_short_waits(lines: &mut Vec<String>) {
    let waits = |line: &str| line.contains(" INFO waiting for ") && line.ends_with(" to stop");
    let mut short = false;
    for at in (0..lines.len()).rev() {
        if !waits(&lines[at]) {
            short = lines[at].contains(" stopped: ") && !lines[at].ends_with("SIGKILL)");
        } else if short {
            lines.remove(at);
        }
    }
}

/// What an event is that may come at the same time as others of its kind.
fn kind(line: &str) -> Option<&'static str> {
    const KINDS: [&str; 4] = [" stopped: ", " exited: ", ": stopped", " DEBG fd FD closed"];
    KINDS.into_iter().find(|kind| line.contains(kind))
}
