//! One output of a program on its way from the pipe to everybody who gets it: log, daemon's outputs, listeners.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::Notify;

use super::entry::Id;
use super::inbox::{Inbox, Said};
use crate::config::{self, Kind, Logfile};
use crate::events::{Channel, Event, Piece, Stream, text};
use crate::logs::{
    Compressor, LogConfig, Outcome, SYSTEM, Standard, StdoutDone, StdoutQueue, SyslogDone, SyslogLines,
    SyslogQueue, Writer, auto,
};
use crate::os::pipes;

/// Bytes read at once; then whoever else is ready has his turn.
const READ_BYTES: usize = 256 << 10;
/// Pipes of one output that are read: the current process' and those that orphans of earlier ones keep open.
const PIPES_MAX: usize = 4;
/// What counts as a small read.
const SMALL_BYTES: usize = 2048;
/// How long output gathers in the pipe after a small read.
const GATHER: Duration = Duration::from_millis(1);
/// Bytes read from each pipe at the end, however much a grandchild goes on writing.
const DRAIN_BYTES_MAX: usize = 16 << 20;

thread_local! {
    /// Filled and emptied between two waits, so one is enough for all.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes read from a pipe when its program has exited, so that what it said comes before its end.
const LAST_BYTES_MAX: usize = 1 << 20;

/// The way to the daemon's own stderr, and its end.
pub type StderrCell = OnceCell<(StdoutQueue, StdoutDone)>;

/// What all outputs have in common.
pub(super) struct Shared {
    pub(super) compressor: Compressor,
    pub(super) stdout: StdoutQueue,
    pub(super) inbox: Rc<Inbox>,
    pub(super) childlogdir: PathBuf,
    pub(super) identifier: String,
    pub(super) strip_ansi: bool,
    /// The daemon's own stderr, once a program writes to it.
    pub(super) stderr: Rc<StderrCell>,
    /// The names of the files that the daemon has named; an output keeps its own.
    pub(super) auto: RefCell<HashMap<(String, String, Stream), PathBuf>>,
    /// The system's log, once a program writes to it.
    pub(super) syslog: OnceCell<(SyslogQueue, SyslogDone)>,
}

impl Shared {
    /// The file that the daemon has named for this output, or names now.
    fn auto(&self, program: &config::Program, stream: Stream) -> Option<PathBuf> {
        let output = (program.group.clone(), program.name.clone(), stream);
        if let Some(path) = self.auto.borrow().get(&output) {
            return Some(path.clone());
        }
        let made = auto::create(&self.childlogdir, &program.name, stream.name(), &self.identifier);
        match made {
            Ok(path) => {
                self.auto.borrow_mut().insert(output, path.clone());
                Some(path)
            }
            Err(error) => {
                let folder = self.childlogdir.display();
                log::error!("cannot make a log file for {} in {folder}: {error}", program.name);
                None
            }
        }
    }

    fn stderr(&self) -> Option<StdoutQueue> {
        if self.stderr.get().is_none() {
            match StdoutQueue::start(Standard::Err) {
                Ok(started) => drop(self.stderr.set(started)),
                Err(error) => log::error!("cannot start the thread that writes to stderr: {error}"),
            }
        }
        self.stderr.get().map(|(queue, _)| queue.clone())
    }

    fn syslog(&self) -> Option<&SyslogQueue> {
        if self.syslog.get().is_none() {
            match SyslogQueue::start(PathBuf::from(SYSTEM)) {
                Ok(started) => drop(self.syslog.set(started)),
                Err(error) => log::error!("cannot start the thread that writes to {SYSTEM}: {error}"),
            }
        }
        self.syslog.get().map(|(queue, _)| queue)
    }
}

/// Where one output of a program goes.
pub(super) struct Output {
    process: String,
    group: String,
    stream: Stream,
    writer: RefCell<Option<Writer>>,
    path: Option<PathBuf>,
    tee: Option<StdoutQueue>,
    syslog: RefCell<Option<SyslogLines>>,
    strip_ansi: bool,
    capture_maxbytes: usize,
    events_enabled: bool,
    /// It is in the protocol of listeners.
    protocol: bool,
    inbox: Rc<Inbox>,
    pipes: RefCell<Vec<Rc<Source>>>,
}

/// What comes next for one pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Its end has come.
    End,
    /// Little came: more may gather before it is read again.
    Gather,
    /// Nothing is there.
    Wait,
}

