//! Bytes of a program as text in an event or in the log.

use log::Level;

/// A sentence for the daemon's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How important it is.
    pub level: Level,
    /// The sentence.
    pub text: String,
}

impl Line {
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { level, text }
    }
}

/// The bytes if they are UTF-8; else `Undecodable:` and the bytes as a Python literal, as supervisord writes them.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("Undecodable: {}", literal(bytes)),
    }
}

/// What Python's `repr` makes of bytes.
fn literal(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b' '..=b'~' if char::from(byte) == quote => out.extend(['\\', quote]),
            b' '..=b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_python_writes_them() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"plain\n", "plain\n"),
            ("gr\u{fc}n \u{1f600}".as_bytes(), "gr\u{fc}n \u{1f600}"),
            (b"\xff", "Undecodable: b'\\xff'"),
            (b"a\t\r\n\\\x00\x7f\xc3", "Undecodable: b'a\\t\\r\\n\\\\\\x00\\x7f\\xc3'"),
            (b"it's \xff", "Undecodable: b\"it's \\xff\""),
            (b"it's \"\xff\"", "Undecodable: b'it\\'s \"\\xff\"'"),
            (b"\"\xff\"", "Undecodable: b'\"\\xff\"'"),
            (b"\xed\xa0\x80", "Undecodable: b'\\xed\\xa0\\x80'"),
        ] {
            assert_eq!(text(bytes), expected);
        }
    }
}
