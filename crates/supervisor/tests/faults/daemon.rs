//! A real daemon in a folder of its own, as an ordinary process or as PID 1 of its own namespaces.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;
use supervisor::ctl::fault::Fault;
use supervisor::ctl::xmlrpc::{Value, parse_response, write_call};
use tempfile::TempDir;

/// Where the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// As anybody's child.
    Plain,
    /// As PID 1 of a pid namespace, with its own `/proc`.
    Init,
    /// In a pid namespace, but as the child of a shell that is PID 1 there.
    Inside,
}

/// Runs each of these tests in both places.
macro_rules! places {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn plain() {
                super::$name(crate::daemon::Place::Plain);
            }

            #[test]
            fn pid_1() {
                super::$name(crate::daemon::Place::Init);
            }
        })+
    };
}
pub(crate) use places;

/// How the daemon is to be started.
pub(crate) struct Plan {
    place: Place,
    folder: TempDir,
    daemon: String,
    rest: String,
    before: String,
    environment: Vec<(OsString, OsString)>,
    arguments: Vec<String>,
    stdout: Option<Stdio>,
    users: bool,
    terminal: bool,
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Its pid as the test sees it.
    pub(crate) pid: i32,
    place: Place,
    folder: TempDir,
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The number that continuous integration takes, or with `FAULTS_FULL=1` the whole one.
pub(crate) fn rounds(few: usize, full: usize) -> usize {
    if std::env::var_os("FAULTS_FULL").is_some_and(|value| value == "1") { full } else { few }
}

/// The system's: others may stand earlier in PATH, where other users have no way to.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// A program in Python.
pub(crate) fn python(name: &str, code: &str, keys: &str) -> String {
    let code = code.replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("[program.{name}]\ncommand = [\"{PYTHON}\", \"-c\", \"{code}\"]\nstartsecs = 0\n{keys}\n")
}

/// A program for the shell; the script has no double quotes.
pub(crate) fn shell(name: &str, script: &str, keys: &str) -> String {
    format!("[program.{name}]\ncommand = [\"sh\", \"-c\", \"{script}\"]\nstartsecs = 0\n{keys}\n")
}

/// A program that sleeps until it is told to end.
pub(crate) fn sleeper(name: &str, keys: &str) -> String {
    format!("[program.{name}]\ncommand = \"sleep 1000\"\nstartsecs = 0\n{keys}\n")
}

/// Whether there is no such process, or only what its parent has not collected.
pub(crate) fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// A field of `/proc/PID/status`, its first number.
pub(crate) fn status_field(pid: i32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(&format!("{field}:")))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn need_root(why: &str) {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root: {why}");
}

impl Plan {
    pub(crate) fn new(place: Place, rest: &str) -> Self {
        Self {
            place,
            folder: TempDir::new().unwrap(),
            daemon: String::new(),
            rest: rest.to_owned(),
            before: String::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            stdout: None,
            users: false,
            terminal: false,
        }
    }

    /// More keys of `[supervisord]`.
    pub(crate) fn daemon(mut self, keys: &str) -> Self {
        self.daemon = keys.to_owned();
        self
    }

    /// What a shell does first, in the daemon's folder and in a mount namespace of its own; its `exec` lasts.
    pub(crate) fn before(mut self, script: &str) -> Self {
        need_root("it mounts, or sets limits");
        self.before = script.to_owned();
        self
    }

