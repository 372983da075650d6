//! Where something listens: `[unix_http_server]`, `[inet_http_server]`, `[socket.x]` and the socket of an fcgi-program.

use std::path::PathBuf;

use super::document::{Document, Section};
use super::keys::Keys;
use super::process::fcgi_socket;
use super::reader::Reader;
use super::{HttpAddress, HttpServer, Listen, Socket, paths, units};

const BACKLOG_DEFAULT: i32 = 4096;
const BACKLOG_MAX: i32 = 65_535;
/// Bytes of a path that a unix socket can have.
const UNIX_PATH_MAX: usize = 107;

/// Where the daemon is controlled; over TCP first, as there.
pub(super) fn http_servers(reader: &mut Reader<'_>, document: &Document) -> Vec<HttpServer> {
    let mut servers = Vec::new();
    for kind in ["inet_http_server", "unix_http_server"] {
        // There a longer word is the same section.
        let sections =
            document.sections.iter().filter(|s| s.kind == kind || (s.origin.ini && s.kind.starts_with(kind)));
        for section in sections {
            servers.extend(http_server(reader, section));
        }
    }
    servers
}

fn http_server(reader: &mut Reader<'_>, section: &Section) -> Option<HttpServer> {
    let source = reader.source;
    let mut keys = reader.keys(section);
    let title = keys.title();
    let address = if section.kind.starts_with("inet") {
        let address = keys.get("port", inet_address);
        missing(&mut keys, "port");
        address.map(|(host, port)| HttpAddress::Tcp { host, port })
    } else {
        let file = keys.text("file");
        missing(&mut keys, "file");
        let chmod = keys.get("chmod", units::mode).unwrap_or(0o700);
        let chown = keys.get("chown", units::owner);
        file.map(|file| HttpAddress::Unix {
            file: paths::absolute(&source.directory, &paths::home(file.trim(), &source.environment)),
            chmod,
            chown,
        })
    };
    let (username, password) = (keys.text("username"), keys.text("password"));
    if username.is_some() != password.is_some() {
        keys.mistake("", format!("{title} must have both `username` and `password`, or neither"));
    }
    let status_only = keys.boolean("status_only").unwrap_or(false);
    keys.finish();
    address.map(|address| HttpServer { address, username, password, status_only })
}

fn missing(keys: &mut Keys<'_>, key: &'static str) {
    if keys.entry(key).is_none() {
        let title = keys.title();
        keys.mistake(key, format!("{title} has no `{key}`"));
    }
}

/// `9001`, `host:9001` or `*:9001` (supervisor 4.3 `datatypes.py:inet_address`).
fn inet_address(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = units::integer(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let port = port.ok_or_else(|| "must be a port, host:port or *:port".to_owned())?;
    Ok((if host == "*" { String::new() } else { host.to_lowercase() }, port))
}

/// The sockets that are opened for programs.
pub(super) fn sockets(reader: &mut Reader<'_>, document: &Document) -> Vec<Socket> {
    let named = document.sections.iter().filter(|section| section.kind == "socket");
    named.filter_map(|section| socket(reader, section.name.as_deref()?, section)).collect()
}

fn socket(reader: &mut Reader<'_>, name: &str, section: &Section) -> Option<Socket> {
    let mut keys = reader.keys(section);
    if name.is_empty() || name.len() > 255 || name.contains(|c: char| c == ':' || c.is_control()) {
        let title = keys.title();
        keys.mistake(
            "",
            format!("the name of {title} must be 1 to 255 characters without `:` and control characters"),
        );
    }
    let listen = keys.get("listen", |text| match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') && path.len() <= UNIX_PATH_MAX => {
            Ok(Listen::Unix(PathBuf::from(path)))
        }
        Some(_) => Err(format!("must be unix: and an absolute path of at most {UNIX_PATH_MAX} bytes")),
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Listen::Tcp(text.to_owned()))
            }
            _ => Err("must be host:port or unix:/path".to_owned()),
        },
    });
    missing(&mut keys, "listen");
    let socket = Socket {
        name: name.to_owned(),
        listen: listen.clone().unwrap_or(Listen::Tcp(String::new())),
        backlog: backlog(&mut keys, "backlog"),
        mode: keys.get("mode", units::mode),
        owner: keys.text("owner"),
    };
    keys.finish();
    listen.map(|_| socket)
}

fn backlog(keys: &mut Keys<'_>, key: &'static str) -> i32 {
    let backlog = keys.get(key, |text| match units::integer(text).and_then(|n| i32::try_from(n).ok()) {
        Some(number) if (1..=BACKLOG_MAX).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from 1 to {BACKLOG_MAX}")),
    });
    backlog.unwrap_or(BACKLOG_DEFAULT)
}

/// The socket of `[fcgi-program:x]`, which is the standard input of its processes.
pub(super) fn fcgi(keys: &mut Keys<'_>, program: &str) -> Option<Socket> {
    keys.names().set("program_name", program);
    let listen = keys.get("socket", fcgi_listen);
    missing(keys, "socket");
    let (mode, owner) = (keys.get("socket_mode", units::mode), keys.get("socket_owner", units::owner));
    let backlog = backlog(keys, "socket_backlog");
    let user = keys.get("user", |text| units::user(text).map(|uid| (uid, text.to_owned())));
    let (mode, owner) = match listen.as_ref()? {
        Listen::Tcp(_) => {
            if mode.is_some() || owner.is_some() {
                let text = "`socket_owner` and `socket_mode` are for a unix socket alone".to_owned();
                keys.mistake("socket", text);
            }
            (None, None)
        }
        Listen::Unix(_) => {
            let other = user.filter(|(uid, _)| *uid != nix::unistd::getuid());
            (Some(mode.unwrap_or(0o700)), owner.or(other.map(|(_, name)| format!("{name}:"))))
        }
    };
    Some(Socket { name: fcgi_socket(program), listen: listen?, backlog, mode, owner })
}

fn fcgi_listen(text: &str) -> Result<Listen, String> {
    let wrong = || "must be unix:///path or tcp://host:port".to_owned();
    if let Some(path) = text.strip_prefix("unix://") {
        let path = paths::absolute(std::path::Path::new("/"), std::path::Path::new(path));
        let fits = text.starts_with("unix:///") && path.as_os_str().len() <= UNIX_PATH_MAX;
        return if fits { Ok(Listen::Unix(path)) } else { Err(wrong()) };
    }
    let (host, port) = text.strip_prefix("tcp://").and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(Listen::Tcp(format!("{}:{port}", host.to_lowercase())))
}
