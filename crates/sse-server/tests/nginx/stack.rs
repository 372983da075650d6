//! nginx with the shipped configuration, and a small hub behind it that shows what it was asked.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use sse_server::nginx::{self, Settings};

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A request as the hub read it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

pub(crate) fn read_request(reader: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None if header.trim_end().is_empty() => break,
            None => headers.push((header.trim_end().trim_end_matches(':').to_owned(), String::new())),
        }
    }
    let mut request = Request { line: line.trim_end().to_owned(), headers, body: Vec::new() };
    let length = request.all("content-length").first().map_or(0, |n| n.parse().unwrap());
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// nginx with the shipped configuration; `hub` answers what it passes on. Both end with it.
pub(crate) struct Stack {
    pub(crate) nginx: Child,
    pub(crate) port: u16,
    pub(crate) seen: Arc<Mutex<Vec<Request>>>,
    /// Connections that nginx opened to the hub.
    pub(crate) opened: Arc<AtomicUsize>,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn settings(run_dir: &Path) -> Settings {
    Settings {
        user: geteuid().is_root().then(|| "root".to_owned()),
        port: stack_tests::free_port(),
        run_dir: run_dir.to_owned(),
        ..Settings::default()
    }
}

pub(crate) fn render(settings: &Settings) -> std::path::PathBuf {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/nginx-sse.conf");
    let file = settings.run_dir.join("nginx.conf");
    nginx::write(&file, &settings.render_file(&template).unwrap()).unwrap();
    file
}

/// Debian keeps nginx in a folder that is not on every user's path.
pub(crate) fn nginx_command(file: &Path) -> Command {
    let mut command = Command::new("nginx");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).arg("-c").arg(file);
    command
}

impl Stack {
    /// A stack whose hub is away.
    pub(crate) fn without_hub(change: impl FnOnce(&mut Settings)) -> Stack {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        change(&mut settings);
        let log = |name| File::create(folder.path().join(name)).unwrap();
        let nginx = nginx_command(&render(&settings))
            .stdin(Stdio::null())
            .stdout(log("access.log"))
            .stderr(log("error.log"))
            .spawn()
            .expect("nginx is installed (apt-get install nginx)");
        let stack =
            Stack { nginx, port: settings.port, seen: Arc::default(), opened: Arc::default(), folder };
        stack.wait_for("nginx to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, stack.port)).is_ok());
        stack
    }

    pub(crate) fn with(
        change: impl FnOnce(&mut Settings),
        hub: impl Fn(&Request, &mut UnixStream) + Send + Sync + 'static,
    ) -> Stack {
        let stack = Stack::without_hub(change);
        let listener = UnixListener::bind(stack.folder.path().join("sse-server.sock")).unwrap();
        let (seen, opened, hub) = (Arc::clone(&stack.seen), Arc::clone(&stack.opened), Arc::new(hub));
        thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                opened.fetch_add(1, Ordering::SeqCst);
                let (seen, hub) = (Arc::clone(&seen), Arc::clone(&hub));
                thread::spawn(move || {
                    let mut reader = BufReader::new(socket.try_clone().unwrap());
                    while let Some(request) = read_request(&mut reader) {
                        seen.lock().unwrap().push(request.clone());
                        hub(&request, &mut socket);
                    }
                });
            }
        });
        stack
    }

    /// A hub that answers 200 to everything.
    pub(crate) fn new() -> Stack {
        Stack::with(|_| (), |_, socket| ok(socket))
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !happened() {
            let log = || fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain for {what}; nginx said: {}", log());
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    /// Sends raw bytes and reads until nginx closes: head and body.
    #[track_caller]
    pub(crate) fn raw(&self, bytes: impl AsRef<[u8]>) -> (String, String) {
        let mut socket = self.connect();
        // nginx may answer and close before it has read everything.
        let _ = socket.write_all(bytes.as_ref());
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        // After an early answer nginx lingers for what it did not read, so the announced length is the end too.
        while !complete(&answer)
            && let Ok(n @ 1..) = socket.read(&mut piece)
        {
            answer.extend_from_slice(&piece[..n]);
        }
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
        (head.to_owned(), body.to_owned())
    }

    /// A request of one header block, closed after its answer.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str, headers: &str) -> (String, String) {
        self.raw(format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n"))
    }

    pub(crate) fn last_seen(&self) -> Request {
        self.seen.lock().unwrap().last().expect("the hub was asked").clone()
    }

    pub(crate) fn seen_count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Ok(None) = self.nginx.try_wait() {
            let _ = kill(Pid::from_raw(self.nginx.id().cast_signed()), Signal::SIGTERM);
            let _ = self.nginx.wait();
        }
    }
}

pub(crate) fn complete(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    header(head, "content-length").is_some_and(|length| length.parse() == Ok(body.len()))
}

pub(crate) fn ok(socket: &mut UnixStream) {
    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

pub(crate) fn chunk(socket: &mut UnixStream, text: &str) {
    let _ = socket.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
}

pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                           X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
}

#[track_caller]
pub(crate) fn assert_problem(answer: &(String, String), status: u16, title: &str) {
    let (head, body) = answer;
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert_eq!(header(head, "content-type"), Some("application/problem+json"), "{head}");
    assert_eq!(header(head, "server"), Some("nginx"), "{head}");
    assert_eq!(header(head, "x-content-type-options"), Some("nosniff"), "{head}");
    assert_eq!(header(head, "referrer-policy"), Some("same-origin"), "{head}");
    assert_eq!(
        header(head, "content-security-policy"),
        Some("default-src 'none'; frame-ancestors 'none'"),
        "{head}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["title"], title);
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
}
