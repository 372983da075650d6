//! Bytes to and from the server.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use supervisor::ctl::xmlrpc::{self, Value};

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(seconds(20))).unwrap();
    stream
}

pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn request(method: &str, params: &[Value]) -> Vec<u8> {
    post(xmlrpc::write_call(method, params).as_bytes())
}

/// Sends, and reads one whole answer.
pub(crate) fn ask(stream: &mut (impl Read + Write), bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes);
    read_answer(stream)
}

/// Reads one whole answer, or what there is of it.
pub(crate) fn read_answer(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    let body = if stream.read_exact(&mut body).is_ok() { body } else { Vec::new() };
    head + &String::from_utf8_lossy(&body)
}

pub(crate) fn ended(stream: &mut impl Read) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub(crate) fn texts(value: &Value) -> Vec<&str> {
    value.items().iter().filter_map(Value::text).collect()
}
