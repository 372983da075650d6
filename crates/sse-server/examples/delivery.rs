//! What a delivery is counted with: `ROUNDS` events, one after the other, to `MEMBERS` streams through a real reactor.
//!
//! Nothing in it depends on time, so two runs of different length under callgrind differ by what the deliveries of the
//! longer one take (`tests/tools/callgrind.sh`). The streams are read at the end alone: who reads costs no instruction.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use sse_server::backplane::{self, Backplane};
use sse_server::fanout::{self, ConnectionId, ConnectionInfo, Encoding, Fanout, NewStream};
use sse_server::hub::limits::{ConnectionConfig, ConnectionLimits};
use sse_server::hub::{After, Data, Interest, NewEvent, Topic, TopicFilter};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// What a socket holds before anybody reads: more would break writes.
const ROUNDS_MAX: usize = 200;
const DAY: Duration = Duration::from_secs(86_400);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(|n| n.parse::<usize>());
    let rounds = args.next().context("ROUNDS MEMBERS")??;
    let members = args.next().context("ROUNDS MEMBERS")??;
    ensure!(
        (1..=ROUNDS_MAX).contains(&rounds) && members > 0,
        "1 to {ROUNDS_MAX} rounds to at least one member"
    );
    let folder = tempfile::tempdir()?;
    let backplane =
        Backplane::open(backplane::Config { data_dir: folder.path().to_owned(), ..Default::default() })?;
    let config = fanout::Config {
        reactors: 1,
        heartbeat_interval: DAY,
        idle_timeout: Duration::ZERO,
        ..fanout::Config::default()
    };
    let fanout = Fanout::start(config, backplane.clone())?;
    let limits = ConnectionLimits::new(ConnectionConfig { connections_max: 0, connections_per_ip_max: 0 });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut clients = Vec::with_capacity(members);
    for _ in 0..members {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        fanout.attach(listener.accept()?.0.into(), stream(&limits)?)?;
        until_greeted(&mut client)?;
        clients.push(client);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let topic = Topic::parse("job:42")?;
    let last = clients.pop().context("no member")?;
    let event_bytes = published(&runtime, &backplane, &topic, &last)?;
    for _ in 1..rounds {
        published(&runtime, &backplane, &topic, &last)?;
    }
    // Events that went out together have one chunk's framing: fewer bytes, and the read below fails at its timeout.
    let mut bytes = vec![0; event_bytes * ROUNDS_MAX];
    for mut client in clients {
        client.read_exact(&mut bytes[..event_bytes * rounds]).context("events went out together")?;
    }
    Ok(())
}

fn stream(limits: &ConnectionLimits) -> anyhow::Result<NewStream> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Ok(NewStream {
        head: HEAD.to_vec(),
        encoding: Encoding::Chunked,
        interest: Interest::new(vec![TopicFilter::parse("job:42")?], Vec::new(), false),
        after: After::Live,
        permit: limits.admit(address)?,
        connection: ConnectionInfo {
            granted_until: None,
            holder: None,
            id: ConnectionId::random()?,
            address,
            user_agent: None,
            connected_at: SystemTime::now(),
            request: "GET /sse?topic=job:42 HTTP/1.1".into(),
        },
        on_end: Arc::new(drop),
    })
}

/// Reads the head and the greeting's chunk.
fn until_greeted(client: &mut TcpStream) -> anyhow::Result<()> {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    while !seen.ends_with(b"\n\n\r\n") {
        let length = client.read(&mut piece)?;
        ensure!(length > 0, "a stream ended before its greeting");
        seen.extend_from_slice(&piece[..length]);
    }
    Ok(())
}

/// Publishes an event and waits, asleep, until the member that is written to last has it; returns its bytes.
fn published(
    runtime: &tokio::runtime::Runtime,
    backplane: &Backplane,
    topic: &Topic,
    mut last: &TcpStream,
) -> anyhow::Result<usize> {
    let event = NewEvent::new(vec![topic.clone()], None, Data::Text("x".repeat(200)))?;
    runtime.block_on(backplane.publish(vec![event]))?;
    let mut piece = [0; 4096];
    let length = last.read(&mut piece)?;
    ensure!(piece[..length].ends_with(b"\n\n\r\n"), "not one chunk");
    Ok(length)
}
