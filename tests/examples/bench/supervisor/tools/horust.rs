//! Horust, from crates.io. Its client is not published there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Tool, installed, numbered, signal};
use crate::supervisor::plan::{LOG_BYTES_MAX, Plan, STOPWAITSECS};

pub(super) struct Horust;

impl Tool for Horust {
    fn name(&self) -> &'static str {
        "horust"
    }

    fn binary(&self) -> PathBuf {
        installed("horust/bin/horust")
    }

    fn prepare(&self, plan: &Plan) -> anyhow::Result<Command> {
        let services = plan.conf().join("services");
        fs::create_dir_all(&services)?;
        for name in plan.names() {
            let text = format!(
                "command = '{}'\nstdout = '{}'\nstdout-rotate-size = '{LOG_BYTES_MAX} B'\nstderr = 'STDOUT'\n\
                 [restart]\nstrategy = 'always'\nbackoff = '0s'\n\
                 [termination]\nsignal = 'TERM'\nwait = '{STOPWAITSECS}s'\n",
                plan.command(&name),
                plan.log(&name).display()
            );
            fs::write(services.join(format!("{name}.toml")), text)?;
        }
        let config = plan.conf().join("horust.toml");
        fs::write(&config, "unsuccessful_exit_finished_failed = false\n")?;
        let mut command = Command::new(self.binary());
        command.arg("--config-path").arg(config).arg("--services-path").arg(services);
        command.arg("--uds-folder-path").arg(plan.folder());
        Ok(command)
    }

    fn stop(&self, _plan: &Plan, daemon: i32) -> anyhow::Result<()> {
        signal(daemon, Signal::SIGTERM)
    }

    fn logs(&self, plan: &Plan, name: &str) -> Vec<PathBuf> {
        numbered(plan, name)
    }

    fn status(&self, _plan: &Plan) -> Option<Command> {
        None
    }
}
