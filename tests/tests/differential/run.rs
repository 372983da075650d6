//! One case with one daemon: its script is followed, and everything that can be seen is written down.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regex::Regex;
use serde_json::Value;
use stack_tests::{target, tools};
use tempfile::TempDir;

use crate::case::{Case, folder};
use crate::command::{Call, Said};
use crate::compare::Transcript;
use crate::mask::Mask;
use crate::rpc::{self, Address};

/// How long one step may take, and a whole case.
const STEP_MAX: Duration = Duration::from_secs(30);
const CASE_MAX: Duration = Duration::from_secs(100);
/// How long a daemon may run that is to end by itself.
const RUN_MAX: Duration = Duration::from_secs(8);
/// How long the rest of the daemon's stdout may take.
const COPY_MAX: Duration = Duration::from_secs(3);
/// Longer files are told by their length.
const FILE_MAX: usize = 16 * 1024;

/// Which daemon, with its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Genuine,
    Ours,
}

impl Which {
    fn program(self, name: &str) -> PathBuf {
        match self {
            Self::Genuine => tools().join("venv/bin").join(name),
            Self::Ours => {
                std::env::var_os("OURS").map_or_else(|| target().join("release"), PathBuf::from).join(name)
            }
        }
    }
}

struct Run<'a> {
    which: Which,
    case: &'a Case,
    folder: TempDir,
    port: u16,
    mask: Mask,
    env: Vec<(String, String)>,
    daemon: Option<Child>,
    /// The pid of a daemon that is not our child.
    detached: Option<i32>,
    credentials: Option<String>,
    tcp: bool,
    deadline: Instant,
    transcript: Transcript,
    /// Ends when the daemon's stdout and stderr have ended.
    copied: (Sender<()>, Receiver<()>),
}

/// Follows the script with this daemon.
pub(crate) fn run(case: &Case, which: Which) -> Transcript {
    let folder = tempfile::Builder::new().prefix("d").tempdir().expect("a folder");
    let here = folder.path().display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let words = [
        (here.clone(), "HERE"),
        (which.program("supervisord").display().to_string(), "SUPERVISORD"),
        (which.program("supervisorctl").display().to_string(), "SUPERVISORCTL"),
        (Which::Genuine.program("supervisorctl").display().to_string(), "SUPERVISORCTL"),
        (python(), "PYTHON"),
        (listener(), "LISTENER"),
        (port.to_string(), "PORT"),
    ];
    let mask = Mask::new(words.map(|(word, put)| (word, put.to_owned())).to_vec());
    let env = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", here.as_str()),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("TMPDIR", &format!("{here}/tmp")),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut run = Run {
        which,
        case,
        folder,
        port,
        mask,
        env,
        daemon: None,
        detached: None,
        credentials: None,
        tcp: false,
        deadline: Instant::now() + CASE_MAX,
        transcript: Vec::new(),
        copied: channel(),
    };
    run.write_files();
    run.follow();
    run.end();
    run.copied.0 = channel().0;
    let _ = run.copied.1.recv_timeout(COPY_MAX);
    run.note_files();
    std::mem::take(&mut run.transcript)
}

fn python() -> String {
    tools().join("venv/bin/python3").display().to_string()
}

fn listener() -> String {
    folder().join("listener.py").display().to_string()
}

impl Drop for Run<'_> {
    /// A mistake in a script leaves no daemon behind.
    fn drop(&mut self) {
        if let Some(child) = self.daemon.as_ref().filter(|_| std::thread::panicking()) {
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        }
    }
}

