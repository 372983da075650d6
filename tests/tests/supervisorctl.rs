//! Our supervisorctl beside the genuine one, against our daemon and against the genuine one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stack_tests::{Process, target, tools, within};
use tempfile::TempDir;

/// A daemon, ours or the genuine one, with the same programs.
struct Daemon {
    _process: Process,
    folder: TempDir,
}

const PROGRAMS: [(&str, &str); 5] = [
    ("cat", "command={q}cat{q}\nstartsecs=0\n"),
    (
        "talk",
        "command={q}sh -c 'echo out; echo err >&2; exec sleep 1000'{q}\nstartsecs=0\nstdout_logfile={q}HERE/talk.out{q}\nstderr_logfile={q}HERE/talk.err{q}\n",
    ),
    ("off", "command={q}sleep 1000{q}\nautostart=false\nstartsecs=0\n"),
    ("none", "command={q}/no/such/program{q}\nautostart=false\n"),
    ("crash", "command={q}false{q}\nautostart=false\nstartretries=0\n"),
];

impl Daemon {
    fn start(genuine: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        let here = folder.path().display().to_string();
        let (q, kind, name) = if genuine { ("", ":", "s.conf") } else { ("\"", ".", "s.toml") };
        let mut text = format!(
            "[supervisord]\nlogfile={q}{here}/s.log{q}\npidfile={q}{here}/s.pid{q}\n[unix_http_server]\nfile={q}{here}/s.sock{q}\n\
             [group{kind}both]\nprograms={q}cat,off{q}\n"
        );
        if genuine {
            text += "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n";
        }
        for (name, keys) in PROGRAMS {
            text += &format!("[program{kind}{name}]\n{}", keys.replace("{q}", q).replace("HERE", &here));
        }
        let config = folder.path().join(name);
        fs::write(&config, text).expect("written");
        let program: PathBuf =
            if genuine { tools().join("venv/bin/supervisord") } else { target().join("release/supervisord") };
        let process = Process::start(Command::new(program).args(["-n", "-c"]).arg(config));
        let daemon = Self { _process: process, folder };
        within(Duration::from_secs(20), "both programs run", || {
            let (status, _) = daemon.run(true, &["status"]);
            (status.matches("RUNNING").count() == 2).then_some(())
        });
        within(Duration::from_secs(20), "the program has talked", || {
            (daemon.run(true, &["tail", "talk", "stderr"]).0 == "err\n\n").then_some(())
        });
        daemon
    }

    fn run(&self, genuine: bool, words: &[&str]) -> (String, Option<i32>) {
        run(genuine, &format!("unix://{}/s.sock", self.folder.path().display()), words, self.folder.path())
    }
}

fn run(genuine: bool, url: &str, words: &[&str], folder: &Path) -> (String, Option<i32>) {
    let program: PathBuf =
        if genuine { tools().join("venv/bin/supervisorctl") } else { target().join("release/supervisorctl") };
    let out = Command::new(program).arg("-s").arg(url).args(words).output().expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).replace(&folder.display().to_string(), "HERE");
    (mask(&text), out.status.code())
}

/// Pids, uptimes and times of day differ from run to run.
fn mask(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| at + n);
        out.push('#');
        rest = &rest[end..];
    }
    (out + rest).replace("AM", "PM")
}

const LINES: [&str; 40] = [
    "status",
    "status all",
    "status talk",
    "status both:*",
    "status both:cat talk",
    "status nope",
    "status nope:*",
    "status off:off",
    "pid",
    "pid talk",
    "pid both:off",
    "pid all",
    "pid nope",
    "tail talk",
    "tail talk stderr",
    "tail -3 talk",
    "tail talk nope",
    "tail nope",
    "tail -x talk",
    "tail",
    "tail a b c d",
    "version talk",
    "start talk",
    "start both:off",
    "start both:*",
    "start none",
    "start crash",
    "start nope",
    "start nope:*",
    "start",
    "signal HUP nope",
    "signal NOSUCH talk",
    "signal HUP crash",
    "signal HUP",
    "stop crash",
    "stop both:*",
    "stop nope nope:*",
    "restart talk",
    "stop",
    "nonsense",
];

#[test]
fn both_clients_say_the_same_to_both_daemons() {
    let mut differences = Vec::new();
    for genuine_daemon in [false, true] {
        let (one, other) = (Daemon::start(genuine_daemon), Daemon::start(genuine_daemon));
        for line in LINES {
            let words: Vec<&str> = line.split(' ').collect();
            let (ours, genuine) = (one.run(false, &words), other.run(true, &words));
            // The lines of many programs come in the order in which those are done.
            let sorted = |(text, code): &(String, Option<i32>)| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                (lines, *code)
            };
            if sorted(&ours) != sorted(&genuine) {
                differences.push(format!(
                    "daemon genuine={genuine_daemon}, {line}:\n  ours    {ours:?}\n  genuine {genuine:?}"
                ));
            }
        }
        for (daemon, genuine) in [(&one, false), (&other, true)] {
            assert_eq!(daemon.run(genuine, &["shutdown"]), ("Shut down\n".to_owned(), Some(0)));
        }
        for (daemon, genuine) in [(&one, false), (&other, true)] {
            let gone = || Some(daemon.run(genuine, &["status"])).filter(|(_, code)| *code == Some(4));
            let (said, _) = within(Duration::from_secs(20), "the socket is gone", gone);
            assert!(
                said == "unix://HERE/s.sock no such file\n" || said.ends_with("refused connection\n"),
                "{said}"
            );
        }
    }
    println!("{} command lines against 2 daemons, {} differences", LINES.len(), differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
