//! A child process that does not outlive its test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::poll::within;

/// A child whose lines are collected as they come.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().expect("piped"), &lines);
        collect(child.stderr.take().expect("piped"), &lines);
        Self { child, lines }
    }

    /// What it has said so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panics").clone()
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("it is there");
    }

    /// Sends a signal to it and to all that it started.
    pub fn signal_all(&self, signal: Signal) {
        let mut pids = vec![self.pid()];
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            pids.extend(children(*pid));
            next += 1;
        }
        for pid in pids {
            // One that has ended meanwhile is not missed.
            let _ = kill(Pid::from_raw(pid as i32), signal);
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let pid = self.pid();
        within(limit, &format!("process {pid} ends"), || self.child.try_wait().expect("ours"))
    }

    /// Its exit, if it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            // Whatever was stopped must hear that it is to end.
            self.signal_all(Signal::SIGCONT);
            let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM);
            for _ in 0..2000 {
                if self.try_wait().is_some() {
                    return;
                }
                let _ = nix::poll::poll(&mut [], 5_u16);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The processes that a process started with any of its threads.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let text: String =
        threads.flat_map(|thread| fs::read_to_string(thread.path().join("children"))).collect();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn collect(from: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lock().expect("no reader panics").push(line);
        }
    });
}
