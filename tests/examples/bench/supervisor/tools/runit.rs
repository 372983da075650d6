//! runit: `runsvdir` over `runsv` and `svlogd`, one pair for each program.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::{Tool, files, script, signal};
use crate::supervisor::plan::{LOG_BACKUPS, LOG_BYTES_MAX, Plan, STOPWAITSECS};

pub(super) struct Runit;

impl Tool for Runit {
    fn name(&self) -> &'static str {
        "runit"
    }

    fn binary(&self) -> PathBuf {
        "/usr/bin/runsvdir".into()
    }

    fn prepare(&self, plan: &Plan) -> anyhow::Result<Command> {
        for name in plan.names() {
            let service = plan.conf().join(&name);
            script(&service.join("run"), &format!("exec {} 2>&1", plan.command(&name)))?;
            let log = plan.log(&name);
            script(&service.join("log/run"), &format!("exec svlogd -l 4096 -b 16384 '{}'", log.display()))?;
            fs::create_dir_all(&log)?;
            fs::write(log.join("config"), format!("s{LOG_BYTES_MAX}\nn{LOG_BACKUPS}\n"))?;
        }
        let mut command = Command::new(self.binary());
        command.arg(plan.conf());
        Ok(command)
    }

    fn stop(&self, plan: &Plan, daemon: i32) -> anyhow::Result<()> {
        if plan.is_deaf() {
            // Only `sv` knows a time after which it kills, and it waits for that.
            let mut command = Command::new("sv");
            command.arg("-w").arg(STOPWAITSECS.to_string()).arg("force-shutdown");
            command.args(plan.names().map(|name| plan.conf().join(name)));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().context("cannot run sv")?;
        }
        signal(daemon, Signal::SIGHUP)
    }

    fn logs(&self, plan: &Plan, name: &str) -> Vec<PathBuf> {
        files(&plan.log(name), &["current", "@"])
    }

    fn status(&self, plan: &Plan) -> Option<Command> {
        let mut command = Command::new("sv");
        command.arg("status").args(plan.names().map(|name| plan.conf().join(name)));
        Some(command)
    }
}
