//! Our supervisorctl beside the genuine one, against our daemon and against the genuine one: the same commands, the
//! same lines into the shell, the same keys at a terminal.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::{Process, Terminal, repository, target, tools, within};
use tempfile::TempDir;

/// How long anything may take that should take no time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon or the client, ours or the Python one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Genuine,
}

use Kind::{Genuine, Ours};

/// Programs of the first configuration: name and keys. `{q}` is a quote where the format wants one.
const PROGRAMS: [(&str, &str); 8] = [
    (
        "cat",
        "command={q}cat{q}\nstartsecs=0\nstdout_logfile={q}HERE/cat.out{q}\nstderr_logfile={q}HERE/cat.err{q}\n",
    ),
    (
        "talk",
        "command={q}sh -c 'echo out; echo err >&2; exec sleep 1000'{q}\nstartsecs=0\nstdout_logfile={q}HERE/talk.out{q}\nstderr_logfile={q}HERE/talk.err{q}\n",
    ),
    (
        "off",
        "command={q}sleep 1000{q}\nautostart=false\nstartsecs=0\nstdout_logfile={q}HERE/off.out{q}\nstderr_logfile={q}HERE/off.err{q}\n",
    ),
    (
        "none",
        "command={q}/no/such/program{q}\nautostart=false\nstdout_logfile={q}NONE{q}\nstderr_logfile={q}NONE{q}\n",
    ),
    (
        "crash",
        "command={q}false{q}\nautostart=false\nstartretries=0\nstdout_logfile={q}NONE{q}\nstderr_logfile={q}NONE{q}\n",
    ),
    (
        "data",
        "command={q}HERE/data{q}\nautostart=false\nstdout_logfile={q}NONE{q}\nstderr_logfile={q}NONE{q}\n",
    ),
    (
        "gone",
        "command={q}sleep 1000{q}\nautostart=false\nstartsecs=0\nstdout_logfile={q}NONE{q}\nstderr_logfile={q}NONE{q}\n",
    ),
    (
        "slow",
        "command={q}sh -c 'trap true TERM; while :; do sleep 1; done'{q}\nautostart=false\nstartsecs=0\nstopwaitsecs=60\nstdout_logfile={q}NONE{q}\nstderr_logfile={q}NONE{q}\n",
    ),
];

/// What the changed configuration has instead of some of them, and beside them.
const CHANGED: [(&str, &str); 2] = [
    (
        "talk",
        "command={q}sleep 999{q}\nstartsecs=0\nstdout_logfile={q}HERE/talk.out{q}\nstderr_logfile={q}HERE/talk.err{q}\n",
    ),
    ("new", "command={q}sleep 1000{q}\nstartsecs=0\nstdout_logfile={q}NONE{q}\nstderr_logfile={q}NONE{q}\n"),
];

/// A daemon, ours or the genuine one, with the same programs.
struct Daemon {
    _process: Process,
    folder: TempDir,
    kind: Kind,
    password: Option<&'static str>,
}

impl Daemon {
    fn start(kind: Kind) -> Self {
        Self::with_password(kind, None)
    }

    fn with_password(kind: Kind, password: Option<&'static str>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let name = if kind == Genuine { "s.conf" } else { "s.toml" };
        let config = folder.path().join(name);
        let here = folder.path().display().to_string();
        fs::write(&config, text(kind, &here, password, &PROGRAMS, &["cat,off"])).expect("written");
        // A file that is not executable, and logs that are there before the program has said anything.
        for file in ["data", "cat.out", "cat.err"] {
            fs::write(folder.path().join(file), "").expect("written");
        }
        let process =
            Process::start(Command::new(program(kind, "supervisord")).args(["-n", "-c"]).arg(config));
        let daemon = Self { _process: process, folder, kind, password };
        within(PATIENCE, "both programs run", || {
            (daemon.output(&["status"]).0.matches("RUNNING").count() == 2).then_some(())
        });
        within(PATIENCE, "the program has talked", || {
            (daemon.output(&["tail", "talk", "stderr"]).0 == "err\n\n").then_some(())
        });
        daemon
    }

