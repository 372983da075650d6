//! Begins anew: the same process executes its own program once more, perhaps a newer one.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::{env, io};

use super::signals;

/// By this variable a process that has left its terminal knows that it must not leave it once more.
pub const DETACHED: &str = "SUPERVISORD_DETACHED";

/// Executes this program with the words of its command line, in the folder where it was started; `detached`: it has
/// no terminal to leave. Signals that come meanwhile wait until the new run takes them
/// ([`super::signals::Signals::install`]). Returns only if it failed.
pub fn execute(folder: &Path, detached: bool) -> io::Error {
    let words: Result<Vec<CString>, _> = env::args_os().map(OsString::into_vec).map(CString::new).collect();
    let variables = env::vars_os().filter(|(name, _)| name != DETACHED);
    let added = detached.then(|| (DETACHED.into(), "1".into()));
    let environment: Result<Vec<CString>, _> = variables
        .chain(added)
        .map(|(name, value): (OsString, OsString)| {
            [name.into_vec(), b"=".to_vec(), value.into_vec()].concat()
        })
        .map(CString::new)
        .collect();
    let run = || -> io::Result<()> {
        let program = env::current_exe()?.into_os_string().into_vec();
        // A newer program may have taken the place of this one's file.
        let program = CString::new(program.strip_suffix(b" (deleted)").unwrap_or(&program))?;
        env::set_current_dir(folder)?;
        signals::leave();
        nix::unistd::execve(&program, &words?, &environment?)?;
        Ok(())
    };
    run().err().unwrap_or_else(|| io::Error::other("it was not executed"))
}
