//! The publishers: keep-alive connections, one event a request, each waiting for its answer before it goes on.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use stack_tests::TOKEN;

use super::crowd::Tally;
use super::event;
use crate::readers::now_micros;

/// What of a rate must be reached.
const RATE_PART_MIN: f64 = 0.98;
/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How a publish is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// Topic and data as JSON in the body, as sse-server takes it.
    Json,
    /// The topic in the query and nothing but the data in the body.
    Query,
}

/// What was published at one time.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// How many events.
    pub(crate) events: u64,
    /// What of it went to each topic.
    pub(crate) topics: Vec<Tally>,
}

impl Published {
    /// What so many streams get of it, which take the topics in turn.
    pub(crate) fn deliveries(&self, streams: usize) -> u64 {
        self.topics.iter().cycle().take(streams).map(|topic| topic.events).sum()
    }
}

/// Connections of publishers, driven by the thread that calls.
pub(crate) struct Publishers {
    wording: Wording,
    connections: Vec<Connection>,
    epoll: Epoll,
    events: u64,
    event_bytes: usize,
    topic: String,
    topics: usize,
}

struct Connection {
    stream: TcpStream,
    events: u64,
    seen: Vec<u8>,
    is_waiting: bool,
}

impl Publishers {
    /// Opens so many. `#` in the topic becomes a number that runs below `topics`.
    pub(crate) fn open(
        port: u16,
        wording: Wording,
        count: usize,
        topic: &str,
        topics: usize,
        event_bytes: usize,
    ) -> anyhow::Result<Self> {
        ensure!(count <= event::PUBLISHERS_MAX, "{count} publishers are more than numbers can name");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut connections = Vec::new();
        for n in 0..count {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot publish")?;
            stream.set_nodelay(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, n as u64))?;
            connections.push(Connection { stream, events: 0, seen: Vec::new(), is_waiting: false });
        }
        let event_bytes = event_bytes.max(event::BYTES_MIN);
        Ok(Self {
            wording,
            connections,
            epoll,
            events: 0,
            event_bytes,
            topic: topic.to_owned(),
            topics: topics.max(1),
        })
    }

    /// Publishes so many events, as fast as answers come.
    pub(crate) fn count(&mut self, events: u64) -> anyhow::Result<Published> {
        self.drive(|done, _| if done < events { Step::Now } else { Step::End })
    }

    /// Publishes as fast as answers come.
    pub(crate) fn full(&mut self, time: Duration) -> anyhow::Result<Published> {
        self.drive(|_, since| if since < time { Step::Now } else { Step::End })
    }

    /// Publishes so many events a second, evenly, and fails if answers did not come fast enough for that.
    pub(crate) fn paced(&mut self, rate: f64, time: Duration) -> anyhow::Result<Published> {
        let published = self.drive(|done, since| {
            if since >= time {
                return Step::End;
            }
            let due = Duration::from_secs_f64(done as f64 / rate);
            if due <= since { Step::Now } else { Step::After(due - since) }
        })?;
        kept_up(published.events, rate, time)?;
        Ok(published)
    }

    fn drive(&mut self, next: impl Fn(u64, Duration) -> Step) -> anyhow::Result<Published> {
        let began = Instant::now();
        let mut published = Published { events: 0, topics: vec![Tally::default(); self.topics] };
        let mut events = vec![EpollEvent::empty(); self.connections.len()];
        loop {
            let mut wait = ANSWER_MAX;
            let mut is_over = false;
            while let Some(n) = self.connections.iter().position(|connection| !connection.is_waiting) {
                match next(published.events, began.elapsed()) {
                    Step::Now => {
                        let (topic, number) = self.send(n)?;
                        published.events += 1;
                        published.topics[topic].add(number);
                    }
                    Step::After(time) => {
                        wait = time;
                        break;
                    }
                    Step::End => {
                        is_over = true;
                        break;
                    }
                }
            }
            if is_over && self.connections.iter().all(|connection| !connection.is_waiting) {
                return Ok(published);
            }
            let wait_ms = u16::try_from(wait.as_millis()).unwrap_or(u16::MAX);
            if wait_ms == 0 {
                let _ = nix::poll::ppoll(&mut [], Some(wait.into()), None);
            }
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(wait_ms))?;
            if ready == 0 && wait >= ANSWER_MAX {
                bail!("no answer to a publish within {ANSWER_MAX:?}");
            }
            for event in &events[..ready] {
                self.connections[event.data() as usize].receive()?;
            }
        }
    }

    /// The topics take turns. Which one it was, and the event's number.
    fn send(&mut self, n: usize) -> anyhow::Result<(usize, u64)> {
        let nth = (self.events % self.topics as u64) as usize;
        let topic = self.topic.replace('#', &nth.to_string());
        let number = event::number(n, self.connections[n].events);
        let data = event::data(number, now_micros(), self.event_bytes);
        self.events += 1;
        let (path, body) = match self.wording {
            Wording::Json => {
                ("/sse/publish".to_owned(), format!("{{\"topic\":\"{topic}\",\"data\":{data}}}"))
            }
            Wording::Query => (format!("/sse/publish?topic={topic}"), data),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let connection = &mut self.connections[n];
        connection.is_waiting = true;
        connection.events += 1;
        connection.seen.clear();
        connection.stream.write_all(request.as_bytes()).context("cannot publish")?;
        Ok((nth, number))
    }
}

