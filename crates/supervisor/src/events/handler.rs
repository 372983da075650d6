//! What a listener's result means: by supervisord's own handler, or by the one of supervisor-stdout.

/// The answer that says that the event was processed; any other rejects it.
const OK: &[u8] = b"OK";
/// Bytes of a result that are shown; the rest of it is not.
const SHOWN_BYTES_MAX: usize = 1 << 20;

/// Who looks at the results of a pool's listeners, `result_handler` in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResultHandler {
    /// `OK` processes the event, anything else rejects it (supervisor 4.3 `dispatchers.py:default_handler`).
    #[default]
    Default,
    /// The result is the payload of a `PROCESS_LOG` event, and its lines are shown on the daemon's stdout, each with the
    /// names of process and channel: `web stdout | a line`. It rejects nothing.
    Stdout,
}

/// What is to be done about a result.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Whether the event is done with.
    pub(super) ok: bool,
    /// Lines for the daemon's stdout.
    pub(super) shown: Vec<u8>,
    /// What the result lacks to be shown.
    pub(super) lack: Option<String>,
}

impl ResultHandler {
    /// Their names in the configuration.
    pub const NAMES: [(&str, Self); 2] = [
        ("supervisor.dispatchers:default_handler", Self::Default),
        ("supervisor_stdout:event_handler", Self::Stdout),
    ];

    /// The handler of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, handler)| handler)
    }

    /// How much of a result it looks at.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            // One more than can be right.
            Self::Default => OK.len() + 1,
            Self::Stdout => SHOWN_BYTES_MAX,
        }
    }

    /// Judges a result of `length` bytes that begins with these.
    pub(super) fn judge(self, result: &[u8], length: u64) -> Judgement {
        if self == Self::Default || result == OK {
            return Judgement { ok: result == OK, shown: Vec::new(), lack: None };
        }
        let lost = length - result.len() as u64;
        match lines(result) {
            Some(shown) if lost > 0 => Judgement {
                ok: true,
                shown,
                lack: Some(format!("{lost} bytes of its result are too many to be shown")),
            },
            Some(shown) => Judgement { ok: true, shown, lack: None },
            None => {
                let lack = "its result names no process and channel, and is not shown".to_owned();
                Judgement { ok: true, shown: Vec::new(), lack: Some(lack) }
            }
        }
    }
}

/// The lines of an event's data, each with whose they are. The last is ended if it is not.
fn lines(result: &[u8]) -> Option<Vec<u8>> {
    let (head, data) = result.split_at(memchr::memchr(b'\n', result)?);
    let head = std::str::from_utf8(head).ok()?;
    let word = |name: &str| {
        head.split_whitespace().find_map(|word| word.split_once(':').filter(|(key, _)| *key == name))
    };
    let ((_, process), (_, channel)) = (word("processname")?, word("channel")?);
    let mut shown = Vec::with_capacity(data.len() + 64);
    for line in data[1..].split_inclusive(|byte| *byte == b'\n') {
        shown.extend_from_slice(format!("{process} {channel} | ").as_bytes());
        shown.extend_from_slice(line);
    }
    if shown.last().is_some_and(|last| *last != b'\n') {
        shown.push(b'\n');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(result: &[u8], expected: Option<&[u8]>) {
        let lack = expected
            .is_none()
            .then(|| "its result names no process and channel, and is not shown".to_owned());
        let shown = expected.unwrap_or_default().to_vec();
        let judged = ResultHandler::Stdout.judge(result, result.len() as u64);
        assert_eq!(judged, Judgement { ok: true, shown, lack }, "{}", String::from_utf8_lossy(result));
    }

    #[test]
    fn lines_are_shown_with_whose_they_are() {
        let head = "processname:web groupname:site pid:7 channel:stderr\n";
        for (data, expected) in [
            ("one\n", "web stderr | one\n"),
            ("one", "web stderr | one\n"),
            ("one\n\n two: three\n", "web stderr | one\nweb stderr | \nweb stderr |  two: three\n"),
            ("", ""),
        ] {
            shows(format!("{head}{data}").as_bytes(), Some(expected.as_bytes()));
        }
        shows(b"channel:stdout processname:a:b\n\xff\0", Some(b"a:b stdout | \xff\0\n"));
    }

    #[test]
    fn a_result_that_says_not_whose_it_is_is_not_shown() {
        for result in [
            &b"processname:web channel:stdout"[..],
            b"processname:web\nline\n",
            b"channel:stdout\nline\n",
            b"processname:\xff channel:stdout\nline\n",
            b"FAIL",
            b"",
        ] {
            shows(result, None);
        }
        // A listener that answers as all others do is not told about at every event.
        shows(b"OK", Some(b""));
    }
}
