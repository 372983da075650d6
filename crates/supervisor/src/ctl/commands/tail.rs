//! The commands that show one log: `tail`, `maintail`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::client::CallError;
use super::super::fault::FaultCode;
use super::super::trouble::{Trouble, described, repr};
use super::super::xmlrpc::Value;
use super::{Done, Session, is_fault};

/// Bytes of a log that are shown unless another number is given.
pub(super) const TAIL_BYTES: i64 = 1600;

/// What may stand in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b':').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The address of a log that is followed.
pub(super) fn log_path(name: &str, channel: &str) -> String {
    format!("/logtail/{}/{channel}", utf8_percent_encode(name, PATH))
}

/// What `tail` and `maintail` are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Amount {
    Bytes(i64),
    Follow,
}

impl Amount {
    /// From `-f` or `-100`.
    fn parse(modifier: Option<&str>) -> Option<Self> {
        match modifier.map(|modifier| modifier.strip_prefix('-')) {
            None => Some(Self::Bytes(TAIL_BYTES)),
            Some(Some("f")) => Some(Self::Follow),
            Some(Some(number)) => number.parse().ok().map(Self::Bytes),
            Some(None) => None,
        }
    }
}

impl Session<'_> {
    pub(super) async fn tail(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let (modifier, rest) = match args {
            [modifier, rest @ ..] if modifier.starts_with('-') => (Some(*modifier), rest),
            rest => (None, rest),
        };
        let (name, channel) = match (args.len(), rest) {
            (0, _) => return self.usage("Error: too few arguments", "tail"),
            (4.., _) => return self.usage("Error: too many arguments", "tail"),
            (_, []) => return self.error("Error: tail requires process name"),
            (_, [name]) => (*name, "stdout".to_owned()),
            (_, [name, .., channel]) => (*name, channel.to_lowercase()),
        };
        let method = match channel.as_str() {
            "stdout" => "supervisor.readProcessStdoutLog",
            "stderr" => "supervisor.readProcessStderrLog",
            _ => return self.error(&format!("Error: bad channel {}", repr(&channel))),
        };
        match Amount::parse(modifier) {
            None => self.error(&format!("Error: bad argument {}", modifier.unwrap_or_default())),
            Some(Amount::Follow) => self.follow(&log_path(name, &channel)).await,
            Some(Amount::Bytes(bytes)) => {
                let params = [name.into(), Value::Int(-bytes), Value::Int(0)];
                let read = self.daemon.call(method, &params).await;
                self.show_log(name, read)
            }
        }
    }

    pub(super) async fn maintail(&mut self, args: &[&str]) -> Done {
        if !self.up().await? {
            return Ok(());
        }
        let modifier = match args {
            [] => None,
            [modifier] => Some(*modifier),
            _ => return self.usage("Error: too many arguments", "maintail"),
        };
        match Amount::parse(modifier) {
            None => self.error(&format!("Error: bad argument {}", modifier.unwrap_or_default())),
            Some(Amount::Follow) => self.follow("/mainlogtail").await,
            Some(Amount::Bytes(bytes)) => {
                let read = self.daemon.call("supervisor.readLog", &[Value::Int(-bytes), Value::Int(0)]).await;
                self.show_log("supervisord", read)
            }
        }
    }

    fn show_log(&mut self, name: &str, read: Result<Value, CallError>) -> Done {
        let error = match read {
            Ok(text) => return self.say(text.text().unwrap_or_default()),
            Err(error) => error,
        };
        let words = [
            (FaultCode::NoFile, "no log file"),
            (FaultCode::Failed, "unknown error reading log"),
            (FaultCode::BadName, "no such process name"),
        ];
        match words.iter().find(|(code, _)| is_fault(&error, *code)) {
            Some((_, words)) => self.error(&format!("{name}: ERROR ({words})")),
            None => Err(error.into()),
        }
    }

    async fn follow(&mut self, path: &str) -> Done {
        self.say("==> Press Ctrl-C to exit <==")?;
        self.output.out.flush()?;
        let daemon = self.daemon.clone();
        let followed = self.until_interrupt(async |session| {
            let out = &mut *session.output.out;
            let followed = daemon.follow(path, async |piece| {
                out.write_all(&piece)?;
                Ok::<(), Trouble>(out.flush()?)
            });
            match followed.await {
                Err(Trouble::Call(error)) => session.log_error(path, &error),
                other => other,
            }
        });
        if followed.await? { self.say("") } else { Ok(()) }
    }

    /// Says why a log cannot be followed; the genuine client does that beside the output and goes on.
    pub(super) fn log_error(&mut self, path: &str, error: &CallError) -> Done {
        let why = match error {
            CallError::Status(status) => format!("Cannot read, status code {}", status.as_u16()),
            CallError::Unauthorized => "Cannot read, status code 401".to_owned(),
            error => {
                let (class, text) = described(error);
                format!("Cannot connect, error: <class '{class}'> ({text})")
            }
        };
        writeln!(self.output.err, "{}{path} {why}", self.daemon.url)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modifier_is_f_or_a_number_of_bytes() {
        for (modifier, expected) in [
            (None, Some(Amount::Bytes(1600))),
            (Some("-f"), Some(Amount::Follow)),
            (Some("-100"), Some(Amount::Bytes(100))),
            (Some("--5"), Some(Amount::Bytes(-5))),
            (Some("-x"), None),
            (Some("-"), None),
            (Some("5"), None),
        ] {
            assert_eq!(Amount::parse(modifier), expected, "{modifier:?}");
        }
    }

    #[test]
    fn a_name_is_written_as_a_path_takes_it() {
        assert_eq!(log_path("g:a-b_c.d", "stdout"), "/logtail/g:a-b_c.d/stdout");
        assert_eq!(log_path("é/%", "stderr"), "/logtail/%C3%A9%2F%25/stderr");
    }
}
