//! What the interface tells about itself: every method with its help and its signature.

use super::fault::{Fault, FaultCode};
use super::server::Answer;
use super::xmlrpc::{MethodCall, Value};

const NAME: &str = "@param string name  The program, or group:program";
const GROUP: &str = "@param string name  The group";
const OFFSET: &str = "@param int offset  Where to begin; negative: that many bytes before the end";
const LENGTH: &str = "@param int length  How many bytes; 0: up to the end";
const TAIL_OFFSET: &str = "@param int offset  Where to begin";
const TAIL_LENGTH: &str = "@param int length  How many bytes at most";
const TAIL: &str =
    "@return array result  The text, the offset to go on from, and whether something was left out";
const SIGNAL: &str = "@param string signal  Its name (HUP) or its number (1)";
const WAIT_STARTED: &str =
    "@param boolean wait  Whether to answer only when it has started; true if left out";
const WAIT_STOPPED: &str =
    "@param boolean wait  Whether to answer only when it has stopped; true if left out";
const DONE: &str = "@return boolean result  True, or a fault";
const STATUSES: &str = "@return array result  A struct for each program: name, group, status, description";
const TEXT: &str = "@return string result  The text";

struct Method {
    name: &'static str,
    help: &'static str,
    tags: &'static [&'static str],
}

const fn method(name: &'static str, help: &'static str, tags: &'static [&'static str]) -> Method {
    Method { name, help, tags }
}

const API_VERSION: Method = method(
    "supervisor.getAPIVersion",
    "Tell the version of this interface.",
    &["@return string version  Its version"],
);
const CLEAR: Method = method(
    "supervisor.clearProcessLogs",
    "Empty the logs of a program and go on writing them.",
    &[NAME, DONE],
);
const READ_LOG: Method =
    method("supervisor.readLog", "Read from the daemon's own log.", &[OFFSET, LENGTH, TEXT]);
const READ_STDOUT: Method = method(
    "supervisor.readProcessStdoutLog",
    "Read from the log of a program's standard output.",
    &[NAME, OFFSET, LENGTH, TEXT],
);
const TAIL_STDOUT: Method = method(
    "supervisor.tailProcessStdoutLog",
    "Read what a program's log of standard output has gained since an offset, or the end of it.",
    &[NAME, TAIL_OFFSET, TAIL_LENGTH, TAIL],
);

const fn alias(name: &'static str, of: &Method) -> Method {
    Method { name, help: of.help, tags: of.tags }
}

