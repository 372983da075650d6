//! A program at a terminal of its own: what it shows, and keys for it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};

use crate::poll::within;

/// How long a program may take to show something.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program whose standard streams are a terminal, which it controls: Ctrl-C reaches it as SIGINT.
pub struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
    /// What was looked at already.
    seen: usize,
}

impl Terminal {
    /// Starts it in 24 rows of 80 columns.
    pub fn start(program: &Command) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        let stream = |slave: &OwnedFd| Stdio::from(slave.try_clone().expect("one more descriptor"));
        // `--ctty` makes the terminal the controlling one, which only the new process itself can do.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(program.get_program())
            .args(program.get_args())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(stream(&pty.slave))
            .stdout(stream(&pty.slave))
            .stderr(stream(&pty.slave))
            .spawn()
            .expect("it starts");
        drop(pty.slave);
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().expect("one more descriptor");
        let shown = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of the last program at a terminal is an error there.
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                collected.lock().expect("no reader panics").push_str(&text);
            }
        });
        Self { child, keys, shown, seen: 0 }
    }

    /// Types something.
    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until `text` is shown after everything that was waited for before. Gives what came up to its end.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        let (shown, from) = (Arc::clone(&self.shown), self.seen);
        let now = || shown.lock().expect("no reader panics").clone();
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            within(PATIENCE, text, || {
                last = now();
                last[from..].find(text).map(|at| from + at + text.len())
            })
        }));
        match found {
            Ok(end) => {
                self.seen = end;
                last[from..end].to_owned()
            }
            Err(_) => panic!("no {text:?} in {:?}", &last[from..]),
        }
    }

    /// Everything that was shown.
    pub fn shown(&self) -> String {
        self.shown.lock().expect("no reader panics").clone()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let shown = self.shown();
        within(PATIENCE, &format!("the end of the program that showed {shown:?}"), || {
            self.child.try_wait().expect("ours")
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
