//! Fault 12: a backend is restarted under load, and whoever connects meanwhile waits and is served.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stack_tests::within;

use crate::daemon::{Daemon, Place, places, python, seconds};

places!(nobody_is_refused_while_a_backend_restarts, streams_go_on_until_they_end_or_the_stop_is_over);

/// Answers with its pid, or, asked for `/sse`, with a line now and then until the client goes. Told to end, it accepts
/// nothing more and goes when the last client has.
const BACKEND: &str = "import os, select, signal, socket, threading, time
ending = threading.Event()
signal.signal(15, lambda *_: ending.set())
listeners = [socket.socket(fileno=3 + n) for n in range(int(os.environ['LISTEN_FDS']))]
for listener in listeners: listener.setblocking(False)
def serve(client):
    with client:
        client.setblocking(True)
        asked = client.recv(1000)
        head = b'HTTP/1.0 200 OK\\r\\n\\r\\n'
        client.sendall(head + str(os.getpid()).encode() + b'\\n')
        while b'/sse' in asked:
            time.sleep(0.05)
            try: client.sendall(b'data: tick\\n\\n')
            except OSError: return
while not ending.is_set():
    for listener in select.select(listeners, [], [], 0.02)[0]:
        try: client = listener.accept()[0]
        except BlockingIOError: continue
        threading.Thread(target=serve, args=(client,)).start()
";

enum Way {
    Unix(PathBuf),
    Tcp(u16),
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Way {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(seconds(20)))?;
                Box::new(stream)
            }
            Self::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(seconds(20)))?;
                Box::new(stream)
            }
        })
    }

    /// The pid of whoever answered.
    fn ask(&self) -> io::Result<String> {
        let mut stream = self.connect()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let pid = answer.strip_prefix("HTTP/1.0 200 OK\r\n\r\n").and_then(|rest| rest.strip_suffix('\n'));
        pid.map(str::to_owned).ok_or_else(|| io::Error::other(format!("answered {answer:?}")))
    }
}

fn start(place: Place, keys: &str) -> (Daemon, [Way; 2]) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config =
        format!("[socket.u]\nlisten = \"unix:%(here)s/u.sock\"\n[socket.t]\nlisten = \"127.0.0.1:{port}\"\n")
            + &python("backend", BACKEND, &format!("sockets = [\"u\", \"t\"]\n{keys}"));
    let daemon = Daemon::start(place, &config);
    daemon.inner_pid("backend");
    let ways = [Way::Unix(daemon.path("u.sock")), Way::Tcp(port)];
    for way in &ways {
        assert_eq!(way.ask().unwrap(), daemon.inner_pid("backend").to_string());
    }
    (daemon, ways)
}

/// Ends the clients, also those of a test that fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn nobody_is_refused_while_a_backend_restarts(place: Place) {
    let (daemon, ways) = start(place, "autorestart = true");
    let done = AtomicBool::new(false);
    let done = &done;
    let count = &AtomicUsize::new(0);
    let (served, refused) = std::thread::scope(|scope| {
        let client = |way| {
            scope.spawn(move || {
                let (mut served, mut refused) = (Vec::new(), Vec::new());
                while !done.load(Ordering::SeqCst) {
                    match Way::ask(way) {
                        Ok(pid) => {
                            served.push(pid);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => refused.push(error.to_string()),
                    }
                }
                (served, refused)
            })
        };
        let clients: Vec<_> = ways.iter().flat_map(|way| [client(way), client(way)]).collect();
        let end = End(done);
        within(seconds(20), "everybody connects", || (count.load(Ordering::SeqCst) >= 200).then_some(()));
        for n in 0..5 {
            if n % 2 == 0 {
                assert!(daemon.ctl(&["restart", "backend"]).status.success());
            } else {
                // Its own end, with clients in the middle of it, is not its clients' luck; but nobody is refused.
                assert!(daemon.ctl(&["signal", "TERM", "backend"]).status.success());
                daemon.logged_times("INFO spawned: 'backend'", n + 2);
            }
            let pid = daemon.inner_pid("backend").to_string();
            within(seconds(10), "the new one answers", || (ways[0].ask().unwrap() == pid).then_some(()));
            let before = count.load(Ordering::SeqCst);
            within(seconds(20), "and others too", || {
                (count.load(Ordering::SeqCst) >= before + 200).then_some(())
            });
        }
        drop(end);
        let results = clients.into_iter().map(|client| client.join().unwrap());
        results.fold((Vec::new(), Vec::new()), |mut all, (served, refused)| {
            all.0.extend(served);
            all.1.extend(refused);
            all
        })
    });
    assert!(refused.is_empty(), "{} of {}: {refused:?}", refused.len(), served.len());
    let mut pids = served.clone();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 6, "clients met every backend");
    println!("{} connections through 5 restarts, 0 refused", served.len());
}

fn streams_go_on_until_they_end_or_the_stop_is_over(place: Place) {
    let (daemon, ways) = start(place, "stopwaitsecs = 2");
    let mut streams: Vec<_> = ways.iter().map(|way| way.connect().unwrap()).collect();
    let read = |stream: &mut Box<dyn Stream>| -> usize {
        let mut piece = [0; 4096];
        stream.read(&mut piece).unwrap_or(0)
    };
    for stream in &mut streams {
        stream.write_all(b"GET /sse HTTP/1.0\r\n\r\n").unwrap();
        assert!(read(stream) > 0);
    }
    let old = daemon.inner_pid("backend").to_string();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| daemon.ctl(&["restart", "backend"]).status.success());
        // Who comes during the stop waits for the next one.
        daemon.waits_for_state("backend", "STOPPING");
        let late = scope.spawn(|| {
            // The old one may still accept until it has seen the signal.
            let pid = within(seconds(20), "somebody else", || {
                Some(ways[1].ask().unwrap()).filter(|pid| *pid != old)
            });
            (pid, began.elapsed())
        });
        let mut ends = streams.iter_mut().map(|stream| {
            while read(stream) > 0 {}
            began.elapsed()
        });
        let first = ends.next().unwrap();
        assert!(first >= Duration::from_millis(1900) && first < Duration::from_millis(4000), "{first:?}");
        assert!(ends.all(|end| end < Duration::from_millis(4000)));
        assert!(restart.join().unwrap());
        let (pid, after) = late.join().unwrap();
        assert!(after >= Duration::from_millis(1900), "{pid} {after:?}");
    });
    daemon.logged("WARN killing 'backend'");
    // With nobody there any more a stop is over at once.
    let began = Instant::now();
    assert!(daemon.ctl(&["restart", "backend"]).status.success());
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
}
