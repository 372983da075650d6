//! What the configuration promises beside starting and stopping: readiness, health, input, listeners, limits.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::print_stderr,
    reason = "shared with the faults, which use more of it"
)]
#[path = "faults/daemon.rs"]
mod daemon;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use daemon::{Daemon, PYTHON, Place, Plan, is_gone, python, seconds, shell, sleeper};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;
use supervisor::ctl::fault::FaultCode;
use supervisor::ctl::xmlrpc::Value;

/// Sends words to `NOTIFY_SOCKET`.
const SAY: &str = "import os, socket, time
def say(words):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect(os.environ['NOTIFY_SOCKET'])
    s.send(words.encode())
";

fn pid(daemon: &Daemon, name: &str) -> i32 {
    daemon.said(&["pid", name]).trim().parse().unwrap()
}

#[test]
fn a_restart_begins_anew_in_the_same_process_with_the_new_configuration() {
    let mut daemon = Daemon::start(Place::Plain, &sleeper("a", ""));
    let before = pid(&daemon, "a");
    daemon.configure(&(sleeper("a", "") + &sleeper("b", "")));
    assert_eq!(daemon.said(&["reload"]), "Restarted supervisord\n");
    within(seconds(10), "both run", || {
        (daemon.said(&["status"]).matches("RUNNING").count() == 2).then_some(())
    });
    assert!(is_gone(before) && pid(&daemon, "a") != before);
    assert_eq!(daemon.read("s.pid").trim(), daemon.pid.to_string());
    daemon.stop(seconds(5));
}

#[test]
fn a_restart_with_a_broken_configuration_stops_nothing() {
    let daemon = Daemon::start(Place::Plain, &sleeper("a", ""));
    let before = pid(&daemon, "a");
    daemon.configure("[program.a]\ncomand = \"x\"\n");
    let fault = daemon.call("supervisor.restart", &[]).unwrap_err();
    assert_eq!(fault.code, FaultCode::CantReread.code(), "{fault}");
    assert!(fault.text.contains("unknown key `comand`, did you mean `command`?"), "{fault}");
    assert_eq!(pid(&daemon, "a"), before);
}

#[test]
fn a_restart_with_a_log_that_cannot_be_opened_stops_nothing() {
    let mut daemon = Daemon::start(Place::Plain, &sleeper("a", ""));
    let before = pid(&daemon, "a");
    let log = |path: &str| {
        let text = fs::read_to_string(daemon.path("s.toml")).unwrap();
        let rest = text.lines().filter(|line| !line.starts_with("logfile =")).collect::<Vec<_>>().join("\n");
        let new = rest.replacen("[supervisord]", &format!("[supervisord]\nlogfile = \"%(here)s/{path}\""), 1);
        fs::write(daemon.path("s.toml"), new).unwrap();
    };
    let here = daemon.path("").display().to_string();
    fs::create_dir(daemon.path("folder")).unwrap();
    for (path, why) in [
        ("folder", "cannot open the log file HEREfolder: Is a directory (os error 21)"),
        (
            "s.toml/x/y.log",
            "The directory named as part of the path HEREs.toml/x/y.log does not exist, and cannot be made: \
             Not a directory (os error 20)",
        ),
    ] {
        log(path);
        let fault = daemon.call("supervisor.restart", &[]).unwrap_err();
        assert_eq!(fault.code, FaultCode::CantReread.code(), "{fault}");
        assert_eq!(fault.text.replace(&here, "HERE"), format!("CANT_REREAD: {why}"));
        assert_eq!(pid(&daemon, "a"), before);
    }
    // One that can be is the log of the new run.
    log("new/s.log");
    assert_eq!(daemon.said(&["reload"]), "Restarted supervisord\n");
    daemon.wrote("new/s.log", "INFO supervisord started with pid");
    within(seconds(10), "it runs again", || daemon.said(&["status"]).contains("RUNNING").then_some(()));
    daemon.stop(seconds(5));
}

