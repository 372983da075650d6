//! The control interface as hostile and clumsy clients meet it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;
use supervisor::ctl::method::Call;
use supervisor::ctl::server::{Credentials, Limits, Pending, serve};
use supervisor::ctl::xmlrpc::{self, Value};
use tempfile::TempDir;
use tokio::sync::oneshot;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A running daemon in a folder of its own; killed when dropped.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    #[track_caller]
    fn start(programs: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = format!(
            "[supervisord]\nlogfile = \"%(here)s/s.log\"\npidfile = \"%(here)s/s.pid\"\n\
             [unix_http_server]\nfile = \"%(here)s/s.sock\"\n{programs}\n"
        );
        fs::write(folder.path().join("s.toml"), text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_supervisord"))
            .args(["-n", "-c"])
            .arg(folder.path().join("s.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { child, folder };
        within(seconds(10), "the daemon listens", || UnixStream::connect(daemon.socket()).ok());
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    fn connect(&self) -> UnixStream {
        connect(&self.socket())
    }

    #[track_caller]
    fn call(&self, method: &str, params: &[Value]) -> Result<Value, i32> {
        let answer = ask(&mut self.connect(), &request(method, params));
        let body = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method}: {answer}")).1;
        xmlrpc::parse_response(body.as_bytes()).unwrap().map_err(|fault| fault.code)
    }

    /// How long `supervisorctl status` takes, which must succeed.
    #[track_caller]
    fn status(&self) -> Duration {
        let began = Instant::now();
        let url = format!("unix://{}", self.socket().display());
        let ctl = Command::new(env!("CARGO_BIN_EXE_supervisorctl")).arg("-s").arg(url).arg("status").output();
        let ctl = ctl.unwrap();
        assert_eq!(ctl.status.code(), Some(0), "{}", String::from_utf8_lossy(&ctl.stdout));
        began.elapsed()
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
            let _ = self.child.wait();
        }
    }
}

const SLEEPER: &str = "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n";

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    stream
}

fn post(body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn request(method: &str, params: &[Value]) -> Vec<u8> {
    post(xmlrpc::write_call(method, params).as_bytes())
}

/// Sends, and reads one whole answer.
fn ask(stream: &mut (impl Read + Write), bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes);
    read_answer(stream)
}

/// Reads one whole answer, or what there is of it.
fn read_answer(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    let body = if stream.read_exact(&mut body).is_ok() { body } else { Vec::new() };
    head + &String::from_utf8_lossy(&body)
}

fn ended(stream: &mut impl Read) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.items().iter().filter_map(Value::text).collect()
}

#[test]
fn every_method_tells_its_help_and_the_signature_that_clients_know() {
    let daemon = Daemon::start(SLEEPER);
    let methods = daemon.call("system.listMethods", &[]).unwrap();
    let told: Vec<String> = texts(&methods)
        .into_iter()
        .map(|method| {
            let help = daemon.call("system.methodHelp", &[method.into()]).unwrap();
            assert!(help.text().unwrap().contains("@return"), "{method}");
            let types = daemon.call("system.methodSignature", &[method.into()]).unwrap();
            format!("{method} {}", texts(&types).join(" "))
        })
        .collect();
    assert_eq!(told.join("\n"), SIGNATURES.trim());
    assert_eq!(daemon.call("system.methodHelp", &["no".into()]), Err(4));
    assert_eq!(daemon.call("system.methodSignature", &[Value::Int(1)]), Err(4));
    assert_eq!(daemon.call("system.methodSignature", &[]), Err(2));
    assert_eq!(daemon.call("system.listMethods", &[Value::Int(1)]), Err(2));
}

