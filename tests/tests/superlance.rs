//! superlance's listeners, unchanged, under the genuine daemon and under ours.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use stack_tests::{Supervisord, Which, free_port, request};

/// A tick comes every 5 seconds, and httpok asks a program that refuses again after 10.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers 200, and 500 while there is a file `broken`, which a start removes.
const WEB: &str = r#"
import http.server, os

BROKEN = "HERE/broken"
if os.path.exists(BROKEN):
    os.remove(BROKEN)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(BROKEN) else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"#;

/// Takes 150 MB once: when there is a file `hungry`, which it removes.
const FAT: &str = r#"
import os, time

while not os.path.exists("HERE/hungry"):
    time.sleep(0.05)
os.remove("HERE/hungry")
taken = bytearray(150 << 20)
taken[::4096] = b"x" * len(taken[::4096])
time.sleep(1000)
"#;

/// Keeps a mail in a file of its own.
const SENDMAIL: &str = "#!/bin/sh\ncat >HERE/mail.$$.part && mv HERE/mail.$$.part HERE/mail.$$\n";

const SECTIONS: &str = "
[program:web]
command=BIN/python HERE/web.py
startsecs=0
[program:fat]
command=BIN/python HERE/fat.py
startsecs=0
[program:crash]
command=sh -c 'exit 3'
startsecs=0
autostart=false
autorestart=false
[program:never]
command=sh -c 'exit 4'
autostart=false
startretries=0
[eventlistener:httpok]
command=BIN/httpok -p web -t 30 -m op@example.com -s HERE/sendmail http://127.0.0.1:PORT/
events=TICK_5
stderr_logfile=HERE/httpok.err
[eventlistener:memmon]
command=BIN/memmon -p fat=100MB -m op@example.com -s HERE/sendmail
events=TICK_5
stderr_logfile=HERE/memmon.err
[eventlistener:crashmail]
command=BIN/crashmail -a -m op@example.com -s HERE/sendmail
events=PROCESS_STATE_EXITED
stderr_logfile=HERE/crashmail.err
[eventlistener:fatalmailbatch]
command=BIN/fatalmailbatch --toEmail=op@example.com --fromEmail=box@example.com --smtpHost=127.0.0.1:SMTP --tickEvent=TICK_5 --interval=0.05
events=PROCESS_STATE,TICK_5
buffer_size=100
stderr_logfile=HERE/fatal.err
";

/// A mail server that keeps what it is given.
struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&mails);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mail = Self::take(stream).unwrap_or_default();
                kept.lock().expect("no reader panics").push(mail);
            }
        });
        Self { port, mails }
    }

    /// One session of SMTP (RFC 5321), as far as a well-behaved client needs it.
    fn take(mut stream: TcpStream) -> std::io::Result<String> {
        let mut mail = String::new();
        let mut inside = false;
        stream.write_all(b"220 here\r\n")?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            match (inside, line.as_str()) {
                (true, ".") => inside = false,
                (true, _) => {
                    mail.push_str(&line);
                    mail.push('\n');
                    continue;
                }
                (false, "data" | "DATA") => {
                    inside = true;
                    stream.write_all(b"354 go on\r\n")?;
                    continue;
                }
                (false, "quit" | "QUIT") => {
                    stream.write_all(b"221 bye\r\n")?;
                    break;
                }
                (false, _) => {}
            }
            stream.write_all(b"250 fine\r\n")?;
        }
        Ok(mail)
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().expect("no reader panics").clone()
    }
}

/// The mails that went through the script, sorted.
fn sent(daemon: &Supervisord) -> Vec<String> {
    let mut mails: Vec<String> = fs::read_dir(daemon.folder())
        .expect("the folder is there")
        .filter_map(|entry| entry.expect("readable").file_name().into_string().ok())
        .filter(|name| name.starts_with("mail.") && !name.ends_with(".part"))
        .map(|name| daemon.read(&name))
        .collect();
    mails.sort();
    mails
}

