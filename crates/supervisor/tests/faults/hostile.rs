//! Fault 10: clients that attack, stall, or go away.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use stack_tests::within;
use supervisor::ctl::fault::FaultCode;

use crate::daemon::{Daemon, Place, places, request, seconds, shell, sleeper, status_field};

places!(
    slow_requests_leave_room_for_others,
    a_thousand_clients_at_once_are_all_answered,
    half_closed_connections_are_answered_and_let_go,
    a_body_without_end_is_refused_and_takes_no_memory,
    what_is_no_call_is_refused_and_changes_nothing,
    an_entity_that_expands_without_end_is_refused,
    nothing_but_the_named_methods_can_be_called,
    a_wrong_name_or_password_is_refused,
    a_client_that_leaves_during_a_start_changes_nothing,
    a_follower_that_never_reads_takes_no_memory,
);

/// A way to the daemon.
#[derive(Debug, Clone, Copy)]
enum Listener {
    Unix,
    Tcp(u16),
}

/// A daemon that listens in every way it can; `keys` stand in the section of each.
fn start(place: Place, keys: &str, config: &str) -> (Daemon, [Listener; 2]) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let inet = format!("{keys}\n[inet_http_server]\nport = \"127.0.0.1:{port}\"\n{keys}\n");
    (Daemon::start(place, &(inet + config)), [Listener::Unix, Listener::Tcp(port)])
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn connect(daemon: &Daemon, listener: Listener) -> Box<dyn Stream> {
    match listener {
        Listener::Unix => {
            let stream = UnixStream::connect(daemon.path("s.sock")).unwrap();
            stream.set_read_timeout(Some(seconds(60))).unwrap();
            stream.set_write_timeout(Some(seconds(10))).unwrap();
            Box::new(stream)
        }
        Listener::Tcp(port) => {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(seconds(60))).unwrap();
            stream.set_write_timeout(Some(seconds(10))).unwrap();
            Box::new(stream)
        }
    }
}

/// Sends bytes and gives back everything that comes.
fn exchange(daemon: &Daemon, listener: Listener, bytes: &[u8]) -> String {
    let mut stream = connect(daemon, listener);
    let mut answer = Vec::new();
    // Who is refused may be told before everything is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(body: &str) -> Vec<u8> {
    format!(
        "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn slow_requests_leave_room_for_others(place: Place) {
    let (daemon, listeners) = start(place, "", &sleeper("a", ""));
    for listener in listeners {
        // Each has sent half a head, or half a body, and adds a byte now and then.
        let half = request("supervisor.getState", &[]);
        let mut slow: Vec<_> = (0..1000).map(|_| connect(&daemon, listener)).collect();
        for (n, stream) in slow.iter_mut().enumerate() {
            let _ = stream.write_all(&half[..if n % 2 == 0 { 40 } else { half.len() - 40 }]);
        }
        for n in 0..10 {
            // Those that had to give way are not missed.
            for stream in &mut slow {
                let _ = stream.write_all(if n % 2 == 0 { b"X" } else { b"y" });
            }
            daemon.answers_within(seconds(2));
        }
    }
}

fn a_thousand_clients_at_once_are_all_answered(place: Place) {
    let config: String = (0..10).map(|n| sleeper(&format!("p{n}"), "")).collect();
    let (daemon, listeners) = start(place, "", &config);
    daemon.logged_times("success: ", 10);
    let before = daemon.descriptors();
    for listener in listeners {
        let began = Instant::now();
        let call = request("supervisor.getAllProcessInfo", &[]);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..1000)
                .map(|_| {
                    let client = || exchange(&daemon, listener, &call);
                    std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, client).unwrap()
                })
                .collect();
            for client in clients {
                assert_eq!(client.join().unwrap().matches("RUNNING").count(), 10);
            }
        });
        println!("a thousand clients took {:?}", began.elapsed());
    }
    within(seconds(10), "their connections are closed", || {
        (daemon.descriptors() <= before + 1).then_some(())
    });
}

fn half_closed_connections_are_answered_and_let_go(place: Place) {
    let (daemon, listeners) = start(place, "", &sleeper("a", ""));
    daemon.answers_within(seconds(5));
    let before = daemon.descriptors();
    let call = request("supervisor.getState", &[]);
    for listener in listeners {
        // Everything, half of it, or nothing; then the client's side is over.
        let sent = |n: usize| &call[..[call.len(), call.len() / 2, 0][n % 3]];
        let streams: Vec<_> = (0..90).map(|n| half_closed(&daemon, listener, sent(n))).collect();
        for (n, mut stream) in streams.into_iter().enumerate() {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer.contains("RUNNING"), n % 3 == 0, "{answer}");
        }
    }
    within(seconds(5), "their connections are closed", || (daemon.descriptors() <= before + 1).then_some(()));
}

