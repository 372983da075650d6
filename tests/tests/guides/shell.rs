//! The terminals of a reader: one that commands are typed into one after the other, and one for each that stays.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use stack_tests::{Process, target, tools};

/// The longest that all commands of a guide may take.
const SECONDS_MAX: &str = "80";

/// A shell in a folder, that ends with the first command that fails.
pub(crate) struct Shell {
    child: Child,
    stdin: ChildStdin,
    done: BufReader<ChildStdout>,
    folder: PathBuf,
    count: usize,
}

impl Shell {
    /// Opens it.
    pub(crate) fn open(folder: &Path) -> Self {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", SECONDS_MAX, "bash", "-e"]);
        surroundings(&mut command, folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash is there");
        let stdin = child.stdin.take().expect("piped");
        let done = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdin, done, folder: folder.to_owned(), count: 0 }
    }

    /// Types a block, waits until it is done, and returns what it printed, but for its complaints; or all it said, if it failed.
    pub(crate) fn run(&mut self, text: &str) -> Result<String, String> {
        self.count += 1;
        let file = |kind: &str| self.folder.join(format!(".{}.{kind}", self.count));
        let (script, out, err) = (file("sh"), file("out"), file("err"));
        fs::write(&script, text).expect("written");
        let name = |path: &Path| shlex::try_quote(&path.display().to_string()).expect("no NUL").into_owned();
        let (script, out_name, err_name) = (name(&script), name(&out), name(&err));
        let line = format!(
            "exec 3>&1 >{out_name} 2>{err_name}\n. {script} </dev/null\nexec >&3 2>/dev/null\necho done\n"
        );
        // A shell that has ended takes nothing; what it said last is told.
        let _ = self.stdin.write_all(line.as_bytes());
        let mut answer = String::new();
        let _ = self.done.read_line(&mut answer);
        let said = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        if answer == "done\n" { Ok(said(&out)) } else { Err(format!("{}{}", said(&out), said(&err))) }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal in which a command stays.
pub(crate) fn stay(folder: &Path, text: &str) -> Process {
    let mut command = Command::new("bash");
    command.args(["-c", text]);
    surroundings(&mut command, folder);
    Process::start(&mut command)
}

/// The folder, the stack's programs and the Python of the guides, and no setting of whoever runs the tests.
fn surroundings(command: &mut Command, folder: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let own = [target().join("release"), tools().join("venv/bin")].map(|folder| folder.display().to_string());
    let kept: BTreeMap<String, String> =
        std::env::vars().filter(|(name, _)| ["HOME", "LANG", "TMPDIR"].contains(&name.as_str())).collect();
    command.env_clear().envs(kept).env("PATH", format!("{}:{path}:/usr/sbin", own.join(":")));
    // Or Python keeps its lines back.
    command.env("PYTHONUNBUFFERED", "1").current_dir(folder).stderr(Stdio::null());
}