#[test]
fn a_program_says_itself_when_it_is_ready() {
    let code = format!(
        "{SAY}while not os.path.exists('go'):\n    time.sleep(0.01)\nsay('READY=1\\nSTATUS=serving')\ntime.sleep(1000)"
    );
    let keys = "directory = \"%(here)s\"\nready = { notify = true, timeout = \"20s\" }";
    let config = python("a", &code, keys) + &sleeper("b", "depends_on = [\"a\"]");
    let mut daemon = Daemon::start(Place::Plain, &config);
    daemon.logged("INFO waiting for a to be ready before b starts");
    let ready = |daemon: &Daemon| {
        let info = daemon.call("supervisor.getProcessInfo", &["a".into()]).unwrap();
        info.member("ready").cloned()
    };
    assert_eq!(ready(&daemon), Some(Value::Bool(false)));
    fs::write(daemon.path("go"), "").unwrap();
    assert!(daemon.logged("INFO ready: a") < daemon.logged("INFO spawned: 'b'"));
    assert_eq!(ready(&daemon), Some(Value::Bool(true)));
    daemon.stop(seconds(5));
}

#[test]
fn a_program_that_falls_silent_is_restarted() {
    let code =
        format!("{SAY}for n in range(5):\n    say('WATCHDOG=1')\n    time.sleep(0.05)\ntime.sleep(1000)");
    let keys = "autorestart = false\nalive = { notify = true, timeout = \"500ms\" }";
    let mut daemon = Daemon::start(Place::Plain, &python("a", &code, keys));
    let first = pid(&daemon, "a");
    daemon.logged("WARN unhealthy: a is restarted: it did not say WATCHDOG=1 within 0.5 s (alive)");
    daemon.logged_times("INFO spawned: 'a'", 2);
    assert_ne!(pid(&daemon, "a"), first);
    daemon.stop(seconds(5));
}

#[test]
fn a_program_that_serves_no_more_is_restarted() {
    let keys =
        "alive = { exec = \"test -e %(here)s/fine\", interval = \"50ms\", timeout = \"5s\", failures = 2 }";
    let plan = Plan::new(Place::Plain, &sleeper("a", keys));
    fs::write(plan.path("fine"), "").unwrap();
    let mut daemon = plan.start();
    let first = pid(&daemon, "a");
    fs::remove_file(daemon.path("fine")).unwrap();
    daemon.logged("WARN unhealthy: a is restarted: exec test -e");
    fs::write(daemon.path("fine"), "").unwrap();
    within(seconds(10), "another one runs", || {
        (daemon.state("a") == "RUNNING" && pid(&daemon, "a") != first).then_some(())
    });
    daemon.stop(seconds(5));
}

#[test]
fn what_is_not_ready_in_time_is_told_with_its_reason() {
    let keys =
        "startretries = 0\nready = { tcp = \"127.0.0.1:9\", timeout = \"300ms\", interval = \"50ms\" }";
    let daemon = Daemon::start(Place::Plain, &sleeper("a", keys));
    daemon.logged(
        "WARN not ready: a did not become ready within 0.3 seconds (ready.timeout), it counts as an exit: \
         tcp 127.0.0.1:9 cannot be reached: Connection refused",
    );
    daemon.logged("gave up: a entered FATAL state");
}

#[test]
fn clients_write_to_a_program_until_it_closes_its_input() {
    let closes = python(
        "closed",
        "import os, time\nos.close(0)\nprint('closed', flush=True)\ntime.sleep(1000)",
        "stdout_logfile = \"%(here)s/closed\"",
    );
    let cat = "[program.cat]\ncommand = \"cat\"\nstartsecs = 0\nstdout_logfile = \"%(here)s/cat\"\n";
    let deaf = sleeper("deaf", "");
    let mut daemon = Daemon::start(Place::Plain, &(closes + cat + &deaf));
    let send =
        |name: &str, chars: &str| daemon.call("supervisor.sendProcessStdin", &[name.into(), chars.into()]);
    assert_eq!(send("cat", "grüße\n"), Ok(true.into()));
    daemon.wrote("cat", "grüße\n");
    daemon.wrote("closed", "closed");
    assert_eq!(send("closed", "x").unwrap_err().text, "NO_FILE: closed");
    assert_eq!(send("nobody", "x").unwrap_err().text, "BAD_NAME: nobody");
    // Whoever does not read is given so much and no more.
    let piece = "x".repeat(500 << 10);
    let refused = (0..5).find_map(|_| send("deaf", &piece).err()).unwrap();
    assert_eq!(refused.text, "FAILED: deaf does not read its input");
    daemon.stop(seconds(5));
}