    pub(crate) fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A command that the daemon's command line is given to.
    pub(crate) fn through(mut self, words: &[&str]) -> Self {
        self.arguments = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Programs become other users.
    pub(crate) fn users(mut self) -> Self {
        need_root("its programs become other users");
        self.users = true;
        self
    }

    /// It has a controlling terminal.
    pub(crate) fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub(crate) fn start(self) -> Daemon {
        if self.users {
            // Other users come through the folder to the logs they open again.
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(self.folder.path(), open).unwrap();
        }
        write_config(&self.folder, &self.daemon, &self.rest);
        let mut words: Vec<String> = vec!["unshare".to_owned(), "--mount".to_owned()];
        let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        if !nix::unistd::geteuid().is_root() {
            add(&["--user", "--map-root-user"]);
        }
        if self.place != Place::Plain {
            add(&["--pid", "--fork", "--mount-proc", "--kill-child"]);
        }
        let run = if self.place == Place::Inside { "\"$@\" & wait $!" } else { "exec \"$@\"" };
        add(&["sh", "-c", &format!("set -e\n{}\n{run}", self.before), "sh"]);
        words.extend(self.arguments);
        words.extend([env!("CARGO_BIN_EXE_supervisord"), "-n", "-c"].map(str::to_owned));
        words.push(self.folder.path().join("s.toml").display().to_string());
        if self.terminal {
            let line = shlex::try_join(words.iter().map(String::as_str)).unwrap();
            words = ["script", "-q", "-e", "-c", &format!("exec {line}"), "/dev/null"]
                .map(str::to_owned)
                .to_vec();
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.folder.path()).envs(self.environment);
        let out = fs::File::create(self.folder.path().join("stdout")).unwrap();
        command.stdin(Stdio::null()).stderr(out.try_clone().unwrap());
        command.stdout(self.stdout.unwrap_or_else(|| out.into()));
        let child = command.spawn().unwrap();
        // The pipe's or terminal's other end is only the daemon's from now on.
        drop(command);
        let mut daemon = Daemon { pid: child.id() as i32, child, place: self.place, folder: self.folder };
        within(seconds(20), "the daemon listens", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon has ended with {status}: {}", daemon.read("stdout"));
            }
            UnixStream::connect(daemon.path("s.sock")).ok()
        });
        let number: i32 = within(seconds(5), "its pidfile", || daemon.read("s.pid").trim().parse().ok());
        if daemon.place != Place::Plain {
            assert_eq!(number == 1, daemon.place == Place::Init, "the pid within the namespace");
        }
        let generations = match daemon.place {
            Place::Plain => 0,
            Place::Init => 1,
            Place::Inside => 2,
        };
        for _ in 0..generations + usize::from(self.terminal) {
            daemon.pid = children(daemon.pid)[0];
        }
        daemon
    }
}

/// Writes the configuration of a daemon; who reads it meanwhile reads the old one.
pub(crate) fn write_config(folder: &TempDir, daemon: &str, rest: &str) {
    let text = format!(
        "[supervisord]\nlogfile = \"%(here)s/s.log\"\npidfile = \"%(here)s/s.pid\"\n{daemon}\n\
         [unix_http_server]\nfile = \"%(here)s/s.sock\"\n{rest}\n"
    );
    fs::write(folder.path().join("s.new"), text).unwrap();
    fs::rename(folder.path().join("s.new"), folder.path().join("s.toml")).unwrap();
}

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

impl Daemon {
    #[track_caller]
    pub(crate) fn start(place: Place, rest: &str) -> Self {
        Plan::new(place, rest).start()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of its folder as text; empty if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        self.read("s.log")
    }

