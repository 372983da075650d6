//! What programs say about themselves in the words of sd_notify(3).
//!
//! Each program has a socket of its own, in a folder that only the daemon writes; it belongs to the program's user,
//! so that nobody else reaches it. The kernel tells who sent a message, and [`belongs`] whether that is the program.

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    recvmsg, setsockopt, socket, sockopt,
};
use nix::unistd::{Pid, chown, getpgid, getsid, mkdtemp};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::user::Ids;

/// The longest message; a longer one is not a message.
const MESSAGE_BYTES_MAX: usize = 4096;
/// What is kept of a `STATUS=`.
const STATUS_CHARS_MAX: usize = 256;

/// What one message says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `READY=1`: it serves.
    pub ready: bool,
    /// `STOPPING=1`: it begins to stop.
    pub stopping: bool,
    /// `RELOADING=1`: it reads its configuration again, and says `READY=1` afterwards.
    pub reloading: bool,
    /// `WATCHDOG=1`: it is alive.
    pub alive: bool,
    /// `WATCHDOG=trigger`: it gives itself up.
    pub gives_up: bool,
    /// `WATCHDOG_USEC=`: from now on it says that it is alive as often as this.
    pub watchdog: Option<Duration>,
    /// `MAINPID=`: its main process is this one. To be believed only if [`belongs`] and the daemon is its parent.
    pub main_pid: Option<u32>,
    /// `STATUS=`: a line for people, without control characters.
    pub status: Option<String>,
}

impl Said {
    /// Reads a message; words that are not known, and values that are not what they should be, are passed over.
    #[must_use]
    pub fn parse(message: &[u8]) -> Self {
        let mut said = Self::default();
        for line in message.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&line[..at], &line[at + 1..]);
            let text = std::str::from_utf8(value).ok();
            match name {
                b"READY" => said.ready |= value == b"1",
                b"STOPPING" => said.stopping |= value == b"1",
                b"RELOADING" => said.reloading |= value == b"1",
                b"WATCHDOG" => {
                    said.alive |= value == b"1";
                    said.gives_up |= value == b"trigger";
                }
                b"WATCHDOG_USEC" => {
                    let time = text.and_then(number).filter(|time| *time > 0);
                    said.watchdog = time.map(Duration::from_micros).or(said.watchdog);
                }
                b"MAINPID" => {
                    let pid = text.and_then(number).and_then(|pid| i32::try_from(pid).ok());
                    // To the system 0 and 1 are others.
                    said.main_pid = pid.filter(|pid| *pid > 1).map(i32::unsigned_abs).or(said.main_pid);
                }
                b"STATUS" => {
                    let text = String::from_utf8_lossy(value);
                    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
                    said.status = Some(shown.take(STATUS_CHARS_MAX).collect());
                }
                _ => {}
            }
        }
        said
    }
}

/// Digits alone: no sign, no space.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A message and who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The process, as the kernel says.
    pub pid: u32,
    /// Its user, as the kernel says.
    pub uid: u32,
    /// What it says.
    pub said: Said,
}

/// Whether a process belongs to the program that this main process leads: by its session, which is also its
/// process group. A process that is gone, such as a helper that said its word and exited, is believed: it could
/// reach the socket.
#[must_use]
pub fn belongs(pid: u32, main: u32) -> bool {
    let (Ok(pid), Ok(main)) = (i32::try_from(pid), i32::try_from(main)) else { return false };
    let is_main = |found: nix::Result<Pid>| match found {
        Ok(found) => found.as_raw() == main,
        Err(errno) => errno == Errno::ESRCH,
    };
    // A pid of 0 is a process of another namespace.
    pid > 0
        && (pid == main
            || is_main(getpgid(Some(Pid::from_raw(pid))))
            || is_main(getsid(Some(Pid::from_raw(pid)))))
}

/// The folder of the sockets; it goes with its value.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Numbers the sockets, as the next one of a program is made before its last one is gone.
    made: Cell<u64>,
}

impl Folder {
    /// Makes the folder, in `/run` if the daemon may write there.
    pub fn make() -> io::Result<Self> {
        let made = mkdtemp(Path::new("/run/supervisord-notify-XXXXXX"));
        let made = made.or_else(|_| mkdtemp(&std::env::temp_dir().join("supervisord-notify-XXXXXX")));
        let folder = Self { path: made?, made: Cell::new(0) };
        // Others may pass, but neither list nor write.
        fs::set_permissions(&folder.path, Permissions::from_mode(0o711))?;
        Ok(folder)
    }

    /// A socket for one process of a program. Its file's name begins with `name`, and no other has it.
    pub fn socket(&self, name: &str, owner: Option<&Ids>) -> io::Result<NotifySocket> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name:?} is no name of a socket"),
            ));
        }
        self.made.update(|made| made + 1);
        NotifySocket::bind(self.path.join(format!("{name}.{}", self.made.get())), owner)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Where one program says something.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    fn bind(path: PathBuf, owner: Option<&Ids>) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // Before there is an address, so that no message comes without its sender.
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some(owner) = owner {
            chown(&path, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(Self { socket: UnixDatagram::from_std(socket.into())?, path })
    }

    /// What the program gets as `NOTIFY_SOCKET`.
    #[must_use]
    pub fn address(&self) -> String {
        self.path.display().to_string()
    }

    /// The next message. What is longer than a message, comes from nobody or carries descriptors is dropped; those
    /// are closed by the kernel, for there is no room for them.
    pub async fn receive(&self) -> io::Result<Message> {
        loop {
            let received = self.socket.async_io(Interest::READABLE, || Ok(receive(&self.socket)?)).await;
            match received {
                Ok(Some(message)) => return Ok(message),
                // Whoever sends such things without end still does not keep the daemon from its other work.
                Ok(None) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn receive(socket: &UnixDatagram) -> nix::Result<Option<Message>> {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut control = nix::cmsg_space!(UnixCredentials);
    let (length, cut, sender) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let sender = got.cmsgs().ok().and_then(|mut parts| {
            parts.find_map(|part| match part {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender),
                _ => None,
            })
        });
        (got.bytes, got.flags.contains(MsgFlags::MSG_TRUNC), sender)
    };
    let Some(sender) = sender.filter(|_| !cut) else { return Ok(None) };
    let said = Said::parse(&bytes[..length]);
    Ok(Some(Message { pid: sender.pid().unsigned_abs(), uid: sender.uid(), said }))
}

#[cfg(test)]
mod tests;