impl Run<'_> {
    fn here(&self) -> &Path {
        self.folder.path()
    }

    fn fill(&self, text: &str) -> String {
        text.replace("@HERE@", &self.here().display().to_string())
            .replace("@PORT@", &self.port.to_string())
            .replace("@PYTHON@", &python())
            .replace("@LISTENER@", &listener())
    }

    fn write_files(&self) {
        fs::create_dir(self.here().join("tmp")).expect("a folder");
        for (name, text) in &self.case.files {
            let path = self.here().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, self.fill(text)).expect("written");
            if name.starts_with("bin/") {
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
            }
        }
    }

    fn follow(&mut self) {
        let started = ["start", "run", "daemon"];
        let itself =
            self.case.script.iter().any(|line| started.contains(&line.split(' ').next().unwrap_or_default()));
        for line in if itself { &[][..] } else { &self.case.script } {
            if let Some(pair) = line.strip_prefix("env ") {
                self.step("env", pair);
            }
        }
        if !itself && !self.start(&["-n", "-c", "supervisord.conf"].map(str::to_owned)) {
            return;
        }
        for (number, line) in self.case.script.iter().enumerate() {
            if Instant::now() > self.deadline {
                self.note(format!("{}: {line}", number + 1), "OUT OF TIME");
                continue;
            }
            let line = self.fill(line);
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let said = self.step(word, rest);
            if let Some(said) = said {
                let title = format!("{}: {}", number + 1, self.case.script[number]);
                self.note(title, &said);
            }
        }
    }

    fn note(&mut self, title: String, text: &str) {
        let lines = self.mask.lines(text);
        self.transcript.push((title, lines));
    }

    /// Does one step, and returns what is to be compared.
    fn step(&mut self, word: &str, rest: &str) -> Option<String> {
        let words = || shlex::split(rest).unwrap_or_else(|| panic!("{}: {rest}", self.case.name));
        match word {
            "start" => {
                let words = words();
                (!self.start(&words)).then(|| "it did not start".to_owned())
            }
            "run" | "daemon" => {
                let said = self.call("supervisord", words(), "");
                if word == "daemon" && said.code == "0" {
                    self.detached = self.wait_for(STEP_MAX, |run| run.pidfile());
                }
                Some(said.text())
            }
            "ctl" | "ctl-type" => {
                let mut words = words();
                let input =
                    if word == "ctl-type" { words.remove(0).replace("\\n", "\n") } else { String::new() };
                if !words.first().is_some_and(|word| word.starts_with('-')) {
                    words.splice(
                        0..0,
                        ["-s".to_owned(), format!("unix://{}/supervisor.sock", self.here().display())],
                    );
                }
                let pid = words.iter().any(|word| word == "pid");
                let mut said = self.call("supervisorctl", words, &input);
                if pid {
                    said.out = mask_pids(&said.out);
                }
                Some(said.text())
            }
            "rpc" => {
                let (method, params) = rest.split_once(' ').unwrap_or((rest, "[]"));
                let params: Vec<Value> = serde_json::from_str(params)
                    .unwrap_or_else(|error| panic!("{}: {rest}: {error}", self.case.name));
                let mut answer = self.rpc(method, &params);
                answer.get_mut("result").map(sort_statuses);
                if method == "supervisor.getPID" && answer.get("result").is_some_and(Value::is_number) {
                    answer["result"] = "PID".into();
                }
                Some(serde_json::to_string_pretty(&answer).expect("JSON"))
            }
            "http" | "http-until" => {
                let mut words = words();
                let until = (word == "http-until").then(|| words.remove(0));
                Some(self.http(until, &words))
            }
            "raw" => {
                let bytes = fs::read(self.here().join(rest)).expect("the file is there");
                let bytes = String::from_utf8_lossy(&bytes).replace('\n', "\r\n");
                Some(self.exchange(bytes.as_bytes(), None))
            }
            "auth" => {
                self.credentials = Some(rest.to_owned()).filter(|pair| !pair.is_empty());
                None
            }
            "over" => {
                self.tcp = rest == "tcp";
                None
            }
            "env" => {
                let (name, value) = rest.split_once('=').expect("NAME=VALUE");
                self.env.push((name.to_owned(), value.to_owned()));
                None
            }
            "until" => {
                let (name, state) = rest.split_once(' ').expect("NAME STATE");
                let wanted = Regex::new(&format!("^(?:{state})$")).expect("a pattern");
                let mut last = String::new();
                self.wait_for(STEP_MAX, |run| {
                    let info = run.rpc("supervisor.getProcessInfo", &[name.into()]);
                    last =
                        info["result"]["statename"].as_str().map_or_else(|| info.to_string(), str::to_owned);
                    wanted.is_match(&last).then_some(())
                })
                .map_or_else(|| Some(format!("NEVER: it is {last}")), |()| None)
            }
            "until-log" => self.until_file("supervisord.log", rest),
            "until-file" => {
                let (name, pattern) = rest.split_once(' ').expect("FILE PATTERN");
                self.until_file(name, pattern)
            }
            "signal" => {
                let signal = Signal::from_str(&format!("SIG{rest}")).expect("a signal");
                let pid = self.daemon.as_ref().map(|child| child.id() as i32).or(self.detached);
                pid.is_none_or(|pid| kill(Pid::from_raw(pid), signal).is_err())
                    .then(|| "no daemon".to_owned())
            }
            "kill" => {
                let (name, signal) = rest.split_once(' ').expect("NAME SIGNAL");
                let signal = Signal::from_str(&format!("SIG{signal}")).expect("a signal");
                let info = self.rpc("supervisor.getProcessInfo", &[name.into()]);
                let pid = info["result"]["pid"].as_i64().filter(|pid| *pid > 1);
                let sent = pid.is_some_and(|pid| kill(Pid::from_raw(pid as i32), signal).is_ok());
                (!sent).then(|| format!("not sent: {info}"))
            }
            "sh" => {
                let call = Call {
                    program: "/bin/sh".into(),
                    args: ["-c", rest].map(str::to_owned).to_vec(),
                    env: &self.env,
                    folder: self.here(),
                    input: "",
                    limit: self.left(),
                };
                Some(call.run().text())
            }
            "exit" => {
                let limit = rest.parse().map_or(STEP_MAX, Duration::from_secs);
                Some(self.exit(limit))
            }
            other => panic!("{}: no command {other}", self.case.name),
        }
    }

    /// The time that a step has.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(STEP_MAX).max(Duration::from_millis(100))
    }

    fn call(&self, program: &str, args: Vec<String>, input: &str) -> Said {
        let genuine_client =
            program == "supervisorctl" && std::env::var("CLIENT").is_ok_and(|which| which == "genuine");
        let daemon = program == "supervisord";
        let which = if genuine_client { Which::Genuine } else { self.which };
        let program = which.program(program);
        let limit = if daemon { self.left().min(RUN_MAX) } else { self.left() };
        let call = Call { program, args, env: &self.env, folder: self.here(), input, limit };
        if which == Which::Genuine { call.run_genuine() } else { call.run() }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.which.program(program));
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(self.here());
        command
    }

    /// Starts the daemon, and waits until it has written its pidfile or ended.
    fn start(&mut self, words: &[String]) -> bool {
        let mut command = self.command("supervisord");
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(mut child) => {
                self.copy(child.stdout.take(), "daemon.stdout");
                self.copy(child.stderr.take(), "daemon.stderr");
                self.daemon = Some(child);
            }
            Err(error) => {
                self.note("start".to_owned(), &error.to_string());
                return false;
            }
        }
        self.wait_for(CASE_MAX, |run| run.pidfile().map(|_| true).or_else(|| run.ended().then_some(false)))
            .unwrap_or_default()
    }

    /// Pipes, as a container has them.
    fn copy(&self, from: Option<impl Read + Send + 'static>, name: &str) {
        let mut file = File::create(self.here().join(name)).expect("a file");
        let copied = self.copied.0.clone();
        std::thread::spawn(move || {
            let _ = from.map(|mut from| std::io::copy(&mut from, &mut file));
            drop(copied);
        });
    }

    fn pidfile(&self) -> Option<i32> {
        let text = fs::read_to_string(self.here().join("supervisord.pid")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    fn ended(&mut self) -> bool {
        self.daemon.as_mut().is_none_or(|child| child.try_wait().expect("ours").is_some())
    }

    /// Looks until something is found, the time is over or the daemon has ended.
    fn wait_for<T>(&mut self, limit: Duration, mut look: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let deadline = (Instant::now() + limit).min(self.deadline);
        loop {
            let ended = self.daemon.is_some() && self.ended();
            if let Some(found) = look(self) {
                return Some(found);
            }
            if ended || Instant::now() > deadline {
                return None;
            }
            let _ = nix::poll::poll(&mut [], 20_u16);
        }
    }

    fn address(&self) -> Address {
        if self.tcp { Address::Tcp(self.port) } else { Address::Unix(self.here().join("supervisor.sock")) }
    }

    fn rpc(&self, method: &str, params: &[Value]) -> Value {
        let request = rpc::call(method, params, self.credentials.as_deref());
        let deadline = (Instant::now() + STEP_MAX).min(self.deadline);
        match rpc::exchange(&self.address(), &request, deadline, rpc::whole) {
            Ok(bytes) => rpc::answer(&bytes),
            Err(error) => serde_json::json!({ "io": error.kind().to_string() }),
        }
    }

    /// `METHOD PATH [@BODY] [HEADER: VALUE]…`
    fn http(&self, until: Option<String>, words: &[String]) -> String {
        let [method, path, rest @ ..] = words else { panic!("{}: METHOD PATH", self.case.name) };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        if until.is_none() {
            request += "Connection: close\r\n";
        }
        let mut body = String::new();
        for word in rest {
            match word.strip_prefix('@') {
                Some(file) => body = fs::read_to_string(self.here().join(file)).expect("the file is there"),
                None => request += &format!("{word}\r\n"),
            }
        }
        if let Some(pair) = &self.credentials {
            request += &format!("Authorization: Basic {}\r\n", rpc::base64(pair.as_bytes()));
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        self.exchange(format!("{request}\r\n{body}").as_bytes(), until)
    }

    fn exchange(&self, request: &[u8], until: Option<String>) -> String {
        let deadline = (Instant::now() + Duration::from_secs(5)).min(self.deadline);
        let done = |seen: &[u8]| match &until {
            Some(text) => String::from_utf8_lossy(seen).contains(text.as_str()),
            None => rpc::whole(seen),
        };
        let bytes = match rpc::exchange(&self.address(), request, deadline, done) {
            Ok(bytes) => bytes,
            Err(error) => return format!("{}", error.kind()),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        // The names of headers have no case.
        let lower = |line: &str| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
            None => line.to_owned(),
        };
        let mut lines: Vec<String> = head.lines().map(lower).collect();
        if let Some(headers) = lines.get_mut(1..) {
            headers.sort_unstable();
        }
        // How an answer is cut into chunks says nothing.
        let size = Regex::new("(?mi)^[0-9a-f]+\r\n").expect("a pattern");
        let chunked = head.to_lowercase().contains("chunked");
        let body = if chunked { size.replace_all(body, "").replace("\r\n", "") } else { body.to_owned() };
        format!("{}\n\n{body}", lines.join("\n"))
    }

    fn until_file(&mut self, name: &str, pattern: &str) -> Option<String> {
        let wanted = Regex::new(&format!("(?m){pattern}")).expect("a pattern");
        let (start, rest) = name.split_once('*').unwrap_or((name, ""));
        let (folder, start) = start.rsplit_once('/').unwrap_or((".", start));
        let folder = self.here().join(folder);
        let found = self.wait_for(STEP_MAX, |_| {
            fs::read_dir(&folder).ok()?.flatten().find_map(|entry| {
                let file = entry.file_name().to_string_lossy().into_owned();
                let named = if name.contains('*') {
                    file.starts_with(start) && file.ends_with(rest)
                } else {
                    file == start
                };
                let bytes = named.then(|| fs::read(entry.path()).ok()).flatten()?;
                wanted.is_match(&String::from_utf8_lossy(&bytes)).then_some(())
            })
        });
        found.map_or_else(|| Some("NEVER".to_owned()), |()| None)
    }

    /// Waits for the daemon's end, and says with which code.
    fn exit(&mut self, limit: Duration) -> String {
        if let Some(pid) = self.detached {
            let gone = self.wait_for(limit, |_| kill(Pid::from_raw(pid), None).is_err().then_some(()));
            return gone.map_or_else(|| "it did not end".to_owned(), |()| "it has ended".to_owned());
        }
        self.wait_for(limit, |run| run.ended().then_some(()));
        match self.daemon.as_mut().map(|child| child.try_wait().expect("ours")) {
            None => "no daemon".to_owned(),
            Some(None) => "it did not end".to_owned(),
            Some(Some(status)) => {
                status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
            }
        }
    }

    /// Stops what still runs, and notes how it ended.
    fn end(&mut self) {
        let pid = self.daemon.as_ref().map(|child| child.id() as i32).or(self.detached);
        let Some(pid) = pid.map(Pid::from_raw) else { return };
        self.deadline = self.deadline.max(Instant::now() + STEP_MAX);
        let _ = if self.ended() && self.detached.is_none() { Ok(()) } else { kill(pid, Signal::SIGTERM) };
        let said = self.exit(STEP_MAX);
        if said == "it did not end" {
            self.credentials = self.credentials.take();
            let all = self.rpc("supervisor.getAllProcessInfo", &[]);
            for info in all["result"].as_array().into_iter().flatten() {
                if let Some(child) = info["pid"].as_i64().filter(|pid| *pid > 1) {
                    let _ = kill(Pid::from_raw(-child as i32), Signal::SIGKILL);
                }
            }
            let _ = kill(pid, Signal::SIGKILL);
            let _ = self.daemon.as_mut().map(Child::wait);
        }
        self.note("the end of the daemon".to_owned(), &said);
    }

    /// What lies in the folder at the end: names, and what is in the files that were not there before.
    fn note_files(&mut self) {
        let mut folders = vec![PathBuf::new()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.here().join(&folder)).into_iter().flatten().flatten() {
                let name = folder.join(entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(name)
                } else {
                    files.push(name)
                }
            }
        }
        let mut listing: Vec<(String, PathBuf)> = files
            .into_iter()
            .map(|file| (self.mask.lines(&file.display().to_string()).join("\n"), file))
            .filter(|(_, file)| !self.case.files.iter().any(|(name, _)| Path::new(name) == file))
            .collect();
        listing.sort();
        let names = |listing: &[(String, PathBuf)]| {
            listing.iter().map(|(name, _)| format!("{name}\n")).collect::<String>()
        };
        self.note("the files".to_owned(), &names(&listing));
        let log = fs::read(self.here().join("supervisord.log")).unwrap_or_default();
        for (name, file) in listing {
            if file.extension().is_some_and(|kind| kind == "pid") {
                continue;
            }
            let Ok(bytes) = fs::read(self.here().join(&file)) else { continue };
            if name == "daemon.stdout" && !bytes.is_empty() {
                self.note(format!("file {name}"), &beside_the_log(&bytes, &log));
            } else if bytes.len() > FILE_MAX {
                self.note(format!("file {name}"), &format!("{} bytes", bytes.len()));
            } else {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.note(format!("file {name}"), &text);
            }
        }
    }
}

/// The daemon's stdout, without what is in its log.
fn beside_the_log(stdout: &[u8], log: &[u8]) -> String {
    let [stdout, log] = [stdout, log].map(String::from_utf8_lossy);
    let whole = log.lines().all(|line| stdout.lines().any(|other| other == line));
    let more = stdout.lines().filter(|line| !log.lines().any(|other| other == *line));
    format!(
        "{}\n{}",
        if whole { "the log" } else { "a part of the log" },
        more.map(|line| format!("{line}\n")).collect::<String>()
    )
}

/// Which of several programs is done first says nothing.
fn sort_statuses(result: &mut Value) {
    if let Some(statuses) =
        result.as_array_mut().filter(|all| all.iter().all(|one| one["status"].is_number()))
    {
        statuses.sort_by_key(|one| one["name"].to_string());
    }
}

fn mask_pids(text: &str) -> String {
    let pid = |line: &str| {
        if line.parse::<u32>().is_ok_and(|pid| pid > 0) { "PID".to_owned() } else { line.to_owned() }
    };
    text.lines().map(|line| pid(line) + "\n").collect()
}