#[test]
fn an_fcgi_program_accepts_on_its_standard_input() {
    let code = "import socket\ns = socket.socket(fileno=0)\nwhile True:\n    c, _ = s.accept()\n    c.send(b'hello')\n    c.close()";
    let code = code.replace('\n', "\\n");
    let config = format!(
        "[fcgi-program.web]\ncommand = [\"{PYTHON}\", \"-c\", \"{code}\"]\nsocket = \"unix://%(here)s/web.sock\"\n\
         socket_mode = \"0600\"\nstartsecs = 0\nnumprocs = 2\nprocess_name = \"%(program_name)s_%(process_num)d\"\n"
    );
    let mut daemon = Daemon::start(Place::Plain, &config);
    within(seconds(10), "the socket is there", || UnixStream::connect(daemon.path("web.sock")).ok());
    for _ in 0..4 {
        let mut text = String::new();
        UnixStream::connect(daemon.path("web.sock")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }
    assert_eq!(daemon.said(&["status"]).matches("web:web_").count(), 2);
    let socket = daemon.path("web.sock");
    daemon.stop(seconds(5));
    assert!(!socket.exists());
}

const LISTENER: &str = "import sys
log = open('heard', 'a')
while True:
    print('READY', flush=True)
    header = dict(word.split(':', 1) for word in sys.stdin.readline().split())
    payload = sys.stdin.read(int(header['len']))
    log.write(header['eventname'] + ' ' + payload.replace('\\n', '|') + '\\n')
    log.flush()
    sys.stdout.write('RESULT 2\\nOK')
    sys.stdout.flush()
";

#[test]
fn listeners_hear_of_everything_up_to_the_end_of_all_others() {
    let listener = python("ear", LISTENER, "directory = \"%(here)s\"\nevents = [\"PROCESS_STATE\", \"PROCESS_COMMUNICATION\", \"REMOTE_COMMUNICATION\", \"SUPERVISOR_STATE_CHANGE\", \"PROCESS_GROUP\"]\nbuffer_size = 50")
        .replace("[program.ear]", "[eventlistener.ear]");
    let talks = python(
        "talks",
        "import time\nprint('<!--XSUPERVISOR:BEGIN-->hello<!--XSUPERVISOR:END-->', flush=True)\ntime.sleep(1000)",
        "stdout_capture_maxbytes = \"1KB\"\nstdout_logfile = \"%(here)s/talks\"",
    );
    let mut daemon = Daemon::start(Place::Plain, &(listener + &talks));
    daemon.wrote("heard", "PROCESS_COMMUNICATION_STDOUT processname:talks groupname:talks pid:");
    daemon.wrote("heard", "hello");
    daemon.call("supervisor.sendRemoteCommEvent", &["kind".into(), "data".into()]).unwrap();
    daemon.wrote("heard", "REMOTE_COMMUNICATION type:kind|data");
    assert_eq!(daemon.said(&["stop", "talks"]), "talks: stopped\n");
    assert_eq!(daemon.said(&["start", "talks"]), "talks: started\n");
    let heard = daemon.path("heard");
    daemon.stop(seconds(10));
    let text = fs::read_to_string(heard).unwrap();
    let last: Vec<&str> =
        text.lines().rev().take(3).map(|line| line.split(" pid:").next().unwrap()).collect();
    assert_eq!(
        last,
        [
            "PROCESS_STATE_STOPPED processname:talks groupname:talks from_state:STOPPING",
            "PROCESS_STATE_STOPPING processname:talks groupname:talks from_state:RUNNING",
            "SUPERVISOR_STATE_CHANGE_STOPPING ",
        ],
        "{text}"
    );
    assert_eq!(text.matches("PROCESS_STATE_RUNNING processname:talks").count(), 2, "{text}");
}

/// Answers with what it was sent, as supervisor-stdout does.
const ECHO: &str = "import sys
say = lambda text: (sys.stdout.buffer.write(text), sys.stdout.flush())
while True:
    say(b'READY\\n')
    header = dict(word.split(':', 1) for word in sys.stdin.readline().split())
    payload = sys.stdin.read(int(header['len'])).encode()
    say(b'RESULT %d\\n%s' % (len(payload), payload))
";

#[test]
fn the_handler_of_supervisor_stdout_shows_the_output_of_programs() {
    let listener = python(
        "echo",
        ECHO,
        "events = \"PROCESS_LOG\"\nbuffer_size = 100\nresult_handler = \"supervisor_stdout:event_handler\"",
    );
    let talks = |name: &str, script: &str| {
        shell(
            name,
            script,
            "stdout_events_enabled = true\nstderr_events_enabled = true\nstdout_logfile = \"NONE\"\nstderr_logfile = \"NONE\"\nautostart = false",
        )
    };
    let config = listener.replace("[program.echo]", "[eventlistener.echo]")
        + &talks("web", "echo one; exec sleep 1000")
        + &talks("job", "printf 'grün\\\\n\\\\ntwo' >&2; exec sleep 1000");
    let daemon = Daemon::start(Place::Plain, &config);
    let shown = |text: &str| {
        within(seconds(20), text, || daemon.read("stdout").contains(text).then_some(()));
    };
    daemon.waits_for_state("echo", "RUNNING");
    daemon.said(&["start", "web"]);
    shown("\nweb stdout | one\n");
    daemon.said(&["start", "job"]);
    shown("\njob stderr | grün\njob stderr | \njob stderr | two\n");
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn a_program_has_the_limits_the_groups_and_the_environment_it_was_given() {
    let script = "echo $(ulimit -n) $(nice) $(umask) $(id -u) $(id -g) $(id -G) $A $B > out";
    let config = format!(
        "[program.a]\ncommand = [\"sh\", \"-c\", \"{script}\"]\nautorestart = false\nstartsecs = 0\ndirectory = \"%(here)s\"\n\
         umask = \"027\"\nnice = 5\nrlimits = {{ nofile = 77 }}\ngroup = \"daemon\"\nsupplementary_groups = [\"adm\"]\n\
         env_file = \"%(here)s/env\"\nenvironment = {{ B = \"two\" }}\n"
    );
    let plan = Plan::new(Place::Plain, &config).users();
    fs::write(plan.path("env"), "# a file\nexport A='one 1'\nB=1\n").unwrap();
    let daemon = plan.start();
    daemon.wrote("out", "\n");
    let gid = |name: &str| nix::unistd::Group::from_name(name).unwrap().unwrap().gid;
    let (daemon_gid, adm) = (gid("daemon"), gid("adm"));
    let out = daemon.read("out");
    let groups = [format!("{daemon_gid} {adm}"), format!("{adm} {daemon_gid}")];
    let expected = |groups: &str| format!("77 5 0027 0 {daemon_gid} {groups} one 1 two\n");
    assert!(groups.iter().any(|groups| out == expected(groups)), "{out}");
}

#[test]
fn a_program_may_set_the_limit_that_is_the_mark_of_the_others() {
    // What was lowered to the mark could not be raised again without privilege.
    let program = |name: &str, keys: &str| {
        let script = "awk '/^Max resident/ { print $4, $5 }' /proc/self/limits";
        let keys = format!("autorestart = false\nstdout_logfile = \"%(here)s/{name}.out\"\n{keys}");
        shell(name, script, &keys)
    };
    let config = program("none", "")
        + &program("free", "rlimits = { rss = \"unlimited\" }")
        + &program("bound", "rlimits = { rss = \"1GB\" }");
    let mut daemon =
        Plan::new(Place::Plain, &config).through(&["setpriv", "--bounding-set=-sys_resource"]).start();
    for name in ["none", "free", "bound"] {
        within(seconds(10), name, || {
            (!daemon.read(&format!("{name}.out")).is_empty() || daemon.state(name) == "FATAL").then_some(())
        });
    }
    let said = ["none.out", "free.out", "bound.out"].map(|name| daemon.read(name));
    assert_eq!(said[1..], ["unlimited unlimited\n", "1073741824 1073741824\n"], "{}", daemon.log());
    let mark: Vec<u64> = said[0].split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(mark[0] == mark[1] && mark[0] > 1 << 62, "{mark:?}");
    daemon.stop(seconds(5));
}

#[test]
fn variables_that_are_no_utf_8_are_passed_on_as_they_are() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let raw = |bytes: &[u8]| OsString::from(OsStr::from_bytes(bytes));
    let config = sleeper("a", "environment = { MINE = \"own\" }\n");
    // A shell passes on no such name.
    let name = "import os, sys; os.environb[b'N\\xe4me'] = b'1'; os.execv(sys.argv[1], sys.argv[1:])";
    let mut daemon = Plan::new(Place::Plain, &config)
        .environment("LATIN", raw(b"gr\xfcn"))
        .environment("MINE", raw(b"\xff"))
        .environment("NOTIFY_SOCKET", raw(b"/\xff"))
        .through(&[PYTHON, "-c", name])
        .start();
    let variables = |daemon: &Daemon| {
        let environ = fs::read(format!("/proc/{}/environ", daemon.pid_of("a"))).unwrap();
        let all: Vec<Vec<u8>> = environ.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        let of = |start: &[u8]| -> Vec<Vec<u8>> {
            all.iter().filter(|variable| variable.starts_with(start)).cloned().collect()
        };
        [of(b"LATIN="), of(b"N\xe4me="), of(b"MINE="), of(b"NOTIFY_SOCKET=")]
    };
    let expected: [Vec<Vec<u8>>; 4] =
        [vec![b"LATIN=gr\xfcn".to_vec()], vec![b"N\xe4me=1".to_vec()], vec![b"MINE=own".to_vec()], vec![]];
    assert_eq!(variables(&daemon), expected);
    // Those of a daemon that has begun anew too.
    let before = daemon.inner_pid("a");
    assert_eq!(daemon.said(&["reload"]), "Restarted supervisord\n");
    within(seconds(10), "it runs again", || {
        let status = daemon.said(&["status"]);
        (status.contains("RUNNING") && daemon.inner_pid("a") != before).then_some(())
    });
    assert_eq!(variables(&daemon), expected);
    daemon.stop(seconds(5));
}

#[test]
fn a_command_is_found_in_a_path_that_is_no_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let plan = Plan::new(Place::Plain, "[program.a]\ncommand = \"own 1000\"\nstartsecs = 0\n");
    let folder = plan.path("").join(OsStr::from_bytes(b"b\xefn"));
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/bin/sleep", folder.join("own")).unwrap();
    let mut path = folder.into_os_string();
    path.push(":/usr/bin:/bin");
    let daemon = plan.environment("PATH", path).start();
    daemon.waits_for_state("a", "RUNNING");
}

