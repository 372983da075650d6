//! A hub with reactors and readers on socket pairs, for the tests beside.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use flate2::write::GzDecoder;
use sse_server::backplane::{self, Backplane, Published};
use sse_server::fanout::{
    self, AttachError, ConnectionId, ConnectionInfo, Encoding, Fanout, NewStream, StreamEnd,
};
use sse_server::hub::limits::{ConnectionConfig, ConnectionLimits};
use sse_server::hub::{After, Data, EventType, Interest, NewEvent, Topic, TopicFilter};
use tempfile::TempDir;

/// Long enough for a busy machine; a test that waits so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const HEAD: &str = "HTTP/1.1 200 OK\r\n\r\n";

pub(crate) struct Running {
    pub(crate) backplane: Backplane,
    pub(crate) fanout: Fanout,
    pub(crate) limits: ConnectionLimits,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) data: Arc<TempDir>,
}

pub(crate) fn start(tune: impl FnOnce(&mut backplane::Config, &mut fanout::Config)) -> Running {
    start_in(Arc::new(TempDir::new().unwrap()), tune)
}

pub(crate) fn start_in(
    data: Arc<TempDir>,
    tune: impl FnOnce(&mut backplane::Config, &mut fanout::Config),
) -> Running {
    start_with(data, tune, |config| Backplane::open(config).unwrap())
}

