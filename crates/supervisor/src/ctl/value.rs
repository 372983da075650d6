//! Members of the answers that the client reads, with what counts when they are missing.

use super::xmlrpc::Value;

/// A text; empty if there is none.
pub(super) fn field<'a>(info: &'a Value, name: &str) -> &'a str {
    info.member(name).and_then(Value::text).unwrap_or_default()
}

/// A number; 0 if there is none.
pub(super) fn number(info: &Value, name: &str) -> i64 {
    info.member(name).and_then(Value::int).unwrap_or(0)
}

/// A truth, also as the number that some servers send; nothing if there is none.
pub(super) fn truth(info: &Value, name: &str) -> Option<bool> {
    match info.member(name)? {
        Value::Bool(value) => Some(*value),
        Value::Int(number) => Some(*number != 0),
        _ => None,
    }
}

/// The same as JSON.
pub(super) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Int(number) => (*number).into(),
        Value::Bool(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Double(number) => (*number).into(),
        Value::Nil => serde_json::Value::Null,
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Struct(members) => serde_json::Value::Object(
            members.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
        ),
    }
}
