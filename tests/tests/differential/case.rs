//! A case: a script and the files it starts from, read from one text file (txtar: `-- NAME --` begins a file).

use std::fs;
use std::path::Path;

use stack_tests::repository;

/// What stands before a `supervisord.conf` that has no `[supervisord]` of its own.
const HEAD: &str = "[supervisord]\nlogfile=%(here)s/supervisord.log\npidfile=%(here)s/supervisord.pid\n\
    [unix_http_server]\nfile=%(here)s/supervisor.sock\n\
    [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
    [supervisorctl]\nserverurl=unix://%(here)s/supervisor.sock\n";

/// One case of the corpus.
pub(crate) struct Case {
    pub(crate) name: String,
    /// The script's lines, without comments.
    pub(crate) script: Vec<String>,
    /// Names and texts; `HERE`, `PORT`, `PYTHON` and `LISTENER` in `@` are still to be replaced.
    pub(crate) files: Vec<(String, String)>,
}

impl Case {
    /// All cases whose name contains `filter`, sorted.
    pub(crate) fn all(filter: &str) -> Vec<Self> {
        let mut cases: Vec<Self> = fs::read_dir(folder())
            .expect("the corpus is there")
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "txtar"))
            .map(|path| Self::read(&path))
            .filter(|case| case.name.contains(filter))
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a case is UTF-8");
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let (mut script, mut files) = (Vec::new(), Vec::<(String, String)>::new());
        for line in text.lines() {
            let file = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
            match (file, files.last_mut()) {
                (Some(name), _) => files.push((name.to_owned(), String::new())),
                (None, Some((_, text))) => text.extend([line, "\n"]),
                (None, None) if line.starts_with('#') || line.trim().is_empty() => {}
                (None, None) => script.push(line.to_owned()),
            }
        }
        for (name, text) in &mut files {
            if name.ends_with(".conf") && name.starts_with("supervisord") && !text.contains("[supervisord]") {
                text.insert_str(0, HEAD);
            }
        }
        Self { name, script, files }
    }
}

/// Where the corpus is.
pub(crate) fn folder() -> std::path::PathBuf {
    repository().join("tests/differential")
}
