//! A supervisord.conf as images of web applications carry it, under the genuine daemon, under ours, and turned into TOML.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, getuid};
use regex::Regex;
use stack_tests::{Answer, Connection, Process, Which, free_port, repository, request, tools, within};
use tempfile::TempDir;

/// How long anything may take: gunicorn and three Pythons start beside those of two other runs.
const LIMIT: Duration = Duration::from_secs(60);

const USER: &str = "operator";
const PASSWORD: &str = "pass:word";
/// `dashboard:looks:only`, the account of the TCP server.
const DASHBOARD: &str = "Basic ZGFzaGJvYXJkOmxvb2tzOm9ubHk=";

/// Asks the daemon over TCP, with Python's own client, and prints the answer as JSON.
const ASK: &str = "import json, sys, xmlrpc.client
proxy = xmlrpc.client.ServerProxy(sys.argv[1])
print(json.dumps(getattr(proxy, sys.argv[2])(), indent=1, sort_keys=True))";

/// One run: a folder of its own, the daemon, and what was seen.
struct Run {
    which: Which,
    folder: TempDir,
    config: PathBuf,
    port: u16,
    control: u16,
    process: Process,
    seen: Vec<(&'static str, String)>,
    /// The order in which the programs ended.
    stopped: String,
}

impl Run {
    #[track_caller]
    fn start(which: Which, toml: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        let here = folder.path();
        for name in ["run", "log", "app", "conf.d"] {
            fs::create_dir(here.join(name)).expect("made");
        }
        let from = repository().join("tests/real-image");
        for name in ["supervisord.conf", "nginx.conf"] {
            fs::copy(from.join(name), here.join(name)).expect("copied");
        }
        for name in ["app", "conf.d"] {
            for entry in fs::read_dir(from.join(name)).expect("a folder") {
                let entry = entry.expect("readable");
                if entry.file_type().expect("known").is_file() {
                    fs::copy(entry.path(), here.join(name).join(entry.file_name())).expect("copied");
                }
            }
        }
        let (port, control) = (free_port(), free_port());
        let user = User::from_uid(getuid()).expect("readable").expect("it has a name").name;
        // What the entrypoint of an image does with envsubst.
        let nginx = fs::read_to_string(here.join("nginx.conf")).expect("readable");
        let run = here.join("run").display().to_string();
        let nginx = nginx.replace("RUN_DIR", &run).replace("APP_USER", &user);
        fs::write(here.join("nginx.conf"), nginx.replace("PORT", &port.to_string())).expect("written");

        let mut config = here.join("supervisord.conf");
        if toml {
            config = convert(&config);
            for entry in fs::read_dir(here.join("conf.d")).expect("a folder") {
                convert(&entry.expect("readable").path());
            }
            let text = fs::read_to_string(&config).expect("readable");
            assert!(text.contains("conf.d/*.conf"), "{text}");
            fs::write(&config, text.replace("conf.d/*.conf", "conf.d/*.toml")).expect("written");
        }
        let bin = tools().join("venv/bin");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let mut command = Command::new(which.program("supervisord"));
        command.arg("-c").arg(&config).env_clear().env("PATH", path);
        command.envs([("APP_USER", user.as_str()), ("APP_NAME", "shop"), ("RUN_DIR", &run)]);
        command
            .env("HOME", here)
            .env("LOG_DIR", here.join("log"))
            .envs([("WEB_CONCURRENCY", "2"), ("WORKERS", "3")]);
        command.envs([("SUPERVISOR_USER", USER), ("SUPERVISOR_PASSWORD", PASSWORD)]);
        command.env("SUPERVISOR_PORT", control.to_string());
        let process = Process::start(&mut command);
        Self { which, folder, config, port, control, process, seen: Vec::new(), stopped: String::new() }
    }

