//! Lines of programs on their way to the system's log: nobody waits for whoever reads there.
//!
//! A line is a datagram as the C library's `syslog` makes it (RFC 3164: user, informational), in the words of
//! supervisor 4.3: `<14>Jan 31 12:00:00 supervisord: web the line`.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Where the system's log listens.
pub const SYSTEM: &str = "/dev/log";

/// A longer line is several.
const LINE_BYTES_MAX: usize = 8192;
/// Lines that wait for a slow reader; more are dropped and counted.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// The longest that one line may take to be delivered.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// From one try to find somebody who listens to the next.
const CONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// The daemon's own log does not say more often than this what was lost here.
const TELL_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end waits for what is still on its way.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// The way to the system's log that all programs share.
#[derive(Debug, Clone)]
pub struct SyslogQueue {
    lines: Sender<Vec<u8>>,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    waiting_bytes: AtomicUsize,
    lost: AtomicU64,
}

/// Waits for the end of the queue.
#[derive(Debug)]
pub struct SyslogDone(Receiver<()>);

impl SyslogQueue {
    /// Starts the thread that sends, to the socket at this path ([`SYSTEM`]).
    pub fn start(path: PathBuf) -> io::Result<(Self, SyslogDone)> {
        // Bounded by the bytes that wait.
        let (lines, taken) = channel::<Vec<u8>>();
        let (done, ended) = sync_channel(1);
        let load = Arc::new(Load::default());
        let shared = Arc::clone(&load);
        thread::Builder::new().name("syslog".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut sink = Sink::new(path);
            for line in taken {
                shared.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                sink.lost += shared.lost.swap(0, Ordering::Relaxed);
                let told = sink.send(&line, Instant::now());
                let path = sink.path.display();
                match told {
                    Told::Nothing => {}
                    Told::Failed(error) => {
                        log::error!("cannot write to {path}, lines are lost from now on: {error}")
                    }
                    Told::Resumed(lost) => log::warn!("writing to {path} again, {lost} lines were lost"),
                }
            }
            let _ = done.send(());
        })?;
        Ok((Self { lines, load }, SyslogDone(ended)))
    }

    /// The lines of one output of a process.
    #[must_use]
    pub fn lines(&self, process: &str) -> SyslogLines {
        SyslogLines { queue: self.clone(), process: process.to_owned(), open: Vec::new() }
    }

    fn push(&self, line: Vec<u8>) {
        let length = line.len();
        let waiting = self.load.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        if waiting + length > WAITING_BYTES_MAX || self.lines.send(line).is_err() {
            self.load.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            self.load.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl SyslogDone {
    /// Waits, not for long, until everything is sent. Every queue and its lines must have been dropped.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// Output that becomes lines of the system's log.
#[derive(Debug)]
pub struct SyslogLines {
    queue: SyslogQueue,
    process: String,
    /// The beginning of a line whose end has not come yet.
    open: Vec<u8>,
}

impl SyslogLines {
    /// Takes output as it comes.
    pub fn write(&mut self, mut bytes: &[u8]) {
        let head = self.head();
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.extend(&head, &bytes[..end]);
            self.send(&head);
            bytes = &bytes[end + 1..];
        }
        self.extend(&head, bytes);
    }

    /// The output has ended, with a whole line or not.
    pub fn end(&mut self) {
        if !self.open.is_empty() {
            let head = self.head();
            self.send(&head);
        }
    }

    fn head(&self) -> Vec<u8> {
        let time = jiff::ZonedDateTime::now().strftime("%b %e %H:%M:%S").to_string();
        format!("<14>{time} supervisord: {} ", self.process).into_bytes()
    }

    fn extend(&mut self, head: &[u8], mut bytes: &[u8]) {
        while self.open.len() + bytes.len() > LINE_BYTES_MAX {
            let (now, later) = bytes.split_at(LINE_BYTES_MAX - self.open.len());
            self.open.extend_from_slice(now);
            self.send(head);
            bytes = later;
        }
        self.open.extend_from_slice(bytes);
    }

    fn send(&mut self, head: &[u8]) {
        let mut line = Vec::with_capacity(head.len() + self.open.len());
        line.extend_from_slice(head);
        // A reader may take this byte for the end.
        line.extend(self.open.drain(..).map(|byte| if byte == 0 { b' ' } else { byte }));
        self.queue.push(line);
    }
}

/// What an operator should hear.
#[derive(Debug)]
enum Told {
    Nothing,
    Failed(io::Error),
    /// So many lines were lost in between.
    Resumed(u64),
}

/// The socket, and what did not get through it.
struct Sink {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    connect_at: Option<Instant>,
    lost: u64,
    failing: bool,
    quiet_until: Option<Instant>,
}

impl Sink {
    fn new(path: PathBuf) -> Self {
        Self { path, socket: None, connect_at: None, lost: 0, failing: false, quiet_until: None }
    }

    fn send(&mut self, line: &[u8], now: Instant) -> Told {
        match self.deliver(line, now) {
            Ok(()) if self.lost > 0 && self.quiet_until.is_none_or(|until| until <= now) => {
                self.quiet_until = Some(now + TELL_INTERVAL);
                self.failing = false;
                Told::Resumed(std::mem::take(&mut self.lost))
            }
            Ok(()) => Told::Nothing,
            Err(error) => {
                self.lost += 1;
                if std::mem::replace(&mut self.failing, true) { Told::Nothing } else { Told::Failed(error) }
            }
        }
    }

    fn deliver(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(line) {
                Ok(_) => return Ok(()),
                // Too slow, but there.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // It was started anew, so there may be another one.
                Err(_) => self.socket = None,
            }
        }
        if self.connect_at.is_some_and(|at| now < at) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.connect_at = Some(now + CONNECT_INTERVAL);
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        socket.connect(&self.path)?;
        socket.send(line)?;
        self.socket = Some(socket);
        self.connect_at = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = vec![0; 2 * LINE_BYTES_MAX];
        socket.set_read_timeout(Some(10 * SECOND)).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// A line without its time, whose shape is compared.
    #[track_caller]
    fn without_time(line: &str) -> String {
        let (head, rest) = line.split_at("<14>Nov 25 02:34:43".len());
        let shape: String = head.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let month = &shape["<00>".len().."<00>Nov".len()];
        assert!("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".contains(month), "{line}");
        assert!(
            ["<00>Nov 00 00:00:00", "<00>Nov  0 00:00:00"].contains(&shape.replace(month, "Nov").as_str()),
            "{line}"
        );
        assert!(head.starts_with("<14>"));
        rest.to_owned()
    }

    #[test]
    fn output_becomes_datagrams_of_whole_lines() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (queue, done) = SyslogQueue::start(path).unwrap();
        let (mut out, mut err) = (queue.lines("web"), queue.lines("web"));
        out.write(b"hello\n\nin two ");
        err.write(b"between\n");
        out.write(b"pieces\n\ttab\0 \xff\nlast");
        out.end();
        out.end();
        for expected in ["hello", "", "between", "in two pieces", "\ttab  \u{fffd}", "last"] {
            assert_eq!(without_time(&receive(&socket)), format!(" supervisord: web {expected}"));
        }
        out.write(&vec![b'x'; LINE_BYTES_MAX + 5]);
        out.write(b"y\n");
        let length = |line: String| without_time(&line).len() - " supervisord: web ".len();
        assert_eq!(length(receive(&socket)), LINE_BYTES_MAX);
        assert_eq!(without_time(&receive(&socket)), " supervisord: web xxxxxy");
        drop((queue, out, err));
        done.wait();
    }

    #[test]
    fn a_reader_that_is_away_is_told_once_and_found_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("log");
        let mut sink = Sink::new(path.clone());
        let began = Instant::now();
        let mut send = |text: &str, seconds: u32| match sink.send(text.as_bytes(), began + seconds * SECOND) {
            Told::Nothing => "nothing".to_owned(),
            Told::Failed(error) => format!("failed: {:?}", error.kind()),
            Told::Resumed(lost) => format!("resumed: {lost}"),
        };
        assert_eq!(send("a", 0), "failed: NotFound");
        assert_eq!(send("b", 0), "nothing");
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(send("c", 0), "nothing", "it does not look for a reader at each line");
        assert_eq!(send("d", 1), "resumed: 3");
        assert_eq!(receive(&socket), "d");
        // It is started anew: nothing is lost.
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(send("e", 1), "nothing");
        assert_eq!(receive(&socket), "e");
        // It goes and comes and goes: that is told now and then, not each time.
        drop(socket);
        assert_eq!(send("f", 2), "failed: ConnectionRefused");
        std::fs::remove_file(&path).unwrap();
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(send("g", 3), "nothing");
        assert_eq!(receive(&socket), "g");
        assert_eq!(send("h", 12), "resumed: 1");
    }

    #[test]
    fn a_reader_that_never_reads_delays_nobody() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (queue, done) = SyslogQueue::start(path).unwrap();
        let mut lines = queue.lines("flood");
        let began = Instant::now();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..20_000 {
            lines.write(&line);
        }
        assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
        assert!(queue.load.lost.load(Ordering::Relaxed) > 0);
        assert!(queue.load.waiting_bytes.load(Ordering::Relaxed) <= WAITING_BYTES_MAX);
        let load = Arc::clone(&queue.load);
        drop((queue, lines, socket));
        done.wait();
        // The thread goes through what is left without waiting, as nobody is there any more.
        stack_tests::within(10 * SECOND, "the queue is empty", || {
            (load.waiting_bytes.load(Ordering::Relaxed) == 0).then_some(())
        });
    }
}
