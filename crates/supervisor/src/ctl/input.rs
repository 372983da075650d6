//! What the user types, line by line, while Ctrl-C is heard.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

/// Bytes of a line that are kept; what is longer comes in pieces.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Text(String),
    /// There is nothing more.
    End,
    /// Ctrl-C came instead.
    Interrupted,
}

/// Lines of a file, with what was read beyond the last of them.
#[derive(Debug)]
pub(super) struct Input {
    file: File,
    ahead: Vec<u8>,
    ended: bool,
}

impl Input {
    /// The standard input.
    pub(super) fn standard() -> io::Result<Self> {
        Ok(Self::new(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    fn new(file: File) -> Self {
        Self { file, ahead: Vec::new(), ended: false }
    }

    /// Waits for a line, its end, or for `interrupt` to become readable.
    pub(super) fn line(&mut self, interrupt: Option<BorrowedFd<'_>>) -> io::Result<Line> {
        loop {
            let end = self.ahead.iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.or((self.ahead.len() >= LINE_BYTES_MAX).then(|| self.ahead.len() - 1)) {
                let rest = self.ahead.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.ahead, rest);
                line.pop_if(|byte| *byte == b'\n');
                return Ok(Line::Text(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.ended {
                self.ended = false;
                if self.ahead.is_empty() {
                    return Ok(Line::End);
                }
                let line = std::mem::take(&mut self.ahead);
                return Ok(Line::Text(String::from_utf8_lossy(&line).into_owned()));
            }
            if !readable(self.file.as_fd(), interrupt)? {
                return Ok(Line::Interrupted);
            }
            let mut bytes = [0; 4096];
            match self.file.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(read) => self.ahead.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether there is something to read, and not an interrupt before.
fn readable(file: BorrowedFd<'_>, interrupt: Option<BorrowedFd<'_>>) -> io::Result<bool> {
    loop {
        let mut fds = vec![PollFd::new(file, PollFlags::POLLIN)];
        fds.extend(interrupt.map(|interrupt| PollFd::new(interrupt, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(!fds.get(1).and_then(PollFd::any).unwrap_or(false)),
        }
    }
}

/// Asks for a password at the terminal, without showing it. Without a terminal it is a line of `input`.
pub(super) fn password(
    prompt: &str,
    input: &mut Input,
    interrupt: Option<BorrowedFd<'_>>,
) -> io::Result<Line> {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return input.line(interrupt);
    };
    let Ok(before) = tcgetattr(&terminal) else { return input.line(interrupt) };
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden)?;
    terminal.write_all(prompt.as_bytes())?;
    let line = terminal.try_clone().and_then(|terminal| Input::new(terminal).line(interrupt));
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &before)?;
    terminal.write_all(b"\n")?;
    line
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    fn pipe() -> (File, Input) {
        let (read, write) = io::pipe().unwrap();
        (File::from(OwnedFd::from(write)), Input::new(File::from(OwnedFd::from(read))))
    }

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    #[test]
    fn lines_come_one_by_one_and_the_last_needs_no_end() {
        let (mut write, mut input) = pipe();
        write.write_all(b"a\n\nb c\nlast").unwrap();
        drop(write);
        for expected in [text("a"), text(""), text("b c"), text("last"), Line::End, Line::End] {
            assert_eq!(input.line(None).unwrap(), expected);
        }
    }

    #[test]
    fn an_interrupt_ends_the_waiting_and_loses_nothing() {
        let (mut write, mut input) = pipe();
        let (interrupt, mut raise) = io::pipe().unwrap();
        raise.write_all(b"x").unwrap();
        assert_eq!(input.line(Some(interrupt.as_fd())).unwrap(), Line::Interrupted);
        write.write_all(b"a\n").unwrap();
        assert_eq!(input.line(None).unwrap(), text("a"));
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let (mut write, mut input) = pipe();
        let writer = std::thread::spawn(move || write.write_all(&vec![b'x'; LINE_BYTES_MAX + 10]));
        let Line::Text(first) = input.line(None).unwrap() else { panic!("a line") };
        assert!(first.len() >= LINE_BYTES_MAX, "{}", first.len());
        let Line::Text(rest) = input.line(None).unwrap() else { panic!("a line") };
        assert_eq!(first.len() + rest.len(), LINE_BYTES_MAX + 10);
        writer.join().unwrap().unwrap();
    }
}
