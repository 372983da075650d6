//! Listening sockets that outlive the programs that use them.

use std::fs::{self, Permissions};
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, listen, setsockopt,
    socket, sockopt,
};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::fchownat;

use super::user;

/// Listens on a unix socket. A file that a dead process left is replaced; one that is in use is an error.
pub fn listen_unix(path: &Path, backlog: i32, mode: Option<u32>, owner: Option<&str>) -> io::Result<OwnedFd> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if somebody_listens(path)? {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there already"));
        }
        fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    give(path, mode, owner)?;
    listen(&socket, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

/// Whether a connection is possible, or only is not because too many others wait.
fn somebody_listens(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        // A dead process left it.
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Sets mode and owner of the socket's file, and of nothing that somebody who owns the folder put in its place.
fn give(path: &Path, mode: Option<u32>, owner: Option<&str>) -> io::Result<()> {
    if mode.is_none() && owner.is_none() {
        return Ok(());
    }
    let file = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstat(&file)?.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(io::Error::other("it is no socket any more"));
    }
    // The mode first: nobody gets it with another one, and to change what is somebody else's takes CAP_FOWNER.
    if let Some(mode) = mode {
        let file = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::set_permissions(file, Permissions::from_mode(mode))?;
    }
    if let Some(owner) = owner {
        let (uid, gid) = user::owner(owner).map_err(io::Error::other)?;
        fchownat(&file, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
    }
    Ok(())
}

/// Listens on `host:port`.
pub fn listen_tcp(address: &str, backlog: i32) -> io::Result<OwnedFd> {
    // A name such as localhost that means both is reached by most at the old one.
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let address = *first.ok_or_else(|| io::Error::other("the host has no address"))?;
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_what_its_words_say() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("new/s");
        let own = nix::unistd::geteuid().to_string();
        let socket = listen_unix(&path, 8, Some(0o601), Some(&own)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o601);
        UnixStream::connect(&path).unwrap();
        let error = listen_unix(&path, 8, None, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        listen_unix(&path, 8, None, None).unwrap();
    }

    #[test]
    fn a_socket_that_nobody_accepts_from_hangs_nobody() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("s");
        let _socket = listen_unix(&path, 0, None, None).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        // The queue is full now, and a connection that waits would wait for ever.
        assert_eq!(listen_unix(&path, 8, None, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn only_a_socket_is_given_away() {
        // Attack: who owns the folder replaces the socket by a link to a file of root's.
        let folder = tempfile::TempDir::new().unwrap();
        let (secret, link) = (folder.path().join("secret"), folder.path().join("link"));
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        symlink(&secret, &link).unwrap();
        for path in [&link, &secret] {
            assert!(give(path, Some(0o666), None).is_err());
        }
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    }
}