/// What supervisor 4.3 answers to `system.methodSignature`, for each of `system.listMethods`.
const SIGNATURES: &str = "
supervisor.addProcessGroup boolean string
supervisor.clearAllProcessLogs array
supervisor.clearLog boolean
supervisor.clearProcessLog boolean string
supervisor.clearProcessLogs boolean string
supervisor.getAPIVersion string
supervisor.getAllConfigInfo array
supervisor.getAllProcessInfo array
supervisor.getIdentification string
supervisor.getPID int
supervisor.getProcessInfo struct string
supervisor.getState struct
supervisor.getSupervisorVersion string
supervisor.getVersion string
supervisor.readLog string int int
supervisor.readMainLog string int int
supervisor.readProcessLog string string int int
supervisor.readProcessStderrLog string string int int
supervisor.readProcessStdoutLog string string int int
supervisor.reloadConfig array
supervisor.removeProcessGroup boolean string
supervisor.restart boolean
supervisor.sendProcessStdin boolean string string
supervisor.sendRemoteCommEvent boolean string string
supervisor.shutdown boolean
supervisor.signalAllProcesses array string
supervisor.signalProcess boolean string string
supervisor.signalProcessGroup array string string
supervisor.startAllProcesses array boolean
supervisor.startProcess boolean string boolean
supervisor.startProcessGroup array string boolean
supervisor.stopAllProcesses array boolean
supervisor.stopProcess boolean string boolean
supervisor.stopProcessGroup array string boolean
supervisor.tailProcessLog array string int int
supervisor.tailProcessStderrLog array string int int
supervisor.tailProcessStdoutLog array string int int
system.listMethods array
system.methodHelp string string
system.methodSignature array string
system.multicall array array
";

#[test]
fn many_calls_in_one_are_made_one_after_the_other() {
    let config = "[program.slow]\ncommand = \"sleep 1000\"\nautostart = false\nstartsecs = 1\n";
    let daemon = Daemon::start(config);
    let call = |method: &str, params: &[Value]| {
        let member = |name: &str, value: Value| (name.to_owned(), value);
        Value::Struct(vec![
            member("methodName", method.into()),
            member("params", Value::Array(params.to_vec())),
        ])
    };
    let calls = Value::Array(vec![
        call("supervisor.startProcess", &["slow".into()]),
        call("supervisor.getProcessInfo", &["slow".into()]),
        call("supervisor.startProcess", &["slow".into()]),
        call("supervisor.nope", &[]),
        call("system.multicall", &[]),
        call("supervisor.stopProcess", &["slow".into()]),
        call("supervisor.getProcessInfo", &["slow".into()]),
        call("system.methodSignature", &["supervisor.getPID".into()]),
        Value::Struct(vec![]),
    ]);
    let results = daemon.call("system.multicall", &[calls]).unwrap();
    let told: Vec<String> = results
        .items()
        .iter()
        .map(|result| match (result.member("statename"), result.member("faultString")) {
            (Some(state), _) => state.to_string(),
            (_, Some(fault)) => fault.to_string(),
            _ => result.to_string(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "True",
            "RUNNING",
            "ALREADY_STARTED: slow",
            "UNKNOWN_METHOD",
            "INCORRECT_PARAMETERS: Recursive system.multicall forbidden",
            "True",
            "STOPPED",
            "['int']",
            "INCORRECT_PARAMETERS: No methodName",
        ]
    );
}

#[test]
fn requests_that_are_none_get_the_status_that_supervisord_gives() {
    let daemon = Daemon::start(SLEEPER);
    let state = "<methodCall><methodName>supervisor.getState</methodName></methodCall>";
    let to = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{state}", state.len()).into_bytes()
    };
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><methodCall><methodName>&b;</methodName></methodCall>";
    let deep =
        format!("<methodCall><methodName>a.b</methodName><params>{}", "<value><array><data>".repeat(40_000));
    for (bytes, expected) in [
        (to("/RPC2"), "200 OK"),
        (to("/RPC2/and?more"), "200 OK"),
        (to("/%52PC2"), "200 OK"),
        (to("/elsewhere"), "400 Bad Request"),
        (post(b"<methodCall><methodName></methodName></methodCall>"), "400 Bad Request"),
        (post(b"<methodCall>"), "400 Bad Request"),
        (post(b"\xff\xfe"), "400 Bad Request"),
        (post(b""), "400 Bad Request"),
        (post(laughs.as_bytes()), "400 Bad Request"),
        (post(deep.as_bytes()), "400 Bad Request"),
        (post("<a/>".repeat(100_000).as_bytes()), "400 Bad Request"),
        (b"POST /RPC2 HTTP/1.1\r\n\r\n".to_vec(), "411 Length Required"),
        (b"POST /RPC2 HTTP/1.1\r\nContent-Length: 104857600\r\n\r\n".to_vec(), "413 Payload Too Large"),
        (
            b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
            "400 Bad Request",
        ),
        (b"GET /RPC2 HTTP/1.1\r\n\r\n".to_vec(), "400 Bad Request"),
        (b"GET /nothing HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"GET /logtail/nothing/stdout HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"GET /logtail/web/stdin HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"GET /logtail HTTP/1.1\r\n\r\n".to_vec(), "404 Not Found"),
        (b"DELETE /mainlogtail HTTP/1.1\r\n\r\n".to_vec(), "400 Bad Request"),
        (b"hello\r\n\r\n".to_vec(), "400 Bad Request"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)).into_bytes(), "431"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500)).into_bytes(), "431"),
    ] {
        let answer = ask(&mut daemon.connect(), &bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{shown}: {answer}");
    }
    let answer = ask(&mut daemon.connect(), b"GET / HTTP/1.1\r\n\r\n");
    assert!(
        answer.ends_with("there are no pages here: use supervisorctl, or XML-RPC at /RPC2\n"),
        "{answer}"
    );
}