    fn here(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn url(&self) -> String {
        format!("unix://{}/s.sock", self.here())
    }

    /// What our client says, with the right password.
    fn output(&self, words: &[&str]) -> (String, Option<i32>) {
        let mut command = self.client(Ours);
        if let Some(password) = self.password {
            command.args(["-u", "me", "-p", password]);
        }
        let out = command.args(words).output().expect("it runs");
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code())
    }

    fn client(&self, kind: Kind) -> Command {
        let mut command = Command::new(program(kind, "supervisorctl"));
        // The working directory holds no configuration and no socket of a running stack.
        command.current_dir(self.folder.path()).arg("-s").arg(self.url()).stdin(Stdio::null());
        command
    }

    /// The configuration becomes another one: changed, or what no daemon understands.
    fn change(&self, broken: bool) {
        let name = if self.kind == Genuine { "s.conf" } else { "s.toml" };
        let programs: Vec<(&str, &str)> = PROGRAMS
            .into_iter()
            .filter(|(name, _)| !["talk", "gone"].contains(name))
            .chain(CHANGED)
            .collect();
        let mut text = text(self.kind, &self.here(), self.password, &programs, &["cat,off"]);
        if broken {
            text = text.replace("startsecs=0", "startsecs=soon");
        }
        fs::write(self.folder.path().join(name), text).expect("written");
    }
}

fn text(kind: Kind, here: &str, password: Option<&str>, programs: &[(&str, &str)], both: &[&str]) -> String {
    let (q, kind_mark) = if kind == Genuine { ("", ":") } else { ("\"", ".") };
    let mut text = format!(
        "[supervisord]\nlogfile={q}{here}/s.log{q}\npidfile={q}{here}/s.pid{q}\n[unix_http_server]\nfile={q}{here}/s.sock{q}\n"
    );
    if let Some(password) = password {
        text += &format!("username={q}me{q}\npassword={q}{password}{q}\n");
    }
    text += &format!("[group{kind_mark}both]\nprograms={q}{}{q}\n", both.join(","));
    if kind == Genuine {
        text += "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n";
    }
    for (name, keys) in programs {
        text += &format!("[program{kind_mark}{name}]\n{}", keys.replace("{q}", q).replace("HERE", here));
    }
    text
}

fn program(kind: Kind, name: &str) -> PathBuf {
    match kind {
        Genuine => tools().join("venv/bin").join(name),
        Ours => target().join("release").join(name),
    }
}

/// What a client said and how it ended, with what differs from run to run masked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Said {
    fn new(output: &Output, here: &str) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() }.masked(here)
    }

    fn masked(self, here: &str) -> Self {
        Self { out: mask(&self.out, here), err: mask(&self.err, here), ..self }
    }

    /// Without what our `help` shows beside the genuine commands, the wanted difference.
    fn without_our_help(mut self) -> Self {
        for help in OUR_HELP {
            self.out = self.out.replace(help, "");
        }
        self
    }

    /// The lines of many programs come in the order in which those are done.
    fn sorted(mut self) -> Self {
        let mut lines: Vec<&str> = self.out.lines().collect();
        lines.sort_unstable();
        self.out = lines.join("\n");
        self
    }
}

/// Pids, uptimes, times of day, folders, the name of the client and the end of an unexpected error: a file and a line
/// of Python there.
fn mask(text: &str, here: &str) -> String {
    let mut text = text.replace(here, "HERE");
    for kind in [Ours, Genuine] {
        text = text.replace(&program(kind, "supervisorctl").display().to_string(), "CTL");
    }
    let lines: Vec<&str> = text
        .split('\n')
        .map(|line| match line.find("error: <class ") {
            Some(_) => line.split(": file: ").next().unwrap_or(line),
            None => line,
        })
        .collect();
    let text = lines.join("\n");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| at + n);
        out.push('#');
        rest = &rest[end..];
    }
    (out + rest).replace("AM", "PM")
}

/// The genuine client in a process that has imported it already.
struct Forked {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Forked {
    /// In this folder, with this variable as its environment.
    fn start(folder: &Path, variable: (&str, &str)) -> Self {
        let mut child = Command::new(tools().join("venv/bin/python3"))
            .arg(repository().join("tests/clients/forked_supervisorctl.py"))
            .arg(program(Genuine, "supervisorctl"))
            .current_dir(folder)
            .env_clear()
            .env("LC_CTYPE", "C.UTF-8")
            .env(variable.0, variable.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, answers }
    }

