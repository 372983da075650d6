//! The subscribers: processes of readers, asked as if they were one.

mod check;
mod decoder;
mod expected;
mod histogram;
mod plan;
pub(crate) mod reader;
mod tally;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

pub(crate) use histogram::Histogram;
pub(crate) use plan::Plan;
pub(crate) use tally::{Tally, compare};

/// Streams from which on there are two processes, so that reading is not what is measured.
const TWO_FROM: usize = 500;
/// Streams of one process, below what descriptors there are.
const PER_PROCESS_MAX: usize = 9000;
/// How long all streams may take to open.
const OPEN_MAX: Duration = Duration::from_secs(120);
/// How long nothing may come while events are missing.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How often it is asked whether something is there.
const ASK_EVERY_MS: u16 = 10;

/// What came since the last reset.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Events over all streams.
    pub(crate) events: u64,
    /// Of each stream, in the order of their numbers.
    pub(crate) streams: Vec<Tally>,
    /// Bytes on the wire, framing included.
    pub(crate) bytes: u64,
    /// Heartbeats over all streams.
    pub(crate) heartbeats: u64,
    /// Streams with compressed answers.
    pub(crate) compressed: u64,
    /// Publish to receive.
    pub(crate) times: Histogram,
    /// Connect to greeting.
    pub(crate) opening: Histogram,
}

/// Open streams; they end when dropped.
pub(crate) struct Crowd {
    count: usize,
    processes: Vec<Process>,
}

struct Process {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    /// Opens all, and waits until each has its greeting.
    pub(crate) fn open(plan: &Plan) -> anyhow::Result<Self> {
        let parts = plan.count.div_ceil(PER_PROCESS_MAX).max(if plan.count >= TWO_FROM { 2 } else { 1 });
        let mut processes = Vec::new();
        for part in 0..parts {
            let (first, end) = (plan.count * part / parts, plan.count * (part + 1) / parts);
            let at_a_time = plan.at_a_time.div_ceil(parts);
            let plan = Plan { first: plan.first + first, count: end - first, at_a_time, ..plan.clone() };
            processes.push(Process::start(&plan)?);
        }
        let mut crowd = Self { count: plan.count, processes };
        let deadline = Instant::now() + OPEN_MAX;
        while crowd.count("open")? < crowd.count as u64 {
            if Instant::now() > deadline {
                bail!("{} of {} streams opened within {OPEN_MAX:?}", crowd.count("open")?, crowd.count);
            }
            pause();
        }
        let wanted = if plan.wants_gzip { crowd.count } else { 0 } as u64;
        let compressed = crowd.stats()?.compressed;
        if compressed != wanted {
            bail!("{compressed} of {} streams are compressed, not {wanted}", crowd.count);
        }
        Ok(crowd)
    }

    /// How many streams there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Events so far.
    pub(crate) fn events(&mut self) -> anyhow::Result<u64> {
        self.count("events")
    }

    /// Waits until so many events have come, and fails if one is missing.
    pub(crate) fn receive(&mut self, events: u64) -> anyhow::Result<()> {
        let (mut before, mut deadline) = (0, Instant::now() + SILENCE_MAX);
        loop {
            let seen = self.events()?;
            if seen == events {
                return Ok(());
            }
            if seen > before {
                (before, deadline) = (seen, Instant::now() + SILENCE_MAX);
            }
            if seen > events || Instant::now() > deadline {
                bail!("{seen} deliveries of {events}");
            }
            pause();
        }
    }

    /// Makes the server end all streams, and fails unless each comes to its proper end.
    pub(crate) fn end(&mut self, server: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.ask("ending")?;
        server()?;
        let deadline = Instant::now() + SILENCE_MAX;
        while self.count("ended")? < self.count as u64 {
            if Instant::now() > deadline {
                bail!("{} of {} streams ended within {SILENCE_MAX:?}", self.count("ended")?, self.count);
            }
            pause();
        }
        Ok(())
    }

    /// Counts from zero.
    pub(crate) fn reset(&mut self) -> anyhow::Result<()> {
        self.ask("reset").map(drop)
    }

    /// Everything.
    pub(crate) fn stats(&mut self) -> anyhow::Result<Stats> {
        let mut stats = Stats::default();
        for answer in self.ask("stats")? {
            let number = |name: &str| answer[name].as_u64().with_context(|| format!("no {name}"));
            stats.events += number("events")?;
            for pair in answer["streams"].as_array().context("no streams")? {
                let [events, sum] = [0, 1].map(|n| pair[n].as_u64().unwrap_or_default());
                stats.streams.push(Tally { events, sum });
            }
            stats.bytes += number("bytes")?;
            stats.heartbeats += number("heartbeats")?;
            stats.compressed += number("compressed")?;
            stats.times.merge(&answer["times"]);
            stats.opening.merge(&answer["opening"]);
        }
        Ok(stats)
    }

    fn count(&mut self, what: &str) -> anyhow::Result<u64> {
        Ok(self.ask("count")?.iter().filter_map(|answer| answer[what].as_u64()).sum())
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<Vec<Value>> {
        for process in &mut self.processes {
            let questions = process.questions.as_mut().context("no readers")?;
            writeln!(questions, "{question}").context("the readers are gone")?;
        }
        let mut answers = Vec::new();
        for process in &mut self.processes {
            let mut line = String::new();
            process.answers.read_line(&mut line)?;
            let answer: Value =
                serde_json::from_str(&line).with_context(|| format!("the readers said {line:?}"))?;
            if answer["broken"] != 0 {
                bail!(
                    "{} streams broke, the first: {}",
                    answer["broken"],
                    answer["why"].as_str().unwrap_or("")
                );
            }
            answers.push(answer);
        }
        Ok(answers)
    }
}

impl Process {
    fn start(plan: &Plan) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([reader::WORD, &plan.to_json()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start readers")?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, questions, answers })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pause() {
    let _ = nix::poll::poll(&mut [], ASK_EVERY_MS);
}