/// Sorted by name, as clients get them.
const METHODS: [Method; 41] = [
    method(
        "supervisor.addProcessGroup",
        "Take a group of the configuration into use, and start what starts by itself.",
        &[GROUP, DONE],
    ),
    method("supervisor.clearAllProcessLogs", "Empty the logs of every program.", &[STATUSES]),
    method("supervisor.clearLog", "Empty the daemon's own log.", &[DONE]),
    alias("supervisor.clearProcessLog", &CLEAR),
    CLEAR,
    API_VERSION,
    method(
        "supervisor.getAllConfigInfo",
        "Tell how every program of the configuration is configured, in use or not.",
        &["@return array result  A struct for each program"],
    ),
    method(
        "supervisor.getAllProcessInfo",
        "Tell how every program is doing.",
        &["@return array result  A struct for each program"],
    ),
    method(
        "supervisor.getIdentification",
        "Tell the name that the configuration gives this daemon.",
        &["@return string identifier  The name"],
    ),
    method("supervisor.getPID", "Tell the process id of the daemon.", &["@return int pid  The process id"]),
    method(
        "supervisor.getProcessInfo",
        "Tell how a program is doing.",
        &[NAME, "@return struct result  What is known of it"],
    ),
    method(
        "supervisor.getState",
        "Tell the state of the daemon.",
        &["@return struct state  int statecode and string statename"],
    ),
    method(
        "supervisor.getSupervisorVersion",
        "Tell the version of the daemon.",
        &["@return string version  Its version"],
    ),
    alias("supervisor.getVersion", &API_VERSION),
    READ_LOG,
    alias("supervisor.readMainLog", &READ_LOG),
    alias("supervisor.readProcessLog", &READ_STDOUT),
    method(
        "supervisor.readProcessStderrLog",
        "Read from the log of a program's standard error.",
        &[NAME, OFFSET, LENGTH, TEXT],
    ),
    READ_STDOUT,
    method(
        "supervisor.reloadConfig",
        "Read the configuration again and tell which groups differ from those in use; nothing is changed by it.",
        &["@return array result  One array that holds three: the groups added, changed and removed"],
    ),
    method(
        "supervisor.removeProcessGroup",
        "Take a group whose programs are stopped out of use.",
        &[GROUP, DONE],
    ),
    method("supervisor.restart", "Stop every program and start the daemon anew.", &[DONE]),
    method(
        "supervisor.sendProcessStdin",
        "Write to the standard input of a program, as UTF-8.",
        &[NAME, "@param string chars  What to write", DONE],
    ),
    method(
        "supervisor.sendRemoteCommEvent",
        "Send an event to the listeners that want REMOTE_COMMUNICATION.",
        &["@param string type  Its type", "@param string data  Its content", DONE],
    ),
    method("supervisor.shutdown", "Stop every program and end the daemon.", &[DONE]),
    method("supervisor.signalAllProcesses", "Send a signal to every program that runs.", &[SIGNAL, STATUSES]),
    method("supervisor.signalProcess", "Send a signal to a program.", &[NAME, SIGNAL, DONE]),
    method(
        "supervisor.signalProcessGroup",
        "Send a signal to the programs of a group that run.",
        &[GROUP, SIGNAL, STATUSES],
    ),
    method(
        "supervisor.startAllProcesses",
        "Start every program that does not run.",
        &[WAIT_STARTED, STATUSES],
    ),
    method(
        "supervisor.startProcess",
        "Start a program, or with group:* those of a group.",
        &[NAME, WAIT_STARTED, DONE],
    ),
    method(
        "supervisor.startProcessGroup",
        "Start the programs of a group that do not run.",
        &[GROUP, WAIT_STARTED, STATUSES],
    ),
    method("supervisor.stopAllProcesses", "Stop every program that runs.", &[WAIT_STOPPED, STATUSES]),
    method(
        "supervisor.stopProcess",
        "Stop a program, or with group:* those of a group.",
        &[NAME, WAIT_STOPPED, DONE],
    ),
    method(
        "supervisor.stopProcessGroup",
        "Stop the programs of a group that run.",
        &[GROUP, WAIT_STOPPED, STATUSES],
    ),
    alias("supervisor.tailProcessLog", &TAIL_STDOUT),
    method(
        "supervisor.tailProcessStderrLog",
        "Read what a program's log of standard error has gained since an offset, or the end of it.",
        &[NAME, TAIL_OFFSET, TAIL_LENGTH, TAIL],
    ),
    TAIL_STDOUT,
    method("system.listMethods", "Tell the names of all methods.", &["@return array result  The names"]),
    method(
        "system.methodHelp",
        "Tell what a method does.",
        &["@param string name  The method", "@return string result  Its help"],
    ),
    method(
        "system.methodSignature",
        "Tell the types of a method: of what it returns, then of its parameters.",
        &["@param string name  The method", "@return array result  The types"],
    ),
    method(
        "system.multicall",
        "Make many calls in one, each after the one before it has been answered; a fault stops none.",
        &[
            "@param array calls  Structs of string methodName and array params",
            "@return array result  What each returned, or a struct of int faultCode and string faultString",
        ],
    ),
];

/// The answer to a call that asks for these; nothing if it is another.
pub(super) fn answer(call: &MethodCall) -> Option<Answer> {
    let of = |find: fn(&str) -> Answer| match call.params.as_slice() {
        [Value::Text(name)] => find(name),
        [_] => Err(Fault::bare(FaultCode::SignatureUnsupported)),
        _ => Err(Fault::bare(FaultCode::IncorrectParameters)),
    };
    match call.name.as_str() {
        "system.listMethods" if call.params.is_empty() => Some(Ok(list())),
        "system.listMethods" => Some(Err(Fault::bare(FaultCode::IncorrectParameters))),
        "system.methodHelp" => Some(of(help)),
        "system.methodSignature" => Some(of(signature)),
        _ => None,
    }
}

/// The names of all methods.
fn list() -> Value {
    Value::Array(METHODS.iter().map(|method| method.name.into()).collect())
}

/// What a method does, and its parameters.
fn help(name: &str) -> Answer {
    let method = find(name)?;
    let mut text = format!(" {}\n\n", method.help);
    for tag in method.tags {
        text += &format!("        {tag}\n");
    }
    Ok(text.into())
}

/// The types of a method: of what it returns, then of its parameters.
fn signature(name: &str) -> Answer {
    let tags = find(name)?.tags;
    let typed = |kind| {
        tags.iter().filter_map(move |tag| {
            let mut words = tag.split_whitespace();
            (words.next() == Some(kind)).then(|| words.next().unwrap_or_default().into())
        })
    };
    Ok(Value::Array(typed("@return").chain(typed("@param")).collect()))
}

fn find(name: &str) -> Result<&'static Method, Fault> {
    let found = METHODS.iter().find(|method| method.name == name);
    found.ok_or_else(|| Fault::bare(FaultCode::SignatureUnsupported))
}
