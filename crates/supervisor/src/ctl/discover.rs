//! Finds the daemon: from the command line, from a configuration, or where the shipped stack has it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::client::Daemon;
use super::options::Options;
use super::section::Section;

/// Where the shipped configuration puts the socket in the container.
const SHIPPED: &str = "/run/sse/supervisor.sock";
/// Where it puts the socket below the repository's root, which is known by the configuration itself: else `/` would
/// be one, with Debian's own `/run/supervisor.sock`.
const BELOW_ROOT: (&str, &str) = ("docker/supervisord.toml", "run/supervisor.sock");

/// Where a configuration is looked for (supervisor 4.3 `options.py:default_configfile`), in each place first as
/// `.conf`, then as `.toml`. The first two are beside the program's folder, the next two in the working directory.
const CONFIGS: [&str; 6] = [
    "%exe/etc/supervisord",
    "%exe/supervisord",
    "supervisord",
    "etc/supervisord",
    "/etc/supervisord",
    "/etc/supervisor/supervisord",
];

/// What is said when nothing else is.
const DEFAULT_URL: &str = "http://localhost:9001";
const DEFAULT_PROMPT: &str = "supervisor";

/// The surroundings of the program, as far as they say where the daemon is.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The working directory.
    pub root: PathBuf,
    /// The folder above the one that holds the program.
    pub above: PathBuf,
    /// The environment.
    pub environment: Vec<(String, String)>,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> std::io::Result<Self> {
        let above = std::env::current_exe()?.parent().and_then(Path::parent).map(Path::to_owned);
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Ok(Self { root: std::env::current_dir()?, above: above.unwrap_or_default(), environment })
    }

    fn home(&self) -> Option<&str> {
        self.environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.as_str())
    }
}

/// How the daemon is reached, and how the shell looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub url: String,
    /// The name to give.
    pub username: Option<String>,
    /// The password to give.
    pub password: Option<String>,
    /// What the shell's prompt begins with.
    pub prompt: String,
    /// Where the shell's history is kept.
    pub history_file: Option<PathBuf>,
}

impl Found {
    /// The daemon to call.
    #[must_use]
    pub fn daemon(&self) -> Daemon {
        let credentials = self.username.clone().zip(self.password.clone());
        Daemon { url: self.url.clone(), credentials }
    }
}

/// What the command line and the configuration say, the command line first. Without both, a socket where the
/// shipped configuration puts it counts before any configuration that happens to lie around.
pub fn discover(options: &Options, surroundings: &Surroundings) -> Result<Found, String> {
    let shipped = match (&options.config, &options.url) {
        (None, None) => {
            let root = &surroundings.root;
            let below = root.join(BELOW_ROOT.0).exists().then(|| root.join(BELOW_ROOT.1));
            [Some(PathBuf::from(SHIPPED)), below].into_iter().flatten().find(|socket| socket.exists())
        }
        _ => None,
    };
    let config = match (&options.config, &shipped) {
        (Some(config), _) => Some(PathBuf::from(config)),
        (None, Some(_)) => None,
        (None, None) => search(surroundings),
    };
    let section = match &config {
        Some(config) => read(config, surroundings)?,
        None => Section::default(),
    };
    let url = match (&options.url, shipped) {
        (Some(url), _) => url.clone(),
        (None, Some(socket)) => format!("unix://{}", socket.display()),
        (None, None) => {
            let url = section.get("serverurl").unwrap_or(DEFAULT_URL);
            match url.strip_prefix("unix://") {
                Some(path) => format!("unix://{}", normal(path, surroundings).display()),
                None => url.to_owned(),
            }
        }
    };
    let text = |option: &Option<String>, key| option.clone().or_else(|| section.get(key).map(str::to_owned));
    Ok(Found {
        url,
        username: text(&options.username, "username"),
        password: text(&options.password, "password"),
        prompt: section.get("prompt").unwrap_or(DEFAULT_PROMPT).to_owned(),
        history_file: text(&options.history_file, "history_file")
            .filter(|file| !file.is_empty())
            .map(|file| normal(&file, surroundings)),
    })
}

fn search(surroundings: &Surroundings) -> Option<PathBuf> {
    let mut files = CONFIGS.iter().flat_map(|config| {
        let (folder, name) = match config.strip_prefix("%exe/") {
            Some(below) => (&surroundings.above, below),
            None => (&surroundings.root, *config),
        };
        ["conf", "toml"].map(|extension| folder.join(format!("{name}.{extension}")))
    });
    files.find(|file| file.exists())
}

