//! The guides and the README are true: their commands run, word for word, in a clean folder against a stack of their own, and
//! print what is shown. Only ports differ, so that guides can be tried side by side.

mod block;
mod links;
mod shell;
mod shown;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use block::{Block, blocks};
use regex::{Captures, Regex};
use shell::{Shell, stay};
use shown::{is_all, is_part};
use stack_tests::{Process, Stack, free_port, repository, within};

/// The longest wait for what a background command prints.
const OUTPUT_MAX: Duration = Duration::from_secs(15);

/// The ports that guides name: the stack's, and those of applications.
const PORTS: [&str; 3] = ["5001", "8000", "8001"];

fn page(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Does what a page says.
#[track_caller]
fn follow(path: &str, env: &[(&str, &str)]) {
    let found = blocks(&page(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let commands = found.iter().filter(|(_, block)| matches!(block, Block::Command { .. })).count();
    assert!(commands > 0, "{path} has nothing to run");
    // A new user has no token yet.
    let env: Vec<(&str, &str)> = [("SSE_PUBLISH_TOKEN", "")].into_iter().chain(env.iter().copied()).collect();
    let stack = Stack::start(&env);
    let folder = stack.folder();
    // Nobody types so fast that the programs are still STARTING.
    let wait = stack.supervisorctl(false, &["wait", "nginx", "sse-server"]);
    assert!(wait.status.success(), "{wait:?}");
    // As in a checkout, by which supervisorctl knows where it is.
    symlink(repository().join("docker"), folder.join("docker")).expect("it is new");
    let mut ports: BTreeMap<&str, u16> = PORTS.iter().map(|port| (*port, free_port())).collect();
    ports.insert("5001", stack.port());
    let number = Regex::new(&format!(r"\b(?:{})\b", PORTS.join("|"))).expect("a pattern");
    let here =
        |text: &str| number.replace_all(text, |found: &Captures| ports[&found[0]].to_string()).into_owned();

    let mut shell = Shell::open(folder);
    let mut files: BTreeMap<&str, &str> = BTreeMap::new();
    let mut staying: Vec<Process> = Vec::new();
    let mut printed: Option<String> = None;
    for (n, (line, block)) in found.iter().enumerate() {
        match block {
            Block::File { name, text } => {
                fs::write(folder.join(name), here(text)).expect("written");
                files.insert(name, text);
            }
            Block::Command { text, background: true } => {
                let process = stay(folder, &here(text));
                // It runs when it has begun to print what is shown, a stream has greeted, and the ports answer that it, or a file
                // that it reads, names.
                let first = match found.get(n + 1) {
                    Some((_, Block::Output { text, background: false })) => text.lines().next(),
                    _ => None,
                };
                let read = files.iter().filter(|(name, _)| text.contains(**name)).map(|(_, text)| *text);
                let named: String = read.chain([text.as_str()]).collect();
                let awaited: Vec<u16> =
                    PORTS[1..].iter().filter(|port| named.contains(**port)).map(|port| ports[port]).collect();
                eventually_with(&format!("{path}:{line} runs: {text}"), &process, |lines| {
                    awaited.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                        && first.is_none_or(|first| is_part(first, lines))
                        && (!text.contains("curl") || lines.contains("event: connected"))
                });
                staying.push(process);
                printed = None;
            }
            Block::Command { text, background: false } => {
                let said = shell.run(&here(text));
                printed = Some(said.unwrap_or_else(|said| panic!("{path}:{line} failed: {text}\n{said}")));
            }
            Block::Output { text, background: false } if printed.is_some() => {
                let printed = printed.take().expect("just seen");
                assert!(is_all(&here(text), &printed), "{path}:{line} shows\n{text}\nbut it was\n{printed}");
            }
            Block::Output { text, .. } => {
                let process =
                    staying.last().unwrap_or_else(|| panic!("{path}:{line}: no command prints this"));
                eventually_with(&format!("{path}:{line} shows\n{text}"), process, |lines| {
                    is_part(&here(text), lines)
                });
            }
        }
    }
}

/// Waits until what a process has printed is as it shall be, and says what it was if it never is.
#[track_caller]
fn eventually_with(what: &str, process: &Process, holds: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + OUTPUT_MAX;
    within(2 * OUTPUT_MAX, what, || {
        let lines = process.lines().join("\n");
        assert!(Instant::now() < deadline, "{what}\nbut it was\n{lines}");
        holds(&lines).then_some(())
    });
}

/// Each guide is a test, with the settings that it tells its reader to have.
macro_rules! guides {
    ($($test:ident: $path:literal $env:expr;)*) => {
        $(#[test]
        fn $test() {
            follow($path, &$env);
        })*

        const FOLLOWED: &[&str] = &[$($path),*];
    };
}

guides! {
    readme: "README.md" [];
    getting_started: "docs/guides/getting-started.md" [];
    publishing: "docs/guides/publishing.md" [];
    llm_tokens: "docs/guides/llm-tokens.md" [];
    progress_bars: "docs/guides/progress-bars.md" [];
    from_gunicorn: "docs/guides/from-gunicorn.md" [];
    from_supervisord: "docs/guides/from-supervisord.md" [];
    behind_a_proxy: "docs/guides/behind-a-proxy.md" [("SSE_TRUSTED_PROXIES", "127.0.0.1")];
    kubernetes: "docs/guides/kubernetes.md" [];
    sizing: "docs/guides/sizing.md" [];
    troubleshooting: "docs/guides/troubleshooting.md" [];
}

#[test]
fn every_guide_is_followed_and_listed_in_the_readme() {
    let readme = page("README.md");
    for entry in fs::read_dir(repository().join("docs/guides")).expect("a folder") {
        let path = format!("docs/guides/{}", entry.expect("an entry").file_name().display());
        assert!(FOLLOWED.contains(&path.as_str()), "{path} is followed by no test");
        assert!(readme.contains(&format!("]({path})")), "{path} is not in the README");
    }
}