    /// Without what differs between two runs of one daemon.
    fn mask(&self, text: &str) -> String {
        // A port has a colon before it: a pid may be the same number.
        let (port, control) = (format!(":{}", self.port), format!(":{}", self.control));
        let text = text.replace(&self.folder.path().display().to_string(), "HERE");
        let mut text = text.replace(&port, ":PORT").replace(&control, ":CONTROL");
        for (what, with) in [
            (r"pid:? \d+", "pid PID"),
            (r#""pid": [1-9]\d*"#, r#""pid": PID"#),
            (r#""(now|start|stop)": [1-9]\d*"#, r#""$1": TIME"#),
            (r"\d+:\d\d:\d\d\b", "TIME"),
            (r"(?m) \(\d+\)$", " (PID)"),
            (r"[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M", "DATE"),
            (r"\[\d{4}-\d\d-\d\d TIME \+0000\] \[\d+\]", "[TIME] [PID]"),
            (r"\d{4}-\d\d-\d\d TIME,\d{3}", "TIME"),
            (r"(-std(?:out|err)---shop-)[A-Za-z0-9_]{8}\.log", "${1}RANDOM.log"),
        ] {
            text = Regex::new(what).expect("valid").replace_all(&text, with).into_owned();
        }
        text
    }

    fn saw(&mut self, what: &'static str, text: &str) {
        let text = self.mask(text);
        self.seen.push((what, text));
    }

    fn ctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(self.which.program("supervisorctl"));
        command.arg("-c").arg(&self.config).args(words);
        // Its file names them.
        command.envs([("SUPERVISOR_USER", USER), ("SUPERVISOR_PASSWORD", PASSWORD), ("APP_NAME", "shop")]);
        command.env("RUN_DIR", self.folder.path().join("run")).env("LOG_DIR", self.folder.path().join("log"));
        command.env("SUPERVISOR_PORT", self.control.to_string()).env("STAGE", "production");
        command.envs([("APP_USER", "root"), ("WEB_CONCURRENCY", "2"), ("WORKERS", "3")]);
        let out = command.output().expect("it runs");
        let code = out.status.code().expect("it exits");
        format!(
            "{}{}exit {code}\n",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        )
    }

    fn saw_ctl(&mut self, what: &'static str, words: &[&str]) {
        let said = self.ctl(words);
        self.saw(what, &said);
    }

    fn ask(&self, method: &str) -> String {
        let url = format!("http://dashboard:looks%3Aonly@127.0.0.1:{}/RPC2", self.control);
        let mut command = Command::new(tools().join("venv/bin/python"));
        let out = command.args(["-c", ASK, &url, method]).output().expect("it runs");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).expect("JSON")
    }

    /// The lines of a daemon's log and of the programs that write to its stdout.
    fn said(&self) -> String {
        self.process.lines().join("\n")
    }

    #[track_caller]
    fn within<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        within(LIMIT, &format!("{:?}: {what}", self.which), || {
            let ended = self.process.try_wait();
            assert!(ended.is_none(), "{what}: the daemon ended: {}", self.said());
            look(self)
        })
    }

    fn get(&self, path: &str) -> Option<Answer> {
        let mut connection = Connection::open([127, 0, 0, 1], self.port).ok()?;
        connection.send(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes());
        Some(Answer::parse(&connection.to_end_quietly()?))
    }

    #[track_caller]
    fn saw_get(&mut self, what: &'static str, path: &str) {
        let answer = self.get(path).expect("nginx answers");
        let folder = answer.header("x-folder").unwrap_or_default().to_owned();
        self.saw(what, &format!("{} {folder}\n{}", answer.status, answer.body));
    }

    fn pid(&self, name: &str) -> Option<i32> {
        self.ctl(&["pid", name]).lines().next()?.parse().ok().filter(|pid| *pid > 1)
    }

