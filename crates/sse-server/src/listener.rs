//! The listening sockets: handed over, or bound here.

use std::fs;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, bail};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, listen, setsockopt, socket,
    sockopt,
};

use crate::config::Listen;

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// On an address.
    Tcp(TcpListener),
    /// On a file.
    Unix(UnixListener),
}

/// The sockets that were handed over (`LISTEN_FDS`), as systemd and our supervisord do it.
pub fn handed_over() -> anyhow::Result<Vec<Listener>> {
    let mut given = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for n in 0..given.len() {
        // A socket of the other family is refused and stays in the list.
        let listener = match given.take_unix_listener(n) {
            Ok(listener) => listener.map(Listener::Unix),
            Err(_) => given
                .take_tcp_listener(n)
                .with_context(|| {
                    format!("socket {n} of LISTEN_FDS is neither TCP nor a unix socket that listens")
                })?
                .map(Listener::Tcp),
        };
        listeners.extend(listener);
    }
    Ok(listeners)
}

/// Listens where it is asked to. A unix socket's file that a dead process left is replaced.
pub fn open(address: &Listen) -> anyhow::Result<Listener> {
    match address {
        Listen::Tcp(text) => {
            let listener = tcp(text);
            Ok(Listener::Tcp(
                listener.map_err(|error| {
                    anyhow::anyhow!("cannot listen on {text}: {error}{}", way_out(&error))
                })?,
            ))
        }
        Listen::Unix(path) => unix(path),
    }
}

/// What may be done about an address that cannot be had.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; `ss -ltnp` shows who has it, and --listen or SSE_LISTEN names another",
        io::ErrorKind::AddrNotAvailable => {
            "; no interface here has it (`ip address` lists them), and --listen or SSE_LISTEN names another"
        }
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 takes root or CAP_NET_BIND_SERVICE, and --listen or SSE_LISTEN names another"
        }
        _ => "",
    }
}

fn tcp(text: &str) -> io::Result<TcpListener> {
    let address =
        text.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the host has no address"))?;
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    Ok(fd.into())
}

fn unix(path: &Path) -> anyhow::Result<Listener> {
    let name = path.display();
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        match UnixStream::connect(path) {
            // Nobody listens: a dead process left it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                bail!("cannot listen on unix:{name}: the socket that is there cannot be asked: {error}")
            }
            Ok(_) => bail!("cannot listen on unix:{name}: another program listens there already"),
        }
        fs::remove_file(path).with_context(|| format!("cannot replace the old socket {name}"))?;
    }
    let bound = || -> io::Result<UnixListener> {
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
        Ok(fd.into())
    };
    Ok(Listener::Unix(bound().with_context(|| format!("cannot listen on unix:{name}"))?))
}
