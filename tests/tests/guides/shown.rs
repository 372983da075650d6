//! What a guide shows beside what a command printed: ids, times and the like differ, and `…` stands for anything.

use regex::Regex;

/// What differs from run to run, and what stands for it.
const MASKS: [(&str, &str); 5] = [
    (r"\b\d{13}-\d+", "ID"),
    (r#""[0-9a-f]{16}""#, "CONNECTION"),
    (r"\bretry: \d+", "RETRY"),
    (r"\bpid \d+\b", "PID"),
    (r"\b\d+:\d\d:\d\d\b", "TIME"),
];

/// What is left when everything that differs from run to run is the same.
pub(crate) fn masked(text: &str) -> String {
    let mut text: String = text.trim_end().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for (pattern, word) in MASKS {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, word).into_owned();
    }
    text
}

/// Matches what is shown: a line `…` is any number of lines, and `…` in a line the rest or a part of it.
fn pattern(shown: &str) -> String {
    masked(shown)
        .lines()
        .map(|line| match line {
            "…" => "(?:.*\n)*?".to_owned(),
            line => {
                let parts: Vec<String> = line.split('…').map(regex::escape).collect();
                format!("{}\n", parts.join(".*"))
            }
        })
        .collect()
}

/// Whether a command printed what is shown, and nothing else.
pub(crate) fn is_all(shown: &str, printed: &str) -> bool {
    Regex::new(&format!("^(?:{})$", pattern(shown))).expect("a pattern").is_match(&masked(printed))
}

/// Whether what is shown is somewhere in what was printed.
pub(crate) fn is_part(shown: &str, printed: &str) -> bool {
    Regex::new(&format!("(?m:^){}", pattern(shown))).expect("a pattern").is_match(&masked(printed))
}

#[test]
fn ids_times_and_ellipses_are_not_compared_and_everything_else_is() {
    let id = "{\"id\":\"1795468560833-0\",\"receivers\":1}\n";
    assert!(is_all(id, "{\"id\":\"1795468569999-7\",\"receivers\":1}\n"));
    assert!(!is_all(id, "{\"id\":\"1795468569999-7\",\"receivers\":2}\n"));
    assert!(!is_all(id, "{\"id\":\"1795468569999-7\",\"receivers\":1}\nmore\n"));
    assert!(!is_all(id, "{\"id\":\"x\",\"receivers\":1}\n"));
    assert!(!is_all(id, ""));
    assert!(is_all("web   RUNNING   pid 1, uptime 0:00:01\n", "web   RUNNING   pid 77, uptime 1:02:03\n"));
    assert!(is_all("a …\n…\nend\n", "a b\nc\nd\nend\n"));
    assert!(is_all("…\nend\n", "end\n"));
    assert!(!is_all("a …\nend\n", "a b\nc\nend\n"));
    assert!(is_part("b\nc\n", "a\nb\nc\nd\n"));
    assert!(!is_part("b\nd\n", "a\nb\nc\nd\n"));
    assert!(!is_part("b\n", "ab\n"));
}