    /// Goes through the life of a container.
    #[track_caller]
    fn live(&mut self) {
        self.within("everything runs", |run| {
            let status = run.ctl(&["status"]);
            (status.matches("RUNNING").count() == 6 && status.contains("EXITED")).then_some(())
        });
        let socket = self.folder.path().join("run/gunicorn.sock");
        self.within("gunicorn listens", |_| UnixStream::connect(&socket).ok());
        self.saw_ctl("status", &["status"]);
        self.saw_ctl("status of a group and of one that is not there", &["status", "jobs:*", "nobody"]);
        self.saw_ctl("avail", &["avail"]);
        self.saw_get("HTTP through nginx to gunicorn", "/cart?of=me");
        self.saw_get("HTTP from nginx", "/robots.txt");
        let stranger = request(self.control, "POST", "/RPC2", &[], "");
        let wrong = [("Authorization", "Basic d3Jvbmc6cGFpcg==")];
        let wrong = request(self.control, "POST", "/RPC2", &wrong, "");
        let known = request(self.control, "GET", "/nothing", &[("Authorization", DASHBOARD)], "");
        self.saw(
            "TCP: nobody, a stranger, the dashboard",
            &format!("{} {} {}", stranger.status, wrong.status, known.status),
        );
        for method in
            ["getAPIVersion", "getIdentification", "getState", "getAllConfigInfo", "getAllProcessInfo"]
        {
            let answer = self.ask(&format!("supervisor.{method}"));
            self.saw(method, &answer);
        }
        let socket =
            fs::symlink_metadata(self.folder.path().join("run/supervisor.sock")).expect("it is there");
        let mode = socket.permissions().mode();
        self.saw("the unix socket's mode", &format!("{mode:o}"));

        let first = self.pid("jobs:worker_02").expect("it runs");
        kill(Pid::from_raw(first), Signal::SIGKILL).expect("it is there");
        self.within("the killed worker runs again", |run| {
            let again = run.pid("jobs:worker_02").is_some_and(|pid| pid != first);
            (again && run.said().matches("success: worker_02 entered RUNNING").count() == 2).then_some(())
        });
        self.saw_ctl("status after a worker was killed", &["status", "jobs:*"]);
        self.within("the new worker has spoken", |run| {
            (run.file("worker-02.log").lines().count() == 2).then_some(())
        });
        self.saw_ctl("tail", &["tail", "jobs:worker_02"]);
        self.saw_ctl("tail of stderr", &["tail", "jobs:worker_02", "stderr"]);
        // Those of one group stop at the same time.
        let said = self.ctl(&["restart", "jobs:*"]);
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        self.saw("a restart of a group", &lines.join("\n"));
        self.saw_ctl("a stop of one in a group", &["stop", "web:nginx"]);
        let refused = self.get("/").is_none();
        self.saw("nginx listens while it is stopped", &(!refused).to_string());
        self.saw_ctl("a start of one in a group", &["start", "web:nginx"]);
        self.saw_get("HTTP after it", "/again");
        self.saw_ctl("reread", &["reread"]);
        self.saw_ctl("update", &["update"]);

        self.saw_ctl("a start that fails", &["start", "optional"]);
        self.within("the listener heard of it", |run| {
            run.file("watch.log").contains(" processname:optional ").then_some(())
        });
        self.saw_ctl("status after it", &["status"]);
        // The listener ends everything, which may be before the client has its answer.
        self.ctl(&["start", "vital"]);
        let code = within(LIMIT, "the listener ended the container", || self.process.try_wait());
        self.saw("exit code", &format!("{:?}", code.code()));
        self.saw_the_rest();
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("log").join(name)).unwrap_or_default()
    }

    /// What a daemon that ended has left.
    fn saw_the_rest(&mut self) {
        let mut files = String::new();
        for folder in ["log", "run"] {
            for path in sorted(&self.folder.path().join(folder)) {
                let name = path.strip_prefix(self.folder.path()).expect("inside").display();
                let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
                if kind.is_socket() {
                    writeln!(files, "{name}: a socket").expect("memory");
                } else if kind.is_dir() {
                    writeln!(files, "{name}: a folder").expect("memory");
                } else {
                    let text = fs::read_to_string(&path).expect("UTF-8");
                    writeln!(files, "{name}:\n{text}").expect("memory");
                }
            }
        }
        self.saw("files afterwards", &files);
        // Several write to one stdout at the same time: the lines of each in order.
        let lines: Vec<String> = self.mask(&self.said()).lines().map(str::to_owned).collect();
        let names = [
            "watch",
            "migrate",
            "worker_01",
            "worker_02",
            "worker_03",
            "gunicorn",
            "nginx",
            "optional",
            "vital",
        ];
        let mut log = String::new();
        for name in names {
            let about = Regex::new(&format!(r"^TIME [A-Z]+ .*\b{name}\b")).expect("valid");
            let about = lines.iter().filter(|line| about.is_match(line) && !line.contains("waiting for"));
            about.for_each(|line| writeln!(log, "{line}").expect("memory"));
        }
        self.seen.push(("the log, program by program", log));
        let spawned = lines.iter().filter_map(|line| line.split_once("spawned: ")?.1.split(' ').next());
        self.seen.push(("the order of starts", spawned.take(7).collect::<Vec<_>>().join(" ")));
        let last =
            lines.iter().rposition(|line| line.contains("received SIGQUIT")).expect("the listener sent it");
        let mut stops: Vec<&str> = lines[last..]
            .iter()
            .filter_map(|line| line.split_once("stopped: ")?.1.split(' ').next())
            .collect();
        self.stopped = stops.join(" ");
        assert_eq!(stops.last(), Some(&"watch"), "the listener hears of everything else: {stops:?}");
        // The Python one stops group after group, ours all that do not depend on each other at the same time: docs/supervisor.md.
        stops.sort_unstable();
        self.seen.push(("what was stopped", stops.join(" ")));
        let ours = Regex::new(r"^TIME [A-Z]+ ").expect("valid");
        let mut programs: Vec<&str> =
            lines.iter().map(String::as_str).filter(|line| !ours.is_match(line)).collect();
        programs.sort_unstable();
        self.seen.push(("what gunicorn and nginx said on stdout", programs.join("\n")));
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    // The random part of a name does not count.
    paths.sort_by_key(|path| path.display().to_string().split("---").next().map(str::to_owned));
    paths
}