#[test]
fn a_program_with_logs_of_its_own_is_told_to_open_them_anew() {
    let code = "import signal, time\nsignal.signal(signal.SIGHUP, lambda *_: open('told', 'w').write('HUP'))\nopen('up', 'w').write('up')\nwhile True:\n    time.sleep(1)";
    let mut daemon =
        Daemon::start(Place::Plain, &python("a", code, "directory = \"%(here)s\"\nreopen_signal = \"HUP\""));
    daemon.wrote("up", "up");
    kill(Pid::from_raw(daemon.pid), Signal::SIGUSR2).unwrap();
    daemon.wrote("told", "HUP");
    daemon.stop(seconds(5));
}

#[test]
fn without_n_the_daemon_goes_into_the_background_and_says_first_what_is_wrong() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = "[supervisord]\nlogfile=%(here)s/s.log\npidfile=%(here)s/s.pid\n[unix_http_server]\nfile=%(here)s/s.sock\n\
                [inet_http_server]\nport=127.0.0.1:0\n[program:a]\ncommand=sleep 1000\nstartsecs=0\n";
    fs::write(path("s.conf"), text.replace("[inet_http_server]\nport=127.0.0.1:0\n", "")).unwrap();
    let start =
        || Command::new(env!("CARGO_BIN_EXE_supervisord")).arg("-c").arg(path("s.conf")).output().unwrap();
    let out = start();
    assert_eq!((out.status.code(), out.stdout.len(), out.stderr.len()), (Some(0), 0, 0), "{out:?}");
    // Its socket is open already, so the second one meets it.
    let second = start();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("Another program is already listening on a port"), "{said}");
    let url = format!("unix://{}", path("s.sock").display());
    let ctl = |word: &str| {
        let out =
            Command::new(env!("CARGO_BIN_EXE_supervisorctl")).args(["-s", &url, word]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    within(seconds(10), "it runs", || ctl("status").contains("RUNNING").then_some(()));
    let pid: i32 = fs::read_to_string(path("s.pid")).unwrap().trim().parse().unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).unwrap().to_str(), Some("/dev/null"));
    assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(pid))).unwrap().as_raw(), pid);
    assert_eq!(ctl("reload"), "Restarted supervisord\n");
    within(seconds(10), "it runs again", || ctl("status").contains("RUNNING").then_some(()));
    assert_eq!(fs::read_to_string(path("s.pid")).unwrap().trim(), pid.to_string());
    assert_eq!(ctl("shutdown"), "Shut down\n");
    within(seconds(10), "it is gone", || is_gone(pid).then_some(()));
}

