//! The container, built and run as its user does it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use stack_tests::{Connection, Process, eventually, repository, request, within};
use tempfile::TempDir;

/// The port that the shipped compose files publish.
const PORT: u16 = 5001;

#[track_caller]
fn run(folder: &Path, program: &str, words: &[&str]) -> Output {
    let out = Command::new(program).args(words).current_dir(folder).output();
    out.unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[track_caller]
fn said(folder: &Path, program: &str, words: &[&str]) -> String {
    let out = run(folder, program, words);
    assert!(out.status.success(), "{program} {words:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A clean copy of what git knows, as a fresh clone would be.
fn checkout() -> TempDir {
    let folder = tempfile::Builder::new().prefix("sse-stack-").tempdir().expect("a folder");
    let copy = format!(
        "git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -C '{}'",
        folder.path().display()
    );
    said(&repository(), "sh", &["-c", &copy]);
    folder
}

/// Takes the containers away again, whatever happened.
struct Down<'a>(&'a Path, &'static str);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = Command::new("docker-compose")
            .args(["-f", self.1, "down", "-v", "--timeout", "5"])
            .current_dir(self.0)
            .output();
    }
}

/// The capabilities that docker-compose-sse.yml leaves: CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID.
const CAPABILITIES: &str = "00000000000000e3";
const NO_CAPABILITIES: &str = "0000000000000000";

/// The attack: a program of the container is taken over, and reaches for more than it needs.
#[track_caller]
fn check_confinement(folder: &Path, id: &str) {
    let script = "for p in /proc/[0-9]*; do [ -r $p/status ] && awk '/^(Name|Uid|CapEff|CapPrm|CapBnd|NoNewPrivs):/ { printf \"%s \", $2 } END { print \"\" }' $p/status; done";
    let seen = said(folder, "docker", &["exec", id, "sh", "-c", script]);
    let mut kinds = std::collections::BTreeSet::new();
    for line in seen.lines() {
        let [name, uid, prm, eff, bnd, new] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            continue;
        };
        if !["supervisord", "nginx", "sse-server"].contains(&name) {
            continue;
        }
        kinds.insert((name.to_owned(), uid.to_owned()));
        let expected = if uid == "0" { CAPABILITIES } else { NO_CAPABILITIES };
        assert_eq!((prm, eff, bnd, new), (expected, expected, CAPABILITIES, "1"), "{line}");
    }
    let kinds: Vec<_> = kinds.iter().map(|(name, uid)| (name.as_str(), uid.as_str())).collect();
    assert_eq!(
        kinds,
        [("nginx", "0"), ("nginx", "33"), ("sse-server", "10001"), ("supervisord", "0")],
        "{seen}"
    );
    for file in ["/file", "/usr/local/bin/file", "/etc/file", "/app/docker/file", "/var/lib/file"] {
        let out = run(folder, "docker", &["exec", id, "touch", file]);
        let refusal = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && refusal.contains("Read-only file system"), "{file}: {out:?}");
    }
    let limit = said(
        folder,
        "docker",
        &[
            "exec",
            id,
            "sh",
            "-c",
            "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max",
        ],
    );
    assert_eq!(limit, "2048");
    let made = said(folder, "docker", &["exec", id, "stat", "-c", "%a %U", "/app/data/self-signed.pem"]);
    assert_eq!(made, "600 root");
}

fn serve(folder: &Path, file: &str) -> Process {
    let mut command = Command::new("docker-compose");
    command.args(["-f", file, "up", "--build", "--no-color"]).current_dir(folder).env("DOCKER_BUILDKIT", "0");
    // Docker's proxy makes everybody on this machine one address.
    command.env("SSE_MAX_CONNECTIONS_PER_IP", "20");
    // Health checks go on over plain HTTP; streams over it are asked for as a proxy's that has ended TLS.
    command.env("TLS_CERT", "self-signed").env("TLS_REDIRECT", "1").env("SSE_TRUSTED_PROXIES", "0.0.0.0/0");
    let mut up = Process::start(&mut command);
    within(Duration::from_secs(1200), "the container serves", || {
        assert!(up.try_wait().is_none(), "docker-compose up ended: {}", up.lines().join("\n"));
        let mut connection = Connection::open([127, 0, 0, 1], PORT).ok()?;
        connection.send(b"GET /sse/health/ready HTTP/1.0\r\n\r\n");
        connection.to_end_quietly()?.contains(" 200 ").then_some(())
    });
    up
}

