//! The command `logs`: the output of many programs in one stream of whole lines, each with its program's name.

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::super::client::CallError;
use super::super::value::field;
use super::super::xmlrpc::Value;
use super::follow::{PIECES_MAX, Piece, follow};
use super::status::select;
use super::tail::{TAIL_BYTES, log_path};
use super::{Done, REFRESH, Session, full_name};

/// Outputs that are followed at the same time, each by a connection.
const FOLLOWED_MAX: usize = 256;

/// Bytes of a line that has not ended; a longer one is shown in parts.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes with which the daemon begins when a log is followed (supervisor 4.3 `http.py`).
const FOLLOW_BYTES: i64 = 1024;

/// One output of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    name: String,
    channel: &'static str,
    /// Which of the names it is, for its colour.
    index: usize,
}

/// The pieces of an output, put together to lines.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    /// What comes first is the end of a line whose beginning is not shown.
    begins_inside: bool,
}

impl Lines {
    /// The lines that `piece` ends.
    fn take(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            if self.partial.ends_with(b"\n") || self.partial.len() >= LINE_BYTES_MAX {
                let mut line = std::mem::take(&mut self.partial);
                line.pop_if(|byte| *byte == b'\n');
                if !std::mem::take(&mut self.begins_inside) {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// What is left when nothing more comes.
    fn end(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty() && !self.begins_inside).then_some(rest)
    }
}

/// The outputs of these programs that are kept in a log.
fn sources(infos: &[&Value]) -> Vec<Source> {
    let mut found = Vec::new();
    for (index, info) in infos.iter().enumerate() {
        for channel in ["stdout", "stderr"] {
            let source = Source { name: full_name(info), channel, index };
            if !field(info, &format!("{channel}_logfile")).is_empty() && !found.contains(&source) {
                found.push(source);
            }
        }
    }
    found
}

impl Session<'_> {
    pub(super) async fn logs(&mut self, args: &[&str]) -> Done {
        let (flags, names): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| **arg == "-f");
        if !self.up().await? {
            return Ok(());
        }
        let infos = self.infos().await?;
        let (matching, missing) = select(&infos, &names);
        for line in &missing {
            self.error(line)?;
        }
        let sources = sources(&matching);
        let width = sources.iter().map(|source| source.name.chars().count()).max().unwrap_or(0);
        if flags.is_empty() {
            return self.last_lines(&sources, width).await;
        }
        let followed = self.until_interrupt(async |session| session.all_lines(&sources, width).await);
        if followed.await? { self.ended_by_interrupt() } else { Ok(()) }
    }

    async fn read_tail(&self, source: &Source, bytes: i64) -> Result<(String, bool), CallError> {
        let method = match source.channel {
            "stdout" => "supervisor.tailProcessStdoutLog",
            _ => "supervisor.tailProcessStderrLog",
        };
        let params = [source.name.as_str().into(), Value::Int(0), Value::Int(bytes)];
        let answer = self.daemon.call(method, &params).await?;
        let text = answer.items().first().and_then(Value::text).unwrap_or_default().to_owned();
        let size = answer.items().get(1).and_then(Value::int).unwrap_or(0);
        Ok((text, size > bytes))
    }

    async fn last_lines(&mut self, sources: &[Source], width: usize) -> Done {
        for source in sources {
            let (text, begins_inside) = match self.read_tail(source, TAIL_BYTES).await {
                Ok(read) => read,
                // Nothing has been written yet.
                Err(CallError::Fault(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut lines = Lines { begins_inside, ..Lines::default() };
            let whole = lines.take(text.as_bytes());
            for line in whole.into_iter().chain(lines.end()) {
                self.log_line(source, width, &line)?;
            }
        }
        Ok(())
    }

    async fn all_lines(&mut self, sources: &[Source], width: usize) -> Done {
        if sources.len() > FOLLOWED_MAX {
            let found = sources.len();
            return self.error(&format!(
                "Error: logs -f follows at most {FOLLOWED_MAX} outputs and these are {found}: name fewer programs"
            ));
        }
        let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
        let mut lines: Vec<Lines> = Vec::new();
        let mut tasks = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let begins_inside = matches!(self.read_tail(source, FOLLOW_BYTES).await, Ok((_, true)));
            lines.push(Lines { begins_inside, ..Lines::default() });
            let path = log_path(&source.name, source.channel);
            tasks.push(follow(self.daemon.clone(), path, index, Some(REFRESH), sender.clone()));
        }
        drop(sender);
        while let Some((index, piece)) = pieces.recv().await {
            match piece {
                Piece::Bytes(bytes) => self.log_piece(&sources[index], width, &mut lines[index], &bytes)?,
                Piece::Failed(path, error) => self.log_error(&path, &error)?,
            }
        }
        for (source, rest) in sources.iter().zip(lines.iter_mut().map(Lines::end)) {
            if let Some(line) = rest {
                self.log_line(source, width, &line)?;
            }
        }
        Ok(())
    }

    fn log_piece(&mut self, source: &Source, width: usize, lines: &mut Lines, bytes: &Bytes) -> Done {
        for line in lines.take(bytes) {
            self.log_line(source, width, &line)?;
        }
        Ok(self.output.out.flush()?)
    }

    fn log_line(&mut self, source: &Source, width: usize, line: &[u8]) -> Done {
        let head = self.output.style.name(source.index, &format!("{:<width$} |", source.name));
        let mut whole = head.into_bytes();
        whole.push(b' ');
        whole.extend_from_slice(line);
        whole.push(b'\n');
        Ok(self.output.out.write_all(&whole)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_whole_lines() {
        let mut lines = Lines::default();
        for (piece, expected) in
            [(&b"a\nb"[..], &[&b"a"[..]][..]), (b"c", &[]), (b"\n\nd\n", &[b"bc", b"", b"d"]), (b"rest", &[])]
        {
            assert_eq!(lines.take(piece), expected);
        }
        assert_eq!((lines.end(), lines.end()), (Some(b"rest".to_vec()), None));
        let long = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(lines.take(&long).concat(), long);
    }

    #[test]
    fn the_end_of_a_line_without_its_beginning_is_not_shown() {
        let mut lines = Lines { begins_inside: true, ..Lines::default() };
        assert_eq!(lines.take(b"tail of"), Vec::<Vec<u8>>::new());
        assert_eq!(lines.take(b" it\nwhole\n"), [b"whole".to_vec()]);
        let mut lines = Lines { begins_inside: true, ..Lines::default() };
        lines.take(b"only");
        assert_eq!(lines.end(), None);
    }

    #[test]
    fn a_program_has_the_outputs_that_are_kept() {
        let info = |name: &str, stdout: &str, stderr: &str| {
            Value::Struct(vec![
                ("group".to_owned(), name.into()),
                ("name".to_owned(), name.into()),
                ("stdout_logfile".to_owned(), stdout.into()),
                ("stderr_logfile".to_owned(), stderr.into()),
            ])
        };
        let (a, b) = (info("a", "/a.out", "/a.err"), info("b", "/b.out", ""));
        let found: Vec<(String, &str)> =
            sources(&[&a, &b]).into_iter().map(|source| (source.name, source.channel)).collect();
        let expected = [("a", "stdout"), ("a", "stderr"), ("b", "stdout")];
        assert_eq!(found, expected.map(|(name, channel)| (name.to_owned(), channel)));
    }
}
