//! What nginx is not told.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::{free_port, within};

use crate::stack::DEADLINE;

/// The attack: a worker of nginx that was taken over finds the secrets of the hub in its memory.
#[test]
fn no_secret_of_the_hub_is_in_the_memory_of_nginx() {
    let secrets = [
        ("SSE_PUBLISH_TOKEN", "secret-of-publishers"),
        ("LOGIN_CODE", "secret-of-people"),
        ("SESSION_SECRET_KEY", "secret-of-the-cookies"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker");
    let own = Path::new(env!("CARGO_BIN_EXE_sse-server")).parent().unwrap();
    let path = format!("{}:{}:/usr/sbin:/sbin", own.display(), std::env::var("PATH").unwrap_or_default());
    let mut nginx = Command::new("sh")
        .arg(scripts.join("nginx.sh"))
        .env("PATH", path)
        .env("RUN_DIR", folder.path())
        .env("DATA_DIR", folder.path())
        .env("PORT", port.to_string())
        .env("NGINX_USER", "root")
        .env("LOGIN_ENABLED", "true")
        .envs(secrets)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Its test of the configuration listens too, but then the script is still what runs.
    within(DEADLINE, "nginx listens", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", nginx.id())).ok()?;
        (name == "nginx\n").then(|| TcpStream::connect(("127.0.0.1", port)).ok())?.map(drop)
    });
    let seen = memory(nginx.id());
    kill(Pid::from_raw(nginx.id().cast_signed()), Signal::SIGTERM).unwrap();
    nginx.wait().unwrap();
    assert!(holds(&seen, "LOGIN_ENABLED=true"), "the rest of the environment is there");
    for (name, value) in secrets {
        assert!(!holds(&seen, &format!("{name}={value}")), "{name}");
    }
}

/// Whatever a process has written or was given.
fn memory(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut part, from).is_ok() {
            all.extend(part);
        }
    }
    all
}

fn holds(memory: &[u8], text: &str) -> bool {
    memory.windows(text.len()).any(|part| part == text.as_bytes())
}
