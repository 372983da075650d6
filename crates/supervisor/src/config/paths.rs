//! Paths as supervisord reads them: `~`, and from where the daemon was started.

use std::path::{Component, Path, PathBuf};

/// The path from the root, without `.` and `..`, as `os.path.abspath` makes it: links are not followed.
pub(super) fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// `~` and `~user` at the beginning stand for a home; what has none stays as it is, as `os.path.expanduser` does it.
pub(super) fn home(text: &str, env: &[(String, String)]) -> PathBuf {
    let Some(rest) = text.strip_prefix('~') else { return PathBuf::from(text) };
    let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let home = if name.is_empty() {
        let home = env.iter().find(|(key, _)| key == "HOME").map(|(_, home)| PathBuf::from(home));
        home.or_else(|| Some(nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??.dir))
    } else {
        nix::unistd::User::from_name(name).ok().flatten().map(|user| user.dir)
    };
    match home {
        Some(home) => home.join(rest.trim_start_matches('/')),
        None => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_root() {
        for (path, expected) in
            [("a/b", "/w/a/b"), ("./a/../b/.", "/w/b"), ("/x//y/", "/x/y"), ("", "/w"), ("../../..", "/")]
        {
            assert_eq!(absolute(Path::new("/w"), Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_tilde_is_a_home() {
        let env = [("HOME".to_owned(), "/home/a".to_owned())];
        let root = nix::unistd::User::from_name("root").unwrap().unwrap().dir.join("x").display().to_string();
        for (text, expected) in [
            ("~/x", "/home/a/x"),
            ("~", "/home/a"),
            ("/~", "/~"),
            ("~root/x", root.as_str()),
            ("~no-such/x", "~no-such/x"),
        ] {
            assert_eq!(home(text, &env), Path::new(expected), "{text}");
        }
    }
}
