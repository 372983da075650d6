//! Checks against real servers and commands: slow, rude and broken ones.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use stack_tests::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use super::*;
use crate::program::Exit;

/// Runs a test's body as the loop of the daemon would, bounded.
fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(20), body).await.unwrap() })
}

async fn no_exec(_: Vec<String>) -> Result<Running, String> {
    panic!("no command is to run")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a server does with one connection, after it has read what is asked.
#[derive(Clone, Copy)]
enum Server {
    Says(&'static str),
    /// A byte every 5 ms, and never the end of the answer.
    Drips,
    Nothing,
}

async fn serve<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, server: Server) {
    let _ = stream.read(&mut [0; 1024]).await;
    match server {
        Server::Says(text) => drop(stream.write_all(text.as_bytes()).await),
        Server::Drips => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
            while stream.write_all(b"y").await.is_ok() {
                tokio::time::sleep(ms(5)).await;
            }
        }
        Server::Nothing => drop(stream.read(&mut [0; 1024]).await),
    }
}

/// Listens and serves in the background.
async fn http_server(address: &str, server: Server) -> String {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream, server));
        }
    });
    address
}

fn http(address: &str) -> Check {
    Check::Http { address: address.to_owned(), path: "/x?y".to_owned() }
}

async fn once(check: &Check) -> Result<(), String> {
    attempt(check, ms(300), &no_exec).await
}

#[test]
fn an_answer_is_good_from_200_to_399() {
    run(async {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok(())),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            ("HTTP/1.0 200 OK\r\n\r\nold", Ok(())),
            ("HTTP/1.1 399 Odd\r\ncontent-length: 0\r\n\r\n", Ok(())),
            // Its body need not come.
            ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", Ok(())),
            ("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", Err("answered 400")),
            ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", Err("answered 503")),
            ("HTTP/1.1 200 O", Err("closed the connection without an answer")),
            ("", Err("closed the connection without an answer")),
            ("SSH-2.0-x\r\n\r\n", Err("did not answer with HTTP")),
        ] {
            let address = http_server("127.0.0.1:0", Server::Says(answer)).await;
            let expected = expected.map_err(|why| format!("http http://{address}/x?y {why}"));
            assert_eq!(once(&http(&address)).await, expected, "{answer:?}");
        }
    });
}

#[test]
fn a_server_that_drips_or_is_silent_takes_no_longer_than_the_timeout() {
    run(async {
        for server in [Server::Drips, Server::Nothing] {
            let address = http_server("127.0.0.1:0", server).await;
            let why = format!("http http://{address}/x?y did not answer within 0.3 s");
            assert_eq!(once(&http(&address)).await, Err(why));
        }
    });
}

#[test]
fn nothing_is_left_of_a_try_that_was_given_up() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let check = http(&listener.local_addr().unwrap().to_string());
        let (tried, (mut stream, _)) = tokio::join!(once(&check), async { listener.accept().await.unwrap() });
        assert!(tried.is_err());
        // The end of the connection, so nobody holds it any more.
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
}

#[test]
fn names_and_addresses_of_both_families_are_asked() {
    run(async {
        let ok = Server::Says("HTTP/1.1 200 OK\r\n\r\n");
        let six = http_server("[::1]:0", ok).await;
        assert_eq!(once(&http(&six)).await, Ok(()));
        assert_eq!(once(&Check::Tcp(six)).await, Ok(()));
        let four = http_server("127.0.0.1:0", ok).await;
        let port = four.rsplit_once(':').unwrap().1;
        assert_eq!(once(&http(&format!("localhost:{port}"))).await, Ok(()));
        assert_eq!(once(&Check::Tcp(format!("localhost:{port}"))).await, Ok(()));
    });
}

#[test]
fn who_does_not_listen_is_named() {
    run(async {
        let folder = tempfile::TempDir::new().unwrap();
        let socket = folder.path().join("s");
        let refused = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().to_string()
        };
        for (check, why) in [
            (
                Check::Tcp(refused.clone()),
                format!("tcp {refused} cannot be reached: Connection refused (os error 111)"),
            ),
            (
                Check::Unix(socket.clone()),
                format!(
                    "unix {} cannot be reached: No such file or directory (os error 2)",
                    socket.display()
                ),
            ),
            (
                Check::HttpUnix { socket: socket.clone(), path: "/x".to_owned() },
                format!(
                    "http http+unix://{}:/x cannot be reached: No such file or directory (os error 2)",
                    socket.display()
                ),
            ),
        ] {
            assert_eq!(once(&check).await, Err(why));
        }
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, Server::Says("HTTP/1.1 302 Found\r\n\r\n")).await;
            }
        });
        assert_eq!(once(&Check::Unix(socket.clone())).await, Ok(()));
        assert_eq!(once(&Check::HttpUnix { socket, path: "/x".to_owned() }).await, Ok(()));
    });
}

