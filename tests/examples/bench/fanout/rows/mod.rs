//! What is measured of each server.

mod gathering;
mod growth;
mod gzip;
mod gzip_sizes;
mod heartbeats;
mod load;
mod memory;
mod pressed;
mod saturation;
mod slow;
mod storm;
mod topics;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tempfile::TempDir;

use super::crowd::{self, Crowd, Plan, Stats};
use super::event;
use super::publishers::{Published, Publishers};
use super::servers::{Needs, Server, Tool};
use super::settings::Settings;

/// The topic of all streams, where there is one.
const TOPIC: &str = "bench";
/// Streams of most rows.
const STREAMS: usize = 1000;
/// How long after its last event a figure is looked at again: one more is one too many.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Some figures that are taken together.
pub(crate) struct Row {
    /// As `ROWS` names it; several may have one name.
    pub(crate) key: &'static str,
    /// Whom it makes sense for.
    pub(crate) tools: &'static [Tool],
    /// The figures, in the order in which they are returned.
    pub(crate) lines: Vec<Line>,
    /// Takes them once.
    pub(crate) measure: Measure,
}

/// Takes a row's figures of one server once.
type Measure = fn(&Round<'_>) -> anyhow::Result<Vec<f64>>;

/// One figure.
pub(crate) struct Line {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
    /// Its place in the plot.
    pub(crate) growth: Option<Growth>,
}

/// A figure that is one point of a curve.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    /// The figure and its unit.
    pub(crate) what: &'static str,
    /// What grows.
    pub(crate) of: &'static str,
    /// How far it has grown.
    pub(crate) at: usize,
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// Of this tool at most so much.
    Most(Tool, f64),
    /// Of this tool at least so much.
    Least(Tool, f64),
    /// Of the first tool at most so many times what the last one's is.
    MostOf(Tool, f64, Tool),
    /// Of the first tool at least so many times what the last one's is.
    LeastOf(Tool, f64, Tool),
    /// The same, of the last one's first figure in another row.
    LeastOfRow(Tool, f64, Tool, &'static str),
}

fn line(title: impl Into<String>, bars: &[Bar]) -> Line {
    Line { title: title.into(), bars: bars.to_vec(), growth: None }
}

/// So many streams, and of which tool it is fewer, because it cannot hold them here.
fn counted(count: usize, tools: &[Tool]) -> String {
    let fewer = tools.iter().filter(|tool| tool.streams_max() < count);
    let words: Vec<String> = fewer.map(|tool| format!("{} {}", tool.name(), tool.streams_max())).collect();
    if words.is_empty() { count.to_string() } else { format!("{count} ({})", words.join(", ")) }
}

/// All of them, in order of worth.
pub(crate) fn all(is_quick: bool) -> Vec<Row> {
    vec![
        memory::row(is_quick),
        load::row(),
        pressed::row(),
        pressed::gzip(),
        saturation::memory(),
        saturation::disk(),
        topics::row(is_quick),
        topics::groups(),
        topics::groups_gzip(),
        storm::row(is_quick),
        heartbeats::row(is_quick),
        slow::row(),
        gathering::row(),
        gzip::row(gzip::SHORT),
        gzip::row(gzip::LONG),
        gzip_sizes::row(is_quick, gzip::SHORT),
        gzip_sizes::row(is_quick, gzip::LONG),
        growth::streams(is_quick),
        growth::topics(is_quick),
    ]
}

/// One figure of one server.
pub(crate) struct Round<'a> {
    /// How much is measured.
    pub(crate) settings: &'a Settings,
    /// Of which server.
    pub(crate) tool: Tool,
    folder: TempDir,
}

impl<'a> Round<'a> {
    /// With a folder of its own.
    pub(crate) fn new(settings: &'a Settings, folder: &Path, tool: Tool) -> anyhow::Result<Self> {
        Ok(Self { settings, tool, folder: TempDir::new_in(folder)? })
    }

    /// Starts the server.
    fn start(&self, streams: usize, env: &[(&'static str, &str)]) -> anyhow::Result<Box<dyn Server>> {
        let env = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.tool.start(&Needs { streams, folder: self.folder.path().to_owned(), env })
    }
}

/// Opens streams of one topic.
fn subscribe(server: &dyn Server, count: usize) -> anyhow::Result<Crowd> {
    Crowd::open(&Plan::new(server.port(), count, TOPIC))
}

/// Opens publishers of one topic.
fn publishers(server: &dyn Server, count: usize) -> anyhow::Result<Publishers> {
    Publishers::open(server.port(), server.wording(), count, TOPIC, 1, event::BYTES)
}

/// Waits for all deliveries, and fails unless every stream got every event of its topic once.
fn delivered(crowd: &mut Crowd, published: &Published) -> anyhow::Result<Stats> {
    let stats = complete(crowd, published)?;
    pass(LOOK_AGAIN);
    nothing_more(stats.events, crowd.events()?)?;
    Ok(stats)
}

fn nothing_more(counted: u64, now: u64) -> anyhow::Result<()> {
    ensure!(now == counted, "{} deliveries more after the last", now.saturating_sub(counted));
    Ok(())
}

fn complete(crowd: &mut Crowd, published: &Published) -> anyhow::Result<Stats> {
    crowd.receive(published.deliveries(crowd.len()))?;
    let stats = crowd.stats()?;
    crowd::compare(&stats.streams, &published.topics)?;
    Ok(stats)
}

/// Publishes a little, so that nothing is done for the first time, and counts from zero then.
fn warm_up(crowd: &mut Crowd, publishers: &mut Publishers) -> anyhow::Result<()> {
    warm_up_with(crowd, publishers, 20)
}

fn warm_up_with(crowd: &mut Crowd, publishers: &mut Publishers, events: u64) -> anyhow::Result<()> {
    let published = publishers.count(events)?;
    complete(crowd, &published)?;
    crowd.reset()
}

/// Lets time pass that belongs to a figure.
fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let _ = nix::poll::ppoll(&mut [], Some(left.into()), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_comes_after_the_last_is_one_too_many() {
        assert!(nothing_more(7, 7).is_ok());
        let error = nothing_more(7, 9).expect_err("two more");
        assert_eq!(error.to_string(), "2 deliveries more after the last");
    }
}
