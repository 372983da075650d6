//! Listening sockets that outlive the programs that use them.

use std::fs::{self, Permissions};
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, listen, setsockopt, socket,
    sockopt,
};
use nix::unistd::chown;

use super::user;

/// Listens on a unix socket. A file that a dead process left is replaced; one that is in use is an error.
pub fn listen_unix(path: &Path, backlog: i32, mode: Option<u32>, owner: Option<&str>) -> io::Result<OwnedFd> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        match UnixStream::connect(path) {
            // Nobody listens: a dead process left it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another program listens there already",
                ));
            }
        }
        fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    if let Some(owner) = owner {
        let (uid, gid) = user::owner(owner).map_err(io::Error::other)?;
        chown(path, Some(uid), Some(gid))?;
    }
    if let Some(mode) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    listen(&socket, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

/// Listens on `host:port`.
pub fn listen_tcp(address: &str, backlog: i32) -> io::Result<OwnedFd> {
    let address =
        address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the host has no address"))?;
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}
