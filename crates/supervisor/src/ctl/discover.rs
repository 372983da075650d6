//! Finds the daemon when nobody says where it is.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the shipped configuration puts the socket: in the container, and below the repository's root.
const SHIPPED: [&str; 2] = ["/run/sse/supervisor.sock", "run/supervisor.sock"];

/// Where the genuine client looks for a configuration (supervisor 4.3 `options.py:default_configfile`).
const CONFIGS: [&str; 4] =
    ["supervisord.conf", "etc/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"];

/// What is said when nothing else is.
const DEFAULT_URL: &str = "http://localhost:9001";

/// How a daemon is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub url: Option<String>,
    /// The name to give.
    pub username: Option<String>,
    /// The password to give.
    pub password: Option<String>,
}

/// The address that `file` gives, or the one that everything shipped uses. `root` is where relative paths begin.
pub fn discover(file: Option<&Path>, root: &Path) -> Result<Found, String> {
    if let Some(file) = file {
        let text =
            fs::read_to_string(file).map_err(|_| format!("could not find config file {}", file.display()))?;
        return section(file, &text)
            .ok_or_else(|| format!("{} does not include supervisorctl section", file.display()));
    }
    for socket in SHIPPED.map(|socket| root.join(socket)) {
        if socket.exists() {
            return Ok(Found { url: Some(format!("unix://{}", socket.display())), ..Found::default() });
        }
    }
    let config: Option<PathBuf> =
        CONFIGS.map(|config| root.join(config)).into_iter().find(|config| config.exists());
    match config {
        Some(config) => discover(Some(&config), root),
        None => Ok(Found { url: Some(DEFAULT_URL.to_owned()), ..Found::default() }),
    }
}

/// `[supervisorctl]` of an INI file or of TOML: in this section both are `key = value` lines.
fn section(file: &Path, text: &str) -> Option<Found> {
    let here = file.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("[supervisorctl]"));
    let mut found = None;
    for line in lines {
        match &mut found {
            None => found = Some(Found::default()),
            Some(_) if line.starts_with('[') => break,
            Some(found) => {
                let Some((key, value)) = line.split_once('=') else { continue };
                let value = value.split(" ;").next().unwrap_or_default().trim().trim_matches('"');
                let value = Some(value.replace("%(here)s", &here));
                match key.trim() {
                    "serverurl" => found.url = value,
                    "username" => found.username = value,
                    "password" => found.password = value,
                    _ => {}
                }
            }
        }
    }
    found.map(|found| Found { url: found.url.or_else(|| Some(DEFAULT_URL.to_owned())), ..found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_stack_below_the_folder_is_found_before_any_file() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("supervisord.conf"), "[supervisorctl]\nserverurl=http://localhost:7\n")
            .unwrap();
        let url = |found: Result<Found, String>| found.unwrap().url.unwrap();
        assert_eq!(url(discover(None, folder.path())), "http://localhost:7");
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::write(folder.path().join("run/supervisor.sock"), "").unwrap();
        let expected = format!("unix://{}/run/supervisor.sock", folder.path().display());
        assert_eq!(url(discover(None, folder.path())), expected);
    }

    #[test]
    fn a_file_says_where_the_daemon_is() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("c.conf");
        let text = "[supervisord]\nx=1\n[supervisorctl]\nserverurl = unix://%(here)s/s.sock ; here\nusername=a\npassword=b\n[program:x]\nusername=no\n";
        fs::write(&file, text).unwrap();
        let found = discover(Some(&file), folder.path()).unwrap();
        assert_eq!(found.url, Some(format!("unix://{}/s.sock", folder.path().display())));
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("a"), Some("b")));
        fs::write(&file, "[supervisord]\n").unwrap();
        let text = format!("{} does not include supervisorctl section", file.display());
        assert_eq!(discover(Some(&file), folder.path()), Err(text));
    }
}
