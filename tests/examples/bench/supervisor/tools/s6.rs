//! s6: `s6-svscan` over `s6-supervise` and `s6-log`, one pair for each program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Tool, files, script, signal};
use crate::supervisor::plan::{LOG_BACKUPS, LOG_BYTES_MAX, Plan, STOPWAITSECS};

/// Services that it makes room for; its own default is 500.
const SERVICES_MAX: usize = 2000;

pub(super) struct S6;

impl Tool for S6 {
    fn name(&self) -> &'static str {
        "s6"
    }

    fn binary(&self) -> PathBuf {
        "/usr/bin/s6-svscan".into()
    }

    fn prepare(&self, plan: &Plan) -> anyhow::Result<Command> {
        for name in plan.names() {
            let service = plan.conf().join(&name);
            script(&service.join("run"), &format!("exec {} 2>&1", plan.command(&name)))?;
            let log = plan.log(&name);
            let log = log.display();
            script(
                &service.join("log/run"),
                &format!("exec s6-log n{LOG_BACKUPS} s{LOG_BYTES_MAX} '{log}'"),
            )?;
            fs::write(service.join("timeout-kill"), format!("{}\n", STOPWAITSECS * 1000))?;
        }
        let mut command = Command::new(self.binary());
        command.arg("-c").arg(SERVICES_MAX.to_string()).arg(plan.conf());
        Ok(command)
    }

    fn stop(&self, _plan: &Plan, daemon: i32) -> anyhow::Result<()> {
        signal(daemon, Signal::SIGTERM)
    }

    fn logs(&self, plan: &Plan, name: &str) -> Vec<PathBuf> {
        files(&plan.log(name), &["current", "@"])
    }

    fn status(&self, plan: &Plan) -> Option<Command> {
        // It takes one service at a time.
        let mut command = Command::new("sh");
        let services = plan.names().map(|name| format!("s6-svstat '{}'", plan.conf().join(name).display()));
        command.arg("-c").arg(services.collect::<Vec<_>>().join(" && "));
        Some(command)
    }
}