#[test]
fn bodies_in_chunks_and_calls_in_a_row_are_answered() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    let call = "<methodCall><methodName>supervisor.getVersion</methodName></methodCall>";
    let mut bytes = b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in call.as_bytes().chunks(7) {
        bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend([piece, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    for _ in 0..3 {
        let answer = ask(&mut stream, &bytes);
        assert!(answer.contains("<string>3.0</string>"), "{answer}");
    }
    // Without end, in chunks, the body is refused when it becomes too long.
    let mut stream = daemon.connect();
    stream.write_all(b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
    while stream.write_all(&chunk).is_ok() {}
    let answer = read_answer(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");

    // HTTP/1.0 gets its answer and the end, or is kept if it asks for that.
    for (header, kept) in [("", false), ("Connection: keep-alive\r\n", true)] {
        let mut stream = daemon.connect();
        let bytes = format!("POST /RPC2 HTTP/1.0\r\n{header}Content-Length: {}\r\n\r\n{call}", call.len());
        for _ in 0..=usize::from(kept) {
            let answer = ask(&mut stream, bytes.as_bytes());
            assert!(answer.starts_with("HTTP/1.0 200"), "{header} {answer}");
        }
        stream.set_read_timeout(Some(millis(200))).unwrap();
        assert_eq!(ended(&mut stream), !kept);
    }
}

#[test]
fn answers_without_a_body_leave_nothing_behind() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    for number in 0..3000 {
        stream.write_all(b"HEAD /nothing HTTP/1.1\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{number}: {error}"));
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 404"), "{number}");
    }
}

#[test]
fn who_asks_and_asks_and_never_reads_is_not_listened_to() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    stream.set_write_timeout(Some(millis(500))).unwrap();
    let calls = request("supervisor.getAllProcessInfo", &[]).repeat(100);
    let sent = (0..1000).take_while(|_| stream.write_all(&calls).is_ok()).count();
    assert!(sent < 100, "{sent} times 100 calls");
    answers_in_time(&daemon, "one asks and never reads");
}

#[test]
fn a_thousand_calls_in_one_go_are_all_answered() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    let mut writer = stream.try_clone().unwrap();
    let calls = request("supervisor.getPID", &[]).repeat(1000);
    let writing = thread::spawn(move || writer.write_all(&calls).unwrap());
    let expected = format!("<int>{}</int>", daemon.child.id());
    for number in 0..1000 {
        let answer = read_answer(&mut stream);
        assert!(answer.contains(&expected), "{number}: {answer}");
    }
    writing.join().unwrap();
}

/// However it is attacked, another client's status is answered in time.
#[track_caller]
fn answers_in_time(daemon: &Daemon, attack: &str) {
    let slowest = (0..3).map(|_| daemon.status()).max().unwrap();
    assert!(slowest < seconds(1), "{attack}: {slowest:?}");
}

#[test]
fn clients_that_never_finish_hold_nobody_up() {
    let daemon = Daemon::start(SLEEPER);
    let head: &[u8] = b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1000000\r\n";
    let body = [head, b"\r\n", &[b'<'; 500_000]].concat();
    let before = daemon.resident_kib();
    for (attack, bytes) in [
        ("they send nothing", &b""[..]),
        ("they send half a line", b"POS"),
        ("they send half a head", head),
        ("they send half a body", &body),
        ("they ask for a log and read nothing", b"GET /mainlogtail HTTP/1.1\r\n\r\n"),
    ] {
        let mut held = Vec::new();
        for _ in 0..600 {
            let mut stream = daemon.connect();
            stream.set_write_timeout(Some(millis(100))).unwrap();
            let _ = stream.write_all(bytes);
            held.push(stream);
            if held.len() % 200 == 0 {
                answers_in_time(&daemon, attack);
            }
        }
        answers_in_time(&daemon, attack);
    }
    let grown = daemon.resident_kib().saturating_sub(before);
    assert!(grown < 150 << 10, "{grown} KiB more");
}

