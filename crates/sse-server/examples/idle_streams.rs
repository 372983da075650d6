//! What idle streams cost: memory for each, and CPU for their heartbeats.
//!
//! `cargo run --release --example idle_streams [STREAMS] [SECONDS]`; each stream takes two descriptors here.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use sse_server::backplane::{self, Backplane};
use sse_server::fanout::{self, ConnectionId, ConnectionInfo, Encoding, Fanout, NewStream};
use sse_server::hub::limits::{ConnectionConfig, ConnectionLimits};
use sse_server::hub::{After, Interest, TopicFilter};

/// This process's share of memory in KiB.
fn pss_kib() -> anyhow::Result<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// User and system time of this process in seconds.
fn cpu_seconds() -> anyhow::Result<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let streams: u32 = args.next().map_or(Ok(5000), |n| n.parse())?;
    let seconds: u64 = args.next().map_or(Ok(0), |n| n.parse())?;
    let data = tempfile::tempdir()?;
    let backplane =
        Backplane::open(backplane::Config { data_dir: data.path().to_owned(), ..Default::default() })?;
    let fanout = Fanout::start(fanout::Config::default(), backplane)?;
    let limits = ConnectionLimits::new(ConnectionConfig { connections_max: 0, connections_per_ip_max: 0 });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut clients = Vec::with_capacity(streams as usize);
    let (on_end, address): (Arc<dyn Fn(_) + Send + Sync>, _) = (Arc::new(drop), listener.local_addr()?);
    let before = pss_kib()?;
    for n in 0..streams {
        clients.push(TcpStream::connect(address)?);
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n / 2));
        let topics = vec![TopicFilter::parse(&format!("job:{}", n % 100))?];
        let connection = ConnectionInfo {
            id: ConnectionId::random()?,
            address: client,
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0".into()),
            connected_at: SystemTime::now(),
            request: "GET /sse?topic=job:42 HTTP/1.1".into(),
            holder: None,
            granted_until: None,
        };
        let stream = NewStream {
            head: vec![b'x'; 250],
            encoding: Encoding::Chunked,
            interest: Interest::new(topics, Vec::new(), false),
            after: After::Live,
            permit: limits.admit(client)?,
            connection,
            on_end: Arc::clone(&on_end),
        };
        fanout.attach(listener.accept()?.0.into(), stream)?;
    }
    std::thread::park_timeout(Duration::from_secs(1));
    let grown = pss_kib()?.saturating_sub(before);
    println!("{streams} streams: {:.0} bytes PSS each", grown as f64 * 1024.0 / f64::from(streams));
    if seconds > 0 {
        let (cpu, began) = (cpu_seconds()?, Instant::now());
        std::thread::park_timeout(Duration::from_secs(seconds));
        let share = (cpu_seconds()? - cpu) / began.elapsed().as_secs_f64();
        let beats = fanout.counters().heartbeats.load(std::sync::atomic::Ordering::Relaxed);
        println!("{beats} heartbeats: {:.2} % of a core", share * 100.0);
    }
    Ok(())
}
