//! What must hold for every call and answer on the wire, whoever made it.

use super::method::Call;
use super::xmlrpc::{Value, parse_call, parse_response, write_call, write_response};

/// A call, or an answer as a client gets it. What is read and written twice is the same both times.
pub fn xmlrpc(input: &[u8]) -> bool {
    if let Ok(answer) = parse_response(input) {
        let once = parse_response(write_response(&answer).as_bytes()).expect("we read what we write");
        let twice = parse_response(write_response(&once).as_bytes()).expect("we read what we write");
        // As text: one number is not equal to itself.
        assert_eq!(format!("{once:?}"), format!("{twice:?}"));
    }
    let Ok(call) = parse_call(input) else { return false };
    let again = |name: &str, params: &[Value]| {
        parse_call(write_call(name, params).as_bytes()).expect("we read what we write")
    };
    let once = again(&call.name, &call.params);
    let twice = again(&once.name, &once.params);
    assert_eq!(format!("{once:?}"), format!("{twice:?}"));
    assert_eq!(once.params.len(), call.params.len());
    if let Err(fault) = Call::parse(call) {
        let answer = write_response(&Err(fault));
        assert!(matches!(parse_response(answer.as_bytes()), Ok(Err(_))), "{answer}");
    }
    true
}