#[test]
fn control_over_tcp_wants_the_password() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // The SHA-1 of `secret`.
    let config = format!(
        "[inet_http_server]\nport = \"127.0.0.1:{port}\"\nusername = \"me\"\n\
         password = \"{{SHA}}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4\"\n{}",
        sleeper("a", "")
    );
    let mut daemon = Daemon::start(Place::Plain, &config);
    let ask = |password: &str| {
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisorctl"));
        let out = command.args(["-s", &url, "-u", "me", "-p", password, "pid"]).output().unwrap();
        (String::from_utf8(out.stdout).unwrap(), out.status.code())
    };
    assert_eq!(ask("secret"), (format!("{}\n", daemon.pid), Some(0)));
    let (said, code) = ask("wrong");
    assert!(said.starts_with("Server requires authentication\n") && code == Some(1), "{said} {code:?}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"POST /RPC2 HTTP/1.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 401") || answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.to_lowercase().contains("www-authenticate: basic realm=\"default\""), "{answer}");
    daemon.stop(seconds(5));
}

/// A leader that ends at once, and a child of its group that takes its time, or for ever.
fn family(child: &str, keys: &str) -> String {
    let code = format!(
        "import os, signal, time\nif os.fork() == 0:\n    {child}\n    open('up', 'w').write('up')\n    while True:\n        time.sleep(1)\nwhile True:\n    time.sleep(1)"
    );
    python("a", &code, &format!("directory = \"%(here)s\"\n{keys}"))
}

