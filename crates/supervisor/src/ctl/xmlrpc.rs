//! XML-RPC on the wire: calls, answers and faults; quick-xml carries the XML.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::Event;

use super::fault::Fault;

/// How deep values may be nested.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<int>`, `<i4>`.
    Int(i64),
    /// `<boolean>`.
    Bool(bool),
    /// `<string>`, or no type.
    Text(String),
    /// `<double>`.
    Double(f64),
    /// `<array>`.
    Array(Vec<Value>),
    /// `<struct>`.
    Struct(Vec<(String, Value)>),
    /// `<nil/>`, which only clients of other servers meet.
    Nil,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A member of a struct.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The elements of an array; none if it is something else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }
}

/// A call as it came: the method's name and what it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodCall {
    /// Such as `supervisor.getState`.
    pub name: String,
    /// Positional.
    pub params: Vec<Value>,
}

/// Why bytes are no XML-RPC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not XML-RPC: {0}")]
pub struct Malformed(String);

/// Reads a call. `<params>` may be absent, and a value without type is a string.
pub fn parse_call(body: &[u8]) -> Result<MethodCall, Malformed> {
    let root = Node::parse(body)?;
    root.expect("methodCall")?;
    let name = root.child("methodName").map(|name| name.text.trim().to_owned()).unwrap_or_default();
    if name.is_empty() {
        return Err(Malformed("no methodName".to_owned()));
    }
    let params = match root.child("params") {
        Some(params) => params.children.iter().map(param).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    Ok(MethodCall { name, params })
}

/// Reads an answer: the value, or the fault.
pub fn parse_response(body: &[u8]) -> Result<Result<Value, Fault>, Malformed> {
    let root = Node::parse(body)?;
    root.expect("methodResponse")?;
    if let Some(fault) = root.child("fault") {
        let value =
            fault.child("value").ok_or_else(|| Malformed("fault without value".to_owned()))?.value()?;
        let code = value.member("faultCode").and_then(Value::int).and_then(|code| i32::try_from(code).ok());
        let text = value.member("faultString").and_then(Value::text).unwrap_or_default().to_owned();
        return Ok(Err(Fault { code: code.unwrap_or(0), text }));
    }
    match root.child("params").and_then(|params| params.children.first()) {
        Some(first) => Ok(Ok(param(first)?)),
        None => Err(Malformed("no params".to_owned())),
    }
}

/// Writes a call.
#[must_use]
pub fn write_call(name: &str, params: &[Value]) -> String {
    let mut out =
        format!("<?xml version='1.0'?>\n<methodCall>\n<methodName>{}</methodName>\n<params>\n", escape(name));
    for value in params {
        out.push_str("<param>\n");
        write_value(&mut out, value);
        out.push_str("\n</param>\n");
    }
    out.push_str("</params>\n</methodCall>\n");
    out
}

/// Writes an answer.
#[must_use]
pub fn write_response(answer: &Result<Value, Fault>) -> String {
    let mut out = String::from("<?xml version='1.0'?>\n<methodResponse>\n");
    match answer {
        Ok(value) => {
            out.push_str("<params>\n<param>\n");
            write_value(&mut out, value);
            out.push_str("\n</param>\n</params>\n");
        }
        Err(fault) => {
            out.push_str("<fault>\n");
            let members = vec![
                ("faultCode".to_owned(), Value::Int(i64::from(fault.code))),
                ("faultString".to_owned(), Value::Text(fault.text.clone())),
            ];
            write_value(&mut out, &Value::Struct(members));
            out.push_str("\n</fault>\n");
        }
    }
    out.push_str("</methodResponse>\n");
    out
}

fn write_value(out: &mut String, value: &Value) {
    out.push_str("<value>");
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Int(number) => {
            write!(out, "<int>{}</int>", (*number).clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
        }
        Value::Bool(value) => write!(out, "<boolean>{}</boolean>", u8::from(*value)),
        Value::Text(text) => write!(out, "<string>{}</string>", escape(xml_text(text))),
        Value::Double(number) => write!(out, "<double>{number}</double>"),
        Value::Nil => write!(out, "<nil/>"),
        Value::Array(items) => {
            out.push_str("<array><data>\n");
            for item in items {
                write_value(out, item);
                out.push('\n');
            }
            write!(out, "</data></array>")
        }
        Value::Struct(members) => {
            out.push_str("<struct>\n");
            for (name, value) in members {
                let _ = write!(out, "<member>\n<name>{}</name>\n", escape(xml_text(name)));
                write_value(out, value);
                out.push_str("\n</member>\n");
            }
            write!(out, "</struct>")
        }
    };
    out.push_str("</value>");
}

/// XML 1.0 knows no control characters but TAB, LF and CR; one of them breaks the client's parser. CR would
/// become LF on the way.
fn xml_text(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' => c,
            '\r' => '\n',
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn param(node: &Node) -> Result<Value, Malformed> {
    node.expect("param")?;
    node.child("value").ok_or_else(|| Malformed("param without value".to_owned()))?.value()
}

/// An element with what is in it.
#[derive(Debug)]
struct Node {
    name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), text: String::new(), children: Vec::new() }
    }

    fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let malformed = |error: &dyn std::fmt::Display| Malformed(error.to_string());
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::new("")];
        loop {
            let event = reader.read_event().map_err(|error| malformed(&error))?;
            let Some(top) = open.last_mut() else { return Err(Malformed("unbalanced".to_owned())) };
            match event {
                Event::Start(start) => {
                    if open.len() > DEPTH_MAX {
                        return Err(Malformed(format!("nested more than {DEPTH_MAX} deep")));
                    }
                    open.push(Self::new(start.name().as_ref()));
                }
                Event::Empty(start) => top.children.push(Self::new(start.name().as_ref())),
                Event::End(_) => {
                    let node = open.pop();
                    match (node, open.last_mut()) {
                        (Some(node), Some(parent)) => parent.children.push(node),
                        _ => return Err(Malformed("unbalanced".to_owned())),
                    }
                }
                Event::Text(part) => top.text.push_str(&part),
                Event::CData(part) => top.text.push_str(&part),
                Event::GeneralRef(entity) => {
                    let name: &str = &entity;
                    match entity.resolve_char_ref().map_err(|error| malformed(&error))? {
                        Some(c) => top.text.push(c),
                        None => top.text.push_str(
                            resolve_xml_entity(name)
                                .ok_or_else(|| Malformed(format!("unknown entity &{name};")))?,
                        ),
                    }
                }
                Event::DocType(_) => return Err(Malformed("a document type is not allowed".to_owned())),
                Event::Eof => break,
                _ => {}
            }
        }
        let mut root =
            open.pop().filter(|_| open.is_empty()).ok_or_else(|| Malformed("cut short".to_owned()))?;
        match (root.children.pop(), root.children.is_empty()) {
            (Some(node), true) => Ok(node),
            _ => Err(Malformed("not one element".to_owned())),
        }
    }

    fn expect(&self, name: &str) -> Result<(), Malformed> {
        if self.name == name {
            Ok(())
        } else {
            Err(Malformed(format!("<{}> instead of <{name}>", self.name)))
        }
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The value that this `<value>` holds.
    fn value(&self) -> Result<Value, Malformed> {
        let Some(typed) = self.children.first() else { return Ok(Value::Text(self.text.clone())) };
        let wrong = || Malformed(format!("<{}> holds {:?}", typed.name, typed.text));
        match typed.name.as_str() {
            "string" => Ok(Value::Text(typed.text.clone())),
            "int" | "i4" | "i8" => typed.text.trim().parse().map(Value::Int).map_err(|_| wrong()),
            "boolean" => match typed.text.trim() {
                "0" => Ok(Value::Bool(false)),
                "1" => Ok(Value::Bool(true)),
                _ => Err(wrong()),
            },
            "double" => typed.text.trim().parse().map(Value::Double).map_err(|_| wrong()),
            "nil" => Ok(Value::Nil),
            "dateTime.iso8601" | "base64" => Ok(Value::Text(typed.text.trim().to_owned())),
            "array" => {
                let data = typed.child("data").ok_or_else(wrong)?;
                data.children.iter().map(Self::value).collect::<Result<_, _>>().map(Value::Array)
            }
            "struct" => typed
                .children
                .iter()
                .map(|member| {
                    let name = member.child("name").ok_or_else(wrong)?.text.clone();
                    Ok((name, member.child("value").ok_or_else(wrong)?.value()?))
                })
                .collect::<Result<_, _>>()
                .map(Value::Struct),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, params: &[Value]) -> MethodCall {
        MethodCall { name: name.to_owned(), params: params.to_vec() }
    }

    #[test]
    fn calls_are_read_as_leniently_as_supervisord_reads_them() {
        for (body, expected) in [
            (
                "<methodCall><methodName>supervisor.getState</methodName></methodCall>",
                call("supervisor.getState", &[]),
            ),
            (
                "<?xml version='1.0'?>\n<methodCall>\n<methodName>a.b</methodName>\n<params>\n<param>\n\
                 <value><string>x &amp; y&#10;z</string></value>\n</param>\n<param><value>bare</value></param>\
                 <param><value><i4>-7</i4></value></param><param><value><boolean>1</boolean></value></param>\
                 </params></methodCall>",
                call("a.b", &["x & y\nz".into(), "bare".into(), Value::Int(-7), true.into()]),
            ),
            (
                "<methodCall><methodName>a.b</methodName><params><param><value><array><data><value><struct>\
                 <member><name>k</name><value><string/></value></member></struct></value></data></array></value>\
                 </param></params></methodCall>",
                call("a.b", &[Value::Array(vec![Value::Struct(vec![("k".to_owned(), "".into())])])]),
            ),
        ] {
            assert_eq!(parse_call(body.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn hostile_calls_are_refused() {
        let deep = format!(
            "<methodCall><methodName>a.b</methodName><params><param>{}</param></params></methodCall>",
            "<value><array><data>".repeat(20_000)
        );
        let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\">]><methodCall><methodName>&a;</methodName></methodCall>";
        for body in [
            "",
            "x",
            "<methodCall>",
            "<methodCall></methodCall>",
            "<methodCall><methodName></methodName></methodCall>",
            "<methodResponse></methodResponse>",
            "<methodCall><methodName>a.b</methodName><params><param><value><int>x</int></value></param></params></methodCall>",
            "<methodCall><methodName>&nope;</methodName></methodCall>",
            "<methodCall/><methodCall/>",
            laughs,
            &deep,
        ] {
            assert!(parse_call(body.as_bytes()).is_err(), "{}", &body[..body.len().min(80)]);
        }
        assert!(parse_call(b"\xff<methodCall/>").is_err());
    }

    #[test]
    fn whatever_a_log_contains_comes_back_as_valid_xml() {
        let value = Value::Text("a\u{1b}[31m<b>&\0\r\n\u{fffe}é".to_owned());
        let text = write_response(&Ok(value));
        let back = parse_response(text.as_bytes()).expect("valid XML").expect("no fault");
        assert_eq!(back, Value::Text("a\u{fffd}[31m<b>&\u{fffd}\n\n\u{fffd}é".to_owned()));
    }

    #[test]
    fn answers_and_faults_are_written_as_clients_read_them() {
        let value = Value::Struct(vec![
            ("n".to_owned(), Value::Int(5_000_000_000)),
            ("l".to_owned(), Value::Array(vec![false.into()])),
        ]);
        assert_eq!(
            write_response(&Ok(value)),
            "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><struct>\n<member>\n<name>n</name>\n\
             <value><int>2147483647</int></value>\n</member>\n<member>\n<name>l</name>\n<value><array><data>\n\
             <value><boolean>0</boolean></value>\n</data></array></value>\n</member>\n</struct></value>\n</param>\n\
             </params>\n</methodResponse>\n"
        );
        let fault = Fault { code: 10, text: "BAD_NAME: <x>".to_owned() };
        let text = write_response(&Err(fault.clone()));
        assert!(text.contains("BAD_NAME: &lt;x&gt;"));
        assert_eq!(parse_response(text.as_bytes()), Ok(Err(fault)));
        let sent = write_call("a.b", &["x".into(), Value::Int(1)]);
        assert_eq!(parse_call(sent.as_bytes()), Ok(call("a.b", &["x".into(), Value::Int(1)])));
    }
}