    /// Waits for a sentence in its log and tells where it stands.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) -> usize {
        within(seconds(20), &format!("{text:?} in the log"), || self.log().find(text))
    }

    /// Waits for a sentence in its log that begins and ends so, and gives back the names between.
    #[track_caller]
    pub(crate) fn logged_names(&self, begin: &str, end: &str) -> Vec<String> {
        let what = format!("{begin:?} … {end:?} in the log");
        let mut names: Vec<String> = within(seconds(20), &what, || {
            let log = self.log();
            let found =
                log.lines().find_map(|line| line.split_once(begin)?.1.strip_suffix(end).map(str::to_owned));
            found.map(|names| names.split(", ").map(str::to_owned).collect())
        });
        names.sort();
        names
    }

    /// Waits until a sentence stands in its log so many times.
    #[track_caller]
    pub(crate) fn logged_times(&self, text: &str, times: usize) {
        let what = format!("{times} times {text:?} in the log");
        within(seconds(60), &what, || (self.log().matches(text).count() >= times).then_some(()));
    }

    /// Waits until a file has this text.
    #[track_caller]
    pub(crate) fn wrote(&self, name: &str, text: &str) {
        within(seconds(20), &format!("{text:?} in {name}"), || self.read(name).contains(text).then_some(()));
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, rest: &str) {
        write_config(&self.folder, "", rest);
    }

    pub(crate) fn ctl(&self, words: &[&str]) -> Output {
        let url = format!("unix://{}", self.path("s.sock").display());
        Command::new(env!("CARGO_BIN_EXE_supervisorctl")).arg("-s").arg(url).args(words).output().unwrap()
    }

    /// The same, its words.
    pub(crate) fn said(&self, words: &[&str]) -> String {
        String::from_utf8(self.ctl(words).stdout).unwrap()
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path("s.sock")).unwrap()
    }

    /// Sends bytes as they are and gives back everything that comes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(seconds(60))).unwrap();
        // The daemon may have answered and gone before everything is sent.
        let _ = stream.write_all(bytes);
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// Calls a method.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, params: &[Value]) -> Result<Value, Fault> {
        let answer = self.raw(&request(method, params));
        let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let at =
            at.unwrap_or_else(|| panic!("no answer to {method}: {:?}", String::from_utf8_lossy(&answer)));
        parse_response(&answer[at + 4..]).unwrap()
    }

    /// What it says about a program.
    #[track_caller]
    pub(crate) fn info(&self, program: &str) -> Value {
        self.call("supervisor.getProcessInfo", &[program.into()]).unwrap()
    }

    #[track_caller]
    pub(crate) fn state(&self, program: &str) -> String {
        self.info(program).member("statename").unwrap().text().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn waits_for_state(&self, program: &str, state: &str) {
        within(seconds(20), &format!("{program} is {state}"), || {
            (self.state(program) == state).then_some(())
        });
    }

    /// Waits until a program has come to rest.
    #[track_caller]
    pub(crate) fn waits_for_end(&self, program: &str) {
        within(seconds(20), &format!("{program} has come to rest"), || {
            ["STOPPED", "EXITED", "FATAL"].contains(&self.state(program).as_str()).then_some(())
        });
    }

    /// How many programs are in a state.
    #[track_caller]
    pub(crate) fn count(&self, state: &str) -> usize {
        let all = self.call("supervisor.getAllProcessInfo", &[]).unwrap();
        let is = |info: &&Value| info.member("statename").and_then(Value::text) == Some(state);
        all.items().iter().filter(is).count()
    }

    /// The pid of a program as the daemon sees it; waits until there is one.
    #[track_caller]
    pub(crate) fn inner_pid(&self, program: &str) -> i32 {
        within(seconds(20), &format!("{program} has a process"), || {
            self.info(program).member("pid").and_then(Value::int).filter(|pid| *pid > 0)
        }) as i32
    }

    /// The same as the test sees it.
    #[track_caller]
    pub(crate) fn pid_of(&self, program: &str) -> i32 {
        self.outer(self.inner_pid(program))
    }

    /// A pid of the daemon's namespace as the test sees it.
    #[track_caller]
    pub(crate) fn outer(&self, inner: i32) -> i32 {
        let found = self.all_outer().into_iter().find(|(number, _)| *number == inner);
        found.unwrap_or_else(|| panic!("pid {inner} is not there")).1
    }

    /// Every pid of the daemon's namespace, with what the test calls it.
    pub(crate) fn all_outer(&self) -> Vec<(i32, i32)> {
        let namespace = fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("NSpid:"))?;
            let inner = line.split_whitespace().last()?.parse().ok()?;
            let same = fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == namespace;
            same.then_some((inner, pid))
        });
        pids.collect()
    }

    /// The daemon's open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    #[track_caller]
    pub(crate) fn ended(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the daemon ends", || self.child.try_wait().unwrap())
    }

    /// Stops it in order and tells how long that took.
    #[track_caller]
    pub(crate) fn stop(&mut self, limit: Duration) -> Duration {
        let began = Instant::now();
        self.signal(Signal::SIGTERM);
        let status = self.ended(limit);
        assert_eq!(status.code(), Some(0), "{}", self.log());
        began.elapsed()
    }

    /// That it answers, and how soon.
    #[track_caller]
    pub(crate) fn answers_within(&self, limit: Duration) -> Duration {
        let began = Instant::now();
        self.call("supervisor.getAllProcessInfo", &[]).unwrap();
        let took = began.elapsed();
        assert!(took <= limit, "an answer took {took:?}");
        took
    }
}

/// A call as bytes, after which the connection ends.
pub(crate) fn request(method: &str, params: &[Value]) -> Vec<u8> {
    let body = write_call(method, params);
    format!(
        "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            if std::thread::panicking() {
                let log = self.log();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("the end of its log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGCONT);
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