#[test]
fn a_thousand_clients_at_once_are_all_answered() {
    let daemon = Daemon::start(SLEEPER);
    let socket = daemon.socket();
    let bytes = request("supervisor.getAllProcessInfo", &[]);
    let asked = thread::scope(|scope| {
        let ask_once = || {
            let mut stream = connect(&socket);
            ask(&mut stream, &bytes)
        };
        let clients: Vec<_> = (0..1000)
            .map(|_| thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, ask_once).unwrap())
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let wrong: Vec<_> = asked.iter().filter(|answer| !answer.contains("<string>RUNNING</string>")).collect();
    assert!(wrong.is_empty(), "{} of {}: {}", wrong.len(), asked.len(), wrong[0]);
}

#[test]
fn who_closes_its_half_is_answered_and_who_is_gone_is_not_waited_for() {
    let daemon = Daemon::start(SLEEPER);
    let mut stream = daemon.connect();
    stream.write_all(&request("supervisor.getState", &[])).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_answer(&mut stream);
    assert!(answer.contains("RUNNING"), "{answer}");
    assert!(ended(&mut stream));
}

/// The server alone, with limits that a test can wait for, before a loop that answers `getPID` and nothing else.
struct Server {
    folder: TempDir,
    /// Names of programs whose start is asked for, and never answered.
    asked: mpsc::Receiver<String>,
    /// Of those, the ones whose clients have left since.
    left: mpsc::Receiver<String>,
    port: u16,
    _end: oneshot::Sender<()>,
}

impl Server {
    fn start(limits: Limits, credentials: Option<Credentials>) -> Self {
        let folder = TempDir::new().unwrap();
        let (socket, log) = (folder.path().join("s"), folder.path().join("log"));
        let (asks, asked) = mpsc::channel();
        let (leaves, left) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let (ports, port) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let (calls, mut pending) = tokio::sync::mpsc::channel::<Pending>(4);
                let unix = tokio::net::UnixListener::bind(socket).unwrap();
                let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ports.send(tcp.local_addr().unwrap().port()).unwrap();
                tokio::task::spawn_local(serve(unix, None, limits, calls.clone()));
                tokio::task::spawn_local(serve(tcp, credentials, limits, calls));
                tokio::task::spawn_local(async move {
                    while let Some((call, mut answer)) = pending.recv().await {
                        match call {
                            Call::GetPid => drop(answer.send(Ok(Value::Int(7)))),
                            Call::ReadLog { .. } => drop(answer.send(Ok("x".repeat(4 << 20).into()))),
                            Call::LogPath { name: None, .. } => {
                                drop(answer.send(Ok(log.display().to_string().into())));
                            }
                            Call::StartProcess { name, .. } => {
                                let leaves = leaves.clone();
                                asks.send(name.clone()).unwrap();
                                tokio::task::spawn_local(async move {
                                    answer.closed().await;
                                    let _ = leaves.send(name);
                                });
                            }
                            _ => {}
                        }
                    }
                });
                let _ = ended.await;
            });
        });
        let port = port.recv().unwrap();
        Self { folder, asked, left, port, _end: end }
    }

    fn connect(&self) -> UnixStream {
        connect(&self.folder.path().join("s"))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    #[track_caller]
    fn pid_is_told(&self) {
        let answer = ask(&mut self.connect(), &request("supervisor.getPID", &[]));
        assert!(answer.contains("<int>7</int>"), "{answer}");
    }
}

#[test]
fn a_call_ends_when_its_client_leaves() {
    let server = Server::start(Limits { half_closed_time: millis(100), ..Limits::default() }, None);
    let mut client = server.connect();
    client.write_all(&request("supervisor.startProcess", &["a".into()])).unwrap();
    assert!(server.left.recv_timeout(millis(300)).is_err(), "it still waits");
    drop(client);
    assert_eq!(server.left.recv_timeout(seconds(5)), Ok("a".to_owned()));

    let mut client = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    client.write_all(&request("supervisor.startProcess", &["b".into()])).unwrap();
    drop(client);
    assert_eq!(server.left.recv_timeout(seconds(5)), Ok("b".to_owned()));
}