#[track_caller]
fn listeners_do_their_work(which: Which) {
    let smtp = MailServer::start();
    let port = free_port();
    let fill = |text: &str| text.replace("PORT", &port.to_string()).replace("SMTP", &smtp.port.to_string());
    let files = [("web.py", fill(WEB)), ("fat.py", FAT.to_owned()), ("sendmail", SENDMAIL.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let daemon = Supervisord::start(which, &fill(SECTIONS), &files);

    daemon.within(LIMIT, "the listeners and programs run", || {
        let out = daemon.ctl(&["status"]).stdout;
        (String::from_utf8_lossy(&out).matches("RUNNING").count() == 6).then_some(())
    });
    daemon.within(LIMIT, "the program serves", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    assert_eq!(request(port, "GET", "/", &[], "").status, 200);
    daemon.within(LIMIT, "memmon was told of a tick", || {
        daemon.read("memmon.err").contains("RSS of fat:fat is").then_some(())
    });
    let (web, fat) = (daemon.pid("web"), daemon.pid("fat"));
    assert_eq!(sent(&daemon), [""; 0], "nothing has happened yet");

    fs::write(daemon.path("broken"), "").expect("written");
    fs::write(daemon.path("hungry"), "").expect("written");
    daemon.ctl(&["start", "crash", "never"]);
    let mails = daemon.within(LIMIT, "three mails through the script and one over SMTP", || {
        let mails = sent(&daemon);
        assert!(mails.len() <= 3 && smtp.mails().len() <= 1, "{mails:#?} {:#?}", smtp.mails());
        (mails.len() == 3 && smtp.mails().len() == 1).then_some(mails)
    });

    let [crashed, bad, large] = &mails[..] else { panic!("{mails:?}") };
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(
        *bad,
        format!(
            "To: op@example.com\nSubject: httpok: {url}: bad status returned\n\nstatus contacting {url}: 500 Internal Server Error\n\
             Restarting selected processes ['web']\nweb is in RUNNING state, restarting\nweb restarted"
        )
    );
    assert!(
        large.starts_with("To: op@example.com\nSubject: memmon [fat]: process fat:fat restarted\n\n"),
        "{large}"
    );
    assert!(crashed.starts_with("To: op@example.com\nSubject:  crash crashed at "), "{crashed}");
    let (_, said) = crashed.split_once("\n\n").expect("a body");
    let pid = said.strip_prefix("Process crash in group crash exited unexpectedly (pid ");
    let pid = pid.and_then(|rest| rest.strip_suffix(") from state RUNNING"));
    assert!(pid.is_some_and(|pid| pid.parse::<u32>().is_ok_and(|pid| pid > 1)), "{said}");
    let [fatal] = &smtp.mails()[..] else { panic!("{:?}", smtp.mails()) };
    assert!(fatal.contains("Subject: Fatal start alert from supervisord\n"), "{fatal}");
    assert!(fatal.contains("Process never:never failed to start too many times"), "{fatal}");

    daemon.within(LIMIT, "both programs run again, with other pids", || {
        let now = (daemon.pid("web")?, daemon.pid("fat")?);
        (Some(now.0) != web && Some(now.1) != fat).then_some(())
    });
    daemon.within(LIMIT, "the program serves again", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    assert_eq!(request(port, "GET", "/", &[], "").status, 200);

    let log = daemon.log();
    for sentence in
        ["httpok: ACKNOWLEDGED -> READY", "memmon: BUSY -> ACKNOWLEDGED", "crashmail: event was processed"]
    {
        assert!(log.contains(sentence), "{sentence:?} is not in the log:\n{log}");
    }
    for sentence in ["UNKNOWN", "overflowed", "rejected"] {
        assert!(!log.contains(sentence), "{sentence:?} is in the log:\n{log}");
    }
    daemon.stop();
}

#[test]
fn superlance_works_under_the_genuine_daemon() {
    listeners_do_their_work(Which::Genuine);
}

#[test]
fn superlance_works_under_ours() {
    listeners_do_their_work(Which::Ours);
}