/// The output of one process.
struct Source {
    pipe: Rc<OwnedFd>,
    id: Id,
    start: u64,
    pid: u32,
    channel: RefCell<Channel>,
    /// It is read no more.
    over: Notify,
}

impl Output {
    pub(super) fn new(program: &config::Program, stream: Stream, shared: &Shared) -> Self {
        let output = if stream == Stream::Stdout { &program.stdout } else { &program.stderr };
        let path = match &output.logfile {
            Logfile::None => None,
            Logfile::File(path) => Some(path.clone()),
            // What is redirected has no log of its own.
            Logfile::Auto if stream == Stream::Stderr && program.redirect_stderr => None,
            Logfile::Auto => shared.auto(program, stream),
        };
        // Nobody waits for the daemon's own outputs, so they are not written to from here.
        let standard = path.as_deref().and_then(Standard::of);
        let writer = path.clone().filter(|_| standard.is_none()).map(|path| {
            let config = LogConfig {
                path,
                maxbytes: output.maxbytes,
                backups: output.backups,
                compress: program.logfile_compress,
            };
            Writer::new(config, Some(shared.compressor.clone()))
        });
        let protocol = program.kind == Kind::EventListener && stream == Stream::Stdout;
        Self {
            process: program.name.clone(),
            group: program.group.clone(),
            stream,
            writer: RefCell::new(writer),
            path,
            tee: match standard {
                Some(Standard::Err) => shared.stderr(),
                Some(Standard::Out) => Some(shared.stdout.clone()),
                None => output.tee.then(|| shared.stdout.clone()),
            },
            syslog: RefCell::new(match output.syslog {
                true => shared.syslog().map(|queue| queue.lines(&program.name)),
                false => None,
            }),
            strip_ansi: shared.strip_ansi,
            capture_maxbytes: match protocol {
                true => 0,
                false => usize::try_from(output.capture_maxbytes).unwrap_or(usize::MAX),
            },
            events_enabled: output.events_enabled,
            protocol,
            inbox: Rc::clone(&shared.inbox),
            pipes: RefCell::new(Vec::new()),
        }
    }