/// The same on a backplane that the test opens.
pub(crate) fn start_with(
    data: Arc<TempDir>,
    tune: impl FnOnce(&mut backplane::Config, &mut fanout::Config),
    open: impl FnOnce(backplane::Config) -> Backplane,
) -> Running {
    let mut backplane = backplane::Config { data_dir: data.path().to_owned(), ..Default::default() };
    let mut fanout = fanout::Config { reactors: 2, ..Default::default() };
    tune(&mut backplane, &mut fanout);
    let backplane = open(backplane);
    let fanout = Fanout::start(fanout, backplane.clone()).unwrap();
    let limits = ConnectionLimits::new(ConnectionConfig { connections_max: 0, connections_per_ip_max: 0 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    Running { backplane, fanout, limits, runtime, data }
}

pub(crate) fn interest(topics: &str, types: &[&str], envelope: bool) -> Interest {
    let topics = topics.split(',').map(|filter| TopicFilter::parse(filter).unwrap()).collect();
    Interest::new(topics, types.iter().map(|event| EventType::parse(event).unwrap()).collect(), envelope)
}

pub(crate) fn event(topics: &str, event: &str, data: &str) -> NewEvent {
    let topics = topics.split(',').map(|topic| Topic::parse(topic).unwrap()).collect();
    let event = (!event.is_empty()).then(|| EventType::parse(event).unwrap());
    NewEvent::new(topics, event, Data::Text(data.to_owned())).unwrap()
}

impl Running {
    pub(crate) fn publish(&self, batch: Vec<NewEvent>) -> Published {
        self.runtime.block_on(self.backplane.publish(batch)).unwrap()
    }

    pub(crate) fn open(&self, topics: &str, after: After) -> Reader {
        self.open_with(interest(topics, &[], false), after, Encoding::Chunked)
    }

    pub(crate) fn open_with(&self, interest: Interest, after: After, encoding: Encoding) -> Reader {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ends = self.attach(theirs.into(), interest, after, encoding).unwrap();
        Reader::new(Socket::Unix(ours), ends, encoding)
    }

    /// The same under a name that the test knows.
    pub(crate) fn open_as(&self, id: ConnectionId, topics: &str, after: After, encoding: Encoding) -> Reader {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ends = self.attach_as(id, theirs.into(), interest(topics, &[], false), after, encoding).unwrap();
        Reader::new(Socket::Unix(ours), ends, encoding)
    }

    pub(crate) fn open_tcp(&self, topics: &str, after: After) -> Reader {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        let ends =
            self.attach(theirs.into(), interest(topics, &[], false), after, Encoding::Chunked).unwrap();
        Reader::new(Socket::Tcp(ours), ends, Encoding::Chunked)
    }

    pub(crate) fn attach(
        &self,
        socket: OwnedFd,
        interest: Interest,
        after: After,
        encoding: Encoding,
    ) -> Result<Receiver<StreamEnd>, AttachError> {
        self.attach_as(ConnectionId::random().unwrap(), socket, interest, after, encoding)
    }

    pub(crate) fn attach_as(
        &self,
        id: ConnectionId,
        socket: OwnedFd,
        interest: Interest,
        after: After,
        encoding: Encoding,
    ) -> Result<Receiver<StreamEnd>, AttachError> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (on_end, ends) = channel();
        let connection = ConnectionInfo {
            id,
            address,
            user_agent: None,
            connected_at: SystemTime::now(),
            request: "GET /sse HTTP/1.1".into(),
            holder: None,
            granted_until: None,
        };
        let permit = self.limits.admit(address).unwrap();
        let on_end = Arc::new(move |end| drop(on_end.send(end)));
        let head = HEAD.into();
        self.fanout
            .attach(socket, NewStream { head, encoding, interest, after, permit, connection, on_end })?;
        Ok(ends)
    }
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The client's end of a stream.
pub(crate) struct Reader {
    socket: Socket,
    pub(crate) ends: Receiver<StreamEnd>,
    encoding: Encoding,
    /// Everything that came, as it came.
    pub(crate) wire: Vec<u8>,
    unread: Vec<u8>,
    text: String,
    gzip: GzDecoder<Vec<u8>>,
    pub(crate) ended: bool,
}

impl Reader {
    fn new(socket: Socket, ends: Receiver<StreamEnd>, encoding: Encoding) -> Self {
        let (wire, unread, text) = (Vec::new(), Vec::new(), String::new());
        Self { socket, ends, encoding, wire, unread, text, gzip: GzDecoder::new(Vec::new()), ended: false }
    }

    /// Reads once, at most until the deadline. False at the end of the stream.
    fn read(&mut self, deadline: Instant) -> bool {
        let mut buffer = [0; 64 << 10];
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let result = match &mut self.socket {
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(left)).unwrap();
                socket.read(&mut buffer)
            }
            Socket::Tcp(socket) => {
                socket.set_read_timeout(Some(left)).unwrap();
                socket.read(&mut buffer)
            }
        };
        match result {
            Ok(0) => false,
            Ok(n) => {
                self.wire.extend_from_slice(&buffer[..n]);
                self.unread.extend_from_slice(&buffer[..n]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no more came: {error}; so far: {}", String::from_utf8_lossy(&self.wire)),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Socket::Unix(socket) => socket.write_all(bytes),
            Socket::Tcp(socket) => socket.write_all(bytes),
        }
    }

    /// Takes whole chunks (or whatever came) off the unread bytes; a broken frame panics.
    fn unframe(&mut self) {
        if self.wire.len() == self.unread.len() && self.unread.starts_with(b"HTTP/") {
            assert!(self.unread.starts_with(HEAD.as_bytes()));
            self.unread.drain(..HEAD.len());
        }
        if self.encoding == Encoding::Plain {
            self.text.push_str(std::str::from_utf8(&self.unread).unwrap());
            self.unread.clear();
            return;
        }
        while let Some(line) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&self.unread[..line]).unwrap(), 16).unwrap();
            if self.unread.len() < line + 2 + size + 2 {
                return;
            }
            let body = &self.unread[line + 2..line + 2 + size];
            if self.encoding == Encoding::Gzip {
                self.gzip.write_all(body).unwrap();
                self.gzip.flush().unwrap();
                let text = std::mem::take(self.gzip.get_mut());
                self.text.push_str(std::str::from_utf8(&text).unwrap());
            } else {
                self.text.push_str(std::str::from_utf8(body).unwrap());
            }
            assert_eq!(&self.unread[line + 2 + size..line + 4 + size], b"\r\n", "a chunk ends with CRLF");
            self.unread.drain(..line + 4 + size);
            if size == 0 {
                assert!(self.unread.is_empty(), "nothing follows the last chunk");
                if self.encoding == Encoding::Gzip {
                    self.gzip.try_finish().expect("checksum and length are those of the text");
                }
                self.ended = true;
            }
        }
    }

    /// The next event, without its blank line; `None` at the end of the stream.
    pub(crate) fn try_next(&mut self) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event = self.text[..end].to_owned();
                self.text.drain(..end + 2);
                return Some(event);
            }
            let before = self.unread.len();
            if !self.read(deadline) {
                assert!(self.text.is_empty(), "an event was cut: {:?}", self.text);
                assert_eq!(before, self.unread.len());
                return None;
            }
            self.unframe();
        }
    }

    pub(crate) fn next(&mut self) -> String {
        self.try_next().expect("the stream goes on")
    }

    /// The greeting, with the parts that vary replaced.
    pub(crate) fn greeting(&mut self) -> String {
        let greeting = self.next();
        let retry = greeting.lines().next().unwrap().strip_prefix("retry: ").unwrap();
        assert!((2000..=4000).contains(&retry.parse::<u32>().unwrap()), "{greeting}");
        let id = greeting.split("\"connection_id\":\"").nth(1).unwrap().split('"').next().unwrap();
        greeting.replacen(retry, "R", 1).replace(id, "C")
    }

    /// The data of the next event.
    pub(crate) fn data(&mut self) -> String {
        let event = self.next();
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        data.unwrap_or_else(|| panic!("an event with data, not {event:?}")).to_owned()
    }

    pub(crate) fn end(&self) -> StreamEnd {
        self.ends.recv_timeout(DEADLINE).expect("the stream's end is told")
    }
}

/// Waits for a fact.
#[track_caller]
pub(crate) fn eventually(what: &str, fact: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
