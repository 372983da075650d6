//! The servers that are compared, each started anew for every figure.

pub(crate) mod floor;
mod nchan;
mod nginx;
mod ours;
mod python;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::processes::family;
use super::publishers::Wording;

/// How long a start or a stop may take.
const START_MAX: Duration = Duration::from_secs(30);

/// What a row needs of a server.
#[derive(Debug, Clone)]
pub(crate) struct Needs {
    /// Streams at one time.
    pub(crate) streams: usize,
    /// Where its files go.
    pub(crate) folder: PathBuf,
    /// Settings of ours.
    pub(crate) env: Vec<(&'static str, String)>,
}

/// A running server; it ends when dropped.
pub(crate) trait Server {
    /// Where it listens.
    fn port(&self) -> u16;

    /// The processes that count.
    fn pids(&self) -> Vec<i32>;

    /// How it is published to.
    fn wording(&self) -> Wording {
        Wording::Json
    }
}

/// One column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tool {
    /// One blocking `send` for each client and event.
    Floor,
    /// sse-server alone.
    Ours,
    /// The shipped stack: nginx before sse-server.
    Nginx,
    /// nginx's push module, one worker.
    Nchan,
    /// The same, one for each processor.
    NchanAuto,
    /// gunicorn, eventlet and Flask: what the stack replaces.
    Gunicorn,
    /// uvicorn and sse-starlette.
    Uvicorn,
}

impl Tool {
    /// All, in the table's order.
    pub(crate) const ALL: [Self; 7] =
        [Self::Floor, Self::Ours, Self::Nginx, Self::Nchan, Self::NchanAuto, Self::Gunicorn, Self::Uvicorn];

    /// As it stands in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Nginx => "ours+nginx",
            Self::Nchan => "nchan",
            Self::NchanAuto => "nchan-auto",
            Self::Gunicorn => "gunicorn",
            Self::Uvicorn => "uvicorn",
        }
    }

    /// The columns in which a server stands that others are compared with: the best of them counts.
    pub(crate) fn forms(self) -> Vec<Self> {
        if self == Self::Nchan { vec![Self::Nchan, Self::NchanAuto] } else { vec![self] }
    }

    /// Streams it can hold at one time: a stream through nginx takes two descriptors.
    pub(crate) fn streams_max(self) -> usize {
        match self {
            Self::Nginx => 9000,
            _ => 18_000,
        }
    }

    /// Starts it, and waits until it accepts connections.
    pub(crate) fn start(self, needs: &Needs) -> anyhow::Result<Box<dyn Server>> {
        Ok(match self {
            Self::Floor => Box::new(floor::Floor::start(needs)?),
            Self::Ours => Box::new(ours::Ours::start(needs)),
            Self::Nginx => Box::new(nginx::Nginx::start(needs)?),
            Self::Nchan => Box::new(nchan::Nchan::start(needs, 1)?),
            Self::NchanAuto => Box::new(nchan::Nchan::start(
                needs,
                std::thread::available_parallelism().map_or(1, usize::from),
            )?),
            Self::Gunicorn => Box::new(python::Python::gunicorn(needs)?),
            Self::Uvicorn => Box::new(python::Python::uvicorn(needs)?),
        })
    }
}

/// A process of ours with all that it starts.
struct Family {
    child: Child,
    port: u16,
}

impl Family {
    /// Executes it, and waits until it listens with so many processes: one that forks listens before.
    fn start(mut command: Command, folder: &Path, port: u16, processes: usize) -> anyhow::Result<Self> {
        let said = folder.join("said");
        let output = File::create(&said)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut family = Self { child, port };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() || family.pids().len() < processes {
            if family.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!(
                    "{} does not listen: {}",
                    command.get_program().display(),
                    fs::read_to_string(&said).unwrap_or_default()
                );
            }
            let _ = nix::poll::poll(&mut [], 10_u16);
        }
        Ok(family)
    }

    fn pids(&self) -> Vec<i32> {
        family(&[self.child.id() as i32])
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // Nobody's restarts come in between: the parents first.
        let pids = self.pids();
        for pid in &pids {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
        for pid in &pids {
            let _ = waitpid(Pid::from_raw(*pid), None);
        }
    }
}