    /// The log file, if there is one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.path.clone()
    }

    pub(super) fn reopen(&self) {
        if let Some(writer) = self.writer.borrow_mut().as_mut() {
            writer.reopen();
            let _ = writer.open_now(Instant::now());
        }
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.writer.borrow_mut().as_mut().map_or(Ok(()), Writer::clear)
    }

    /// Reads the output of a process until its end, beside the loop.
    pub(super) fn read(self: &Rc<Self>, pipe: OwnedFd, id: Id, start: u64, pid: u32) {
        if let Some(writer) = self.writer.borrow_mut().as_mut() {
            let _ = writer.open_now(Instant::now());
        }
        let channel = RefCell::new(Channel::new(self.capture_maxbytes, self.strip_ansi));
        let source = Rc::new(Source { pipe: Rc::new(pipe), id, start, pid, channel, over: Notify::new() });
        self.let_go();
        self.pipes.borrow_mut().push(Rc::clone(&source));
        let output = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::select! {
                followed = output.follow(&source) => if let Err(error) = followed {
                    log::error!("cannot watch the output of {}: {error}", output.process);
                },
                () = source.over.notified() => drop(output.take(&source)),
            }
            source.channel.borrow_mut().finish(|piece| output.piece(&source, piece));
            output.pipes.borrow_mut().retain(|other| !Rc::ptr_eq(other, &source));
        });
    }

    /// Closes the pipes that orphans of earlier processes keep open, but for the latest of them.
    fn let_go(&self) {
        let pipes = self.pipes.borrow();
        let many = (pipes.len() + 1).saturating_sub(PIPES_MAX);
        pipes.iter().take(many).for_each(|source| source.over.notify_one());
    }

    /// Reads until the end. While output gathers nobody waits for it, not even the kernel's list of those who do:
    /// else each write of a few bytes would wake the daemon, and cost the program more than the write.
    async fn follow(&self, source: &Source) -> io::Result<()> {
        loop {
            if self.wait_and_read(source).await? == Next::End {
                return Ok(());
            }
            loop {
                tokio::time::sleep(GATHER).await;
                match self.read_on(source).await {
                    Next::End => return Ok(()),
                    Next::Gather => {}
                    Next::Wait => break,
                }
            }
        }
    }

    /// Waits for output, and reads until so little comes that it had better gather.
    async fn wait_and_read(&self, source: &Source) -> io::Result<Next> {
        let watched = pipes::watch(&source.pipe)?;
        loop {
            let mut ready = watched.readable().await?;
            match self.read_on(source).await {
                Next::Wait => ready.clear_ready(),
                Next::Gather if self.protocol => {}
                next => return Ok(next),
            }
        }
    }

    /// Reads as long as much is there; whoever else is ready has his turn in between.
    async fn read_on(&self, source: &Source) -> Next {
        loop {
            let length = self.take(source);
            self.inbox.room().await;
            match length {
                Some(0) => return Next::End,
                Some(length) if length < SMALL_BYTES => return Next::Gather,
                Some(_) => tokio::task::yield_now().await,
                None => return Next::Wait,
            }
        }
    }

    /// Whether what it says concerns the loop.
    pub(super) fn speaks(&self) -> bool {
        self.protocol || self.events_enabled || self.capture_maxbytes > 0
    }

    /// Reads what an exited process has left.
    pub(super) fn read_last(&self) {
        self.read_now(LAST_BYTES_MAX);
    }

    /// Reads what is in the pipes at the end.
    pub(super) fn drain(&self) {
        self.read_now(DRAIN_BYTES_MAX);
        let sources: Vec<_> = self.pipes.borrow().clone();
        for source in sources {
            source.channel.borrow_mut().finish(|piece| self.piece(&source, piece));
        }
        if let Some(mut syslog) = self.syslog.borrow_mut().take() {
            syslog.end();
        }
    }

    fn read_now(&self, bytes_max: usize) {
        let sources: Vec<_> = self.pipes.borrow().clone();
        for source in sources {
            let mut taken = 0;
            while let Some(length) = self.take(&source)
                && length > 0
                && taken < bytes_max
            {
                taken += length;
            }
        }
    }

    /// Reads once: the number of bytes, 0 at the end, `None` if there is nothing now.
    fn take(&self, source: &Source) -> Option<usize> {
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.is_empty() {
                // Zeroed by the system, so that only what reads have filled counts as memory.
                *buffer = vec![0; READ_BYTES];
            }
            let length = match nix::unistd::read(&source.pipe, buffer) {
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => return None,
                Err(_) => 0,
            };
            let bytes = &buffer[..length];
            let mut channel = source.channel.borrow_mut();
            if self.protocol && length > 0 {
                let said = Said::Listener { id: source.id, start: source.start, bytes: bytes.to_vec() };
                self.inbox.put(said, length);
            }
            if channel.is_plain() {
                self.piece(source, Piece::Log(bytes.into()));
            } else {
                channel.feed(bytes, |piece| self.piece(source, piece));
            }
            Some(length)
        })
    }

    fn piece(&self, source: &Source, piece: Piece<'_>) {
        let (process, group, stream, pid) =
            (self.process.clone(), self.group.clone(), self.stream, Some(source.pid));
        match piece {
            Piece::Communication(data) => {
                log::debug!("'{process}' {stream} emitted a comm event");
                let length = data.len();
                let event = Event::ProcessCommunication { stream, process, group, pid, data };
                self.inbox.put(Said::Event(event), length);
            }
            Piece::Log(data) | Piece::Captured(data) if data.is_empty() => {}
            Piece::Log(data) => {
                self.write(&data);
                self.tell(&data, process, group, pid);
            }
            Piece::Captured(data) => self.tell(&data, process, group, pid),
        }
    }

    /// Tells who follows all output: the listeners of `PROCESS_LOG`, and the daemon's own log at level debug.
    fn tell(&self, data: &[u8], process: String, group: String, pid: Option<u32>) {
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("'{process}' {} output:\n{}", self.stream, text(data));
        }
        if self.events_enabled {
            let event = Event::ProcessLog { stream: self.stream, process, group, pid, data: data.to_vec() };
            self.inbox.put(Said::Event(event), data.len());
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(tee) = &self.tee {
            tee.write(bytes);
        }
        if let Some(syslog) = &mut *self.syslog.borrow_mut() {
            syslog.write(bytes);
        }
        let Some(writer) = &mut *self.writer.borrow_mut() else { return };
        let path = writer.path().display().to_string();
        match writer.write(bytes, Instant::now()) {
            Outcome::Quiet => {}
            Outcome::Failed(error) => log::error!("cannot write {path}, output is lost from now on: {error}"),
            Outcome::NotRotated(error) => {
                log::error!("cannot rotate {path}, it grows beyond its size: {error}");
            }
            Outcome::Resumed { lost } => log::warn!("writing {path} again, {lost} bytes were lost"),
        }
    }
}
