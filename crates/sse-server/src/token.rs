//! The publish token: what was configured, or one made at the first start and kept in `DATA_DIR`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// Random bytes of a token that is made here.
const RANDOM_BYTES: usize = 24;

/// The token in `folder/publish.token`; a new one if there is none. Tells on the log how to use it with `server`, the
/// words by which curl finds the server.
pub fn load_or_make(folder: &Path, server: &str) -> anyhow::Result<String> {
    let file = folder.join("publish.token");
    match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).context("cannot get random bytes for a publish token")?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write(&file, &token).with_context(|| {
        format!(
            "cannot write {}: set SSE_PUBLISH_TOKEN, or DATA_DIR to a folder that can be written",
            file.display()
        )
    })?;
    log::info!("no SSE_PUBLISH_TOKEN is set, so one was made; to publish:\n{}", curl_line(&file, server));
    Ok(token)
}

/// Whole or not at all, and for nobody else to read.
fn write(file: &Path, token: &str) -> io::Result<()> {
    let partial = file.with_extension("token.partial");
    let _ = fs::remove_file(&partial);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    writeln!(open, "{token}")?;
    open.sync_all()?;
    fs::rename(&partial, file)
}

fn curl_line(file: &Path, server: &str) -> String {
    format!(
        "curl -H \"Authorization: Bearer $(cat '{}')\" -H 'Content-Type: application/json' \
         -d '{{\"topic\":\"job:42\",\"data\":{{\"progress\":40}}}}' {server}/sse/publish",
        file.canonicalize().unwrap_or_else(|_| file.to_path_buf()).display()
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let token = load_or_make(folder.path(), "http://localhost:5001").unwrap();
        assert_eq!(token.len(), 2 * RANDOM_BYTES);
        assert_eq!(load_or_make(folder.path(), "http://localhost:5001").unwrap(), token);
        let mode = fs::metadata(folder.path().join("publish.token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
