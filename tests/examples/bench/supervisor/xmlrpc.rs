//! The smallest client there can be, the same for every daemon that speaks XML-RPC.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, bail};

const BODY: &str = "<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName>\
                    <params></params></methodCall>";

/// The answer of `getAllProcessInfo`, from the connection to its last byte.
pub(crate) fn all_process_info(socket: &Path) -> anyhow::Result<String> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    let length = BODY.len();
    let request = format!(
        "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{BODY}"
    );
    stream.write_all(request.as_bytes())?;
    let mut seen = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        let read = stream.read(&mut piece)?;
        seen.extend_from_slice(&piece[..read]);
        if seen.ends_with(b"</methodResponse>") || seen.ends_with(b"</methodResponse>\n") {
            return Ok(String::from_utf8(seen)?);
        }
        if read == 0 {
            bail!("an answer ended too early: {}", String::from_utf8_lossy(&seen));
        }
    }
}
