//! The real daemon with real children: starts, stops, crashes, hand-overs, reloads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::within;
use tempfile::TempDir;

/// A running daemon in a folder of its own; killed when dropped.
struct Daemon {
    child: Child,
    folder: TempDir,
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn write_config(folder: &Path, supervisord: &str, rest: &str) {
    let text = format!(
        "[supervisord]\nlogfile = \"%(here)s/s.log\"\npidfile = \"%(here)s/s.pid\"\n{supervisord}\n\
         [unix_http_server]\nfile = \"%(here)s/s.sock\"\n{rest}\n"
    );
    fs::write(folder.join("s.toml"), text).unwrap();
}

impl Daemon {
    #[track_caller]
    fn start(supervisord: &str, rest: &str) -> Self {
        let folder = TempDir::new().unwrap();
        write_config(folder.path(), supervisord, rest);
        let child = Self::command(folder.path()).spawn().unwrap();
        let mut daemon = Self { child, folder };
        within(seconds(10), "the daemon listens, or has ended", || {
            let ended = daemon.child.try_wait().unwrap().is_some();
            (ended || UnixStream::connect(daemon.path("s.sock")).is_ok()).then_some(())
        });
        daemon
    }

    fn command(folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisord"));
        command.args(["-n", "-c"]).arg(folder.join("s.toml"));
        let out = fs::File::create(folder.join("stdout")).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.read("s.log")
    }

    #[track_caller]
    fn logged(&self, text: &str) -> usize {
        within(seconds(15), &format!("{text:?} in the log"), || self.log().find(text))
    }

    fn ctl(&self, words: &[&str]) -> Output {
        let url = format!("unix://{}", self.path("s.sock").display());
        Command::new(env!("CARGO_BIN_EXE_supervisorctl")).arg("-s").arg(url).args(words).output().unwrap()
    }

    #[track_caller]
    fn pid(&self, program: &str) -> i32 {
        String::from_utf8(self.ctl(&["pid", program]).stdout).unwrap().trim().parse().unwrap()
    }

