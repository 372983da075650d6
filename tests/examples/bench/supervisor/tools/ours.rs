//! Our own supervisord.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{OURS, Tool, built, control, entered_running, numbered, signal};
use crate::supervisor::plan::{LOG_BACKUPS, LOG_BYTES_MAX, Plan, STARTSECS, STOPWAITSECS};

pub(super) struct Ours;

impl Tool for Ours {
    fn name(&self) -> &'static str {
        OURS
    }

    fn binary(&self) -> PathBuf {
        built("supervisord")
    }

    fn prepare(&self, plan: &Plan) -> anyhow::Result<Command> {
        let folder = plan.folder().display();
        let mut text = format!(
            "[supervisord]\nnodaemon = true\nlogfile = '{folder}/supervisord.log'\npidfile = '{folder}/pid'\n\n\
             [unix_http_server]\nfile = '{}'\n",
            control(plan).display()
        );
        for name in plan.names() {
            write!(
                text,
                "\n[program.{name}]\ncommand = '{}'\nautorestart = true\nstartsecs = {STARTSECS}\n\
                 stopwaitsecs = {STOPWAITSECS}\nredirect_stderr = true\nstdout_logfile = '{}'\n\
                 stdout_logfile_maxbytes = {LOG_BYTES_MAX}\nstdout_logfile_backups = {LOG_BACKUPS}\n",
                plan.command(&name),
                plan.log(&name).display()
            )?;
        }
        let file = plan.conf().join("supervisord.toml");
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
        let mut command = Command::new(built("supervisorctl"));
        command.arg("-s").arg(format!("unix://{}", control(plan).display())).arg("status");
        Some(command)
    }

    fn socket(&self, plan: &Plan) -> Option<PathBuf> {
        Some(control(plan))
    }
}