const SLOW: &str =
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open('bye', 'w').write('bye'), os._exit(0)))";

#[test]
fn the_rest_of_a_group_may_end_its_work() {
    let mut daemon = Daemon::start(Place::Plain, &family(SLOW, "stopwaitsecs = 10"));
    daemon.wrote("up", "up");
    assert_eq!(daemon.said(&["stop", "a"]), "a: stopped\n");
    daemon.wrote("bye", "bye");
    assert!(daemon.stop(seconds(5)) < seconds(3));
    let mut daemon = Daemon::start(Place::Plain, &family(SLOW, "stopwaitsecs = 10"));
    daemon.wrote("up", "up");
    let bye = daemon.path("bye");
    daemon.stop(seconds(5));
    assert_eq!(fs::read_to_string(bye).unwrap(), "bye");
}

#[test]
fn the_rest_of_a_group_that_does_not_end_is_killed_in_time() {
    let deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('pid', 'w').write(str(os.getpid()))";
    let mut daemon = Daemon::start(Place::Plain, &family(deaf, "stopwaitsecs = 1"));
    daemon.wrote("up", "up");
    let child: i32 = daemon.read("pid").parse().unwrap();
    assert_eq!(daemon.said(&["stop", "a"]), "a: stopped\n");
    daemon.logged("WARN killing what is left of the process group of 'a'");
    within(seconds(5), "it is gone", || is_gone(child).then_some(()));
    assert_eq!(daemon.said(&["start", "a"]), "a: started\n");
    within(seconds(5), "its child is there", || (daemon.read("pid").parse() != Ok(child)).then_some(()));
    let began = std::time::Instant::now();
    daemon.stop(seconds(5));
    assert!(began.elapsed() > std::time::Duration::from_millis(900), "it waited for the rest");
}

/// The attack: whoever reads the container's output stops reading, or is gone.
#[test]
fn a_program_that_logs_to_a_stalled_output_of_the_daemon_holds_up_nobody() {
    let config = "[program.a]\ncommand = [\"sh\", \"-c\", \"while :; do echo 0123456789012345678901234567890123456789; done\"]\n\
                  startsecs = 0\nstdout_logfile = \"/dev/stdout\"\nstdout_logfile_maxbytes = 0\nredirect_stderr = true\n";
    let (read, write) = std::io::pipe().unwrap();
    let mut daemon = Plan::new(Place::Plain, config).daemon("silent = true").stdout(write).start();
    within(seconds(10), "the pipe is full", || {
        let mut descriptor =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&read), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut descriptor, nix::poll::PollTimeout::ZERO).ok().filter(|ready| *ready == 1)
    });
    for _ in 0..20 {
        assert_eq!(daemon.state("a"), "RUNNING");
    }
    drop(read);
    assert_eq!(daemon.said(&["restart", "a"]), "a: stopped\na: started\n");
    daemon.stop(seconds(5));
}