#[test]
fn who_keeps_the_server_waiting_is_let_go() {
    let limits = Limits {
        head_timeout: millis(300),
        body_timeout: millis(300),
        write_timeout: millis(300),
        idle_timeout: millis(900),
        ..Limits::default()
    };
    let server = Server::start(limits, None);
    for (bytes, answered) in [
        (&b""[..], ""),
        (b"POST /RPC2 HTTP/1.1\r\n", ""),
        (b"POST /RPC2 HTTP/1.1\r\nContent-Length: 9\r\n\r\n<", "HTTP/1.1 408 Request Timeout"),
    ] {
        let mut stream = server.connect();
        let began = Instant::now();
        let answer = ask(&mut stream, bytes);
        assert!(answer.starts_with(answered) && answer.is_empty() == answered.is_empty(), "{answer}");
        assert!(ended(&mut stream));
        assert!(began.elapsed() >= millis(290) && began.elapsed() < seconds(5), "{:?}", began.elapsed());
    }
    // Between two calls there is more time.
    let mut stream = server.connect();
    ask(&mut stream, &request("supervisor.getPID", &[]));
    stream.set_read_timeout(Some(millis(500))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    let answer = ask(&mut stream, &request("supervisor.getPID", &[]));
    assert!(answer.contains("<int>7</int>"), "{answer}");
    assert!(ended(&mut stream));

    // Whoever follows a log without reading is let go, and whoever reads is not.
    fs::write(server.log(), "begin\n").unwrap();
    let (mut deaf, mut reader) = (server.connect(), server.connect());
    for stream in [&mut deaf, &mut reader] {
        stream.write_all(b"GET /mainlogtail HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_answer(stream).contains("Transfer-Encoding: chunked"));
    }
    let mut log = fs::File::options().append(true).open(server.log()).unwrap();
    log.write_all(&vec![b'x'; 5 << 20]).unwrap();
    reader.set_read_timeout(Some(millis(900))).unwrap();
    let mut read = 0;
    let quiet = loop {
        match reader.read(&mut [0; 64 << 10]) {
            Ok(0) => panic!("it was let go after {read} bytes"),
            Ok(bytes) => read += bytes,
            Err(error) => break error.kind(),
        }
    };
    assert!(read > 5 << 20 && quiet == io::ErrorKind::WouldBlock, "{read} {quiet}");
    let mut got = Vec::new();
    let _ = deaf.read_to_end(&mut got);
    assert!(got.len() < 2 << 20, "{} bytes were kept for it", got.len());
}

#[test]
fn the_oldest_idle_connection_gives_way_to_a_new_one() {
    let limits = Limits {
        connections_max: 4,
        unknown_connections_max: 4,
        settle_time: millis(0),
        ..Limits::default()
    };
    let server = Server::start(limits, None);
    // A waiting call and a kept connection outlast those that send nothing.
    let mut waiting = server.connect();
    waiting.write_all(&request("supervisor.startProcess", &["a".into()])).unwrap();
    assert_eq!(server.asked.recv_timeout(seconds(5)), Ok("a".to_owned()));
    let mut kept = server.connect();
    ask(&mut kept, &request("supervisor.getPID", &[]));
    let mut silent: Vec<_> = (0..20).map(|_| server.connect()).collect();
    server.pid_is_told();
    assert!(ended(&mut silent[0]));
    let answer = ask(&mut kept, &request("supervisor.getPID", &[]));
    assert!(answer.contains("<int>7</int>"), "{answer}");
    drop(silent);
    // Of those that were answered, the one that was so first.
    let mut idle: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            ask(&mut stream, &request("supervisor.getPID", &[]));
            stream
        })
        .collect();
    assert!(ended(&mut kept));
    assert!(ended(&mut idle[0]));
    assert!(server.left.try_recv().is_err(), "the call still waits");
    // At last the calls that wait: there is always room for one more.
    let more: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&request("supervisor.startProcess", &["b".into()])).unwrap();
            assert_eq!(server.asked.recv_timeout(seconds(5)), Ok("b".to_owned()));
            stream
        })
        .collect();
    server.pid_is_told();
    assert_eq!(server.left.recv_timeout(seconds(5)), Ok("a".to_owned()));
    drop(more);
}

