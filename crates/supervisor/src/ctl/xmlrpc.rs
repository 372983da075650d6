//! XML-RPC on the wire: calls, answers and faults; quick-xml carries the XML.

use std::fmt::{self, Write};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::Event;

use super::fault::Fault;

/// How deep elements may be nested.
const DEPTH_MAX: usize = 32;
/// Elements of one call; a thousand calls in one have half of them.
const CALL_ELEMENTS_MAX: usize = 1 << 15;

/// Base64 with or without its padding.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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

impl From<Fault> for Value {
    fn from(fault: Fault) -> Self {
        let code = Self::Int(i64::from(fault.code));
        Self::Struct(vec![("faultCode".to_owned(), code), ("faultString".to_owned(), Self::Text(fault.text))])
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
            Self::Struct(members) => {
                members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
            }
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

/// As Python writes it, which is how supervisord names a wrong value in a fault.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            other => other.represent(f),
        }
    }
}

impl Value {
    fn represent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Double(number) => write!(f, "{number:?}"),
            Self::Nil => f.write_str("None"),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Array(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    f.write_str(if place > 0 { ", " } else { "" })?;
                    item.represent(f)?;
                }
                f.write_str("]")
            }
            Self::Struct(members) => {
                f.write_str("{")?;
                for (place, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}'{name}': ", if place > 0 { ", " } else { "" })?;
                    value.represent(f)?;
                }
                f.write_str("}")
            }
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
    let root = Node::parse(body, CALL_ELEMENTS_MAX)?;
    let name = root.child("methodName").map(|name| name.text.clone()).unwrap_or_default();
    if name.is_empty() {
        return Err(Malformed("no methodName".to_owned()));
    }
    let params = match root.child("params") {
        Some(params) => params.children.iter().map(Node::value).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    Ok(MethodCall { name, params })
}

