//! Real children: what they get, and what is said when they cannot be made.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::wait::{WaitStatus, waitpid};

use super::super::user;
use super::*;

/// A plan for a shell, its output, and what the test changes about it.
struct Case<'a> {
    words: &'a [&'a str],
    directory: Option<&'a str>,
    rlimits: &'a [Rlimit],
    ids: Option<&'a Ids>,
    umask: Option<u32>,
    nice: Option<i32>,
    sockets: &'a [(&'a str, &'a OwnedFd)],
    stdin: Option<OwnedFd>,
    notify: Option<&'a str>,
    watchdog: Option<Duration>,
}

fn shell<'a>(words: &'a [&'a str]) -> Case<'a> {
    Case {
        words,
        directory: None,
        rlimits: &[],
        ids: None,
        umask: None,
        nice: None,
        sockets: &[],
        stdin: None,
        notify: None,
        watchdog: None,
    }
}

impl Case<'_> {
    /// Runs it: what it wrote and its pid.
    fn run(self) -> Result<(String, u32), SpawnError> {
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let argv: Vec<String> = self.words.iter().map(|word| (*word).to_owned()).collect();
        let path = PathBuf::from(&argv[0]);
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let pid = spawn(
            "web",
            &Plan {
                path: &path,
                argv: &argv,
                env: &env,
                inherited: &[],
                directory: self.directory.map(Path::new),
                umask: self.umask,
                nice: self.nice,
                rlimits: self.rlimits,
                ids: self.ids,
                stdin: self.stdin.as_ref().unwrap_or(&null),
                stdout: &write,
                stderr: &write,
                sockets: self.sockets,
                notify: self.notify,
                watchdog: self.watchdog,
                guardian: None,
            },
        )?;
        drop(write);
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).unwrap();
        assert!(matches!(waitpid(Pid::from_raw(pid as i32), None), Ok(WaitStatus::Exited(_, 0))), "{said}");
        Ok((said, pid))
    }
}

#[track_caller]
fn says(case: Case<'_>, expected: &str) {
    let (said, pid) = case.run().unwrap();
    assert_eq!(said.trim_end(), expected.replace("$$", &pid.to_string()));
}

fn limit(name: &'static str, resource: u32, value: Option<u64>) -> Rlimit {
    Rlimit { name, resource, value }
}

#[test]
fn a_command_is_found_as_supervisord_finds_it() {
    let text = |found: Result<PathBuf, SpawnError>| match found {
        Ok(path) => path.display().to_string(),
        Err(error) => error.to_string(),
    };
    let path = Some(OsStr::new("/nowhere:/bin"));
    assert_eq!(text(find("sh", path)), "/bin/sh");
    assert_eq!(text(find("/bin/sh", path)), "/bin/sh");
    assert_eq!(text(find("no-such-command", path)), "can't find command 'no-such-command'");
    assert_eq!(text(find("/etc/passwd", path)), "command at '/etc/passwd' is not executable");
    assert_eq!(text(find("/bin", path)), "command at '/bin' is a directory");
}

#[test]
fn a_program_has_its_own_session_and_no_terminal() {
    // pid, process group, session, number of the terminal
    let read = "read -r line </proc/self/stat; set -- ${line##*) }; echo $3 $4 $5";
    says(shell(&["/bin/sh", "-c", read]), "$$ $$ 0");
}

#[test]
fn a_program_starts_with_default_signals_whatever_the_daemon_does() {
    // SAFETY: to ignore a signal runs no code.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGHUP, nix::sys::signal::SigHandler::SigIgn)
    }
    .unwrap();
    let zero = "0000000000000000";
    let (said, _) = shell(&["/bin/cat", "/proc/self/status"]).run().unwrap();
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(said.contains(&format!("{set}:\t{zero}\n")), "{said}");
    }
}

#[test]
fn a_program_sees_no_descriptor_that_is_not_its_own() {
    // Attack: a library or whoever started the daemon left descriptors that survive an exec.
    let leaked = File::open("/etc/passwd").unwrap();
    fcntl(leaked.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let (one, two): (OwnedFd, OwnedFd) =
        (File::open("/dev/null").unwrap().into(), File::open("/dev/null").unwrap().into());
    // The shell opens the folder itself, as the last.
    let list = "cd /proc/self/fd && echo *";
    let with = |sockets| {
        let words = ["/bin/sh", "-c", list];
        let case = Case { sockets, ..shell(&words) };
        case.run().unwrap().0.trim_end().to_owned()
    };
    assert_eq!(with(&[]), "0 1 2 3");
    assert_eq!(with(&[("http", &one), ("more", &two)]), "0 1 2 3 4 5");
}

#[test]
fn a_program_is_told_its_sockets_and_where_to_say_that_it_is_ready() {
    let socket: OwnedFd = File::open("/dev/null").unwrap().into();
    let case = Case {
        sockets: &[("http", &socket), ("more", &socket)],
        notify: Some("/run/x/notify"),
        watchdog: Some(Duration::from_millis(1500)),
        ..shell(&["/bin/sh", "-c", "env | grep -E '^(LISTEN|NOTIFY|WATCHDOG)' | sort; echo $$"])
    };
    says(
        case,
        "LISTEN_FDNAMES=http:more\nLISTEN_FDS=2\nLISTEN_PID=$$\nNOTIFY_SOCKET=/run/x/notify\nWATCHDOG_PID=$$\n\
         WATCHDOG_USEC=1500000\n$$",
    );
    says(shell(&["/usr/bin/env"]), "PATH=/usr/bin:/bin");
}

#[test]
fn the_input_of_a_program_may_be_a_listening_socket() {
    let folder = tempfile::TempDir::new().unwrap();
    let listener = UnixListener::bind(folder.path().join("fcgi")).unwrap();
    let case = Case {
        stdin: Some(listener.into()),
        ..shell(&["/bin/sh", "-c", "case $(readlink /proc/self/fd/0) in socket:*) echo socket; esac"])
    };
    says(case, "socket");
}

#[test]
fn umask_nice_and_limits_are_those_of_the_plan() {
    let rlimits = [limit("nofile", libc::RLIMIT_NOFILE, Some(77)), limit("core", libc::RLIMIT_CORE, None)];
    // Only what the daemon has itself can be passed on without privilege.
    let (_, core) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
    let rlimits = &rlimits[..if core == libc::RLIM_INFINITY { 2 } else { 1 }];
    let case = Case {
        umask: Some(0o27),
        nice: Some(7),
        rlimits,
        ..shell(&["/bin/sh", "-c", "umask; nice; ulimit -n; ulimit -Hn"])
    };
    says(case, "0027\n7\n77\n77");
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o31));
    says(shell(&["/bin/sh", "-c", "umask"]), "0031");
}