fn half_closed(daemon: &Daemon, listener: Listener, sent: &[u8]) -> Box<dyn Stream> {
    match listener {
        Listener::Unix => {
            let mut stream = daemon.connect();
            stream.set_read_timeout(Some(seconds(10))).unwrap();
            stream.write_all(sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            Box::new(stream)
        }
        Listener::Tcp(port) => {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(seconds(10))).unwrap();
            stream.write_all(sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            Box::new(stream)
        }
    }
}

fn a_body_without_end_is_refused_and_takes_no_memory(place: Place) {
    let (daemon, listeners) = start(place, "", &sleeper("a", ""));
    daemon.answers_within(seconds(5));
    let before = status_field(daemon.pid, "VmHWM").unwrap();
    let block = vec![b' '; 1 << 20];
    for listener in listeners {
        for head in ["Content-Length: 104857600\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
            let mut stream = connect(&daemon, listener);
            stream.write_all(format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n{head}").as_bytes()).unwrap();
            let chunked = head.contains("chunked");
            for _ in 0..100 {
                let sent = if chunked { stream.write_all(b"100000\r\n") } else { Ok(()) };
                let sent = sent.and_then(|()| stream.write_all(&block));
                if sent.and_then(|()| if chunked { stream.write_all(b"\r\n") } else { Ok(()) }).is_err() {
                    break;
                }
            }
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
        }
        let small = exchange(&daemon, listener, &post(&" ".repeat((1 << 20) + 1)));
        assert!(small.starts_with("HTTP/1.1 413 "), "{small}");
        let head =
            format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
        let answer = exchange(&daemon, listener, head.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let after = status_field(daemon.pid, "VmHWM").unwrap();
    assert!(after < before + (8 << 10), "from {before} KB to {after} KB");
    daemon.answers_within(seconds(2));
}

fn what_is_no_call_is_refused_and_changes_nothing(place: Place) {
    let (daemon, listeners) = start(place, "", &sleeper("a", ""));
    let pid = daemon.inner_pid("a");
    let deep = format!(
        "<methodCall><methodName>supervisor.getState</methodName><params><param>{}{}</param></params></methodCall>",
        "<value><array><data>".repeat(20_000),
        "</data></array></value>".repeat(10_000)
    );
    let bodies = [
        "",
        "stop a",
        "<methodCall>",
        "<methodCall><methodName>supervisor.stopProcess</methodName><params><param><value>a</value></param>",
        "<methodCall></methodCall>",
        "<methodCall><methodName></methodName></methodCall>",
        "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><methodCall><methodName>&e;</methodName></methodCall>",
        "<a/><methodCall><methodName>supervisor.shutdown</methodName></methodCall>",
        "\0\u{1}\u{2}",
        "\u{feff}<methodCall><methodName>supervisor.shutdown</methodName",
        &deep,
    ];
    for listener in listeners {
        for body in bodies {
            let answer = exchange(&daemon, listener, &post(body));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{:?}: {answer}", &body[..body.len().min(80)]);
        }
        for head in ["GET\r\n\r\n", "POST /RPC2 HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"]
        {
            let answer = exchange(&daemon, listener, head.as_bytes());
            assert!(!answer.starts_with("HTTP/1.1 2"), "{head:?}: {answer}");
        }
        for path in
            ["/../../etc/passwd", "/logtail/..%2f..%2fetc%2fpasswd/stdout", "/logtail/a/../stdout", "/%00"]
        {
            let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answer = exchange(&daemon, listener, get.as_bytes());
            assert!(
                answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "),
                "{path}: {answer}"
            );
        }
    }
    assert_eq!(daemon.inner_pid("a"), pid);
}

fn an_entity_that_expands_without_end_is_refused(place: Place) {
    // Ten times ten times … one word: three gigabytes, if anybody expands it.
    let (daemon, listeners) = start(place, "", &sleeper("a", ""));
    let mut entities = "<!ENTITY l0 \"lol\">".to_owned();
    for n in 1..=9 {
        entities += &format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10));
    }
    for name in ["supervisor.getState", "&l9;"] {
        let body = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE lolz [{entities}]><methodCall><methodName>{name}</methodName>\
             <params><param><value><string>&l9;</string></value></param></params></methodCall>"
        );
        for listener in listeners {
            let began = Instant::now();
            let answer = exchange(&daemon, listener, &post(&body));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
        }
    }
    assert!(status_field(daemon.pid, "VmHWM").unwrap() < 64 << 10);
}

fn nothing_but_the_named_methods_can_be_called(place: Place) {
    // CVE-2017-11610: names with more parts led to every object of the daemon, and from there to a shell.
    let (daemon, _) = start(place, "", &sleeper("a", ""));
    for name in [
        "supervisor.supervisord.options.warnings.linecache.os.system",
        "supervisor.__class__",
        "supervisor._update",
        "supervisor.supervisord",
        "system._listMethods",
        "system.methods",
        "__init__",
        "supervisor",
        "supervisor.",
        ".getState",
        "supervisor..getState",
        "os.system",
    ] {
        let fault = daemon.call(name, &["touch /tmp/owned".into()]).unwrap_err();
        assert_eq!(fault.code, FaultCode::UnknownMethod as i32, "{name}: {fault}");
    }
}

fn a_wrong_name_or_password_is_refused(place: Place) {
    let keys = "username = \"user\"
password = \"secret\"";
    let (daemon, listeners) = start(place, keys, &sleeper("a", ""));
    let body = "<methodCall><methodName>supervisor.shutdown</methodName></methodCall>";
    let with = |line: &str, body: &str| {
        format!(
            "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n{line}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for listener in listeners {
        for line in [
            "".to_owned(),
            "Authorization: Basic\r\n".to_owned(),
            "Authorization: Basic !!!\r\n".to_owned(),
            "Authorization: Bearer dXNlcjpzZWNyZXQ=\r\n".to_owned(),
            // user:, user:wrong, :secret, user:secret2, user
            "Authorization: Basic dXNlcjo=\r\n".to_owned(),
            "Authorization: Basic dXNlcjp3cm9uZw==\r\n".to_owned(),
            "Authorization: Basic OnNlY3JldA==\r\n".to_owned(),
            "Authorization: Basic dXNlcjpzZWNyZXQy\r\n".to_owned(),
            "Authorization: Basic dXNlcg==\r\n".to_owned(),
            format!("Authorization: Basic {}\r\n", "QUFB".repeat(2000)),
        ] {
            let answer = exchange(&daemon, listener, with(&line, body).as_bytes());
            assert!(answer.starts_with("HTTP/1.1 401 "), "{line}: {answer}");
            assert!(answer.to_lowercase().contains("www-authenticate: basic realm=\"default\""), "{answer}");
        }
        for path in ["/mainlogtail", "/logtail/a/stdout", "/"] {
            let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let answer = exchange(&daemon, listener, get.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
        }
        let state = body.replace("shutdown", "getState");
        let right = with("Authorization: Basic dXNlcjpzZWNyZXQ=\r\n", &state);
        assert!(exchange(&daemon, listener, right.as_bytes()).contains("RUNNING"));
    }
}

fn a_client_that_leaves_during_a_start_changes_nothing(place: Place) {
    let config = "[program.a]\ncommand = \"sleep 1000\"\nstartsecs = 1\nautostart = false\n\
                  [program.b]\ncommand = \"sleep 1000\"\nstartsecs = 0\n";
    let (daemon, _) = start(place, "", config);
    daemon.answers_within(seconds(5));
    let before = daemon.descriptors();
    for _ in 0..2 {
        for _ in 0..20 {
            let mut stream = daemon.connect();
            stream.write_all(&request("supervisor.startProcess", &["a".into()])).unwrap();
        }
        daemon.waits_for_state("a", "STARTING");
        daemon.waits_for_state("a", "RUNNING");
        assert_eq!(daemon.said(&["stop", "a"]), "a: stopped\n");
    }
    assert_eq!(daemon.log().matches("INFO spawned: 'a'").count(), 2);
    assert_eq!(daemon.state("b"), "RUNNING");
    // The log files of `a` stay open.
    within(seconds(5), "their connections are closed", || (daemon.descriptors() <= before + 3).then_some(()));
}

fn a_follower_that_never_reads_takes_no_memory(place: Place) {
    let keys =
        "stdout_logfile = \"%(here)s/out\"\nstdout_logfile_maxbytes = \"5MB\"\nstdout_logfile_backups = 1";
    let (daemon, listeners) = start(place, "", &shell("flood", "exec yes a line that nobody reads", keys));
    within(seconds(10), "it floods", || daemon.path("out.1").exists().then_some(()));
    let memory = || status_field(daemon.pid, "VmRSS").unwrap();
    for listener in listeners {
        let before = memory();
        let mut followers: Vec<_> = (0..50).map(|_| connect(&daemon, listener)).collect();
        for follower in &mut followers {
            let get = "GET /logtail/flood/stdout HTTP/1.1\r\nHost: localhost\r\n\r\n";
            follower.write_all(get.as_bytes()).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(2);
        let mut most = 0;
        within(seconds(10), "two seconds of flood", || {
            most = most.max(memory());
            daemon.answers_within(seconds(2));
            (Instant::now() > until).then_some(())
        });
        // A few pieces each.
        assert!(most < before + (40 << 10), "from {before} KB to {most} KB");
    }
    within(seconds(10), "they are let go", || (memory() < 60 << 10).then_some(()));
}
