//! The real binary on real sockets: arguments, exit codes, answers byte for byte, signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::{Terminal, within};
use tempfile::TempDir;

const TOKEN: &str = "the-token";

struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
}

fn command(folder: &TempDir, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-server"));
    command
        .env_clear()
        .env("DATA_DIR", folder.path())
        .env("SSE_PUBLISH_TOKEN", TOKEN)
        .envs(env.iter().copied());
    command.stdin(Stdio::null()).stderr(fs::File::create(folder.path().join("err")).unwrap());
    command.stdout(fs::File::create(folder.path().join("out")).unwrap());
    command
}

fn output(env: &[(&str, &str)], words: &[&str]) -> (Option<i32>, String, String) {
    let folder = TempDir::new().unwrap();
    let mut command = command(&folder, env);
    let Output { status, stdout, stderr } =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

impl Server {
    #[track_caller]
    fn start(env: &[(&str, &str)]) -> Self {
        let mut server = Self::start_listening(env, &["--listen", "127.0.0.1:0"]);
        server.port = within(Duration::from_secs(10), "the port is told", || {
            let (_, rest) =
                server.err().split_once("listening on 127.0.0.1:").map(|(a, b)| (a.len(), b.to_owned()))?;
            rest.split_once('\n')?.0.trim().parse().ok()
        });
        server
    }

    fn start_listening(env: &[(&str, &str)], words: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let child = command(&folder, env).args(words).spawn().unwrap();
        Self { child, folder, port: 0 }
    }

    fn err(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    fn access_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// A request on a connection of its own, answered to its end.
    #[track_caller]
    fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = head.replace('\n', "\r\n");
        client.send(&format!("{head}\r\nHost: x\r\nConnection: close\r\n{length}\r\n{body}"));
        client.into_end()
    }

    #[track_caller]
    fn status(&self, request: &str) -> u16 {
        status(&self.ask(request))
    }

    /// A stream, greeted.
    #[track_caller]
    fn stream(&self, query: &str, header: &str) -> Client {
        let mut client = self.connect();
        client.send(&format!("GET /sse{query} HTTP/1.1\r\nHost: x\r\n{header}\r\n"));
        client.until("event: connected\ndata: ");
        client
    }

    #[track_caller]
    fn publish(&self, body: &str) -> String {
        let head = format!(
            "POST /sse/publish HTTP/1.1\nContent-Type: application/json\nAuthorization: Bearer {TOKEN}"
        );
        let answer = self.ask(&format!("{head}\n\n{body}"));
        assert_eq!(status(&answer), 200, "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        within(Duration::from_secs(5), "the server ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: Box<dyn ReadWrite>,
    seen: String,
}

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

/// What a program prints; it takes nothing.
struct ChildOutput(ChildStdout);

impl Read for ChildOutput {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for ChildOutput {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream: Box::new(stream), seen: String::new() }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn until(&mut self, text: &str) -> &str {
        while !self.seen.contains(text) {
            let mut bytes = [0; 4096];
            let length = self
                .stream
                .read(&mut bytes)
                .unwrap_or_else(|e| panic!("{text:?} did not come ({e}): {}", self.seen));
            assert!(length > 0, "the end came before {text:?}: {}", self.seen);
            self.seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        &self.seen
    }

    #[track_caller]
    fn into_end(mut self) -> String {
        self.stream.read_to_string(&mut self.seen).unwrap();
        self.seen
    }
}

#[track_caller]
fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[test]
fn check_prints_what_is_in_force_or_every_mistake() {
    let (code, out, err) = output(
        &[("SSE_MAX_CONNECTIONS", "7"), ("SSE_MAX_CONECTIONS", "7")],
        &["--listen", "127.0.0.1:7000", "check"],
    );
    assert_eq!(code, Some(0));
    for line in [
        "listen = \"127.0.0.1:7000\"  # command line",
        "max_connections = 7  # environment",
        "publish_token = \"********\"  # environment",
        "idle_timeout = 300  # default",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
    assert_eq!(
        err,
        "warning: SSE_MAX_CONECTIONS is not a setting of sse-server, did you mean SSE_MAX_CONNECTIONS?\n"
    );
    for words in [&["check"][..], &[], &["run"]] {
        let (code, out, err) = output(&[("SSE_MAX_CONNECTIONS", "x"), ("SSE_IDLE_TIMEOUT", "-1")], words);
        let expected = "SSE_MAX_CONNECTIONS is \"x\", but it must be a whole number from 0 to 1000000\n\
                        SSE_IDLE_TIMEOUT is \"-1\", but it must be a whole number from 0 to 86400\n";
        assert_eq!((code, out.as_str(), err.as_str()), (Some(2), "", expected));
    }
    for (words, expected) in [
        (
            &["fly"][..],
            "\"fly\" is not one of the commands run, check, healthcheck and nginx; sse-server --help tells more\n",
        ),
        (
            &["--listen", "x", "check"],
            "--listen \"x\" must be host:port or unix:PATH, with a path of at most 107 bytes\n",
        ),
        (&["--nope"], "invalid option '--nope'; sse-server --help tells what there is\n"),
        (
            &["--config", "/no/such/file", "check"],
            "cannot read /no/such/file: No such file or directory (os error 2)\n",
        ),
    ] {
        let (code, _, err) = output(&[], words);
        assert_eq!((code, err.as_str()), (Some(2), expected));
    }
}

#[test]
fn more_streams_than_there_are_descriptors_for_are_refused_before_a_port_opens() {
    let streams = |program: &str, most: u64, needed: u64| {
        let fits = most - 1;
        format!(
            "SSE_MAX_CONNECTIONS is {most}, which takes {needed} descriptors in {program}, but a process may have 1000 \
             here: lower it to {fits} or less, or raise the hard limit (ulimit -Hn, LimitNOFILE={needed} in a unit of \
             systemd, docker run --ulimit nofile={needed}, ulimits in a compose file)\n"
        )
    };
    let limited = |streams: &str, words: &str| {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("/bin/sh");
        let line = format!("ulimit -n 1000; exec {} {words}", env!("CARGO_BIN_EXE_sse-server"));
        command.args(["-c", &line]).env("SSE_MAX_CONNECTIONS", streams).env("DATA_DIR", folder.path());
        let Output { status, stderr, .. } = command.output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    // Of a thousand 128 are for what is no stream, and two for each core.
    let most = 1000 - 128 - 2 * std::thread::available_parallelism().unwrap().get() as u64;
    let more = most + 1;
    for words in ["run", "check"] {
        let refused = (Some(2), streams("sse-server", more, 1001));
        assert_eq!(limited(&more.to_string(), words), refused, "{words}");
    }
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/nginx-sse.conf");
    let render = format!("nginx --template {template}");
    assert_eq!(limited("489", &render), (Some(2), streams("nginx", 489, 1002)));
    let most = most.to_string();
    for (streams, words) in [(&*most, "check"), ("0", "check"), ("488", &render), ("0", &render)] {
        assert_eq!(limited(streams, words), (Some(0), String::new()), "{streams} {words}");
    }
}

#[test]
fn healthcheck_tells_by_its_exit_code() {
    let server = Server::start(&[]);
    assert_eq!(output(&[], &["--listen", &format!("127.0.0.1:{}", server.port), "healthcheck"]).0, Some(0));
    let (code, _, err) = output(&[], &["--listen", "unix:/no/such/socket", "healthcheck"]);
    assert_eq!(
        (code, err.as_str()),
        (
            Some(1),
            "unix:/no/such/socket does not answer: No such file or directory (os error 2); start it, or name its address with --listen\n",
        ),
        "{err}"
    );
}

/// What is to be pasted from a banner, line by line.
fn pasted(err: &str) -> Option<[String; 2]> {
    let mut lines = err.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned);
    Some([lines.next()?, lines.next().filter(|line| line.ends_with("/sse/publish'"))?])
}

#[test]
fn the_first_start_shows_lines_that_work_when_pasted() {
    let folder = TempDir::new().unwrap();
    let socket = format!("unix:{}", folder.path().join("it's a.sock").display());
    for listen in ["127.0.0.1:0", &socket] {
        let mut server = Server::start_listening(&[("SSE_PUBLISH_TOKEN", "")], &["--listen", listen]);
        let [listens, publishes] = within(Duration::from_secs(10), "the banner", || pasted(&server.err()));
        let words = format!("exec {} -sS", listens);
        let mut reader = Command::new("sh").args(["-c", &words]).stdout(Stdio::piped()).spawn().unwrap();
        let mut seen =
            Client { stream: Box::new(ChildOutput(reader.stdout.take().unwrap())), seen: String::new() };
        seen.until("event: connected\n");
        let answer = Command::new("sh").args(["-c", &format!("{publishes} -sS")]).output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        assert!(answer.ends_with("\"receivers\":1}"), "{publishes}: {answer}");
        seen.until("data: {\"progress\":40}\n");
        reader.kill().unwrap();
        reader.wait().unwrap();
        let err = server.err();
        let token_file = server.folder.path().canonicalize().unwrap().join("publish.token");
        assert!(err.contains(&format!("is kept in {}\n", token_file.display())), "{err}");
        assert_eq!(err.contains("/sse/test\n"), listen != socket, "{err}");
        assert!(!server.access_log().contains("token") && !err.contains('\x1b'), "{err}");
        // The second start shows nothing of it.
        server.signal(Signal::SIGTERM);
        server.ended();
        server.child =
            command(&server.folder, &[("SSE_PUBLISH_TOKEN", "")]).args(["--listen", listen]).spawn().unwrap();
        within(Duration::from_secs(10), "it listens", || server.err().contains("listening on").then_some(()));
        server.signal(Signal::SIGTERM);
        server.ended();
        assert!(!server.err().contains("first start"), "{}", server.err());
    }
}

#[test]
fn whoever_started_it_is_told_when_it_serves_and_when_it_stops() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut server = Server::start(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let told = || {
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(server.status("GET /sse/health/ready HTTP/1.1"), 200);
    server.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    for (colour, word) in
        [("NO_COLOR=", "\x1b[32mINFO \x1b[0m listening on"), ("NO_COLOR=1", " INFO  listening on")]
    {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("env");
        command.args([colour, &format!("DATA_DIR={}", folder.path().display()), "SSE_PUBLISH_TOKEN=x"]);
        command.args([env!("CARGO_BIN_EXE_sse-server"), "--listen", "127.0.0.1:0"]);
        let mut terminal = Terminal::start(&command);
        terminal.sees(word);
        assert_eq!(terminal.shown().contains('\x1b'), colour == "NO_COLOR=", "{}", terminal.shown());
        terminal.types("\x03");
        assert_eq!(terminal.wait().code(), Some(0));
    }
}

#[test]
fn help_shows_every_command_and_option() {
    let (code, help, err) = output(&[], &["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for word in [
        "run",
        "check",
        "healthcheck",
        "nginx --template FILE",
        "--config FILE",
        "--listen ADDR",
        "-h, --help",
        "-V, --version",
    ] {
        assert!(help.contains(&format!("\n  {word} ")), "{word}: {help}");
    }
    assert_eq!(output(&[], &["-h"]).1, help);
    assert_eq!(output(&[], &["-V"]).1, format!("sse-server {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let server = Server::start(&[]);
    let address = format!("127.0.0.1:{}", server.port);
    let (code, _, err) = output(&[], &["--listen", &address]);
    assert_eq!(code, Some(1));
    let expected = format!(
        "cannot listen on {address}: Address already in use (os error 98); `ss -ltnp` shows who has it, and --listen or \
         SSE_LISTEN names another\n"
    );
    assert!(err.ends_with(&expected), "{err}");
    let (code, _, err) = output(&[], &["--listen", "192.0.2.7:5001"]);
    assert!(
        code == Some(1) && err.contains("; no interface here has it (`ip address` lists them), and"),
        "{err}"
    );
}

#[test]
fn refusals_come_in_the_order_of_the_contract() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS", "2"), ("SSE_MAX_CONNECTIONS_PER_IP", "1")]);
    let (bad_accept, bad_query) = ("\nAccept: text/html", "?topic=%20");
    let get = |query: &str, accept: &str| server.status(&format!("GET /sse{query} HTTP/1.1{accept}"));
    let _first = server.stream("", "");
    assert_eq!(get(bad_query, bad_accept), 406);
    assert_eq!(get(bad_query, ""), 400);
    let answer = server.ask("GET /sse HTTP/1.1");
    assert_eq!(status(&answer), 429);
    assert!(answer.to_lowercase().contains("\r\nretry-after: 5\r\n"), "{answer}");
    // Draining comes before everything; for an EventSource it is a reason to come back.
    server.signal(Signal::SIGUSR1);
    within(Duration::from_secs(5), "it drains", || (get(bad_query, bad_accept) == 503).then_some(()));
    let answer = server.ask("GET /sse HTTP/1.1\nAccept: text/event-stream");
    assert!(status(&answer) == 200 && answer.ends_with("\r\n\r\nretry: 3000\n\n"), "{answer}");
    assert_eq!(server.status("GET /sse HTTP/1.1"), 503);
}

#[test]
fn the_pool_has_a_limit_of_its_own() {
    let server = Server::start(&[("SSE_MAX_CONNECTIONS", "1"), ("SSE_MAX_CONNECTIONS_PER_IP", "0")]);
    let first = server.stream("", "");
    let answer = server.ask("GET /sse HTTP/1.1");
    assert_eq!(status(&answer), 503);
    assert!(answer.to_lowercase().contains("\r\nretry-after: 10\r\n"), "{answer}");
    assert!(answer.ends_with(
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"1 of 1 streams are open, the limit of the server is 1\"}"
    ));
    drop(first);
    within(Duration::from_secs(1), "its place is free", || {
        let mut client = server.connect();
        client.send("GET /sse HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.until("\r\n\r\n").starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn a_connect_rate_is_kept() {
    let server = Server::start(&[("SSE_CONNECT_RATE", "1")]);
    let (_one, _two) = (server.stream("", ""), server.stream("", ""));
    let answer = server.ask("GET /sse HTTP/1.1");
    assert_eq!(status(&answer), 429);
    assert!(answer.contains("this address opened more than 1 streams per second"), "{answer}");
}

#[test]
fn replay_joins_live_exactly_and_resets_only_when_it_must() {
    let server = Server::start(&[("SSE_HISTORY_EVENTS", "5"), ("SSE_MAX_CONNECTIONS_PER_IP", "0")]);
    let ids: Vec<String> = (1..=8)
        .map(|n| {
            let answer: serde_json::Value =
                serde_json::from_str(&server.publish(&format!("{{\"topic\":\"a\",\"data\":{n}}}"))).unwrap();
            answer["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let greeting = |client: &mut Client| client.until("\n\n\r\n").to_owned();
    // From the fifth on: six to eight, then live.
    let mut client = server.stream("?topic=a", &format!("Last-Event-ID: {}\r\n", ids[4]));
    client.until("data: 8\n");
    server.publish(r#"{"topic":"a","data":9}"#);
    let seen = client.until("data: 9\n").to_owned();
    let data: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix("data: ")).skip(1).collect();
    assert_eq!(data, ["6", "7", "8", "9"]);
    assert!(!seen.contains("event: reset"));
    // From before what is kept: told so, and everything kept.
    let mut client = server.stream("?topic=a", &format!("Last-Event-ID: {}\r\n", ids[0]));
    let seen = client.until("data: 9\n");
    assert!(seen.contains("event: reset\ndata: {\"reason\":\"history_truncated\",\"oldest\":\""), "{seen}");
    // An id this hub never reached, and one that is none: live only.
    for header in ["Last-Event-ID: 99999999999999-0\r\n", "Last-Event-ID: nonsense\r\n"] {
        let mut client = server.stream("?topic=a", header);
        let seen = client.until("event: reset\ndata: {\"reason\":\"unknown_id\",\"oldest\":\"").to_owned();
        assert!(!seen.contains("data: 9"), "{seen}");
    }
    let mut client = server.stream("?topic=a&last_event_id=earliest", "");
    assert!(!client.until("data: 9\n").contains("event: reset"));
    let mut client = server.stream("?topic=a", "");
    assert!(!greeting(&mut client).contains("data: 9"));
    assert_eq!(server.status("GET /sse?last_event_id=nonsense HTTP/1.1"), 400);
}

#[test]
fn types_and_envelopes_are_per_stream() {
    let server = Server::start(&[]);
    let mut plain = server.stream("?topic=job:*&types=progress,message", "");
    let mut envelope = server.stream("?topic=job:*&envelope=1", "");
    for body in [
        r#"{"topic":"job:1","event":"other","data":1}"#,
        r#"{"topic":["job:1","x"],"event":"progress","data":{"a" : 1e5}}"#,
        r#"{"topic":"job:2","data":"two\r\nlines"}"#,
    ] {
        server.publish(body);
    }
    let seen = plain.until("data: lines\n");
    assert!(
        !seen.contains("event: other") && seen.contains("event: progress\ndata: {\"a\":1e5}\n\n"),
        "{seen}"
    );
    assert!(seen.contains("data: two\ndata: lines\n"));
    let seen = envelope.until("job:2");
    assert!(seen.contains("event: other\ndata: {\"topics\":[\"job:1\"],\"data\":1}\n"), "{seen}");
    assert!(
        envelope.until("lines\"}").contains("data: {\"topics\":[\"job:2\"],\"data\":\"two\\r\\nlines\"}")
    );
}

#[test]
fn publishing_is_refused_in_words() {
    let server = Server::start(&[("SSE_PUBLISH_RATE", "2"), ("SSE_MAX_EVENT_BYTES", "10")]);
    let post =
        |headers: &str, body: &str| server.ask(&format!("POST /sse/publish HTTP/1.1{headers}\n\n{body}"));
    let token = format!("\nAuthorization: Bearer {TOKEN}");
    let json = format!("{token}\nContent-Type: application/json");
    for (headers, body, expected) in [
        ("\nContent-Type: application/json", "{}", 401),
        ("\nAuthorization: Bearer wrong\nContent-Type: application/json", "{}", 401),
        (token.as_str(), "{}", 415),
        (&format!("{token}\nContent-Type: text/plain"), "{}", 415),
        (&json, "{}", 400),
        (&json, "[[\"a\",null,1,null]]", 400),
        (&json, r#"{"topic":"a","data":"12345678901"}"#, 413),
        (&json, &" ".repeat(161), 413),
        (&json, &format!("[{}]", [r#"{"topic":"a","data":1}"#; 5].join(",")), 413),
    ] {
        let answer = post(headers, body);
        assert_eq!(status(&answer), expected, "{headers} {body}: {answer}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    }
    let mut last = String::new();
    for _ in 0..6 {
        last = post(&json, r#"{"topic":"a","data":1}"#);
    }
    assert_eq!(status(&last), 429, "{last}");
    assert!(last.contains("retry-after: 1\r\n"), "{last}");
}

#[test]
fn methods_and_paths_that_are_none_are_problems() {
    let server = Server::start(&[]);
    for (request, expected, header) in [
        ("GET /nothing HTTP/1.1", 404, ""),
        ("DELETE /sse HTTP/1.1", 405, "allow: GET, HEAD\r\n"),
        ("GET /sse/publish HTTP/1.1", 405, "allow: POST\r\n"),
    ] {
        let answer = server.ask(request);
        assert_eq!(status(&answer), expected);
        assert!(answer.contains("application/problem+json") && answer.contains(header), "{answer}");
    }
}

#[test]
fn head_opens_no_stream_and_http_1_0_is_not_chunked() {
    let server = Server::start(&[]);
    let answer = server.ask("HEAD /sse HTTP/1.1");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/event-stream\r\n") && !answer.contains("content-length"),
        "{answer}"
    );
    assert!(server.ask("GET /sse/health HTTP/1.1").contains("\"active\":0,"));
    let mut client = server.connect();
    client.send("GET /sse HTTP/1.0\r\n\r\n");
    let seen = client.until("event: connected");
    assert!(!seen.contains("chunked") && seen.contains("\r\n\r\nretry: "), "{seen}");
}

#[test]
fn a_forged_address_counts_only_from_a_trusted_proxy() {
    // The attack: another address with each request.
    let server = Server::start(&[("SSE_MAX_CONNECTIONS_PER_IP", "1")]);
    let _first = server.stream("", "X-Forwarded-For: 198.51.100.1\r\n");
    assert_eq!(
        server.status("GET /sse HTTP/1.1\nX-Forwarded-For: 198.51.100.2\nX-Real-IP: 198.51.100.3"),
        429
    );
    let server =
        Server::start(&[("SSE_MAX_CONNECTIONS_PER_IP", "1"), ("SSE_TRUSTED_PROXIES", "127.0.0.0/8")]);
    let first = server.stream("", "X-Real-IP: 198.51.100.1\r\n");
    let _second = server.stream("", "X-Real-IP: 198.51.100.2\r\n");
    assert_eq!(server.status("GET /sse HTTP/1.1\nX-Real-IP: 198.51.100.2"), 429);
    drop(first);
    within(Duration::from_secs(5), "the end is noted under the real address", || {
        server.access_log().contains("198.51.100.1 [").then_some(())
    });
    let line = server.access_log().lines().find(|line| line.starts_with("198.51.100.1 ")).unwrap().to_owned();
    assert!(line.contains("\"GET /sse HTTP/1.1\" 200 ") && line.ends_with(" end=client events=0"), "{line}");
}

#[test]
fn sigterm_says_goodbye_finishes_and_ends_with_0() {
    let mut server = Server::start(&[("SSE_RECONNECT_SPREAD", "0")]);
    let stream = server.stream("", "");
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    let seen = stream.into_end();
    assert!(
        seen.ends_with("retry: 1000\nevent: shutdown\ndata: {\"retry_ms\":1000}\n\n\r\n0\r\n\r\n"),
        "{seen:?}"
    );
    assert_eq!(server.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn ids_rise_across_restarts_and_clients_from_before_are_told() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let env = [("DATA_DIR", data.as_str())];
    let id = |answer: &str| {
        serde_json::from_str::<serde_json::Value>(answer).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let pair = |id: &str| {
        id.split_once('-').map(|(ms, seq)| (ms.parse::<u64>().unwrap(), seq.parse::<u64>().unwrap())).unwrap()
    };
    let mut last = String::from("0-0");
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        let mut server = Server::start(&env);
        let fresh = id(&server.publish(r#"{"topic":"a","data":1}"#));
        assert!(pair(&fresh) > pair(&last), "{fresh} after {last}");
        if last != "0-0" {
            let mut client = server.stream("?topic=a", &format!("Last-Event-ID: {last}\r\n"));
            client.until("data: 1\n");
        }
        last = fresh;
        server.signal(signal);
        server.ended();
    }
}

/// Listens, waits until somebody is in the backlog, and becomes the server with the listener as descriptor 3.
const HAND_OVER: &str = "import os,select,socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen(16)\n\
    select.select([s],[],[])\nos.dup2(os.dup(s.fileno()),3)\nos.environ.update(LISTEN_FDS='1',LISTEN_PID=str(os.getpid()))\n\
    os.execv(sys.argv[2],[sys.argv[2]])";

#[test]
fn a_listener_that_is_handed_over_takes_the_place_of_the_default() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("h.sock");
    let server = command(&folder, &[]);
    let mut python = Command::new("python3");
    python.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    python.args(["-c", HAND_OVER]).arg(&path).arg(server.get_program());
    python
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.path().join("err")).unwrap());
    let child = python.spawn().unwrap();
    let mut server = Server { child, folder, port: 0 };
    // Whoever connects before the server is there waits in the backlog.
    let mut early = within(Duration::from_secs(10), "somebody listens", || UnixStream::connect(&path).ok());
    early.write_all(b"GET /sse/health/live HTTP/1.0\r\n\r\n").unwrap();
    early.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nlive"), "{answer}");
    assert!(!server.err().contains("127.0.0.1:5001"), "{}", server.err());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn figures_have_a_listener_of_their_own() {
    let server = Server::start(&[("SSE_METRICS_LISTEN", "127.0.0.1:0")]);
    let port: u16 = within(Duration::from_secs(5), "its port is told", || {
        server.err().split_once("figures on 127.0.0.1:")?.1.split_once('\n')?.0.parse().ok()
    });
    let ask = |path: &str| {
        let mut client = Client::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.into_end()
    };
    assert_eq!(status(&ask("/sse")), 404);
    let text = ask("/metrics");
    assert_eq!(status(&text), 200);
    // Every sample belongs to a family that was announced, and every value is a number.
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let mut family = String::new();
    for line in body.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(kind) => family = kind.split(' ').next().unwrap().to_owned(),
            None if line.starts_with('#') => {}
            None => {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&family) && value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
    assert!(body.contains("sse_publish_latency_seconds_bucket{le=\"+Inf\"} 0\n"));
}
