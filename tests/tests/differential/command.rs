//! A program that is run to its end: what it said, and its exit code.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};
use stack_tests::tools;
use tempfile::TempDir;

use crate::case::folder;

/// What to run.
pub(crate) struct Call<'a> {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: &'a [(String, String)],
    pub(crate) folder: &'a Path,
    pub(crate) input: &'a str,
    pub(crate) limit: Duration,
}

/// What it said.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: String,
}

impl Said {
    /// As the transcript has it.
    pub(crate) fn text(&self) -> String {
        let err: String = self.err.lines().map(|line| format!("stderr: {line}\n")).collect();
        format!("{}{err}exit code {}", self.out, self.code)
    }
}

/// The genuine programs without the time that Python takes to read them.
struct Genuine {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

thread_local! {
    static GENUINE: RefCell<Option<Genuine>> = const { RefCell::new(None) };
}

impl Genuine {
    fn start() -> Self {
        let mut command = Command::new(tools().join("venv/bin/python3"));
        command.arg(folder().join("genuine.py")).env("LANG", "C.UTF-8").env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, requests, answers }
    }

    fn ask(&mut self, request: &Value) -> String {
        let requests = self.requests.as_mut().expect("it is open");
        writeln!(requests, "{request}").expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        answer.trim().to_owned()
    }
}

impl Drop for Genuine {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

impl Call<'_> {
    /// Runs one of the genuine programs.
    pub(crate) fn run_genuine(&self) -> Said {
        let files = TempDir::new().expect("a folder");
        let [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(|name| files.path().join(name));
        fs::write(&stdin, self.input).expect("written");
        fs::write(&stdout, "").expect("written");
        fs::write(&stderr, "").expect("written");
        let env: Map<String, Value> =
            self.env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let request = json!({
            "program": self.program, "args": self.args, "env": env, "folder": self.folder, "seconds": self.limit.as_secs_f64(),
            "stdin": stdin, "stdout": stdout, "stderr": stderr,
        });
        let code =
            GENUINE.with_borrow_mut(|genuine| genuine.get_or_insert_with(Genuine::start).ask(&request));
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Said { out: text(&stdout), err: text(&stderr), code }
    }

    /// Runs any program.
    pub(crate) fn run(&self) -> Said {
        let mut command = Command::new("timeout");
        command
            .args(["-s", "KILL", &format!("{:.1}", self.limit.as_secs_f64())])
            .arg(&self.program)
            .args(&self.args);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("timeout is there");
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(self.input.as_bytes()));
        let out = child.wait_with_output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = out.status.code().map_or("killed".to_owned(), |code| code.to_string());
        Said { out: text(&out.stdout), err: text(&out.stderr), code }
    }
}
