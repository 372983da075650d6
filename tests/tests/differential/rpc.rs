//! A client that hides nothing: HTTP over a unix or TCP socket, and XML-RPC answers as JSON.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;
use serde_json::{Map, Value, json};

/// Where a daemon listens.
#[derive(Clone)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Sends bytes and reads until `done`, the end of the connection or the deadline.
pub(crate) fn exchange(
    address: &Address,
    request: &[u8],
    deadline: Instant,
    done: impl Fn(&[u8]) -> bool,
) -> std::io::Result<Vec<u8>> {
    const PIECE: Duration = Duration::from_millis(100);
    let mut stream: Box<dyn Stream> = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PIECE))?;
            Box::new(stream)
        }
        Address::Tcp(port) => {
            let stream = TcpStream::connect(("127.0.0.1", *port))?;
            stream.set_read_timeout(Some(PIECE))?;
            Box::new(stream)
        }
    };
    stream.write_all(request)?;
    let mut seen = Vec::new();
    let mut bytes = [0; 65536];
    while !done(&seen) {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => seen.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if Instant::now() > deadline {
                    seen.extend_from_slice(b"\r\n(no end within the time)");
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
}

/// Whether an answer is whole: its length or its last chunk has come.
pub(crate) fn whole(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen);
    let Some(at) = text.find("\r\n\r\n") else { return false };
    let head = text[..at].to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let body = seen.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| seen.len() - at - 4);
    match length {
        Some(length) => body >= length,
        None => head.contains("chunked") && text.ends_with("0\r\n\r\n"),
    }
}

/// The request of a call.
pub(crate) fn call(method: &str, params: &[Value], credentials: Option<&str>) -> Vec<u8> {
    let params: String = params.iter().map(|value| format!("<param>{}</param>", to_xml(value))).collect();
    let body = format!(
        "<?xml version='1.0'?><methodCall><methodName>{}</methodName><params>{params}</params></methodCall>",
        quick_xml::escape::escape(method)
    );
    let authorization =
        credentials.map(|pair| format!("Authorization: Basic {}\r\n", base64(pair.as_bytes())));
    format!(
        "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n{}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        authorization.unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}

/// What was answered, as JSON: `{"result": …}`, `{"fault": …}` or `{"http": "…"}`.
pub(crate) fn answer(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return json!({ "http": text }) };
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return json!({ "http": status });
    }
    let Some(root) = parse(body) else { return json!({ "not XML": body }) };
    let found = |name: &str| root.find(name).and_then(|node| node.find("value")).map(Node::value);
    match (found("fault"), found("param")) {
        (Some(fault), _) => json!({ "fault": fault }),
        (None, Some(result)) => json!({ "result": result }),
        (None, None) => json!({ "no value": body }),
    }
}

fn to_xml(value: &Value) -> String {
    let inner = match value {
        Value::Null => "<nil/>".to_owned(),
        Value::Bool(truth) => format!("<boolean>{}</boolean>", u8::from(*truth)),
        Value::Number(number) if number.is_f64() => format!("<double>{number}</double>"),
        Value::Number(number) => format!("<int>{number}</int>"),
        Value::String(text) => format!("<string>{}</string>", quick_xml::escape::escape(text.as_str())),
        Value::Array(values) => {
            format!("<array><data>{}</data></array>", values.iter().map(to_xml).collect::<String>())
        }
        Value::Object(members) => {
            let members: String = members
                .iter()
                .map(|(name, value)| format!("<member><name>{name}</name>{}</member>", to_xml(value)))
                .collect();
            format!("<struct>{members}</struct>")
        }
    };
    format!("<value>{inner}</value>")
}

#[derive(Default)]
struct Node {
    name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// The first element of this name, at any depth.
    fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// A `<value>` as JSON.
    fn value(&self) -> Value {
        let Some(typed) = self.children.first() else { return Value::String(self.text.clone()) };
        match typed.name.as_str() {
            "int" | "i4" => {
                typed.text.trim().parse::<i64>().map_or_else(|_| json!({ "int": typed.text }), Value::from)
            }
            "boolean" => Value::Bool(typed.text.trim() == "1"),
            "string" => Value::String(typed.text.clone()),
            "nil" => Value::Null,
            "array" => {
                let data = typed.children.first();
                Value::Array(
                    data.map_or_else(Vec::new, |data| data.children.iter().map(Self::value).collect()),
                )
            }
            "struct" => {
                let mut members = Map::new();
                for member in &typed.children {
                    let name = member.find("name").map_or_else(String::new, |name| name.text.clone());
                    members.insert(name, member.find("value").map_or(Value::Null, Self::value));
                }
                Value::Object(members)
            }
            other => json!({ other: typed.text }),
        }
    }
}

fn parse(text: &str) -> Option<Node> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Node::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                let name = tag.name().as_ref().to_owned();
                open.push(Node { name, ..Node::default() });
            }
            Event::Empty(tag) => {
                let name = tag.name().as_ref().to_owned();
                open.last_mut()?.children.push(Node { name, ..Node::default() });
            }
            Event::End(_) => {
                let node = open.pop()?;
                open.last_mut()?.children.push(node);
            }
            Event::Text(text) => {
                open.last_mut()?.text.push_str(&unescape(&text).ok()?);
            }
            Event::GeneralRef(entity) => {
                let entity = format!("&{};", &*entity);
                open.last_mut()?.text.push_str(&unescape(&entity).ok()?);
            }
            Event::CData(text) => open.last_mut()?.text.push_str(&text),
            Event::Eof => break,
            _ => {}
        }
    }
    (open.len() == 1).then(|| open.remove(0))
}

/// Base64 with padding, as HTTP Basic wants it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= three.len() { letter as char } else { '=' });
        }
    }
    out
}
