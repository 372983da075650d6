//! One running daemon, and what its programs say; nothing of it outlives it.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::{Plan, STARTSECS};
use super::processes::{is_alive, kill_all, within_folder};
use super::program::now_ns;
use super::tools::Tool;
use super::wait::{pass, until};

/// The longest that anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon that was executed and the programs it runs.
pub(crate) struct Daemon<'a> {
    tool: &'a dyn Tool,
    plan: Plan,
    pid: i32,
    folder: PathBuf,
    began_ns: u64,
}

impl<'a> Daemon<'a> {
    /// Executes it, with its configuration written before.
    pub(crate) fn start(tool: &'a dyn Tool, plan: Plan) -> anyhow::Result<Self> {
        let folder = plan.folder().canonicalize()?;
        let mut command = tool.prepare(&plan)?;
        let output = fs::File::create(plan.folder().join("output"))?;
        command.current_dir(&folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let began_ns = now_ns();
        let child = command.spawn().with_context(|| format!("cannot start {}", tool.name()))?;
        Ok(Self { tool, plan, pid: child.id() as i32, folder, began_ns })
    }

    /// What it runs.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where its processes work.
    pub(crate) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// When it was executed.
    pub(crate) fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// When a program was started, each time, and its pid then.
    pub(crate) fn starts(&self, name: &str) -> Vec<(u64, i32)> {
        let said = fs::read_to_string(self.plan.said(name)).unwrap_or_default();
        let of = |line: &str| {
            let (time, pid) = line.strip_prefix("started ")?.split_once(' ')?;
            Some((time.parse().ok()?, pid.parse().ok()?))
        };
        said.lines().filter_map(of).collect()
    }

    /// Waits until a program has written all its lines, and returns when it wrote the first.
    pub(crate) fn has_written(&self, name: &str) -> anyhow::Result<u64> {
        until(PATIENCE, &self.words(&format!("the lines of {name}")), || {
            self.check()?;
            let said = fs::read_to_string(self.plan.said(name)).unwrap_or_default();
            let line = said.lines().find_map(|line| line.strip_prefix("wrote "));
            Ok(line.map(str::parse).transpose()?)
        })
    }

    /// Waits until a program has been started so often, and returns when that was, and its pid.
    pub(crate) fn started(&self, name: &str, times: usize) -> anyhow::Result<(u64, i32)> {
        until(PATIENCE, &self.words(&format!("start {times} of {name}")), || {
            self.check()?;
            Ok(self.starts(name).get(times - 1).copied())
        })
    }

    /// Waits until all have been started, and count as started where the tool knows that.
    pub(crate) fn settled(&self) -> anyhow::Result<()> {
        for name in self.plan.names() {
            self.started(&name, 1)?;
        }
        match self.tool.running(&self.plan) {
            Some(_) => until(PATIENCE, &self.words("all programs RUNNING"), || {
                self.check()?;
                Ok((self.tool.running(&self.plan) >= Some(self.plan.count())).then_some(()))
            }),
            None => {
                pass(Duration::from_secs(STARTSECS) + Duration::from_millis(500));
                Ok(())
            }
        }
    }

    /// Orders its stop, and waits until it and everything of it is gone; returns how long that took.
    pub(crate) fn stop(&self) -> anyhow::Result<Duration> {
        let mut left = within_folder(&self.folder);
        let began = now_ns();
        self.tool.stop(&self.plan, self.pid)?;
        until(PATIENCE, &self.words("its end"), || {
            left.retain(|pid| is_alive(*pid));
            Ok(left.is_empty().then_some(()))
        })?;
        let took = Duration::from_nanos(now_ns() - began);
        let rest = within_folder(&self.folder);
        if !rest.is_empty() {
            bail!("{} left {} processes", self.tool.name(), rest.len());
        }
        Ok(took)
    }

    /// Kills one of its programs.
    pub(crate) fn kill(&self, pid: i32) -> anyhow::Result<u64> {
        let now = now_ns();
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        Ok(now)
    }

    /// What is awaited, and of whom.
    pub(crate) fn words(&self, what: &str) -> String {
        format!("{}: {what}", self.tool.name())
    }

    /// That it is still there.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if !is_alive(self.pid) {
            let output = fs::read_to_string(self.plan.folder().join("output")).unwrap_or_default();
            bail!("{} ended: {}", self.tool.name(), output.trim());
        }
        Ok(())
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        kill_all(self.pid, &self.folder);
    }
}
