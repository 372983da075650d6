//! What ends a command of the client before its end, in the words of the genuine one.

use std::io;

use super::client::CallError;

/// Why a command cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The output cannot be written.
    #[error("{0}")]
    Output(#[from] io::Error),
    /// A call failed in a way that the command has no words for.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Something that the genuine client raises as an exception of Python.
    #[error("{text}")]
    Raised {
        /// The class of the exception.
        class: &'static str,
        /// Its text.
        text: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Trouble {
    /// A result code that the command does not know.
    pub(super) fn unknown_code(code: i64, name: &str) -> Self {
        Self::Raised { class: "ValueError", text: format!("Unknown result code {code} for {name}") }
    }

    /// The input ended where an answer was expected.
    pub(super) fn end_of_input() -> Self {
        Self::Raised { class: "EOFError", text: "EOF when reading a line".to_owned() }
    }

    /// The line that the genuine client prints. It ends with a file and a line of Python there; scripts that
    /// look for the beginning find it, and the end names this program and no line.
    pub(super) fn line(&self) -> String {
        let (class, text) = match self {
            Self::Output(error) => ("OSError", error.to_string()),
            Self::Call(error) => described(error),
            Self::Raised { class, text } => (*class, text.clone()),
            Self::Interrupted => ("KeyboardInterrupt", String::new()),
        };
        format!("error: <class '{class}'>, {text}: file: supervisorctl line: 0")
    }
}

/// The class of the exception that the genuine client raises, and its text.
pub(super) fn described(error: &CallError) -> (&'static str, String) {
    match error {
        CallError::Fault(fault) => {
            ("xmlrpc.client.Fault", format!("<Fault {}: {}>", fault.code, repr(&fault.text)))
        }
        CallError::Connect { source, .. } => connecting(source),
        CallError::Address(text) => ("ValueError", text.clone()),
        CallError::Unauthorized => protocol("401 Unauthorized"),
        CallError::Status(status) => protocol(&status.to_string()),
        CallError::HungUp => {
            ("http.client.RemoteDisconnected", "Remote end closed connection without response".to_owned())
        }
        CallError::Protocol(text) => ("xml.parsers.expat.ExpatError", text.clone()),
    }
}

fn protocol(status: &str) -> (&'static str, String) {
    ("xmlrpc.client.ProtocolError", format!("<ProtocolError for 127.0.0.1/RPC2: {status}>"))
}

fn connecting(source: &io::Error) -> (&'static str, String) {
    let Some(number) = source.raw_os_error() else {
        return ("socket.gaierror", "[Errno -2] Name or service not known".to_owned());
    };
    let class = match source.kind() {
        io::ErrorKind::NotFound => "FileNotFoundError",
        io::ErrorKind::ConnectionRefused => "ConnectionRefusedError",
        io::ErrorKind::PermissionDenied => "PermissionError",
        io::ErrorKind::ConnectionReset => "ConnectionResetError",
        io::ErrorKind::TimedOut => "TimeoutError",
        _ => "OSError",
    };
    (class, format!("[Errno {number}] {}", nix::errno::Errno::from_raw(number).desc()))
}

/// A text as Python shows it: in single quotes, or in double ones if it holds a single one and no double one.
pub(super) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Fault, FaultCode};
    use super::*;

    #[test]
    fn what_is_unexpected_begins_as_it_does_at_the_genuine_client() {
        let connect = |source| CallError::Connect { url: String::new(), source };
        for (error, expected) in [
            (
                CallError::Fault(Fault::bare(FaultCode::ShutdownState)),
                "error: <class 'xmlrpc.client.Fault'>, <Fault 6: 'SHUTDOWN_STATE'>: file: ",
            ),
            (
                CallError::Fault(Fault { code: 2, text: "it's".to_owned() }),
                "error: <class 'xmlrpc.client.Fault'>, <Fault 2: \"it's\">: file: ",
            ),
            (
                connect(io::Error::from_raw_os_error(2)),
                "error: <class 'FileNotFoundError'>, [Errno 2] No such file or directory: file: ",
            ),
            (
                connect(io::Error::from_raw_os_error(111)),
                "error: <class 'ConnectionRefusedError'>, [Errno 111] Connection refused: file: ",
            ),
            (
                connect(io::Error::from_raw_os_error(13)),
                "error: <class 'PermissionError'>, [Errno 13] Permission denied: file: ",
            ),
            (
                connect(io::Error::other("no such host")),
                "error: <class 'socket.gaierror'>, [Errno -2] Name or service not known: file: ",
            ),
            (
                CallError::Status(hyper::StatusCode::INTERNAL_SERVER_ERROR),
                "error: <class 'xmlrpc.client.ProtocolError'>, <ProtocolError for 127.0.0.1/RPC2: 500 Internal Server Error>: file: ",
            ),
        ] {
            let line = Trouble::Call(error).line();
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn texts_are_quoted_as_python_quotes_them() {
        for (text, expected) in [
            ("x", "'x'"),
            ("x'y", "\"x'y\""),
            ("x'y\"", "'x\\'y\"'"),
            ("a\\\n\t\u{1b}é", "'a\\\\\\n\\t\\x1bé'"),
        ] {
            assert_eq!(repr(text), expected);
        }
    }
}
