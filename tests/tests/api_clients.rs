//! Those who know only supervisord's API or its supervisorctl, unchanged, with the genuine daemon and with ours.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use stack_tests::{PASSWORD, Supervisord, USER, Which, repository, tools};

const LIMIT: Duration = Duration::from_secs(40);

/// Every state a poll may find, exit codes and ends by a signal.
const SECTIONS: &str = "
[program:web]
command=sh -c 'trap : USR1 HUP; while :; do sleep 1000 & wait; done'
startsecs=0
stopasgroup=true
killasgroup=true
[program:talk]
command=sh -c 'echo one; echo two; echo err >&2; exec sleep 1000'
startsecs=0
[program:off]
command=sleep 1000
startsecs=0
autostart=false
[program:seven]
command=sh -c 'exit 7'
startsecs=0
autorestart=false
[program:shot]
command=sh -c 'kill -9 $$'
startsecs=0
autorestart=false
[program:broken]
command=/no/such/program
startretries=0
[program:one]
command=sleep 1000
startsecs=0
[program:two]
command=sleep 1000
startsecs=0
[group:pair]
programs=one,two
[program:extra]
command=sleep 1000
startsecs=0
";

/// The processes in the order of the API.
const ALL: &str = "['broken:broken FATAL', 'extra:extra RUNNING', 'off:off STOPPED', 'pair:one RUNNING', 'pair:two RUNNING', 'seven:seven EXITED', 'shot:shot EXITED', 'talk:talk RUNNING', 'web:web RUNNING']";

fn client(name: &str) -> PathBuf {
    repository().join("tests/clients").join(name)
}

/// The daemon, once its programs are where they stay.
#[track_caller]
fn daemon(which: Which) -> Supervisord {
    let daemon = Supervisord::start(which, SECTIONS, &[]);
    daemon.within(LIMIT, "the programs have come to rest", || {
        let out = daemon.ctl(&["status"]).stdout;
        let status = String::from_utf8_lossy(&out).into_owned();
        let count = |state: &str| status.matches(state).count();
        let at_rest = (count("RUNNING"), count("EXITED"), count("FATAL"), count("STOPPED")) == (5, 2, 1, 1);
        (at_rest && String::from_utf8_lossy(&daemon.ctl(&["tail", "talk", "stderr"]).stdout) == "err\n\n")
            .then_some(())
    });
    daemon
}

/// What a client written in Python prints.
#[track_caller]
fn told(daemon: &Supervisord, script: &str, words: &[&str]) -> String {
    let out = Command::new(tools().join("venv/bin/python"))
        .arg(client(script))
        .args(words)
        .args([&daemon.port().to_string(), USER, PASSWORD])
        .output()
        .expect("Python runs");
    let (said, failed) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{script} {words:?}: {said}{failed}\n{}", daemon.log());
    said.into_owned()
}

/// How to run a test with each daemon.
macro_rules! with_both {
    ($genuine:ident, $ours:ident, $check:ident) => {
        #[test]
        fn $genuine() {
            $check(Which::Genuine);
        }

        #[test]
        fn $ours() {
            $check(Which::Ours);
        }
    };
}

with_both!(telegraf_polls_the_genuine_daemon, telegraf_polls_ours, telegraf);
fn telegraf(which: Which) {
    let daemon = daemon(which);
    assert_eq!(
        told(&daemon, "telegraf.py", &[]),
        "supervisor_processes,group=broken,process=broken,server=supervisor state=200,exitCode=0 down\n\
         supervisor_processes,group=extra,process=extra,server=supervisor state=20,exitCode=0 running\n\
         supervisor_processes,group=off,process=off,server=supervisor state=0,exitCode=0 down\n\
         supervisor_processes,group=pair,process=one,server=supervisor state=20,exitCode=0 running\n\
         supervisor_processes,group=pair,process=two,server=supervisor state=20,exitCode=0 running\n\
         supervisor_processes,group=seven,process=seven,server=supervisor state=100,exitCode=7 down\n\
         supervisor_processes,group=shot,process=shot,server=supervisor state=100,exitCode=-1 down\n\
         supervisor_processes,group=talk,process=talk,server=supervisor state=20,exitCode=0 running\n\
         supervisor_processes,group=web,process=web,server=supervisor state=20,exitCode=0 running\n\
         supervisor_instance,server=supervisor state=1\n\
         1 connection\n"
    );
    daemon.stop();
}

