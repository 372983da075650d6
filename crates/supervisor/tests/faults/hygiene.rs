//! Fault 11: what a program inherits, and what it does not.

use crate::daemon::{Place, Plan, places, python, sleeper};

places!(a_program_inherits_nothing_but_what_it_is_given, a_program_has_no_terminal);

/// Everything a process can say about itself.
const REPORT: &str = "import os, signal
fds = {}
for fd in os.listdir('/proc/self/fd'):
    try: fds[int(fd)] = os.readlink('/proc/self/fd/' + fd).split(':')[0]
    except OSError: pass
print('fds', sorted(fds.items()))
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print('blocked', int(status['SigBlk'], 16))
print('umask', oct(os.umask(0)))
print('leader', os.getpgid(0) == os.getpid())
print('tty', open('/proc/self/stat').read().rsplit(') ')[1].split()[4])
print('listen', [os.environ.get('LISTEN_' + name) for name in ('FDS', 'FDNAMES')], os.environ.get('LISTEN_PID') == str(os.getpid()))
print('notify', os.environ.get('NOTIFY_SOCKET'))
print('end', flush=True)
signal.pause()
";

fn a_program_inherits_nothing_but_what_it_is_given(place: Place) {
    let config = "[socket.one]\nlisten = \"unix:%(here)s/one.sock\"\n[socket.two]\nlisten = \"127.0.0.1:0\"\n"
        .to_owned()
        + &python("plain", REPORT, "stdout_logfile = \"%(here)s/plain\"\numask = \"027\"")
        + &python("given", REPORT, "stdout_logfile = \"%(here)s/given\"\nsockets = [\"two\", \"one\"]")
        + "[program.mask]\ncommand = [\"sh\", \"-c\", \"grep Sig /proc/self/status; exec sleep 1000\"]\nstartsecs = 0\nstdout_logfile = \"%(here)s/mask\"\n"
        + &sleeper("other", "");
    // What whoever started the daemon left behind: ignored and blocked signals, a descriptor, a mask, sockets.
    let dirty = "import os, signal, sys
for n in (signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1): signal.signal(n, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGWINCH])
os.dup2(os.open('/etc/passwd', os.O_RDONLY), 77)
os.set_inheritable(77, True)
os.umask(0)
os.execvp(sys.argv[1], sys.argv[1:])";
    let plan = Plan::new(place, &config)
        .through(&[crate::daemon::PYTHON, "-c", dirty])
        .environment("LISTEN_FDS", "1")
        .environment("LISTEN_FDNAMES", "stray")
        .environment("LISTEN_PID", "1")
        .environment("NOTIFY_SOCKET", "/nowhere");
    let daemon = plan.start();
    for name in ["plain", "given"] {
        daemon.wrote(name, "end\n");
    }
    daemon.wrote("mask", "SigCgt");
    let standard = "(0, 'pipe'), (1, 'pipe'), (2, 'pipe')";
    assert_eq!(
        daemon.read("plain"),
        format!(
            "fds [{standard}]\nblocked 0\numask 0o27\nleader True\ntty 0\nlisten [None, None] False\nnotify None\nend\n"
        )
    );
    assert_eq!(
        daemon.read("given"),
        format!(
            "fds [{standard}, (3, 'socket'), (4, 'socket')]\nblocked 0\numask 0o22\nleader True\ntty 0\n\
             listen ['2', 'two:one'] True\nnotify None\nend\n"
        )
    );
    let mask = daemon.read("mask");
    // What it catches is grep's own affair.
    let mask: Vec<&str> =
        mask.lines().filter(|line| !line.starts_with("SigQ") && !line.starts_with("SigCgt")).collect();
    let none = "0000000000000000";
    let expected = ["SigPnd", "SigBlk", "SigIgn"].map(|name| format!("{name}:\t{none}"));
    assert_eq!(mask, expected);
}

fn a_program_has_no_terminal(place: Place) {
    // As under `docker run -t`: the daemon has a terminal; a program that reads from it or is hung up with it has lost.
    let config = python("a", REPORT, "stdout_logfile = \"%(here)s/a\"");
    let daemon = Plan::new(place, &config).terminal().start();
    daemon.wrote("a", "end\n");
    let said = daemon.read("a");
    assert!(said.contains("tty 0\n"), "{said}");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid)).unwrap();
    let terminal: i64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(4).unwrap().parse().unwrap();
    assert_ne!(terminal, 0, "the daemon itself has one");
}
