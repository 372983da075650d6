//! supervisord as PID 1 of a container: how long `docker stop` takes, what the container exits with, and what becomes of orphans.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use stack_tests::{Which, repository, within};
use tempfile::TempDir;

/// How long a container may take to come up, or to end by itself.
const LIMIT: Duration = Duration::from_secs(60);

/// How many orphans one program leaves.
const ORPHANS: usize = 10_000;

const IMAGE: &str = "debian:bookworm-slim";

/// Well-behaved programs of the usual sort: one that ends at TERM, one that needs a moment for it.
const WELL: &str = r#"
[program.quick]
command = "sleep 1000"
[program.polite]
command = ["perl", "-e", '$SIG{TERM} = sub { select undef, undef, undef, 0.1; exit 0 }; sleep 1000 while 1']
"#;

const DEAF: &str = r#"
[program.deaf]
command = ["perl", "-e", '$SIG{TERM} = "IGNORE"; sleep 1000 while 1']
"#;

#[track_caller]
fn said(program: &str, words: &[&str]) -> String {
    let out = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(out.status.success(), "{program} {words:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A daemon to run containers, and the base image that they are of.
#[track_caller]
fn prepare() {
    let tools = repository().join("tests/tools");
    said(&tools.join("dockerd.sh").display().to_string(), &[]);
    let folder = TempDir::new().expect("a folder");
    let dockerfile = folder.path().join("Dockerfile");
    fs::write(&dockerfile, format!("FROM {IMAGE}\n")).expect("written");
    said(&tools.join("base-images.sh").display().to_string(), &[&dockerfile.display().to_string()]);
}

/// A container whose PID 1 is our supervisord; it is removed when dropped.
struct Container {
    id: String,
    began: Instant,
    _folder: TempDir,
}

impl Container {
    #[track_caller]
    fn start(config: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let toml = "[supervisord]\nnodaemon = true\nlogfile = \"/dev/null\"\nlogfile_maxbytes = 0\npidfile = \"/run/supervisord.pid\"\n\
                    SUPERVISORD[unix_http_server]\nfile = \"/run/supervisor.sock\"\n\
                    [supervisorctl]\nserverurl = \"unix:///run/supervisor.sock\"\n";
        let (options, programs) = config.split_once("\n[").expect("a program");
        let toml = toml.replace("SUPERVISORD", &format!("{options}\n"));
        fs::write(folder.path().join("supervisord.toml"), format!("{toml}[{programs}")).expect("written");
        let mut words = vec!["run".to_owned(), "--detach".to_owned(), "--network=none".to_owned()];
        for name in ["supervisord", "supervisorctl"] {
            words.push(format!("--volume={}:/usr/local/bin/{name}:ro", Which::Ours.program(name).display()));
        }
        words.push(format!("--volume={}:/etc/supervisor:ro", folder.path().display()));
        words.extend([IMAGE, "supervisord", "-c", "/etc/supervisor/supervisord.toml"].map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let began = Instant::now();
        Self { id: said("docker", &words), began, _folder: folder }
    }

    fn inside(&self, command: &str) -> String {
        let out = Command::new("docker")
            .args(["exec", &self.id, "sh", "-c", command])
            .output()
            .expect("docker runs");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    fn log(&self) -> String {
        let out = Command::new("docker").args(["logs", &self.id]).output().expect("docker runs");
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    #[track_caller]
    fn up(self, programs: usize) -> Self {
        within(LIMIT, "all programs run", || {
            (self.inside("supervisorctl status").matches("RUNNING").count() == programs).then_some(())
        });
        assert_eq!(self.inside("cat /proc/1/comm"), "supervisord");
        self
    }

    #[track_caller]
    fn exit_code(&self) -> String {
        said("docker", &["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &self.id])
    }

    /// `docker stop` with its own 10 s: how long it took.
    #[track_caller]
    fn stop(&self) -> Duration {
        let began = Instant::now();
        said("docker", &["stop", &self.id]);
        began.elapsed()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.id]).output();
    }
}

#[test]
fn docker_stop_with_all_well_takes_less_than_a_second() {
    prepare();
    let container = Container::start(WELL).up(2);
    let took = container.stop();
    println!("all well: docker stop took {} ms, {}", took.as_millis(), container.exit_code());
    assert_eq!(container.exit_code(), "exited 0", "{}", container.log());
    assert!(took < Duration::from_secs(1), "{took:?}: {}", container.log());
    let log = container.log();
    assert!(
        log.contains("stopped: polite (exit status 0)")
            && log.contains("stopped: quick (terminated by SIGTERM)"),
        "{log}"
    );
}

#[test]
fn docker_stop_waits_stopwaitsecs_for_a_program_that_ignores_term() {
    prepare();
    let container = Container::start(&format!("{WELL}{DEAF}stopwaitsecs = 2\n")).up(3);
    let took = container.stop();
    println!(
        "one ignores TERM, stopwaitsecs 2: docker stop took {} ms, {}",
        took.as_millis(),
        container.exit_code()
    );
    assert_eq!(container.exit_code(), "exited 0", "{}", container.log());
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}: {}", container.log());
    let log = container.log();
    assert!(log.contains("stopped: deaf (terminated by SIGKILL)"), "{log}");
}

#[test]
fn docker_stop_takes_no_longer_than_shutdown_timeout() {
    prepare();
    let config = format!("shutdown_timeout = \"3s\"\n{WELL}{DEAF}stopwaitsecs = 30\n");
    let container = Container::start(&config).up(3);
    let took = container.stop();
    println!(
        "one ignores TERM, stopwaitsecs 30, shutdown_timeout 3 s: docker stop took {} ms, {}",
        took.as_millis(),
        container.exit_code()
    );
    assert_eq!(container.exit_code(), "exited 0", "{}", container.log());
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}: {}", container.log());
    let log = container.log();
    assert!(log.contains("stopped: deaf (terminated by SIGKILL)"), "{log}");
}

#[test]
fn a_container_whose_vital_program_is_fatal_exits_with_10_by_itself() {
    prepare();
    let vital = "[program.vital]\ncommand = \"sh -c 'exit 3'\"\nstartretries = 1\non_fatal = \"shutdown\"\n";
    let container = Container::start(&format!("{WELL}{vital}"));
    let code = said("docker", &["wait", &container.id]);
    println!(
        "FATAL, on_fatal = shutdown: exited {code} by itself {} ms after docker run",
        container.began.elapsed().as_millis()
    );
    let log = container.log();
    assert_eq!((code.as_str(), container.exit_code().as_str()), ("10", "exited 10"), "{log}");
    for line in [
        "gave up: vital entered FATAL state",
        "stopped: polite (exit status 0)",
        "stopped: quick (terminated by SIGTERM)",
    ] {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
}

#[test]
fn docker_stop_with_a_fatal_program_takes_less_than_a_second() {
    prepare();
    let broken = "[program.broken]\ncommand = \"sh -c 'exit 3'\"\nstartretries = 0\n";
    let container = Container::start(&format!("{WELL}{broken}")).up(2);
    assert!(container.inside("supervisorctl status broken").contains("FATAL"));
    let took = container.stop();
    println!(
        "one FATAL, on_fatal = ignore: docker stop took {} ms, {}",
        took.as_millis(),
        container.exit_code()
    );
    assert_eq!(container.exit_code(), "exited 0", "{}", container.log());
    assert!(took < Duration::from_secs(1), "{took:?}: {}", container.log());
}

#[test]
fn ten_thousand_orphans_leave_no_zombie_no_noise_and_no_memory() {
    prepare();
    // Each dies once PID 1 has inherited it; the program speaks when all were left behind.
    let litter = format!(
        r#"
[program.litter]
command = ["perl", "-e", '$| = 1; for (1..{ORPHANS}) {{ my $parent = fork; if (!$parent) {{ my $orphan = fork; if (!$orphan) {{ select undef, undef, undef, 0.005 while getppid != 1; exit 7 }} exit 0 }} waitpid $parent, 0 }} print "littered\n"; sleep 1000']
autostart = false
stdout_logfile = "/dev/stdout"
stdout_logfile_maxbytes = 0
"#
    );
    let container = Container::start(&format!("{WELL}{litter}")).up(2);
    let memory = || -> u64 {
        let rollup = container.inside("grep -h '^Pss:' /proc/1/smaps_rollup || grep VmRSS /proc/1/status");
        rollup.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
    };
    let zombies = || container.inside("cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '");
    // The shell that counts is one of them.
    let processes = || container.inside("set -- /proc/[0-9]*; echo $#").parse::<usize>().expect("a number");
    let (before, few, lines) = (memory(), processes(), container.log().lines().count());
    let began = Instant::now();
    container.inside("supervisorctl start litter");
    within(LIMIT, "all orphans were left", || container.log().contains("littered").then_some(()));
    let took = began.elapsed();
    within(Duration::from_secs(5), "nothing but the programs is there", || {
        (zombies() == "0" && processes() == few + 1).then_some(())
    });
    let after = memory();
    let more: Vec<String> = container.log().lines().skip(lines).map(str::to_owned).collect();
    println!(
        "{ORPHANS} orphans in {} ms: {} zombies, {} processes, {} lines in the log, memory of PID 1 {before} kB before, {after} kB after",
        took.as_millis(),
        zombies(),
        processes(),
        more.len()
    );
    // `spawned`, `success` and what the program says itself.
    assert!(more.len() <= 3, "{more:#?}");
    assert!(after <= before + 512, "{before} kB before, {after} kB after");
    assert!(container.inside("supervisorctl status").contains("litter                           RUNNING"));
    let took = container.stop();
    println!("after the orphans: docker stop took {} ms, {}", took.as_millis(), container.exit_code());
    assert_eq!(container.exit_code(), "exited 0", "{}", container.log());
    assert!(took < Duration::from_secs(1), "{took:?}");
}
