//! One line for each request on stdout, written beside the server: a reader that stalls costs lines, not clients.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait for a slow reader; one more is dropped and counted.
const LINES_MAX: usize = 8192;

/// How long lines are gathered before they are written: a thread woken for each would cost a busy server more than
/// the requests themselves.
const GATHER: Duration = Duration::from_millis(20);

/// One request, done.
#[derive(Debug)]
pub struct Line<'a> {
    /// The client's real address.
    pub address: IpAddr,
    /// Method, target and version.
    pub request: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the answer.
    pub bytes: u64,
    /// From the request to the end of the answer.
    pub took: Duration,
    /// What the client calls itself.
    pub user_agent: Option<&'a str>,
    /// For a stream: why it ended, and how many events it got.
    pub stream: Option<(&'static str, u64)>,
}

/// Where lines go.
#[derive(Debug, Clone)]
pub struct AccessLog {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

/// Waits for the last line.
#[derive(Debug)]
pub struct Flush(std::sync::mpsc::Receiver<()>);

impl AccessLog {
    /// Starts the thread that writes to `out`.
    pub fn start(mut out: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let (lines, taken) = sync_channel::<String>(LINES_MAX);
        let (done, flushed) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            while let Ok(mut text) = taken.recv() {
                thread::park_timeout(GATHER);
                while text.len() < 64 << 10
                    && let Ok(more) = taken.try_recv()
                {
                    text.push_str(&more);
                }
                let lost = counted.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    log::warn!("{lost} lines of the access log were dropped: its reader is too slow");
                }
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
            let _ = done.send(());
        })?;
        Ok((Self { lines, lost }, Flush(flushed)))
    }

    /// Writes a line, or counts it as lost.
    pub fn write(&self, line: &Line<'_>) {
        if self.lines.try_send(text(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Flush {
    /// Waits until everything is written, not for long. Every log must have been dropped.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(Duration::from_millis(500));
    }
}

/// The line as it is written.
pub(crate) fn text(line: &Line<'_>) -> String {
    let time = jiff::Timestamp::now();
    let mut out = String::with_capacity(160);
    // Writing to a String cannot fail.
    let _ = write!(out, "{} [{time:.3}] \"", line.address);
    escape(&mut out, line.request);
    let _ = write!(out, "\" {} {} {:.3}s \"", line.status, line.bytes, line.took.as_secs_f64());
    escape(&mut out, line.user_agent.unwrap_or("-"));
    out.push('"');
    if let Some((reason, events)) = line.stream {
        let _ = write!(out, " end={reason} events={events}");
    }
    out.push('\n');
    out
}

/// No client writes a line of its own, ends a quoted field, or colours a terminal.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_a_line() {
        let line = Line {
            address: IpAddr::from([127, 0, 0, 1]),
            request: "GET /sse HTTP/1.1",
            status: 200,
            bytes: 17,
            took: Duration::from_millis(1500),
            user_agent: Some("a\"\n10.0.0.1 [now] \u{1b}[31m"),
            stream: Some(("client", 3)),
        };
        let text = text(&line);
        let after_time = text.split_once("] ").unwrap().1;
        assert_eq!(
            after_time,
            "\"GET /sse HTTP/1.1\" 200 17 1.500s \"a\\\"\\u{a}10.0.0.1 [now] \\u{1b}[31m\" end=client events=3\n"
        );
    }
}
