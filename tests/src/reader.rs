//! Client libraries that read a stream: curl, Python, Node, a browser.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::poll::within;
use crate::process::Process;
use crate::stack::{Stack, repository, tools};

/// An event as a client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The id that the client would return with.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its data.
    pub data: String,
    /// When it came, in milliseconds since 1970, if the client says so.
    pub at: Option<u64>,
}

/// A client that reads.
pub struct Reader(Process);

impl Reader {
    /// Python: `sseclient` or `httpx`. Ends after `count` events.
    pub fn python(library: &str, stack: &Stack, path: &str, count: usize, after: Option<&str>) -> Self {
        let mut command = Command::new(tools().join("venv/bin/python"));
        command.arg(repository().join("tests/clients/readers.py")).arg(library);
        command.arg(format!("{}{path}", stack.origin())).arg(count.to_string()).args(after);
        Self(Process::start(&mut command))
    }

    /// npm's eventsource. Ends after `count` events.
    pub fn node(stack: &Stack, path: &str, count: usize, after: Option<&str>) -> Self {
        let mut command = Command::new("node");
        command.arg(tools().join("node/eventsource.mjs"));
        // Debian's Node tries one address of a name only, and `localhost` is ::1 first on many machines.
        command.arg(format!("http://127.0.0.1:{}{path}", stack.port())).arg(count.to_string()).args(after);
        Self(Process::start(&mut command))
    }

    /// Chromium's own EventSource. Ends after `count` events, or, with 0, when it is dropped.
    pub fn chromium(stack: &Stack, path: &str, count: usize) -> Self {
        let mut command = Command::new("node");
        command.arg(tools().join("node/chromium.mjs")).arg(stack.origin()).arg(path).arg(count.to_string());
        Self(Process::start(&mut command))
    }

    /// curl, whose output is parsed here.
    pub fn curl(stack: &Stack, path: &str, after: Option<&str>) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sN", "-H", "Accept: text/event-stream"]);
        if let Some(after) = after {
            command.arg("-H").arg(format!("Last-Event-ID: {after}"));
        }
        command.arg(format!("{}{path}", stack.origin()));
        Self(Process::start(&mut command))
    }

    /// curl that has the stream compressed.
    pub fn curl_compressed(stack: &Stack, path: &str) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sN", "--compressed", "-H", "Accept: text/event-stream"]);
        command.arg(format!("{}{path}", stack.origin()));
        Self(Process::start(&mut command))
    }

    /// Everything that the client said.
    pub fn lines(&self) -> Vec<String> {
        self.0.lines()
    }

    /// The events so far, the server's own included.
    pub fn events(&self) -> Vec<Event> {
        let lines = self.0.lines();
        if lines.iter().any(|line| line.starts_with('{')) { from_json(&lines) } else { from_wire(&lines) }
    }

    /// The events so far that somebody published.
    pub fn published(&self) -> Vec<Event> {
        let own = ["connected", "heartbeat", "reset", "shutdown"];
        self.events().into_iter().filter(|event| !own.contains(&event.event.as_str())).collect()
    }

    /// Has it read nothing, whatever processes it is made of.
    pub fn pause(&self) {
        self.0.signal_all(Signal::SIGSTOP);
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.0.signal_all(Signal::SIGCONT);
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        self.0.wait(Duration::from_secs(20))
    }

    /// Waits for the greeting.
    #[track_caller]
    pub fn greeted(&self) -> Event {
        within(Duration::from_secs(30), "the greeting", || {
            self.events().into_iter().find(|event| event.event == "connected")
        })
    }

    /// Waits until so many published events have come.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Event> {
        let what = format!("{count} events");
        within(Duration::from_secs(30), &what, || {
            Some(self.published()).filter(|events| events.len() >= count)
        })
    }
}

fn from_json(lines: &[String]) -> Vec<Event> {
    let values = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    values
        .filter(|value| value.get("event").is_some())
        .map(|value| Event {
            id: text(&value, "id"),
            event: text(&value, "event"),
            data: text(&value, "data"),
            at: value["at"].as_u64(),
        })
        .collect()
}

fn from_wire(lines: &[String]) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut id, mut event, mut data) = (String::new(), String::new(), Vec::new());
    for line in lines {
        match line.split_once(": ") {
            Some(("id", value)) => id = value.to_owned(),
            Some(("event", value)) => event = value.to_owned(),
            Some(("data", value)) => data.push(value.to_owned()),
            _ if line.is_empty() && !data.is_empty() => {
                let event = Some(std::mem::take(&mut event)).filter(|event| !event.is_empty());
                events.push(Event {
                    id: id.clone(),
                    event: event.unwrap_or_else(|| "message".to_owned()),
                    data: std::mem::take(&mut data).join("\n"),
                    at: None,
                });
            }
            _ => {}
        }
    }
    events
}