#[test]
fn large_answers_that_nobody_reads_are_bounded() {
    let server = Server::start(Limits { held_bytes_max: 10 << 20, ..Limits::default() }, None);
    let read = request("supervisor.readLog", &[Value::Int(0), Value::Int(0)]);
    let mut unread: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&read).unwrap();
            within(seconds(5), "the answer begins", || {
                let mut byte = [0];
                (stream.read(&mut byte).unwrap() == 1).then_some(())
            });
            stream
        })
        .collect();
    let sizes: Vec<_> = unread
        .iter_mut()
        .map(|stream| {
            let mut bytes = Vec::new();
            stream.set_read_timeout(Some(seconds(2))).unwrap();
            let _ = stream.read_to_end(&mut bytes);
            bytes.len() > 4 << 20
        })
        .collect();
    assert_eq!(sizes, [false, false, true, true]);
    // One connection cannot gather answers without reading them either.
    let mut stream = server.connect();
    stream.write_all(&read.repeat(10)).unwrap();
    let mut read = 0;
    for _ in 0..10 {
        read += read_answer(&mut stream).len();
    }
    assert!(read > 40 << 20, "{read}");
}

#[test]
fn only_who_knows_the_password_gets_in_over_tcp() {
    let credentials = Credentials {
        username: "u".to_owned(),
        password: "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d".to_owned(),
    };
    let server = Server::start(Limits::default(), Some(credentials));
    let ask_with = |header: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let body = xmlrpc::write_call("supervisor.getPID", &[]);
        let head = format!("POST /RPC2 HTTP/1.1\r\n{header}Content-Length: {}\r\n\r\n", body.len());
        ask(&mut stream, (head + &body).as_bytes())
    };
    let answer = ask_with("Authorization: Basic dTp0aGVwYXNzd29yZA==\r\n");
    assert!(answer.contains("<int>7</int>"), "{answer}");
    for header in
        ["", "Authorization: Basic dTp4\r\n", "Authorization: Basic dQ==\r\n", "Authorization: %\r\n"]
    {
        let answer = ask_with(header);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{header} {head}");
        assert!(head.contains("\r\nWww-Authenticate: Basic realm=\"default\""), "{head}");
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert!(body.contains("<p>Message: Unauthorized."), "{body}");
    }
    // Nothing is told without it, not even what there is.
    for path in ["/", "/nothing", "/mainlogtail", "/logtail/a"] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let answer = ask(&mut stream, format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 401"), "{path} {answer}");
    }
}

#[test]
fn a_log_is_followed_through_truncation_and_rotation() {
    let server = Server::start(Limits { followers_max: 2, ..Limits::default() }, None);
    fs::write(server.log(), [&[b'o'; 1000][..], &[b'n'; 1024]].concat()).unwrap();
    let follow = || {
        let mut stream = server.connect();
        stream.write_all(b"GET /mainlogtail HTTP/1.1\r\n\r\n").unwrap();
        stream
    };
    let mut stream = follow();
    let head = read_answer(&mut stream);
    assert!(head.contains("\r\nContent-Type: text/plain;charset=utf-8\r\n"), "{head}");
    assert!(head.contains("\r\nLast-Modified: ") && head.contains(" GMT\r\n"), "{head}");
    let chunk = |stream: &mut UnixStream| {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
        let mut text = vec![0; length + 2];
        stream.read_exact(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert_eq!(chunk(&mut stream), "n".repeat(1024));
    let append = |text: &str| {
        fs::File::options()
            .append(true)
            .create(true)
            .open(server.log())
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    append("more\n");
    assert_eq!(chunk(&mut stream), "more\n");
    fs::write(server.log(), "").unwrap();
    assert_eq!(chunk(&mut stream), "==> File truncated <==\n");
    append("again\n");
    assert_eq!(chunk(&mut stream), "again\n");
    append("last of the old\n");
    fs::rename(server.log(), server.folder.path().join("log.1")).unwrap();
    append("first of the new\n");
    assert_eq!(chunk(&mut stream), "last of the old\n");
    assert_eq!(chunk(&mut stream), "first of the new\n");

    let mut second = follow();
    assert!(read_answer(&mut second).starts_with("HTTP/1.1 200"));
    let refused = read_answer(&mut follow());
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.ends_with("too many clients follow logs, try again when one has ended\n"), "{refused}");
    drop(second);
    within(seconds(5), "its place is free again", || {
        read_answer(&mut follow()).starts_with("HTTP/1.1 200").then_some(())
    });
}
