//! Begins anew: the same process executes its own program once more, perhaps a newer one.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::{env, io};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::signals::SIGNALS;

/// Executes this program with the words of its command line, in the folder where it was started. Signals that come
/// meanwhile wait until the new run takes them ([`super::signals::Signals::install`]). Returns only if it failed.
pub fn execute(folder: &Path) -> io::Error {
    let words: Result<Vec<CString>, _> = env::args_os().map(OsString::into_vec).map(CString::new).collect();
    let run = || -> io::Result<()> {
        let program = env::current_exe()?.into_os_string().into_vec();
        // A newer program may have taken the place of this one's file.
        let program = CString::new(program.strip_suffix(b" (deleted)").unwrap_or(&program))?;
        env::set_current_dir(folder)?;
        let held: SigSet = SIGNALS.into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), None)?;
        nix::unistd::execv(&program, &words?)?;
        Ok(())
    };
    run().err().unwrap_or_else(|| io::Error::other("it was not executed"))
}