/// Fails if so many events in this time are less than the rate asks for.
fn kept_up(events: u64, rate: f64, time: Duration) -> anyhow::Result<()> {
    let wanted = rate * time.as_secs_f64();
    if (events as f64) < RATE_PART_MIN * wanted {
        bail!("{events} events were published, {wanted:.0} were to be: publishing is too slow for {rate}/s");
    }
    Ok(())
}

enum Step {
    Now,
    After(Duration),
    End,
}

impl Connection {
    /// Reads once.
    fn receive(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 8192];
        let length = self.stream.read(&mut bytes).context("no answer to a publish")?;
        if length == 0 {
            bail!("the server hung up on a publisher: {}", String::from_utf8_lossy(&self.seen));
        }
        self.seen.extend_from_slice(&bytes[..length]);
        if let Some(end) = self.seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&self.seen[..end])?.to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
                .context("an answer without a length")?;
            if self.seen.len() >= end + 4 + length {
                if !head.starts_with("http/1.1 20") {
                    let answer = String::from_utf8_lossy(&self.seen);
                    bail!(
                        "a publish was answered {}",
                        answer.split_whitespace().collect::<Vec<_>>().join(" ")
                    );
                }
                self.is_waiting = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one publisher's requests, each after this time.
    fn server(answers: Duration) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a publisher");
            let mut bytes = [0; 8192];
            while stream.read(&mut bytes).is_ok_and(|length| length > 0) {
                let _ = nix::poll::ppoll(&mut [], Some(answers.into()), None);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        port
    }

    fn publishers(answers: Duration, topics: usize) -> Publishers {
        let port = server(answers);
        Publishers::open(port, Wording::Json, 1, "t:#", topics, event::BYTES).expect("it listens")
    }

    #[test]
    fn a_rate_that_answers_are_too_slow_for_is_no_figure() {
        let time = Duration::from_millis(300);
        let error = publishers(Duration::from_millis(20), 1).paced(200.0, time).expect_err("15 of 60");
        assert!(error.to_string().ends_with("60 were to be: publishing is too slow for 200/s"), "{error}");
        assert!(kept_up(98, 100.0, Duration::from_secs(1)).is_ok());
        assert!(kept_up(97, 100.0, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn what_is_published_is_counted_for_each_topic() {
        let mut publishers = publishers(Duration::ZERO, 2);
        let [first, second] = [3, 2].map(|events| publishers.count(events).expect("it answers"));
        let tallies =
            |published: &Published| published.topics.iter().map(|topic| topic.events).collect::<Vec<_>>();
        assert_eq!((tallies(&first), tallies(&second)), (vec![2, 1], vec![1, 1]));
        assert_eq!(first.topics[0].sum, event::number(0, 0) + event::number(0, 2));
        assert_eq!((first.deliveries(2), first.deliveries(3), first.deliveries(4)), (3, 5, 6));
    }
}
