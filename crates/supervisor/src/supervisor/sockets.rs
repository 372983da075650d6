//! The listening sockets of the programs: opened by the daemon, open across restarts.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::config::{Listen, Socket};
use crate::os::sockets;

/// How long sockets stay open after their program was stopped by name: a restart is over by then.
const RELEASE_AFTER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Sockets {
    open: HashMap<String, (Socket, OwnedFd)>,
    release: Vec<(Instant, String)>,
}

impl Sockets {
    /// Opens what is not open yet, or is to listen elsewhere now.
    pub(super) fn open(&mut self, all: &[Socket], names: &[String]) -> Result<(), (String, io::Error)> {
        for socket in all.iter().filter(|socket| names.contains(&socket.name)) {
            self.release.retain(|(_, name)| *name != socket.name);
            if self.open.get(&socket.name).is_some_and(|(open, _)| open == socket) {
                continue;
            }
            self.forget(&socket.name);
            let opened = match &socket.listen {
                Listen::Unix(path) => {
                    sockets::listen_unix(path, socket.backlog, socket.mode, socket.owner.as_deref())
                }
                Listen::Tcp(address) => sockets::listen_tcp(address, socket.backlog),
            };
            let opened = opened.map_err(|error| (socket.name.clone(), error))?;
            self.open.insert(socket.name.clone(), (socket.clone(), opened));
        }
        Ok(())
    }

    /// The open sockets of these names, in their order.
    pub(super) fn handed<'a>(&'a self, names: &'a [String]) -> Vec<(&'a str, &'a OwnedFd)> {
        names.iter().filter_map(|name| Some((name.as_str(), &self.open.get(name)?.1))).collect()
    }

    /// Closes these, unless somebody holds them.
    pub(super) fn close(&mut self, names: &[String], held: impl Fn(&str) -> bool) {
        for name in names.iter().filter(|name| !held(name)) {
            self.forget(name);
        }
    }

    /// Closes these after a while, unless they are asked for again.
    pub(super) fn release(&mut self, names: &[String], held: impl Fn(&str) -> bool) {
        let at = Instant::now() + RELEASE_AFTER;
        for name in names.iter().filter(|name| self.open.contains_key(*name) && !held(name)) {
            self.release.push((at, name.clone()));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.release.iter().map(|(at, _)| *at).min()
    }

    pub(super) fn close_due(&mut self, now: Instant) {
        let due: Vec<String> =
            self.release.iter().filter(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        for name in due {
            self.forget(&name);
        }
    }

    /// Closes everything.
    pub(super) fn end(mut self) {
        let names: Vec<String> = self.open.keys().cloned().collect();
        for name in names {
            self.forget(&name);
        }
    }

    fn forget(&mut self, name: &str) {
        self.release.retain(|(_, other)| other != name);
        if let Some((Socket { listen: Listen::Unix(path), .. }, _)) = self.open.remove(name) {
            let _ = std::fs::remove_file(path);
        }
    }
}