/// Turns a file into TOML, takes the old one away, and returns the new one.
#[track_caller]
fn convert(ini: &Path) -> PathBuf {
    let mut command = Command::new(Which::Ours.program("supervisord"));
    let out = command.arg("convert").arg(ini).output().expect("it runs");
    assert!(out.status.success(), "{out:?}");
    fs::remove_file(ini).expect("ours");
    let toml = ini.with_extension("toml");
    fs::write(&toml, out.stdout).expect("written");
    toml
}

#[test]
fn a_configuration_of_an_image_behaves_the_same_under_all_three() {
    let runs = [(Which::Genuine, false), (Which::Ours, false), (Which::Ours, true)];
    let seen = std::thread::scope(|scope| {
        let threads = runs.map(|(which, toml)| {
            scope.spawn(move || {
                let mut run = Run::start(which, toml);
                run.live();
                (std::mem::take(&mut run.seen), std::mem::take(&mut run.stopped))
            })
        });
        threads.map(|thread| thread.join().expect("it ran to its end"))
    });
    let [genuine, ours, converted] = seen.map(|(seen, stopped)| {
        println!("stopped in this order: {stopped}");
        seen
    });
    let mut differences = String::new();
    let mut lines = 0;
    for (n, (what, wanted)) in genuine.iter().enumerate() {
        lines += wanted.lines().count();
        let same = [&ours, &converted].map(|seen| seen[n].1 == *wanted);
        println!("{what}: {} lines, as it is: {}, as TOML: {}", wanted.lines().count(), same[0], same[1]);
        for (name, seen) in [("ours", &ours[n].1), ("as TOML", &converted[n].1)] {
            if seen != wanted {
                writeln!(differences, "== {what}, genuine\n{wanted}\n== {what}, {name}\n{seen}")
                    .expect("memory");
            }
        }
    }
    println!("{} observations, {lines} lines, three runs", genuine.len());
    assert!(differences.is_empty(), "{differences}");
    assert_eq!((genuine.len(), ours.len()), (converted.len(), converted.len()));
}