/// Reads an answer: the value, or the fault.
pub fn parse_response(body: &[u8]) -> Result<Result<Value, Fault>, Malformed> {
    let root = Node::parse(body, usize::MAX)?;
    if root.name != "methodResponse" {
        return Err(Malformed(format!("<{}> instead of <methodResponse>", root.name)));
    }
    if let Some(fault) = root.child("fault") {
        let value =
            fault.child("value").ok_or_else(|| Malformed("fault without value".to_owned()))?.value()?;
        let code = value.member("faultCode").and_then(Value::int).and_then(|code| i32::try_from(code).ok());
        let text = value.member("faultString").and_then(Value::text).unwrap_or_default().to_owned();
        return Ok(Err(Fault { code: code.unwrap_or(0), text }));
    }
    match root.child("params").and_then(|params| params.children.first()) {
        Some(first) => Ok(Ok(first.value()?)),
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

const ANSWER: &str = "<?xml version='1.0'?>\n<methodResponse>\n";
const ANSWER_END: &str = "</methodResponse>\n";
const PARAMS: &str = "<params>\n<param>\n";
const PARAMS_END: &str = "\n</param>\n</params>\n";

/// Writes an answer.
#[must_use]
pub fn write_response(answer: &Result<Value, Fault>) -> String {
    let mut out = String::from(ANSWER);
    match answer {
        Ok(value) => {
            out.push_str(PARAMS);
            write_value(&mut out, value);
            out.push_str(PARAMS_END);
        }
        Err(fault) => {
            out.push_str("<fault>\n");
            write_value(&mut out, &fault.clone().into());
            out.push_str("\n</fault>\n");
        }
    }
    out.push_str(ANSWER_END);
    out
}

/// An answer with the results of many calls, written as they come.
#[derive(Debug)]
pub struct Results(String);

impl Default for Results {
    fn default() -> Self {
        Self(format!("{ANSWER}{PARAMS}<value><array><data>\n"))
    }
}

impl Results {
    /// Adds the next one.
    pub fn push(&mut self, result: Result<Value, Fault>) {
        write_value(&mut self.0, &result.unwrap_or_else(Value::from));
        self.0.push('\n');
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The answer.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push_str("</data></array></value>");
        self.0.push_str(PARAMS_END);
        self.0.push_str(ANSWER_END);
        self.0
    }
}

fn write_value(out: &mut String, value: &Value) {
    out.push_str("<value>");
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Int(number) => {
            write!(out, "<int>{}</int>", (*number).clamp(i64::from(i32::MIN), i64::from(i32::MAX)))
        }
        Value::Bool(value) => write!(out, "<boolean>{}</boolean>", u8::from(*value)),
        Value::Text(text) => {
            out.push_str("<string>");
            write_text(out, text);
            write!(out, "</string>")
        }
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
                out.push_str("<member>\n<name>");
                write_text(out, name);
                out.push_str("</name>\n");
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
fn write_text(out: &mut String, mut text: &str) {
    let special = |c: char| {
        matches!(c, '&' | '<' | '>' | '\u{fffe}' | '\u{ffff}')
            || (c.is_control() && !matches!(c, '\t' | '\n'))
    };
    while let Some((place, c)) = text.char_indices().find(|(_, c)| special(*c)) {
        out.push_str(&text[..place]);
        out.push_str(match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\r' => "\n",
            _ => "\u{fffd}",
        });
        text = &text[place + c.len_utf8()..];
    }
    out.push_str(text);
}

/// A whole number as Python reads it: white space around it and `_` between digits do not matter.
#[must_use]
pub fn int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let grouped = digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    // Python's numbers have no end; here the largest stands for those beyond it.
    let add = |sum: i64, digit: u8| sum.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0'));
    grouped.then(|| digits.bytes().filter(|b| *b != b'_').fold(0, add))
}

/// An element with its elements, and the text before the first of them.
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

    fn parse(body: &[u8], elements_max: usize) -> Result<Self, Malformed> {
        let malformed = |error: &dyn fmt::Display| Malformed(error.to_string());
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::new("")];
        let mut elements = 0;
        loop {
            let event = reader.read_event().map_err(|error| malformed(&error))?;
            let outside = open.len() == 1;
            let Some(top) = open.last_mut() else { return Err(Malformed("unbalanced".to_owned())) };
            if matches!(event, Event::Start(_) | Event::Empty(_)) {
                elements += 1;
                if elements > elements_max {
                    return Err(Malformed(format!("more than {elements_max} elements")));
                }
            }
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
                Event::Text(part) if outside && !part.trim().is_empty() => {
                    return Err(Malformed("text outside the element".to_owned()));
                }
                Event::Text(part) => top.push(&part),
                Event::CData(part) => top.push(&part),
                Event::GeneralRef(entity) => {
                    let name: &str = &entity;
                    match entity.resolve_char_ref().map_err(|error| malformed(&error))? {
                        Some(c) => top.push(c.encode_utf8(&mut [0; 4])),
                        None => top.push(
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

    fn push(&mut self, text: &str) {
        if self.children.is_empty() {
            self.text.push_str(text);
        }
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// What this element means, by the rules of supervisord, which look at places rather than names.
    fn value(&self) -> Result<Value, Malformed> {
        let text = self.text.as_str();
        let wrong = || Malformed(format!("<{}> holds {text:?}", self.name));
        let first = || self.children.first().ok_or_else(wrong)?.value();
        match self.name.as_str() {
            "value" if self.children.is_empty() => Ok(text.into()),
            "value" | "param" | "array" => first(),
            "data" => self.children.iter().map(Self::value).collect::<Result<_, _>>().map(Value::Array),
            "struct" => {
                let members = self.children.iter().map(|member| match member.children.as_slice() {
                    [name, value] => Ok((name.text.clone(), value.value()?)),
                    _ => Err(wrong()),
                });
                members.collect::<Result<_, _>>().map(Value::Struct)
            }
            "string" => Ok(text.into()),
            "int" | "i4" | "i8" => int(text).map(Value::Int).ok_or_else(wrong),
            "boolean" => Ok(Value::Bool(text == "1")),
            "double" => text.trim().parse().map(Value::Double).map_err(|_| wrong()),
            "base64" => {
                let packed: String = text.split_ascii_whitespace().collect();
                let bytes = BASE64.decode(packed).map_err(|_| wrong())?;
                String::from_utf8(bytes).map(Value::Text).map_err(|_| wrong())
            }
            "dateTime.iso8601" if is_date(text) => Ok(text.into()),
            "dateTime.iso8601" => Err(wrong()),
            _ if text.is_empty() => Ok(Value::Nil),
            _ => Ok(text.into()),
        }
    }
}

/// Whether this is such as `20261231T23:59:59`.
fn is_date(text: &str) -> bool {
    let shape = "ddddddddTdd:dd:dd";
    text.len() == shape.len()
        && shape.bytes().zip(text.bytes()).all(|(s, t)| if s == b'd' { t.is_ascii_digit() } else { s == t })
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