#[test]
fn what_a_program_says_on_dev_stdout_is_said_by_the_daemon() {
    let config = "[program.a]\ncommand = [\"sh\", \"-c\", \"echo out; echo err >&2; exec sleep 1000\"]\nstartsecs = 0\n\
                  stdout_logfile = \"/dev/stdout\"\nstderr_logfile = \"/dev/stderr\"\nstdout_logfile_maxbytes = 0\nstderr_logfile_maxbytes = 0\n";
    let (mut read, write) = std::io::pipe().unwrap();
    let mut daemon = Plan::new(Place::Plain, config).daemon("silent = true").stdout(write).start();
    let mut line = [0; 4];
    read.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"out\n");
    // The harness sends stderr to a file.
    daemon.wrote("stdout", "err\n");
    daemon.stop(seconds(5));
}

#[test]
fn pipes_that_orphans_keep_open_are_let_go_in_the_end() {
    let config = "[program.a]\ncommand = [\"sh\", \"-c\", \"sleep 20 & sleep 0.01\"]\nstartsecs = 0\nautorestart = true\n\
                  stopasgroup = false\nkillasgroup = false\n";
    let mut daemon = Daemon::start(Place::Plain, config);
    daemon.logged_times("INFO spawned: 'a'", 40);
    let open = daemon.descriptors();
    assert!(open < 40, "{open} descriptors are open");
    daemon.stop(seconds(5));
}

#[test]
fn a_stop_while_a_program_is_restarted_for_its_health_is_a_stop() {
    let code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('up', 'w').write('up')\nwhile True:\n    time.sleep(1)";
    let keys = "directory = \"%(here)s\"\nstopwaitsecs = 2\nalive = { exec = \"test ! -e %(here)s/sick\", interval = \"50ms\", failures = 1 }";
    let mut daemon = Daemon::start(Place::Plain, &python("a", code, keys));
    daemon.wrote("up", "up");
    fs::write(daemon.path("sick"), "").unwrap();
    daemon.logged("WARN unhealthy: a is restarted");
    assert_eq!(daemon.said(&["stop", "a"]), "a: stopped\n");
    assert_eq!(daemon.state("a"), "STOPPED");
    assert_eq!(daemon.log().matches("INFO spawned: 'a'").count(), 1);
    daemon.stop(seconds(5));
}

#[test]
fn whoever_starts_all_does_not_wait_for_what_will_not_come() {
    let config = "[program.db]\ncommand = \"false\"\nstartretries = 0\nautostart = false\n".to_owned()
        + &sleeper("app", "autostart = false\ndepends_on = [\"db\"]");
    let daemon = Daemon::start(Place::Plain, &config);
    let said = daemon.said(&["start", "all"]);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["app: ERROR (abnormal termination)", "db: ERROR (spawn error)"]);
}

#[test]
fn an_event_of_any_size_reaches_its_listener_whole() {
    let listener = python("ear", LISTENER, "directory = \"%(here)s\"\nevents = [\"PROCESS_COMMUNICATION\"]")
        .replace("[program.ear]", "[eventlistener.ear]");
    let code = "import time\nprint('<!--XSUPERVISOR:BEGIN-->' + 'x' * 3000000 + '<!--XSUPERVISOR:END-->', flush=True)\ntime.sleep(1000)";
    let talks = python("talks", code, "stdout_capture_maxbytes = \"4MB\"\nstdout_logfile = \"NONE\"");
    let mut daemon = Daemon::start(Place::Plain, &(listener + &talks));
    within(seconds(30), "it is heard", || {
        (daemon.read("heard").matches('x').count() >= 3_000_000).then_some(())
    });
    daemon.stop(seconds(5));
}

#[test]
fn what_only_a_kill_is_for_does_not_hold_up_the_stop() {
    let config = "[program.a]\ncommand = [\"sh\", \"-c\", \"sleep 1001 & exec sleep 1002\"]\nstartsecs = 0\n\
                  stopasgroup = false\nkillasgroup = true\nstopwaitsecs = 30\n";
    let mut daemon = Daemon::start(Place::Plain, config);
    assert!(daemon.stop(seconds(10)) < seconds(3));
}