/// Starts a command as the daemon does: in a group of its own, which is killed if it is cancelled.
async fn start(command: Vec<String>, pids: &RefCell<Vec<u32>>) -> Result<Running, String> {
    use std::os::unix::process::CommandExt;
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let pid = child.id();
    pids.borrow_mut().push(pid);
    let (exited, running) = oneshot::channel();
    std::thread::spawn(move || {
        let status = child.wait().unwrap();
        let _ = exited
            .send(status.code().map_or(Exit::Signal { name: "SIGKILL".to_owned(), core: false }, Exit::Code));
    });
    Ok(Running::new(running, move || killpg(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap()))
}

fn exec(words: &[&str]) -> Check {
    Check::Exec(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn a_command_says_it_by_its_exit_code() {
    run(async {
        let pids = RefCell::default();
        for (words, expected) in [
            (&["true"][..], Ok(())),
            (&["sh", "-c", "exit 3"], Err("exec sh -c exit 3 ended with exit status 3")),
            (
                &["/no/such/command"],
                Err("exec /no/such/command cannot run: No such file or directory (os error 2)"),
            ),
        ] {
            let said = attempt(&exec(words), Duration::from_secs(10), &|command| start(command, &pids)).await;
            assert_eq!(said, expected.map_err(str::to_owned));
        }
    });
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_children() {
    run(async {
        let pids = RefCell::default();
        let check = exec(&["sh", "-c", "sleep 1000 & wait"]);
        let said = attempt(&check, ms(200), &|command| start(command, &pids)).await;
        assert_eq!(said, Err("exec sh -c sleep 1000 & wait did not end within 0.2 s".to_owned()));
        let group = Pid::from_raw(pids.borrow()[0] as i32);
        within(Duration::from_secs(10), "the group is gone", || killpg(group, None).is_err().then_some(()));
    });
}

#[test]
fn waiting_for_ready_knows_why_it_still_waits() {
    run(async {
        let folder = tempfile::TempDir::new().unwrap();
        let socket: PathBuf = folder.path().join("s");
        let (check, last) = (Check::Unix(socket.clone()), LastFailure::default());
        assert_eq!(last.get(), None);
        let listen = async {
            while last.get().is_none() {
                tokio::task::yield_now().await;
            }
            UnixListener::bind(&socket).unwrap()
        };
        let ((), _listener) = tokio::join!(until_ready(&check, ms(1), &last, no_exec), listen);
        let why = "cannot be reached: No such file or directory (os error 2)";
        assert_eq!(last.get(), Some(format!("unix {} {why}", socket.display())));
    });
}

#[test]
fn a_program_that_does_not_say_that_it_is_ready_is_told_so() {
    run(async {
        let last = LastFailure::default();
        let waits = until_ready(&Check::Notify, ms(1), &last, no_exec);
        assert!(tokio::time::timeout(ms(30), waits).await.is_err());
        assert_eq!(last.get().as_deref(), Some("it did not say READY=1"));
    });
}

/// A program whose answers are these, in turn; how often it was asked, and what came of it.
fn asked(answers: &'static [u16], failures: u32) -> (usize, Option<String>) {
    run(async {
        let count = Rc::new(Cell::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = async {
            for status in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                let _ = stream.read(&mut [0; 1024]).await;
                let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            // Time for one more question, which is not to come if the answer was told.
            let _ = tokio::time::timeout(ms(100), listener.accept()).await;
        };
        let alive = Alive { check: http(&address), interval: ms(1), timeout: ms(5000), failures };
        let told = tokio::select! {
            why = until_unhealthy(&alive, no_exec) => Some(why.replace(&address, "A")),
            () = server => None,
        };
        (count.get(), told)
    })
}

#[test]
fn a_program_is_unhealthy_after_failures_in_a_row() {
    let why = |status| Some(format!("http http://A/x?y answered {status}"));
    assert_eq!(asked(&[500, 501, 502, 503], 3), (3, why(502)));
    assert_eq!(asked(&[500, 200, 501, 502, 200, 503], 3), (6, None));
    assert_eq!(asked(&[200, 500], 1), (2, why(500)));
}

#[test]
fn the_first_question_comes_after_an_interval() {
    run(async {
        let alive = Alive {
            check: Check::Tcp("127.0.0.1:1".to_owned()),
            interval: Duration::from_secs(1000),
            timeout: ms(1),
            failures: 1,
        };
        assert!(tokio::time::timeout(ms(50), until_unhealthy(&alive, no_exec)).await.is_err());
    });
}

#[test]
fn a_silent_program_is_told_once_its_time_is_over() {
    run(async {
        let beat = Notify::new();
        let began = Instant::now();
        let beats = async {
            for _ in 0..10 {
                tokio::time::sleep(ms(20)).await;
                beat.notify_one();
            }
        };
        let (why, ()) = tokio::join!(until_silent(ms(90), &beat), beats);
        assert_eq!(why, "it did not say WATCHDOG=1 within 0.09 s");
        assert!(began.elapsed() >= ms(200 + 90), "{:?}", began.elapsed());
    });
}

#[test]
fn a_daemon_that_was_stopped_does_not_blame_its_programs() {
    run(async {
        let beat = Notify::new();
        let stopped = async {
            tokio::task::yield_now().await;
            // As after SIGSTOP and SIGCONT: the time is over, and what the program said is read a little later.
            nix::poll::poll(&mut [], 400_u16).unwrap();
            tokio::time::sleep(ms(20)).await;
            beat.notify_one();
            tokio::time::sleep(ms(60)).await;
        };
        tokio::select! {
            why = until_silent(ms(100), &beat) => panic!("{why}"),
            () = stopped => {}
        }
    });
}