    #[track_caller]
    fn state(&self, program: &str) -> String {
        let out = String::from_utf8(self.ctl(&["status", program]).stdout).unwrap();
        out.split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    #[track_caller]
    fn ended(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the daemon ends", || self.child.try_wait().unwrap())
    }

    #[track_caller]
    fn stop(&mut self, limit: Duration) -> Duration {
        let began = Instant::now();
        self.signal(Signal::SIGTERM);
        let status = self.ended(limit);
        assert_eq!(status.code(), Some(0), "{}", self.log());
        began.elapsed()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// A program that sleeps until it is told to end, as Python, whose signals do not wait for a child.
fn python(name: &str, code: &str, keys: &str) -> String {
    let code = code.replace('\n', "\\n");
    format!("[program.{name}]\ncommand = [\"python3\", \"-c\", \"{code}\"]\n{keys}\n")
}

fn sleeper(name: &str, keys: &str) -> String {
    format!("[program.{name}]\ncommand = \"sleep 1000\"\nstartsecs = 0\n{keys}\n")
}

#[test]
fn a_dependant_waits_until_what_it_depends_on_is_ready() {
    let config = sleeper("web", "depends_on = [\"db\"]")
        + &sleeper("db", "ready = { exec = \"test -e %(here)s/ready\", interval = \"20ms\" }");
    let daemon = Daemon::start("", &config);
    daemon.logged("INFO waiting for db to be ready before web starts");
    assert_eq!((daemon.state("web").as_str(), daemon.state("db").as_str()), ("STOPPED", "STARTING"));
    fs::write(daemon.path("ready"), "").unwrap();
    let ready = daemon.logged("INFO ready: db");
    assert!(ready < daemon.logged("INFO spawned: 'web'"));
}

#[test]
fn dependants_stop_first_and_a_drain_signal_comes_before_the_stop() {
    let code = "import signal,sys,time\ndef on(n,_): print(n,flush=True); n==15 and sys.exit(0)\nfor n in (10,15): signal.signal(n,on)\nprint('up',flush=True)\nwhile True: time.sleep(0.02)";
    let slow = "import signal,sys,time\nsignal.signal(15,lambda *_: (time.sleep(0.3),sys.exit(0)))\nprint('up',flush=True)\nwhile True: time.sleep(0.02)";
    let config =
        python("hub", code, "startsecs = 0\ndrainsignal = \"USR1\"\nstdout_logfile = \"%(here)s/hub.log\"")
            + &python(
                "front",
                slow,
                "startsecs = 0\ndepends_on = [\"hub\"]\nstdout_logfile = \"%(here)s/front.log\"",
            );
    let mut daemon = Daemon::start("shutdown_timeout = \"9s\"", &config);
    within(seconds(10), "both are up", || {
        (daemon.read("hub.log") + &daemon.read("front.log") == "up\nup\n").then_some(())
    });
    daemon.stop(seconds(5));
    assert_eq!(daemon.read("hub.log"), "up\n10\n15\n");
    let order = [
        "WARN received SIGTERM indicating exit request",
        "INFO draining: 'hub'",
        "INFO stopped: front (exit status 0)",
        "INFO stopped: hub (exit status 0)",
        "INFO supervisord stopped",
    ];
    assert!(order.map(|text| daemon.logged(text)).is_sorted(), "{}", daemon.log());
}

#[test]
fn a_killed_program_is_there_again_at_once() {
    let daemon = Daemon::start("", &sleeper("a", "autorestart = true"));
    let before = within(seconds(5), "it runs", || Some(daemon.pid("a")).filter(|pid| *pid > 0));
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    within(seconds(2), "another one runs", || Some(daemon.pid("a")).filter(|pid| *pid > 0 && *pid != before));
    daemon.logged("WARN exited: a (terminated by SIGKILL; not expected)");
}

#[test]
fn many_well_behaved_programs_stop_at_once() {
    let config: String = (0..25).map(|n| sleeper(&format!("p{n}"), "")).collect();
    let mut daemon = Daemon::start("", &config);
    within(seconds(10), "all run", || {
        (String::from_utf8(daemon.ctl(&["status"]).stdout).unwrap().matches("RUNNING").count() == 25)
            .then_some(())
    });
    let took = daemon.stop(seconds(5));
    assert!(took < seconds(1), "{took:?}");
}

#[test]
fn a_fatal_program_can_take_everything_with_it() {
    let config =
        sleeper("a", "") + "[program.b]\ncommand = \"false\"\nstartretries = 0\non_fatal = \"shutdown\"\n";
    let mut daemon = Daemon::start("", &config);
    assert_eq!(daemon.ended(seconds(10)).code(), Some(10));
    daemon.logged("stopped: a (terminated by SIGTERM)");
}

#[test]
fn a_start_that_fails_among_many_leaves_none_of_them_behind() {
    let others = |numbers: std::ops::Range<i32>| -> String {
        numbers.map(|n| sleeper(&format!("p{n:02}"), "")).collect()
    };
    // The step that fails is the child's, so that others have begun before it is known.
    let fatal = "directory = \"%(here)s/nowhere\"\nstartretries = 0\non_fatal = \"shutdown\"";
    let mut daemon = Daemon::start("", &(others(0..10) + &sleeper("p10", fatal) + &others(11..30)));
    assert_eq!(daemon.ended(seconds(10)).code(), Some(10), "{}", daemon.log());
    daemon.logged("couldn't chdir to ");
    let log = daemon.log();
    let spawned = log.lines().filter(|line| line.contains("INFO spawned: "));
    let pids: Vec<i32> =
        spawned.filter_map(|line| line.split_once(" with pid ")?.1.trim().parse().ok()).collect();
    assert!(pids.len() >= 10, "{log}");
    assert_eq!(log.matches("(terminated by SIGTERM)").count(), pids.len(), "{log}");
    assert!(pids.into_iter().all(is_gone));
    assert_eq!(log.matches(" entered FATAL state").count(), 1, "{log}");
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let folder = TempDir::new().unwrap();
    write_config(folder.path(), "loglevel = \"loud\"", "[program.a]\ncomand = \"a\"");
    let supervisord = |words: &[&str]| {
        let config = folder.path().join("s.toml");
        let out = Command::new(env!("CARGO_BIN_EXE_supervisord")).args(words).arg(&config).output().unwrap();
        (
            out.status.code(),
            String::from_utf8(out.stderr).unwrap().replace(&config.display().to_string(), "FILE"),
        )
    };
    let mistakes = "FILE:4: `loglevel` is \"loud\", but it must be critical, error, warn, info, debug, trace or blather\n\
                    FILE:7: [program.a] has no `command`\n\
                    FILE:8: unknown key `comand`, did you mean `command`?\n";
    for words in [&["-n", "-c"][..], &["check", "-c"]] {
        assert_eq!(supervisord(words), (Some(2), mistakes.to_owned()));
    }
}

#[test]
fn a_second_daemon_does_not_take_the_socket_away() {
    let daemon = Daemon::start("", &sleeper("a", ""));
    let out = Command::new(env!("CARGO_BIN_EXE_supervisord"))
        .args(["-n", "-c"])
        .arg(daemon.path("s.toml"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(
        String::from_utf8(out.stderr).unwrap().starts_with("Error: Another program is already listening")
    );
    assert_eq!(daemon.state("a"), "RUNNING");
}

/// Accepts one connection, answers with what it was given, and ends.
const INHERITOR: &str = "import os,socket\ns=socket.socket(fileno=3)\nwhile True:\n  c,_=s.accept()\n  c.sendall(('{} {} {}'.format(os.environ['LISTEN_FDS'],os.environ['LISTEN_FDNAMES'],int(os.environ['LISTEN_PID'])==os.getpid()).encode()))\n  c.close()";

#[test]
fn a_listening_socket_is_handed_over_and_refuses_nobody_during_a_restart() {
    use std::io::Read;
    let config = "[socket.http]\nlisten = \"unix:%(here)s/h.sock\"\nmode = \"0600\"\n".to_owned()
        + &python("a", INHERITOR, "startsecs = 0\nsockets = [\"http\"]");
    let daemon = Daemon::start("", &config);
    let ask = || {
        let mut answer = String::new();
        UnixStream::connect(daemon.path("h.sock"))
            .and_then(|mut stream| stream.read_to_string(&mut answer))
            .map(|_| answer)
    };
    let first = within(seconds(10), "somebody answers", || ask().ok());
    assert_eq!(first, "1 http True");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut refused = Vec::new();
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                refused.extend(UnixStream::connect(daemon.path("h.sock")).err());
                let _ = nix::poll::poll(&mut [], 1_u16);
            }
            refused
        });
        for _ in 0..5 {
            assert!(daemon.ctl(&["restart", "a"]).status.success());
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        let refused = client.join().unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    });
    // After a stop by name it closes, but only once a restart would be over.
    assert!(daemon.ctl(&["stop", "a"]).status.success());
    assert!(UnixStream::connect(daemon.path("h.sock")).is_ok());
    within(seconds(10), "the socket is closed", || (!daemon.path("h.sock").exists()).then_some(()));
}

#[test]
fn a_reload_restarts_what_changed_and_nothing_else() {
    let config = sleeper("same", "") + &sleeper("other", "") + &sleeper("gone", "");
    let daemon = Daemon::start("", &config);
    let run = |name: &str| within(seconds(5), name, || Some(daemon.pid(name)).filter(|pid| *pid > 0));
    let (same, other, gone) = (run("same"), run("other"), run("gone"));
    // A broken file changes nothing.
    fs::write(daemon.path("broken"), "").unwrap();
    let good = daemon.read("s.toml");
    fs::write(daemon.path("s.toml"), "[program.same\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.logged("the configuration has mistakes, everything stays as it is");
    fs::write(daemon.path("s.toml"), good).unwrap();
    write_config(
        daemon.folder.path(),
        "",
        &(sleeper("same", "") + &sleeper("other", "priority = 5") + &sleeper("new", "")),
    );
    daemon.signal(Signal::SIGHUP);
    run("new");
    within(seconds(5), "the removed one is gone", || {
        (is_gone(gone) && daemon.ctl(&["pid", "gone"]).status.code() == Some(1)).then_some(())
    });
    within(seconds(5), "the changed one was restarted", || {
        Some(daemon.pid("other")).filter(|pid| *pid > 0 && *pid != other)
    });
    assert_eq!(daemon.pid("same"), same);
}

#[test]
fn output_arrives_whole_to_the_last_byte() {
    let config = "[program.a]\ncommand = \"sh -c 'printf one; echo two >&2; printf three'\"\nautorestart = false\nredirect_stderr = true\n\
                  stdout_logfile = \"%(here)s/logs/a.log\"\nstdout_tee = true\nstartsecs = 0\n\
                  [program.b]\ncommand = \"sh -c 'sleep 10 & echo out; echo err >&2'\"\nautorestart = false\nstartsecs = 0\n\
                  stdout_logfile = \"%(here)s/b.out\"\nstderr_logfile = \"%(here)s/b.err\"\n";
    let mut daemon = Daemon::start("", config);
    within(seconds(5), "everything of a", || (daemon.read("logs/a.log") == "onetwo\nthree").then_some(()));
    within(seconds(5), "and on the daemon's stdout, where lines of the daemon may come in between", || {
        let said = daemon.read("stdout");
        let places = ["one", "two\n", "three"].map(|word| said.find(word));
        (places.is_sorted() && places[0].is_some()).then_some(())
    });
    within(seconds(5), "both of b", || {
        ((daemon.read("b.out"), daemon.read("b.err")) == ("out\n".into(), "err\n".into())).then_some(())
    });
    // The grandchild that holds the pipes open hangs nothing.
    let took = daemon.stop(seconds(5));
    assert!(took < seconds(1), "{took:?}");
}

#[test]
fn an_idle_daemon_does_not_wake() {
    let daemon = Daemon::start("", &sleeper("a", ""));
    daemon.logged("success: a");
    let switches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
        let line =
            status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    // The connections of the client above are closed by now or soon; then nothing happens any more.
    let mut quiet = (switches(), Instant::now());
    within(seconds(20), "three seconds without a wake-up", || {
        let now = switches();
        if now != quiet.0 {
            quiet = (now, Instant::now());
        }
        (quiet.1.elapsed() > seconds(3)).then_some(())
    });
}

#[test]
fn a_program_of_another_user_may_open_its_stdout_again() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root may become another user");
        return;
    }
    let config = "[program.a]\ncommand = \"sh -c 'id -un > /dev/stdout; echo err > /dev/stderr'\"\nuser = \"nobody\"\nautorestart = false\n\
                  startsecs = 0\nstdout_logfile = \"%(here)s/out\"\nstderr_logfile = \"%(here)s/err\"\n";
    let daemon = Daemon::start("", config);
    within(seconds(5), "both were written", || {
        ((daemon.read("out"), daemon.read("err")) == ("nobody\n".into(), "err\n".into())).then_some(())
    });
}

#[test]
fn the_unix_socket_of_a_dead_daemon_is_replaced() {
    let folder = TempDir::new().unwrap();
    drop(UnixListener::bind(folder.path().join("s.sock")).unwrap());
    write_config(folder.path(), "", &sleeper("a", ""));
    let child = Daemon::command(folder.path()).spawn().unwrap();
    let daemon = Daemon { child, folder };
    within(seconds(5), "it answers", || (daemon.state("a") == "RUNNING").then_some(()));
}