with_both!(cesi_shows_the_genuine_daemon, cesi_shows_ours, cesi);
fn cesi(which: Which) {
    let daemon = daemon(which);
    assert_eq!(
        told(&daemon, "dashboards.py", &["cesi"]).replace(ALL, "ALL"),
        "listMethods -> True\n\
         getSupervisorVersion() -> True\n\
         getAllProcessInfo() -> ALL\n\
         getProcessInfo('web',) -> web:web RUNNING\n\
         getProcessInfo('pair:one',) -> pair:one RUNNING\n\
         getProcessInfo('nosuch',) -> 10 BAD_NAME: nosuch\n\
         stopProcess('web',) -> True\n\
         stopProcess('web',) -> 70 NOT_RUNNING: web\n\
         startProcess('web',) -> True\n\
         startProcess('web',) -> 60 ALREADY_STARTED: web\n\
         startProcess('pair:nosuch',) -> 10 BAD_NAME: pair:nosuch\n\
         tailProcessStdoutLog('talk', 0, 10) -> ['one\\ntwo\\n', 8, False]\n\
         readProcessStdoutLog('talk', 0, 4) -> one\n\
         \n\
         with a wrong password -> 401\n"
    );
    daemon.stop();
}

with_both!(supervisord_monitor_shows_the_genuine_daemon, supervisord_monitor_shows_ours, monitor);
fn monitor(which: Which) {
    let daemon = daemon(which);
    assert_eq!(
        told(&daemon, "dashboards.py", &["monitor"]).replace(ALL, "ALL"),
        "getSupervisorVersion() -> True\n\
         getAllProcessInfo() -> ALL\n\
         stopProcess('web', '1') -> True\n\
         startProcess('web', '1') -> True\n\
         startProcess('web', '1') -> 60 ALREADY_STARTED: web\n\
         readProcessStdoutLog('talk', '-4', '0') -> two\n\
         \n\
         readProcessStderrLog('talk', '-1000', '0') -> err\n\
         \n\
         tailProcessStdoutLog('talk', '0', '4') -> ['two\\n', 8, True]\n\
         clearProcessLogs('talk',) -> True\n\
         stopAllProcesses('1',) -> ['extra:extra 80 OK', 'pair:one 80 OK', 'pair:two 80 OK', 'talk:talk 80 OK', 'web:web 80 OK']\n\
         startAllProcesses('1',) -> [\"broken:broken 20 NO_FILE: can't find command '.../program'\", 'extra:extra 80 OK', 'off:off 80 OK', 'pair:one 80 OK', 'pair:two 80 OK', 'talk:talk 80 OK', 'web:web 80 OK']\n\
         getProcessInfo('off',) -> off:off RUNNING\n"
    );
    daemon.stop();
}

with_both!(ansible_manages_the_genuine_daemon, ansible_manages_ours, ansible);
fn ansible(which: Which) {
    let daemon = daemon(which);
    let ansible = tools().join("ansible");
    let variables = serde_json::json!({
        "supervisorctl": which.program("supervisorctl"),
        "config": daemon.config(),
        "daemon_port": daemon.port(),
        "user": USER,
        "password": PASSWORD,
        "ansible_python_interpreter": ansible.join("bin/python"),
    });
    let out = Command::new(ansible.join("bin/ansible-playbook"))
        .args(["-i", "localhost,", "-c", "local", "-e"])
        .arg(variables.to_string())
        .arg(client("supervisorctl.yml"))
        .env("ANSIBLE_COLLECTIONS_PATH", &ansible)
        .env("ANSIBLE_STDOUT_CALLBACK", "minimal")
        .env("ANSIBLE_LOCALHOST_WARNING", "false")
        .env("ANSIBLE_PIPELINING", "true")
        .env("HOME", daemon.folder())
        .output()
        .expect("Ansible runs");
    let said = String::from_utf8_lossy(&out.stdout);
    let outcomes: Vec<String> = said.split("localhost | ").skip(1).map(outcome).collect();
    assert_eq!(
        outcomes,
        [
            "SUCCESS",
            "CHANGED [\"web\"]",
            "SUCCESS",
            "CHANGED [\"web\"]",
            "CHANGED [\"web\"]",
            "CHANGED [\"web\"]",
            "FAILED! web: ERROR (bad signal name)",
            "CHANGED [\"pair:one\",\"pair:two\"]",
            "CHANGED [\"pair:one\"]",
            "CHANGED [\"pair:two\"]",
            "FAILED! ERROR (no such process)",
            "FAILED! broken: ERROR (no such file)",
            "FAILED! ERROR: process/group still running: extra",
            "CHANGED",
            "SUCCESS",
            "CHANGED",
            "SUCCESS",
            "CHANGED [\"web\"]",
            "FAILED! Server requires authentication",
        ],
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    daemon.stop();
}

/// What came of one task, in a line.
fn outcome(said: &str) -> String {
    let (word, json) = said.split_once("=> ").unwrap_or_else(|| panic!("no outcome: {said}"));
    let result = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>().next();
    let result = result.expect("an outcome").expect("JSON");
    let first_line =
        |key: &str| result[key].as_str().and_then(|text| text.lines().next()).unwrap_or_default();
    let detail = match (&result["affected"], first_line("msg")) {
        (serde_json::Value::Null, "") => first_line("stdout").to_owned(),
        (serde_json::Value::Null, message) => message.to_owned(),
        (affected, _) => affected.to_string(),
    };
    format!("{} {detail}", word.trim()).trim_end().to_owned()
}