#[test]
fn a_program_of_another_user_has_his_groups_and_the_nice_value_that_root_gave_it() {
    if !geteuid().is_root() {
        return;
    }
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let ids = user::resolve(Some("nobody"), Some("7"), Some(&words(&["8", "9"]))).unwrap().unwrap();
    let rlimits = [limit("nofile", libc::RLIMIT_NOFILE, Some(99))];
    let case = Case {
        ids: Some(&ids),
        rlimits: &rlimits,
        nice: Some(-3),
        ..shell(&[
            "/bin/sh",
            "-c",
            "id -u; id -g; id -G; ulimit -n; nice; exec grep -c '^CapEff:.*0$' /proc/self/status",
        ])
    };
    says(case, &format!("{}\n7\n7 8 9\n99\n-3\n1", ids.uid));
}

#[test]
fn what_fails_before_the_program_runs_is_told_by_its_step() {
    let folder = tempfile::TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "no program\n").unwrap();
    fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).unwrap();
    let text = text.to_str().unwrap();
    let long = "x".repeat(200_000);
    let nothing = [limit("nofile", libc::RLIMIT_NOFILE, Some(u64::MAX - 1))];
    let (no_program, too_long) = ([text], ["/bin/echo", &long]);
    let cases = [
        (shell(&["/no/such/program"]), "exec /no/such/program", Errno::ENOENT),
        (shell(&["/etc/passwd"]), "exec /etc/passwd", Errno::EACCES),
        (shell(&no_program), &format!("exec {text}") as &str, Errno::ENOEXEC),
        (shell(&too_long), "exec /bin/echo", Errno::E2BIG),
        (Case { directory: Some("/no/such"), ..shell(&["/bin/true"]) }, "chdir to /no/such", Errno::ENOENT),
        (Case { rlimits: &nothing, ..shell(&["/bin/true"]) }, "set limit nofile", Errno::EPERM),
    ];
    for (case, step, errno) in cases {
        let error = case.run().unwrap_err();
        assert_eq!(error.to_string(), format!("couldn't {step}: {errno}"));
        let said =
            format!("supervisor: couldn't {step}: {errno:?}\nsupervisor: child process was not spawned\n");
        assert_eq!(error.on_stderr(), Some(said));
    }
    assert_eq!(SpawnError::NotFound("x".to_owned()).on_stderr(), None, "no child, no words of a child");
}

#[test]
fn who_may_not_become_another_user_is_told_as_supervisord_tells_it() {
    let ids = Ids { uid: 12_345.into(), ..user::user("nobody").unwrap() };
    let plan_error = |errno| {
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let plan = Plan {
            path: Path::new("/bin/true"),
            argv: &[],
            env: &[],
            inherited: &[],
            directory: None,
            umask: None,
            nice: None,
            rlimits: &[],
            ids: Some(&ids),
            stdin: &null,
            stdout: &null,
            stderr: &null,
            sockets: &[],
            notify: None,
            watchdog: None,
            guardian: None,
        };
        Words::new("web", &plan).step_failed(None, (Step::User, errno)).to_string()
    };
    assert_eq!(plan_error(Errno::EINVAL), "couldn't setuid to 12345: EINVAL");
    let root = geteuid().is_root();
    let why = if root { "EPERM" } else { "Can't drop privilege as nonroot user" };
    assert_eq!(plan_error(Errno::EPERM), format!("couldn't setuid to 12345: {why}"));
}

#[test]
fn no_descriptor_and_no_process_left_is_told_by_the_name_of_the_program() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Enough for the pipes of the daemon, too few for those of the child.
    let used = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    setrlimit(Resource::RLIMIT_NOFILE, used + 5, hard).unwrap();
    let error = shell(&["/bin/true"]).run().unwrap_err();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(error.to_string(), "too many open files to spawn 'web'");
    if geteuid().is_root() {
        // Root is not bound by the number of processes.
        user::become_user("nobody").unwrap();
    }
    setrlimit(Resource::RLIMIT_NPROC, 0, 0).unwrap();
    let error = shell(&["/bin/true"]).run().unwrap_err();
    assert_eq!(error.to_string(), "Too many processes in process table to spawn 'web'");
}

#[test]
fn an_exec_that_hangs_does_not_hang_the_daemon() {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
    assert_eq!(read_error(&read, Instant::now() + Duration::from_millis(30)), None);
    drop(write);
    assert_eq!(read_error(&read, Instant::now() + Duration::from_secs(100)), None);
}
