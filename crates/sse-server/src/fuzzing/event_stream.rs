//! A browser's parser for an event stream (WHATWG HTML 9.2.6), without anything of ours.

/// An event as a page gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatched {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: String,
}

/// What a page gets of a whole stream. An event without its blank line is none.
pub(crate) fn parse(wire: &[u8]) -> Vec<Dispatched> {
    let text = String::from_utf8_lossy(wire).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut id, mut event, mut data) = (String::new(), String::new(), String::new());
    let mut dispatched = Vec::new();
    let Some((lines, _)) = text.rsplit_once('\n') else { return dispatched };
    for line in lines.split('\n') {
        if line.is_empty() {
            let (event, mut data) = (std::mem::take(&mut event), std::mem::take(&mut data));
            if data.pop().is_some() {
                let event = if event.is_empty() { "message".to_owned() } else { event };
                dispatched.push(Dispatched { id: id.clone(), event, data });
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            "event" => value.clone_into(&mut event),
            "data" => data += &format!("{value}\n"),
            _ => {}
        }
    }
    dispatched
}

/// A text as a page gets it: its lines may have had other ends.
pub(crate) fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the standard, and its rules one by one.
    #[test]
    fn events_are_those_of_the_standard() {
        type Case = (&'static str, &'static [(&'static str, &'static str, &'static str)]);
        let cases: [Case; 9] = [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "message", "YHOO\n+2\n10")]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
                &[("1", "message", "first event"), ("", "message", "second event")],
            ),
            ("data\n\ndata\ndata\n\ndata:", &[("", "message", ""), ("", "message", "\n")]),
            ("data:test\n\ndata: test\n\n", &[("", "message", "test"), ("", "message", "test")]),
            ("id: 7\n\ndata: x\r\n\r\n", &[("7", "message", "x")]),
            ("event: a\rdata: x\r\revent: b\n\ndata: y\n\n", &[("", "a", "x"), ("", "message", "y")]),
            ("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", &[("1", "message", "a"), ("1", "message", "b")]),
            ("\u{feff}data: x\n\n", &[("", "message", "x")]),
            ("DATA: x\n data: y\n\n", &[]),
        ];
        for (wire, expected) in cases {
            let found = parse(wire.as_bytes());
            let found: Vec<_> = found
                .iter()
                .map(|seen| (seen.id.as_str(), seen.event.as_str(), seen.data.as_str()))
                .collect();
            assert_eq!(found, expected, "{wire:?}");
        }
    }
}
