//! The subscribers: processes of readers, asked as if they were one.

mod decoder;
mod histogram;
mod plan;
pub(crate) mod reader;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

pub(crate) use histogram::Histogram;
pub(crate) use plan::Plan;

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
    /// Of the stream that got the fewest.
    pub(crate) least: u64,
    /// Of the stream that got the most.
    pub(crate) most: u64,
    /// The events' numbers added up, over all streams.
    pub(crate) sum: u64,
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

    /// Counts from zero.
    pub(crate) fn reset(&mut self) -> anyhow::Result<()> {
        self.ask("reset").map(drop)
    }

    /// Everything.
    pub(crate) fn stats(&mut self) -> anyhow::Result<Stats> {
        let mut stats = Stats { least: u64::MAX, ..Stats::default() };
        for answer in self.ask("stats")? {
            let number = |name: &str| answer[name].as_u64().with_context(|| format!("no {name}"));
            stats.events += number("events")?;
            stats.least = stats.least.min(number("least")?);
            stats.most = stats.most.max(number("most")?);
            stats.sum = stats.sum.wrapping_add(number("sum")?);
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