    fn run(&mut self, line: &str) -> Said {
        let words: Vec<&str> = line.split(' ').collect();
        let request = serde_json::to_string(&words).expect("words");
        writeln!(self.child.stdin.as_mut().expect("piped"), "{request}").expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("an answer");
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        let code = answer["code"].as_i64().and_then(|code| i32::try_from(code).ok());
        Said { out: text("stdout"), err: text("stderr"), code }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `help` shows beside the genuine commands, the wanted difference.
const OUR_HELP: [&str; 2] = [
    "\nmore commands (type help <topic>):\n==================================\ncompletion  logs  top  wait\n\n",
    "status --json [<name> ...]\tGet it as JSON\nstatus --watch [<name> ...]\tGet it again every second. Ctrl-C to exit.\n",
];

/// Counts cases and collects differences.
#[derive(Default)]
struct Comparison {
    cases: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn add(&mut self, daemon: Kind, what: &str, ours: Said, genuine: Said) {
        self.cases += 1;
        let ours = ours.without_our_help();
        if ours != genuine {
            self.differences
                .push(format!("{daemon:?} daemon, {what}:\n  ours    {ours:?}\n  genuine {genuine:?}"));
        }
    }

    #[track_caller]
    fn end(self, what: &str) {
        let figures = format!("{} {what}, {} differences", self.cases, self.differences.len());
        writeln!(std::io::stdout(), "{figures}").expect("the figures can be written");
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
    }
}

/// What both clients run one after the other; `!` changes the configurations.
const LINES: &str = "\
status|status all|status talk|status both:*|status both:cat talk|status nope|status nope:*|status off:off|status both:\
|status-x|status nope all|pid|pid talk|pid both:off|pid all|pid nope|pid nope talk|version|version talk\
|tail talk|tail talk stderr|tail -3 talk|tail talk nope|tail talk x'y|tail nope|tail -x talk|tail|tail a b c d|tail -f nope\
|tail -f talk nope|tail none|tail -3 talk STDERR|tail -|tail both:*|maintail -x|maintail x|maintail a b|maintail -f x\
|start talk|start both:off|start both:*|start none|start crash|start data|start nope|start nope:*|start|start nope talk none\
|signal HUP nope|signal NOSUCH talk|signal HUP crash|signal HUP|signal|signal HUP nope:*|signal CONT talk|signal 18 both:*\
|signal CONT all|stop crash|stop both:*|stop nope nope:*|restart talk|restart nope|restart nope:*|restart both:* talk|restart\
|stop|nonsense|nonsense with words|!ls|-|?|? start|EOF|quit|exit now|help|help help|help EOF|help nope|help start now|help add\
|help avail|help clear|help exit|help fg|help maintail|help open|help pid|help quit|help reload|help remove|help reread\
|help restart|help shutdown|help signal|help start|help status|help stop|help tail|help update|help version\
|clear talk|clear nope|clear all|clear|clear both:*|clear both:cat talk|open|open foo|open ftp://x|open unix:///no/such\
|open unix:/no/such|open http://localhost:1|fg|fg a b|fg nope|fg off|fg both:*|shutdown now|reload now\
|avail|avail x|reread x|reread|add|add cat|add both|add nope|remove|remove nope|remove both|remove gone|add gone\
|add nope both gone|update|update nope|update all|update nope all|BREAK|reread|update|CHANGE|reread|reread|add new|update nope\
|update talk|update|update|avail|status|remove new|stop new|remove new|status new|start slow";

/// What both clients run while the daemon waits for a program that does not stop.
const LINES_AT_THE_END: [&str; 14] = [
    "status",
    "version",
    "avail",
    "reread",
    "update",
    "add cat",
    "remove cat",
    "start cat",
    "tail talk",
    "clear all",
    "pid",
    "fg cat",
    "shutdown",
    "reload",
];

#[test]
fn both_clients_say_the_same_to_our_daemon() {
    say_the_same(Ours);
}

#[test]
fn both_clients_say_the_same_to_the_genuine_daemon() {
    say_the_same(Genuine);
}

/// Two daemons of a kind and all lines, each client with its own.
#[track_caller]
fn say_the_same(kind: Kind) {
    let mut comparison = Comparison::default();
    let daemons = [(Daemon::start(kind), Ours), (Daemon::start(kind), Genuine)];
    let mut forked = Forked::start(daemons[1].0.folder.path(), ("HOME", "/"));
    let mut both = |line: &str| {
        let [(ours, _), (genuine, _)] = &daemons;
        let output = ours.client(Ours).args(line.split(' ')).output().expect("it runs");
        [
            Said::new(&output, &ours.here()),
            forked.run(&format!("-s {} {line}", genuine.url())).masked(&genuine.here()),
        ]
    };
    for line in LINES.split('|') {
        if line == "BREAK" || line == "CHANGE" {
            daemons.iter().for_each(|(daemon, _)| daemon.change(line == "BREAK"));
        } else {
            let [ours, genuine] = both(line);
            comparison.add(kind, line, ours.without_our_help().sorted(), genuine.sorted());
        }
    }
    let slow = daemons.each_ref().map(|(daemon, _)| {
        within(PATIENCE, "the slow program runs", || {
            daemon.output(&["pid", "slow"]).0.trim().parse::<i32>().ok().filter(|pid| *pid > 0)
        })
    });
    let [ours, genuine] = both("shutdown");
    assert_eq!(ours.out, "Shut down\n");
    comparison.add(kind, "shutdown", ours, genuine);
    for line in LINES_AT_THE_END {
        let [ours, genuine] = both(line);
        comparison.add(kind, &format!("at the end: {line}"), ours, genuine);
    }
    for pid in slow {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it has held the daemon up until now");
    }
    let gone = |(daemon, _): &(Daemon, Kind)| daemon.output(&["status"]).1 == Some(4);
    within(PATIENCE, "the sockets are gone", || daemons.iter().all(gone).then_some(()));
    comparison.end(&format!("command lines against the daemon: {kind:?}"));
}

#[test]
fn both_clients_say_the_same_where_nobody_listens() {
    let mut comparison = Comparison::default();
    let mut forked = Forked::start(Path::new("/"), ("HOME", "/"));
    for line in [
        "status",
        "version",
        "start x",
        "pid",
        "tail -f x",
        "shutdown",
        "avail",
        "reload",
        "update x",
        "fg x",
    ] {
        for url in ["unix:///no/such.sock", "unix:///tmp", "http://localhost:1"] {
            let line = format!("-s {url} {line}");
            let mut command = Command::new(program(Ours, "supervisorctl"));
            let output = command.current_dir("/").args(line.split(' ')).output().expect("it runs");
            let (ours, genuine) = (Said::new(&output, "/none"), forked.run(&line).masked("/none"));
            comparison.add(Genuine, &line, ours, genuine);
        }
    }
    comparison.end("command lines without a daemon");
}

#[test]
fn both_clients_read_the_same_command_line_and_the_same_file() {
    let daemon = Daemon::start(Genuine);
    let here = daemon.here();
    let mut forked = Forked::start(daemon.folder.path(), ("HERE", &here));
    let mut comparison = Comparison::default();
    let section = |keys: &str| {
        format!("; a comment\n[supervisord]\nlogfile=x\n[supervisorctl]\n{keys}\n[program:x]\nusername=no\n")
    };
    let files = [
        ("good.conf", section("serverurl = unix://%(here)s/s.sock ; here")),
        ("colon.conf", section("ServerURL: unix://%(ENV_HERE)s/x/../s.sock")),
        ("relative.conf", section("serverurl=unix://s.sock\nprompt=my%%prompt\nusername=a\npassword=b")),
        ("default.conf", section("")),
        ("none.conf", "[supervisord]\n".to_owned()),
        ("unknown.conf", section("serverurl=%(ENV_NO_SUCH)s")),
        ("bad.conf", section("serverurl=50%")),
        ("ftp.conf", section("serverurl=ftp://x")),
    ];
    for (name, text) in &files {
        fs::write(daemon.folder.path().join(name), text).expect("written");
    }
    fs::create_dir(daemon.folder.path().join("etc")).expect("made");
    let mut lines: Vec<String> = [
        "-x",
        "--foo",
        "-s",
        "--serverurl",
        "--help=1",
        "--h",
        "-s nourl version",
        "-s foo:bar version",
        "-s http:// version",
        "-s unix:/x version",
        "-s http://localhost:99999 version",
        "-s unix:///no/such -s a:b version",
        "-c",
        "-u",
        "-p",
        "-r",
        "-i -i version",
        "-c nope version",
        "-c . version",
        "-is unix:///no/such version",
        "--serv unix:///no/such version",
        "-u a -p b -s unix:///no/such version",
        "-i -c good.conf shutdown",
        "-i -c good.conf reload",
        "-c good.conf -- version",
        "-s http://localhost:1 -c none.conf version",
        "-r /no/such/history -c good.conf version",
        "version",
    ]
    .map(str::to_owned)
    .to_vec();
    lines.extend(files.iter().flat_map(|(name, _)| [format!("-c {name} version"), format!("-c {name}")]));
    let searched = ["status", "-s unix:///no/such pid"].map(str::to_owned).to_vec();
    // What is searched for: the last that is made comes first.
    for file in ["", "etc/supervisord.conf", "supervisord.conf"] {
        if !file.is_empty() {
            let port = file.len();
            let text = format!("[supervisorctl]\nserverurl=http://localhost:{port}\n");
            fs::write(daemon.folder.path().join(file), text).expect("written");
        }
        for line in if file.is_empty() { &lines } else { &searched } {
            let mut command = Command::new(program(Ours, "supervisorctl"));
            command.current_dir(daemon.folder.path()).args(line.split(' ')).stdin(Stdio::null());
            let output = command.env_clear().env("HERE", &here).env("LC_CTYPE", "C.UTF-8").output();
            let ours = Said::new(&output.expect("it runs"), &here);
            let genuine = forked.run(line).masked(&here);
            comparison.add(Genuine, &format!("{file} {line}"), ours, genuine);
        }
    }
    let usage = Command::new(program(Ours, "supervisorctl")).arg("-h").output().expect("it runs");
    assert!(
        usage.status.success() && usage.stdout.starts_with(b"supervisorctl -- control applications run by")
    );
    comparison.end("command lines and files");
}

/// What is piped into the shell.
const SCRIPTS: [&str; 14] = [
    "",
    "\n  \n",
    "version\nhelp fg\npid nope\n",
    "status nope\nstart nope\nnonsense\n",
    "version",
    "quit\nversion\n",
    "exit now\nversion\n",
    "EOF\nversion\n",
    "shutdown\nn\nreload\nno\nversion\n",
    "shutdown",
    "open unix:///no/such\nversion\nopen ftp://x\n",
    "?\n!x\n-x\n? pid\n",
    "start off\nsignal HUP nope\nstop both:off\ntail -3 talk\n",
    "add nope\navail\nreread\nfg off\nfg nope\n",
];

#[test]
fn both_shells_answer_the_same_to_piped_lines() {
    let mut comparison = Comparison::default();
    for kind in [Ours, Genuine] {
        let daemon = Daemon::start(kind);
        for script in SCRIPTS {
            let [ours, genuine] =
                [Ours, Genuine].map(|client| piped(&mut daemon.client(client), script, &daemon.here()));
            assert_eq!(ours.code, Some(0), "{script:?}");
            comparison.add(kind, &format!("{script:?}"), ours, genuine);
        }
        assert_eq!(daemon.output(&["version"]).1, Some(0), "nobody has shut it down");
    }
    comparison.end("scripts for the shell of 2 daemons");
}

fn piped(command: &mut Command, script: &str, here: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A client that ends before it has read everything is no mistake.
    let _ = child.stdin.take().expect("piped").write_all(script.as_bytes());
    Said::new(&child.wait_with_output().expect("it ends"), here)
}

#[test]
fn a_password_is_asked_for_in_the_shell_alone() {
    let mut comparison = Comparison::default();
    let daemons = [Ours, Genuine].map(|kind| Daemon::with_password(kind, Some("secret")));
    let [_, genuine] = &daemons;
    for line in [
        "status",
        "version",
        "-u me -p wrong status",
        "-u me status",
        "-p secret avail",
        "-u me -p wrong tail -f talk",
        "-u me -p secret version",
        "-u me -p secret status nope",
    ] {
        let said = |daemon: &Daemon, client| {
            let output = daemon.client(client).args(line.split(' ')).output().expect("it runs");
            Said::new(&output, &daemon.here())
        };
        let expected = said(genuine, Genuine);
        for daemon in &daemons {
            comparison.add(daemon.kind, line, said(daemon, Ours), expected.clone());
        }
        comparison.add(Ours, line, said(&daemons[0], Genuine), expected);
    }
    for (daemon, client) in daemons.iter().flat_map(|daemon| [(daemon, Ours), (daemon, Genuine)]) {
        let mut terminal = Terminal::start(&daemon.client(client));
        terminal.sees("Server requires authentication\r\nUsername:");
        terminal.types("me\r");
        terminal.sees("Password:");
        terminal.types("wrong\r");
        terminal.sees("Server requires authentication\r\nUsername:");
        terminal.types("me\r");
        terminal.sees("Password:");
        terminal.types("secret\r");
        terminal.sees("talk ");
        terminal.sees("supervisor> ");
        terminal.types("pid nope\r");
        terminal.sees("No such process nope");
        terminal.sees("supervisor> ");
        terminal.types("\u{4}");
        assert_eq!(terminal.wait().code(), Some(0), "{client:?}");
        assert!(!terminal.shown().contains("secret"), "the password is not shown");
        comparison.cases += 1;
    }
    comparison.end("command lines and shells with passwords");
}

#[test]
fn both_shells_do_the_same_at_a_terminal() {
    let mut cases = 0;
    for kind in [Ours, Genuine] {
        let daemon = Daemon::start(kind);
        let history = daemon.folder.path().join("history");
        let config = daemon.folder.path().join("ctl.conf");
        fs::write(
            &config,
            format!(
                "[supervisorctl]\nserverurl={}\nprompt=mine\nhistory_file=%(here)s/history\n",
                daemon.url()
            ),
        )
        .expect("written");
        for client in [Ours, Genuine] {
            fs::write(&history, "pid nope\n").expect("written");
            let mut command = Command::new(program(client, "supervisorctl"));
            let mut terminal = Terminal::start(command.arg("-c").arg(&config));
            let mut says = |keys: &str, lines: &[&str]| {
                cases += 1;
                terminal.types(keys);
                for line in lines {
                    terminal.sees(line);
                }
            };
            says("", &["both:cat ", "talk ", "mine> "]);
            // The last line of the history, again.
            says("\u{1b}[A\r", &["No such process nope", "mine> "]);
            // Completion: of commands, of processes, of whole groups.
            says("vers\t\r", &["version", "\r\n", "mine> "]);
            says("status ta\t\r", &["status talk", "\r\n", "RUNNING", "mine> "]);
            says("status both:*\r", &["both:cat ", "both:off ", "mine> "]);
            says("help sign\t\r", &["help signal", "Signal a process", "mine> "]);
            says("nonsense\r", &["*** Unknown syntax: nonsense", "mine> "]);
            says("shutdown\r", &["Really shut the remote supervisord process down y/N? "]);
            says("n\r", &["mine> "]);
            // Ctrl-C ends what is followed, not the shell.
            says("tail -f talk\r", &["==> Press Ctrl-C to exit <==", "out"]);
            says("\u{3}", &["mine> "]);
            says("vers\u{3}", &[]);
            assert_eq!(terminal.wait().code(), Some(0), "Ctrl-C at the prompt ends the shell of {client:?}");
            let kept = fs::read_to_string(&history).expect("a history");
            assert!(
                kept.starts_with("pid nope\n") && kept.contains("\nstatus talk"),
                "{client:?} keeps {kept:?}"
            );
            let mut terminal = Terminal::start(command.arg("-i"));
            terminal.sees("mine> ");
            terminal.types("\u{4}");
            assert_eq!(terminal.wait().code(), Some(0), "Ctrl-D ends the shell of {client:?}");
            // The genuine shell ends up to 30 s late once it had `fg`, so nobody waits for the end of this one.
            let mut terminal = Terminal::start(&command);
            terminal.sees("mine> ");
            terminal.types("fg both:cat\r");
            terminal.sees("==> Press Ctrl-C to exit <==");
            terminal.types("hello\r");
            // What the terminal shows of the keys, and what the program says.
            terminal.sees("hello");
            terminal.sees("hello");
            terminal.types("\u{3}");
            terminal.sees("Exiting foreground");
            terminal.sees("mine> ");
            cases += 4;
        }
    }
    println!("{cases} keys and lines at a terminal, against 2 daemons");
}

#[test]
fn what_is_live_ends_by_ctrl_c_and_is_plain_without_a_terminal() {
    for kind in [Ours, Genuine] {
        let daemon = Daemon::start(kind);
        for words in
            [&["status", "--watch"][..], &["logs", "-f"], &["tail", "-f", "talk"], &["maintail", "-f"]]
        {
            let mut process = Process::start(daemon.client(Ours).args(words));
            within(PATIENCE, "it shows something twice", || (process.lines().len() > 1).then_some(()));
            process.signal(Signal::SIGINT);
            assert_eq!(process.wait(PATIENCE).code(), Some(0), "{words:?}");
            let lines = process.lines();
            assert!(!lines.concat().contains('\u{1b}'), "{words:?}: {lines:?}");
        }
        for words in [&["status", "--watch"][..], &["top"]] {
            let mut terminal = Terminal::start(daemon.client(Ours).args(words));
            terminal.sees("\u{1b}[2J\u{1b}[H");
            terminal.sees("\u{1b}[32mRUNNING");
            // Again, in the same place.
            terminal.sees("\u{1b}[J\u{1b}[H");
            terminal.sees("talk");
            terminal.types("\u{3}");
            assert_eq!(terminal.wait().code(), Some(0), "{words:?}");
        }
    }
}

#[test]
fn a_reader_that_has_enough_ends_the_client_without_a_word() {
    let daemon = Daemon::start(Ours);
    let mut child = daemon
        .client(Ours)
        .args(["status", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let code = within(PATIENCE, "it ends", || child.try_wait().expect("ours")).code();
    let output = child.wait_with_output().expect("it has ended");
    assert_eq!((code, String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn top_counts_what_a_program_and_its_children_use() {
    for kind in [Ours, Genuine] {
        let daemon = Daemon::start(kind);
        let (text, code) = daemon.output(&["top"]);
        assert_eq!(code, Some(0), "{text}");
        let head = "NAME                             STATE         PID  PROCS    CPU%      MEM";
        assert_eq!(text.lines().next(), Some(head));
        let columns = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect()
        };
        let cat = columns("both:cat");
        assert_eq!((cat[1].as_str(), cat[3].as_str(), cat[4].as_str()), ("RUNNING", "1", "0.0"), "{text}");
        assert!(cat[5].ends_with(['K', 'M']) && cat[5] != "0.0K", "{text}");
        assert_eq!(columns("both:off")[1..], ["STOPPED", "-", "-", "-", "-"]);
        // A loop in the shell and its sleeping child.
        daemon.output(&["start", "slow"]);
        let slow = within(PATIENCE, "the child is counted", || {
            let (text, _) = daemon.output(&["top", "--once", "slow"]);
            text.lines().nth(1).filter(|line| line.split_whitespace().nth(3) == Some("2")).map(str::to_owned)
        });
        assert!(slow.starts_with("slow "), "{slow}");
    }
}

#[test]
fn logs_are_merged_in_whole_lines_with_names() {
    for kind in [Ours, Genuine] {
        let daemon = Daemon::start(kind);
        let (text, code) = daemon.output(&["logs"]);
        assert_eq!((text.as_str(), code), ("talk     | out\ntalk     | err\n", Some(0)));
        assert_eq!(daemon.output(&["logs", "nope"]), ("nope: ERROR (no such process)\n".to_owned(), Some(1)));
        // Many lines of two outputs at once, written in pieces: none is torn.
        let mut process = Process::start(daemon.client(Ours).args(["logs", "-f", "talk", "both:*"]));
        within(PATIENCE, "it follows", || (process.lines().len() >= 2).then_some(()));
        let mut files = ["talk.out", "talk.err"].map(|name| {
            fs::OpenOptions::new().append(true).open(daemon.folder.path().join(name)).expect("a log")
        });
        for n in 0..500 {
            for (file, mark) in files.iter_mut().zip(["o", "e"]) {
                write!(file, "{mark} {n} ")
                    .and_then(|()| writeln!(file, "{}", mark.repeat(100)))
                    .expect("written");
            }
        }
        within(PATIENCE, "everything is shown", || (process.lines().len() >= 1002).then_some(()));
        process.signal(Signal::SIGINT);
        assert_eq!(process.wait(PATIENCE).code(), Some(0));
        let lines: Vec<String> = process.lines().into_iter().filter(|line| line.len() > 50).collect();
        let known: std::collections::BTreeSet<&String> = lines.iter().collect();
        let odd: Vec<_> = lines.iter().filter(|line| line.len() < 114).collect();
        assert_eq!((lines.len(), known.len()), (1000, 1000), "{odd:?}");
        for (mark, n) in ["o", "e"].iter().flat_map(|mark| (0..500).map(move |n| (mark, n))) {
            let whole = format!("talk     | {mark} {n} {}", mark.repeat(100));
            assert!(lines.contains(&whole), "{whole}");
        }
    }
}

#[test]
fn a_script_can_wait_for_what_a_program_becomes() {
    for kind in [Ours, Genuine] {
        let daemon = Daemon::start(kind);
        for (line, said, code) in [
            ("wait talk both:cat", "", 0),
            ("wait talk --for ready --timeout 5s", "", 0),
            ("wait both:off --for=stopped", "", 0),
            (
                "wait all --timeout 200ms",
                "both:off is not running after 200ms: STOPPED (Not started), and 5 more\n",
                1,
            ),
            ("wait talk --for stopped --timeout 0", "talk is not stopped after 0s: RUNNING (pid …", 1),
            ("wait nope", "nope: ERROR (no such process)\n", 1),
        ] {
            let (text, found) = daemon.output(&line.split(' ').collect::<Vec<_>>());
            // What ends in a pid and an uptime begins the same.
            let begins = said.trim_end_matches('…');
            assert!(text.starts_with(begins) && text.is_empty() == said.is_empty(), "{line}: {text}");
            assert_eq!(found, Some(code), "{line}: {text}");
        }
        let (text, code) = daemon.output(&["wait", "talk", "--for", "up"]);
        assert!(
            text.starts_with("Error: --for takes running, ready or stopped, not up\nwait <name>"),
            "{text}"
        );
        assert_eq!(code, Some(2));
        // One that is given up is not waited for.
        daemon.output(&["start", "crash"]);
        let before = Instant::now();
        let (text, code) = daemon.output(&["wait", "crash"]);
        assert!(text.starts_with("crash will not be running: FATAL (") && code == Some(1), "{text}");
        assert!(before.elapsed() < Duration::from_secs(20), "it does not wait until the end");
        // It ends when the program is there.
        let mut waiting = Process::start(daemon.client(Ours).args(["wait", "both:off"]));
        assert_eq!(waiting.try_wait(), None);
        daemon.output(&["start", "both:off"]);
        assert_eq!(waiting.wait(PATIENCE).code(), Some(0));
        assert_eq!(waiting.lines(), Vec::<String>::new());
    }
    let (text, code) = {
        let mut command = Command::new(program(Ours, "supervisorctl"));
        let out = command
            .args(["-s", "unix:///no/such", "wait", "x", "--timeout", "0.2"])
            .output()
            .expect("it runs");
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code())
    };
    assert_eq!((text.as_str(), code), ("not running after 200ms: unix:///no/such no such file\n", Some(1)));
}

#[test]
fn bash_completes_commands_and_names() {
    let daemon = Daemon::start(Ours);
    let ctl = program(Ours, "supervisorctl").display().to_string();
    let (script, code) = daemon.output(&["completion", "bash"]);
    assert_eq!(code, Some(0));
    for (line, expected) in [
        ("supervisorctl sta", "start status"),
        ("supervisorctl -s URL start ta", "talk"),
        ("supervisorctl -s URL start both", "both:cat both:* both:off"),
        // bash parts words at a colon.
        ("supervisorctl -s URL start both:c", "cat"),
        ("supervisorctl -s URL update t", "talk"),
        ("supervisorctl wait x --for re", "ready"),
        ("supervisorctl -s unix:///no/such start t", ""),
    ] {
        let line = line.replace("URL", &daemon.url());
        let bash = format!(
            "{script}\nCOMP_LINE='{line}' COMP_POINT={} COMP_WORDS=('{ctl}')\n_supervisorctl\necho \"${{COMPREPLY[*]}}\"",
            line.len()
        );
        let output = Command::new("bash").args(["-c", &bash]).output().expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
    for shell in ["zsh", "fish"] {
        let (script, code) = daemon.output(&["completion", shell]);
        assert!(script.contains("completion words") && code == Some(0), "{shell}");
    }
}
