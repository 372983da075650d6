//! The supervisors that are compared, each told the same plan in its own words.

mod genuine;
mod horust;
mod ours;
mod runit;
mod s6;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stack_tests::{target, tools};

use super::plan::Plan;

/// One supervisor.
pub(crate) trait Tool {
    /// As it stands in the table.
    fn name(&self) -> &'static str;

    /// What must be installed.
    fn binary(&self) -> PathBuf;

    /// Writes its configuration, and returns what is to be executed: it stays in the foreground.
    fn prepare(&self, plan: &Plan) -> anyhow::Result<Command>;

    /// Orders the stop of everything, and does not wait for it.
    fn stop(&self, plan: &Plan, daemon: i32) -> anyhow::Result<()>;

    /// The files of a program's log, in any order.
    fn logs(&self, plan: &Plan, name: &str) -> Vec<PathBuf>;

    /// How many programs it has told to be RUNNING, if it knows such a thing.
    fn running(&self, _plan: &Plan) -> Option<usize> {
        None
    }

    /// Its own client, asking for the state of all programs, if it has one.
    fn status(&self, plan: &Plan) -> Option<Command>;

    /// Where it speaks XML-RPC.
    fn socket(&self, _plan: &Plan) -> Option<PathBuf> {
        None
    }
}

/// The one that all others are compared with.
pub(crate) const OURS: &str = "ours";
/// The one that the bars were taken from.
pub(crate) const GENUINE: &str = "genuine";

/// All of them, or those that are named.
pub(crate) fn all(named: Option<&str>) -> anyhow::Result<Vec<Box<dyn Tool>>> {
    let mut tools: Vec<Box<dyn Tool>> = vec![
        Box::new(ours::Ours),
        Box::new(genuine::Genuine),
        Box::new(s6::S6),
        Box::new(runit::Runit),
        Box::new(horust::Horust),
    ];
    if let Some(named) = named {
        let named: Vec<&str> = named.split(',').collect();
        let known: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
        if let Some(word) = named.iter().find(|word| !known.contains(word)) {
            bail!("TOOLS: {word} is none of {}", known.join(", "));
        }
        tools.retain(|tool| named.contains(&tool.name()));
    }
    for tool in &tools {
        if !tool.binary().exists() {
            bail!("{} is not there: run tests/tools/bench-peers.sh", tool.binary().display());
        }
    }
    Ok(tools)
}

/// A release binary of ours.
fn built(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// A tool that `tests/tools/prepare.sh` or `bench-peers.sh` puts into a folder of the build's.
fn installed(name: &str) -> PathBuf {
    tools().join(name)
}

fn signal(daemon: i32, signal: Signal) -> anyhow::Result<()> {
    Ok(kill(Pid::from_raw(daemon), signal)?)
}

/// An executable shell script.
fn script(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The files of a folder whose names begin with one of these.
fn files(folder: &Path, beginnings: &[&str]) -> Vec<PathBuf> {
    let begins = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        beginnings.iter().any(|beginning| name.starts_with(beginning))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(begins).collect()
}

/// The log sentence of both supervisords, counted.
fn entered_running(plan: &Plan) -> usize {
    let log = fs::read_to_string(plan.folder().join("supervisord.log")).unwrap_or_default();
    log.matches("entered RUNNING state").count()
}

/// The log of both supervisords: `x.log`, `x.log.1` and so on.
fn numbered(plan: &Plan, name: &str) -> Vec<PathBuf> {
    files(&plan.folder().join("logs"), &[name])
}

/// The control socket of both supervisords.
fn control(plan: &Plan) -> PathBuf {
    plan.folder().join("control.sock")
}