fn read(config: &Path, surroundings: &Surroundings) -> Result<Section, String> {
    let whole = surroundings.root.join(config);
    if !whole.exists() {
        return Err(format!("could not find config file {}", config.display()));
    }
    let text =
        fs::read_to_string(&whole).map_err(|_| format!("could not read config file {}", config.display()))?;
    let here = normal(&config.display().to_string(), surroundings)
        .parent()
        .map(|folder| folder.display().to_string())
        .unwrap_or_default();
    Section::read(config, &text, &here, &surroundings.environment)
}

/// An absolute path without `.`, `..` and `~` (supervisor 4.3 `options.py:normalize_path`).
fn normal(path: &str, surroundings: &Surroundings) -> PathBuf {
    let path = match (path.strip_prefix("~"), surroundings.home()) {
        (Some(""), Some(home)) => PathBuf::from(home),
        (Some(rest), Some(home)) if rest.starts_with('/') => PathBuf::from(format!("{home}{rest}")),
        _ => PathBuf::from(path),
    };
    let mut whole = PathBuf::new();
    for part in surroundings.root.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::TempDir::new().unwrap())
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.0.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        fn discover(&self, line: &str) -> Result<Found, String> {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let surroundings = Surroundings {
                root: self.0.path().join("cwd"),
                above: self.0.path().join("usr"),
                environment: vec![("HOME".to_owned(), "/home/a".to_owned())],
            };
            discover(&Options::parse(&words).unwrap(), &surroundings)
        }

        fn url(&self, line: &str) -> String {
            self.discover(line).unwrap().url
        }
    }

    #[test]
    fn the_first_of_the_known_places_counts() {
        let folder = Folder::new();
        assert_eq!(folder.url(""), "http://localhost:9001");
        let section = |port: u16| format!("[supervisorctl]\nserverurl=http://localhost:{port}\n");
        let toml = |port: u16| format!("[supervisorctl]\nserverurl=\"http://localhost:{port}\"\n");
        for (file, text, port) in [
            ("cwd/etc/supervisord.toml", toml(8), 8),
            ("cwd/etc/supervisord.conf", section(7), 7),
            ("cwd/supervisord.toml", toml(6), 6),
            ("cwd/supervisord.conf", section(5), 5),
            ("usr/supervisord.toml", toml(4), 4),
            ("usr/supervisord.conf", section(3), 3),
            ("usr/etc/supervisord.toml", toml(2), 2),
            ("usr/etc/supervisord.conf", section(1), 1),
        ] {
            folder.write(file, &text);
            assert_eq!(folder.url(""), format!("http://localhost:{port}"), "{file}");
        }
    }

    #[test]
    fn a_running_stack_below_the_folder_is_found_before_any_file() {
        let folder = Folder::new();
        folder.write("cwd/supervisord.conf", "[supervisorctl]\nserverurl=http://localhost:7\nusername=a\n");
        folder.write("cwd/docker/supervisord.toml", "");
        folder.write("cwd/run/supervisor.sock", "");
        let socket = format!("unix://{}/cwd/run/supervisor.sock", folder.0.path().display());
        assert_eq!(folder.url(""), socket);
        assert_eq!(folder.url("-c supervisord.conf"), "http://localhost:7");
        let found = folder.discover("-s http://h:1").unwrap();
        assert_eq!((found.url.as_str(), found.username.as_deref()), ("http://h:1", Some("a")));
    }

    #[test]
    fn the_command_line_counts_before_the_file() {
        let folder = Folder::new();
        let text = "[supervisorctl]\nserverurl=unix://x/../s.sock\nusername=a\npassword=b\nprompt=p\nhistory_file=~/h\n";
        folder.write("cwd/c.conf", text);
        let socket = format!("unix://{}/cwd/s.sock", folder.0.path().display());
        let found = |url: &str, username: &str, history: &str| Found {
            url: url.to_owned(),
            username: Some(username.to_owned()),
            password: Some("b".to_owned()),
            prompt: "p".to_owned(),
            history_file: Some(history.into()),
        };
        assert_eq!(folder.discover("-c c.conf"), Ok(found(&socket, "a", "/home/a/h")));
        assert_eq!(folder.discover("-c c.conf -s http://h -u z -r /h"), Ok(found("http://h", "z", "/h")));
    }

    #[test]
    fn a_file_that_is_named_must_be_there_with_its_section() {
        let folder = Folder::new();
        folder.write("cwd/c.conf", "[supervisord]\n");
        let missing = Err(".ini file does not include supervisorctl section".to_owned());
        for (line, expected) in [
            ("-c nope", Err("could not find config file nope".to_owned())),
            ("-c .", Err("could not read config file .".to_owned())),
            ("-c c.conf", missing.clone()),
            ("-c c.conf -s http://h", missing),
        ] {
            assert_eq!(folder.discover(line), expected, "{line}");
        }
    }
}
