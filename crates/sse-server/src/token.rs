//! The secrets that are made at the first start and kept in `DATA_DIR`: the publish token, the key of the sessions.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Random bytes of a token that is made here.
const RANDOM_BYTES: usize = 24;

/// A publish token, and where it was written if that was just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishToken {
    /// The token.
    pub token: String,
    /// Its file, if it was made at this start.
    pub new_file: Option<PathBuf>,
}

/// The token in `folder/publish.token`; a new one if there is none.
pub fn load_or_make(folder: &Path) -> anyhow::Result<PublishToken> {
    let file = folder.join("publish.token");
    let (token, is_new) = kept(&file, "SSE_PUBLISH_TOKEN")?;
    let new_file = is_new.then(|| file.canonicalize().unwrap_or(file));
    Ok(PublishToken { token, new_file })
}

/// The key in `folder/session.key`; a new one if there is none.
pub fn session_key(folder: &Path) -> anyhow::Result<String> {
    let (key, is_new) = kept(&folder.join("session.key"), "SESSION_SECRET_KEY")?;
    if is_new {
        log::info!("no SESSION_SECRET_KEY is set, so one was made and kept in DATA_DIR/session.key");
    }
    Ok(key)
}

/// What a file holds, or what was made for it just now; `variable`: what else would do.
fn kept(file: &Path, variable: &str) -> anyhow::Result<(String, bool)> {
    match fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => return Ok((text.trim().to_owned(), false)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)
        .with_context(|| format!("cannot get random bytes for {}", file.display()))?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write(file, &secret).with_context(|| {
        format!(
            "cannot write {}: set {variable}, or DATA_DIR to a folder that can be written",
            file.display()
        )
    })?;
    Ok((secret, true))
}

/// Whole or not at all, and for nobody else to read.
fn write(file: &Path, token: &str) -> io::Result<()> {
    let partial = file.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    writeln!(open, "{token}")?;
    open.sync_all()?;
    fs::rename(&partial, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let PublishToken { token, new_file } = load_or_make(folder.path()).unwrap();
        assert_eq!(token.len(), 2 * RANDOM_BYTES);
        assert_eq!(new_file, Some(folder.path().canonicalize().unwrap().join("publish.token")));
        let again = load_or_make(folder.path()).unwrap();
        assert_eq!(again, PublishToken { token: token.clone(), new_file: None });
        let mode = fs::metadata(folder.path().join("publish.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = session_key(folder.path()).unwrap();
        assert_eq!(session_key(folder.path()).unwrap(), key);
        assert_ne!(key, token);
        let mode = fs::metadata(folder.path().join("session.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