#[test]
fn the_container_serves_says_goodbye_and_stops_in_order() {
    said(&repository(), "tests/tools/dockerd.sh", &[]);
    said(&repository(), "tests/tools/base-images.sh", &[]);
    let checkout = checkout();
    let folder = checkout.path();

    // Development: the hub alone.
    {
        let _down = Down(folder, "docker-compose.yml");
        let _up = serve(folder, "docker-compose.yml");
        let health = request(PORT, "GET", "/sse/health", &[], "");
        assert!(health.body.contains("\"max\":100,"), "{health:?}");
    }

    // Production.
    let file = "docker-compose-sse.yml";
    let _down = Down(folder, file);
    let mut up = serve(folder, file);
    let id = said(folder, "docker-compose", &["-f", file, "ps", "-q"]);
    let on_host = said(folder, "curl", &["-sf", "http://localhost:5001/sse/health"]);
    let inside = said(folder, "docker", &["exec", &id, "curl", "-sf", "http://localhost:5001/sse/health"]);
    for health in [on_host, inside] {
        assert!(
            health.contains("\"status\":\"healthy\"") && health.contains("\"max\":500,\"per_ip_limit\":20"),
            "{health}"
        );
    }
    eventually("the HEALTHCHECK says healthy", || {
        said(folder, "docker", &["inspect", "-f", "{{.State.Health.Status}}", &id]) == "healthy"
    });
    let users = said(
        folder,
        "docker",
        &[
            "exec",
            &id,
            "sh",
            "-c",
            "stat -c %U /proc/[0-9]*/exe 2>/dev/null; for p in /proc/[0-9]*; do stat -c '%U' $p; done | sort -u",
        ],
    );
    for user in ["root", "sse", "www-data"] {
        assert!(users.lines().any(|line| line == user), "{users}");
    }
    check_confinement(folder, &id);
    let over_tls = said(
        folder,
        "curl",
        &["-skf", "--http2", "-w", " HTTP/%{http_version}", "https://localhost:5443/sse/health/ready"],
    );
    assert!(over_tls.ends_with(" HTTP/2"), "{over_tls}");
    let redirect = said(
        folder,
        "curl",
        &["-s", "-o", "/dev/null", "-w", "%{redirect_url}", "http://localhost:5001/sse/test"],
    );
    assert_eq!(redirect, "https://localhost:5443/sse/test");
    let status = said(folder, "docker", &["exec", &id, "supervisorctl", "status"]);
    assert_eq!(status.matches("RUNNING").count(), 2, "{status}");

    let mut streams: Vec<Connection> = (1..=20)
        .map(|n| {
            let mut connection = Connection::open([127, 0, 0, n], PORT).expect("the port is published");
            let head = "GET /sse HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nAccept: text/event-stream\r\n\r\n";
            connection.send(head.as_bytes());
            connection
        })
        .collect();
    for stream in &mut streams {
        stream.until("event: connected");
    }

    let began = Instant::now();
    said(folder, "docker-compose", &["-f", file, "stop"]);
    let took = began.elapsed();
    println!("docker-compose stop took {took:?} with 20 streams");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let goodbyes = streams.into_iter().filter_map(Connection::to_end_quietly);
    assert_eq!(goodbyes.filter(|seen| seen.contains("event: shutdown")).count(), 20);
    assert_eq!(said(folder, "docker", &["inspect", "-f", "{{.State.ExitCode}}", &id]), "0");
    up.wait(Duration::from_secs(30));

    let log = std::fs::read_to_string(folder.join("logs/supervisord.log")).expect("the log is on the host");
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text:?} is in {log}"));
    assert!(at("stopped: nginx (exit status 0)") < at("stopped: sse-server (exit status 0)"));
    for name in ["nginx.access.log", "sse-server.access.log", "sse-server.error.log"] {
        assert!(folder.join("logs").join(name).exists(), "{name}");
    }
}
