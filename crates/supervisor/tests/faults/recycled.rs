//! Fault 14: a pid that was a program's and is somebody else's now is never signalled.

use stack_tests::within;

use crate::daemon::{Daemon, Place, python, rounds, seconds, shell, sleeper};

/// Both have a pid namespace of their own, where the next pid can be set.
#[test]
fn plain() {
    a_recycled_pid_gets_no_signal(Place::Inside);
}

#[test]
fn pid_1() {
    a_recycled_pid_gets_no_signal(Place::Init);
}

/// Whoever gets the pid that is in the file `wanted` notes every signal, and lives for a while. One line a try in
/// `tries`, one line a signal in `signals`.
const VICTIMS: &str = "import os, signal, time
def victim():
    def note(n, _): os.write(log, ('%d\\n' % n).encode())
    for n in (1, 2, 3, 10, 12, 15): signal.signal(n, note)
    os.setpgid(0, 0)
    tries.write('%d\\n' % os.getpid()); tries.flush()
    end = time.monotonic() + 0.05
    while time.monotonic() < end: time.sleep(0.005)
    os._exit(0)
log = os.open('signals', os.O_CREAT | os.O_APPEND | os.O_WRONLY)
tries = open('tries', 'a')
while True:
    try: wanted = int(open('wanted').read())
    except (OSError, ValueError): time.sleep(0.001); continue
    try: open('/proc/sys/kernel/ns_last_pid', 'w').write(str(wanted - 1))
    except OSError: pass
    pid = os.fork()
    if pid == 0:
        if os.getpid() == wanted: victim()
        os._exit(0)
    killed = os.waitpid(pid, 0)[1]
    if killed: os.write(log, ('killed by %d\\n' % killed).encode())
";

fn a_recycled_pid_gets_no_signal(place: Place) {
    let keys = "directory = \"%(here)s\"\npriority = 1";
    // It ends by itself very soon, and often at the moment when it is to be stopped.
    let brief = "sleep 0.0$(($$ %% 5))";
    let config = python("victims", VICTIMS, keys)
        + &shell("brief", brief, "autostart = false\nautorestart = false\nstopwaitsecs = 1")
        + &sleeper("other", "");
    let daemon = Daemon::start(place, &config);
    daemon.inner_pid("victims");
    within(seconds(10), "the victims' maker is there", || daemon.path("tries").exists().then_some(()));
    let rounds = rounds(40, 1_000);
    for n in 0..rounds {
        let start = daemon.call("supervisor.startProcess", &["brief".into(), false.into()]);
        assert!(start.is_ok(), "{start:?}");
        let pid = within(seconds(5), "its pid", || {
            let log = daemon.log();
            let line = log.lines().rfind(|line| line.contains("spawned: 'brief'"))?.to_owned();
            (log.matches("spawned: 'brief'").count() == n + 1)
                .then(|| line.rsplit(' ').next().unwrap().to_owned())
        });
        std::fs::write(daemon.path("wanted.new"), &pid).unwrap();
        std::fs::rename(daemon.path("wanted.new"), daemon.path("wanted")).unwrap();
        // Every way to send it a signal, until somebody else has its pid, and then once more.
        within(seconds(5), "somebody else has its pid", || {
            let tried = daemon.read("tries").lines().last() == Some(&pid);
            let _ = daemon.call("supervisor.signalProcess", &["brief".into(), "USR1".into()]);
            if tried || n % 2 == 0 {
                let _ = daemon.call("supervisor.stopProcess", &["brief".into(), false.into()]);
            }
            tried.then_some(())
        });
        let _ = daemon.call("supervisor.signalProcessGroup", &["brief".into(), "KILL".into()]);
        std::fs::write(daemon.path("wanted"), "").unwrap();
        daemon.waits_for_end("brief");
    }
    let tries = daemon.read("tries").lines().count();
    assert!(tries >= rounds, "{tries}");
    assert_eq!(daemon.read("signals"), "");
    assert_eq!(daemon.state("other"), "RUNNING");
}
