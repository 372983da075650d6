//! The Python supervisord, from PyPI.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{GENUINE, Tool, control, entered_running, installed, numbered, signal};
use crate::supervisor::plan::{LOG_BACKUPS, LOG_BYTES_MAX, Plan, STARTSECS, STOPWAITSECS};

/// Descriptors that it is to be allowed, for a thousand programs.
const MINFDS: u32 = 8000;

pub(super) struct Genuine;

impl Tool for Genuine {
    fn name(&self) -> &'static str {
        GENUINE
    }

    fn binary(&self) -> PathBuf {
        installed("venv/bin/supervisord")
    }

    fn prepare(&self, plan: &Plan) -> anyhow::Result<Command> {
        let (folder, socket) = (plan.folder().display(), control(plan));
        let socket = socket.display();
        let mut text = format!(
            "[supervisord]\nnodaemon = true\nlogfile = {folder}/supervisord.log\npidfile = {folder}/pid\n\
             minfds = {MINFDS}\n\n[unix_http_server]\nfile = {socket}\n\n\
             [rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\n\
             [supervisorctl]\nserverurl = unix://{socket}\n"
        );
        for name in plan.names() {
            write!(
                text,
                "\n[program:{name}]\ncommand = {}\nautorestart = true\nstartsecs = {STARTSECS}\n\
                 stopwaitsecs = {STOPWAITSECS}\nredirect_stderr = true\nstdout_logfile = {}\n\
                 stdout_logfile_maxbytes = {LOG_BYTES_MAX}\nstdout_logfile_backups = {LOG_BACKUPS}\n",
                plan.command(&name),
                plan.log(&name).display()
            )?;
        }
        let file = plan.conf().join("supervisord.conf");
        fs::write(&file, text)?;
        let mut command = Command::new(self.binary());
        command.arg("-n").arg("-c").arg(file);
        Ok(command)
    }

    fn stop(&self, _plan: &Plan, daemon: i32) -> anyhow::Result<()> {
        signal(daemon, Signal::SIGTERM)
    }

    fn logs(&self, plan: &Plan, name: &str) -> Vec<PathBuf> {
        numbered(plan, name)
    }

    fn running(&self, plan: &Plan) -> Option<usize> {
        Some(entered_running(plan))
    }

    fn status(&self, plan: &Plan) -> Option<Command> {
        let mut command = Command::new(installed("venv/bin/supervisorctl"));
        command.arg("-s").arg(format!("unix://{}", control(plan).display())).arg("status");
        Some(command)
    }

    fn socket(&self, plan: &Plan) -> Option<PathBuf> {
        Some(control(plan))
    }
}
