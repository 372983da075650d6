//! `system.multicall`: which calls it holds.

use super::fault::{Fault, FaultCode};
use super::xmlrpc::{MethodCall, Value};

/// Its name.
pub(super) const NAME: &str = "system.multicall";

/// The calls of a `system.multicall`; those that cannot be made are faults of their own.
pub(super) fn calls(params: Vec<Value>, calls_max: usize) -> Result<Vec<Result<MethodCall, Fault>>, Fault> {
    let wrong = || Fault::bare(FaultCode::IncorrectParameters);
    let calls = match <[Value; 1]>::try_from(params) {
        Ok([Value::Array(calls)]) => calls,
        // An empty text is as empty as an empty array.
        Ok([Value::Text(text)]) if text.is_empty() => Vec::new(),
        _ => return Err(wrong()),
    };
    if calls.len() > calls_max {
        let why = format!("more than {calls_max} calls in one {NAME}");
        return Err(Fault::new(FaultCode::IncorrectParameters, &why));
    }
    if calls.iter().any(|call| !matches!(call, Value::Struct(_))) {
        return Err(wrong());
    }
    Ok(calls.into_iter().map(call).collect())
}

fn call(call: Value) -> Result<MethodCall, Fault> {
    let incorrect = |why| Fault::new(FaultCode::IncorrectParameters, why);
    let name = match call.member("methodName") {
        None | Some(Value::Nil) => return Err(incorrect("No methodName")),
        Some(Value::Text(name)) if name == NAME => {
            return Err(incorrect("Recursive system.multicall forbidden"));
        }
        Some(Value::Text(name)) => name.clone(),
        Some(_) => return Err(Fault::bare(FaultCode::IncorrectParameters)),
    };
    // Whatever can be gone through has parameters: the letters of a text, the names of a struct.
    let params = match call.member("params") {
        None => Vec::new(),
        Some(Value::Array(params)) => params.clone(),
        Some(Value::Text(text)) => text.chars().map(|c| c.to_string().into()).collect(),
        Some(Value::Struct(members)) => members.iter().map(|(name, _)| name.as_str().into()).collect(),
        Some(_) => return Err(Fault::bare(FaultCode::IncorrectParameters)),
    };
    Ok(MethodCall { name, params })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, value: Value) -> (String, Value) {
        (name.to_owned(), value)
    }

    #[test]
    fn what_is_no_list_of_calls_is_refused() {
        for params in [
            vec![],
            vec![Value::Int(1)],
            vec!["x".into()],
            vec![Value::Nil],
            vec![Value::Struct(vec![])],
            vec![Value::Array(vec![]), Value::Array(vec![])],
            vec![Value::Array(vec![Value::Int(1)])],
            vec![Value::Array(vec![Value::Struct(vec![]); 4])],
        ] {
            assert_eq!(calls(params.clone(), 3).map_err(|fault| fault.code), Err(2), "{params:?}");
        }
        assert_eq!(calls(vec!["".into()], 3), Ok(vec![]));
        assert_eq!(
            calls(vec![Value::Array(vec![Value::Struct(vec![]); 4])], 3).unwrap_err().text,
            "INCORRECT_PARAMETERS: more than 3 calls in one system.multicall"
        );
    }

    #[test]
    fn each_call_is_judged_by_itself() {
        let name = |name: Value| member("methodName", name);
        let made = |params: Vec<Value>| Ok(MethodCall { name: "a.b".to_owned(), params });
        let wrong = |text: &str| Err(Fault { code: 2, text: text.to_owned() });
        for (members, expected) in [
            (vec![name("a.b".into())], made(vec![])),
            (
                vec![name("a.b".into()), member("params", Value::Array(vec![Value::Int(1)]))],
                made(vec![Value::Int(1)]),
            ),
            (vec![name("a.b".into()), member("params", "xy".into())], made(vec!["x".into(), "y".into()])),
            (
                vec![name("a.b".into()), member("params", Value::Struct(vec![member("k", Value::Nil)]))],
                made(vec!["k".into()]),
            ),
            (vec![name("a.b".into()), member("params", Value::Int(1))], wrong("INCORRECT_PARAMETERS")),
            (vec![], wrong("INCORRECT_PARAMETERS: No methodName")),
            (vec![name(Value::Int(1))], wrong("INCORRECT_PARAMETERS")),
            (vec![name(NAME.into())], wrong("INCORRECT_PARAMETERS: Recursive system.multicall forbidden")),
        ] {
            assert_eq!(call(Value::Struct(members.clone())), expected, "{members:?}");
        }
    }
}
