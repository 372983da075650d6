//! Real senders on the real socket: what is heard, and what is not believed.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::super::user;
use super::*;

#[test]
fn a_message_is_read_line_by_line() {
    let none = Said::default;
    for (message, expected) in [
        ("READY=1", Said { ready: true, ..none() }),
        ("READY=1\n", Said { ready: true, ..none() }),
        (
            "STATUS=waiting for = signs\nREADY=1",
            Said { ready: true, status: Some("waiting for = signs".to_owned()), ..none() },
        ),
        ("STOPPING=1", Said { stopping: true, ..none() }),
        ("RELOADING=1\nMONOTONIC_USEC=12345", Said { reloading: true, ..none() }),
        ("WATCHDOG=1", Said { alive: true, ..none() }),
        ("WATCHDOG=trigger", Said { gives_up: true, ..none() }),
        ("WATCHDOG_USEC=20000000", Said { watchdog: Some(Duration::from_secs(20)), ..none() }),
        ("MAINPID=4711", Said { main_pid: Some(4711), ..none() }),
        ("", none()),
        ("\n\n\n", none()),
        ("READY", none()),
        ("READY=0", none()),
        ("READY=11", none()),
        ("ready=1", none()),
        (" READY=1", none()),
        ("X_OWN=1\nFDSTORE=1\nBARRIER=1", none()),
    ] {
        assert_eq!(Said::parse(message.as_bytes()), expected, "{message:?}");
    }
}

#[test]
fn hostile_values_are_passed_over() {
    // Attack: a pid that means everybody, numbers that wrap, a status that writes into the log of the daemon.
    for message in [
        "MAINPID=0",
        "MAINPID=1",
        "MAINPID=-1",
        "MAINPID=+7",
        "MAINPID= 7",
        "MAINPID=4294967296",
        "MAINPID=2147483648",
        "MAINPID=",
        "MAINPID=7x",
        "WATCHDOG_USEC=0",
        "WATCHDOG_USEC=-5",
        "WATCHDOG_USEC=99999999999999999999",
    ] {
        assert_eq!(Said::parse(message.as_bytes()), Said::default(), "{message}");
    }
    let said = Said::parse(b"STATUS=a\x1b[2J\rb\xff\x00c");
    assert_eq!(said.status.as_deref(), Some("a [2J b\u{fffd} c"));
    let long = format!("STATUS={}", "\u{e4}".repeat(3000));
    assert_eq!(Said::parse(long.as_bytes()).status.unwrap().chars().count(), STATUS_CHARS_MAX);
}

/// What a program does with its `NOTIFY_SOCKET`, as the libraries of the languages do it.
const SENDER: &str = "import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
for word in sys.argv[1:]: s.send(eval(word))
";

fn sender(address: &str, words: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", SENDER]).args(words).env("NOTIFY_SOCKET", address).stderr(Stdio::null());
    command
}

/// Runs a test's body in the runtime that the daemon has, bounded.
fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), body).await.unwrap() })
}

#[test]
fn a_program_says_that_it_is_ready() {
    run(async {
        let folder = Folder::make().unwrap();
        let socket = folder.socket("7", None).unwrap();
        let mut child =
            sender(&socket.address(), &["b'READY=1'", "b'WATCHDOG=1'"]).process_group(0).spawn().unwrap();
        let (first, second) = (socket.receive().await.unwrap(), socket.receive().await.unwrap());
        assert_eq!(
            first,
            Message {
                pid: child.id(),
                uid: nix::unistd::geteuid().as_raw(),
                said: Said { ready: true, ..Said::default() },
            }
        );
        assert!(second.said.alive);
        assert!(belongs(first.pid, child.id()), "its own process");
        assert!(!belongs(std::process::id(), child.id()), "a process that lives elsewhere");
        child.wait().unwrap();
    });
}

#[test]
fn a_helper_of_the_program_speaks_for_it() {
    run(async {
        let folder = Folder::make().unwrap();
        let socket = folder.socket("7", None).unwrap();
        // As `systemd-notify` in a script: another process of the group, gone soon.
        let script = "python3 -c \"$1\" \"b'READY=1'\"; read -r line";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh", SENDER])
            .env("NOTIFY_SOCKET", socket.address())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let message = socket.receive().await.unwrap();
        assert_ne!(message.pid, child.id());
        assert!(belongs(message.pid, child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
    });
}

#[test]
fn a_program_of_another_user_reaches_its_own_socket_and_no_other() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    run(async {
        let nobody = user::user("nobody").unwrap();
        let folder = Folder::make().unwrap();
        let own = folder.socket("own", Some(&nobody)).unwrap();
        let other = folder.socket("other", None).unwrap();
        let as_nobody = |address: &str| {
            let mut command = sender(address, &["b'READY=1'"]);
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/");
            command.status().unwrap().success()
        };
        // Attack: it says for a program of root that this one is ready.
        assert!(!as_nobody(&other.address()));
        assert!(as_nobody(&own.address()));
        assert_eq!(own.receive().await.unwrap().uid, nobody.uid.as_raw());
        // Attack: it looks for the sockets of others, or puts its own in their place.
        let mut look = Command::new("sh");
        look.args(["-c", "ls \"$0\" || touch \"$0/x\" || mv \"$1\" \"$0/x\""])
            .arg(&folder.path)
            .arg(own.address());
        look.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).stderr(Stdio::null());
        assert!(!look.status().unwrap().success());
    });
}

#[test]
fn what_is_no_message_is_dropped() {
    run(async {
        let folder = Folder::make().unwrap();
        let socket = folder.socket("7", None).unwrap();
        // Attack: a message of 100 kB whose beginning alone would be one, an empty one, one of bytes.
        let words = ["b'READY=1\\n' + b'x' * 100000", "b''", "bytes(range(256))", "b'STATUS=end'"];
        let mut child = sender(&socket.address(), &words).spawn().unwrap();
        for expected in [None, None, Some("end")] {
            let message = socket.receive().await.unwrap();
            assert_eq!(message.said, Said { status: expected.map(str::to_owned), ..Said::default() });
        }
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn descriptors_in_a_message_are_not_kept() {
    run(async {
        let folder = Folder::make().unwrap();
        let socket = folder.socket("7", None).unwrap();
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        // Attack: FDSTORE=1 again and again, until the daemon has no descriptor left.
        let script = "import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
for n in range(50): socket.send_fds(s, [b'READY=1\\nFDSTORE=1'], [0, 1, 2])
s.send(b'STATUS=end')
";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .env("NOTIFY_SOCKET", socket.address())
            .spawn()
            .unwrap();
        let message = socket.receive().await.unwrap();
        assert_eq!((message.pid, message.said.status.as_deref()), (child.id(), Some("end")));
        assert!(child.wait().unwrap().success());
        assert_eq!(open(), before);
    });
}

#[test]
fn nothing_is_left_of_the_sockets() {
    run(async {
        let folder = Folder::make().unwrap();
        let path = folder.path.clone();
        let socket = folder.socket("7", None).unwrap();
        let again = folder.socket("7", None).unwrap();
        // The last process of a program ends while its next one begins.
        let address = again.address();
        drop(socket);
        assert!(Path::new(&address).exists());
        for name in ["", "../x", "a/b", ".."] {
            assert!(folder.socket(name, None).is_err(), "{name:?}");
        }
        drop(again);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        drop(folder);
        assert!(!path.exists());
    });
}
