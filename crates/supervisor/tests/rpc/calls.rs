//! Calls and their answers.

use supervisor::ctl::xmlrpc::Value;

use crate::daemon::{Daemon, SLEEPER};
use crate::wire::texts;

#[test]
fn every_method_tells_its_help_and_the_signature_that_clients_know() {
    let daemon = Daemon::start(SLEEPER);
    let methods = daemon.call("system.listMethods", &[]).unwrap();
    let told: Vec<String> = texts(&methods)
        .into_iter()
        .map(|method| {
            let help = daemon.call("system.methodHelp", &[method.into()]).unwrap();
            assert!(help.text().unwrap().contains("@return"), "{method}");
            let types = daemon.call("system.methodSignature", &[method.into()]).unwrap();
            format!("{method} {}", texts(&types).join(" "))
        })
        .collect();
    assert_eq!(told.join("\n"), SIGNATURES.trim());
    assert_eq!(daemon.call("system.methodHelp", &["no".into()]), Err(4));
    assert_eq!(daemon.call("system.methodSignature", &[Value::Int(1)]), Err(4));
    assert_eq!(daemon.call("system.methodSignature", &[]), Err(2));
    assert_eq!(daemon.call("system.listMethods", &[Value::Int(1)]), Err(2));
}

/// What supervisor 4.3 answers to `system.methodSignature`, for each of `system.listMethods`.
const SIGNATURES: &str = "
supervisor.addProcessGroup boolean string
supervisor.clearAllProcessLogs array
supervisor.clearLog boolean
supervisor.clearProcessLog boolean string
supervisor.clearProcessLogs boolean string
supervisor.getAPIVersion string
supervisor.getAllConfigInfo array
supervisor.getAllProcessInfo array
supervisor.getIdentification string
supervisor.getPID int
supervisor.getProcessInfo struct string
supervisor.getState struct
supervisor.getSupervisorVersion string
supervisor.getVersion string
supervisor.readLog string int int
supervisor.readMainLog string int int
supervisor.readProcessLog string string int int
supervisor.readProcessStderrLog string string int int
supervisor.readProcessStdoutLog string string int int
supervisor.reloadConfig array
supervisor.removeProcessGroup boolean string
supervisor.restart boolean
supervisor.sendProcessStdin boolean string string
supervisor.sendRemoteCommEvent boolean string string
supervisor.shutdown boolean
supervisor.signalAllProcesses array string
supervisor.signalProcess boolean string string
supervisor.signalProcessGroup array string string
supervisor.startAllProcesses array boolean
supervisor.startProcess boolean string boolean
supervisor.startProcessGroup array string boolean
supervisor.stopAllProcesses array boolean
supervisor.stopProcess boolean string boolean
supervisor.stopProcessGroup array string boolean
supervisor.tailProcessLog array string int int
supervisor.tailProcessStderrLog array string int int
supervisor.tailProcessStdoutLog array string int int
system.listMethods array
system.methodHelp string string
system.methodSignature array string
system.multicall array array
";

#[test]
fn many_calls_in_one_are_made_one_after_the_other() {
    let config = "[program.slow]\ncommand = \"sleep 1000\"\nautostart = false\nstartsecs = 1\n";
    let daemon = Daemon::start(config);
    let call = |method: &str, params: &[Value]| {
        let member = |name: &str, value: Value| (name.to_owned(), value);
        Value::Struct(vec![
            member("methodName", method.into()),
            member("params", Value::Array(params.to_vec())),
        ])
    };
    let calls = Value::Array(vec![
        call("supervisor.startProcess", &["slow".into()]),
        call("supervisor.getProcessInfo", &["slow".into()]),
        call("supervisor.startProcess", &["slow".into()]),
        call("supervisor.nope", &[]),
        call("system.multicall", &[]),
        call("supervisor.stopProcess", &["slow".into()]),
        call("supervisor.getProcessInfo", &["slow".into()]),
        call("system.methodSignature", &["supervisor.getPID".into()]),
        Value::Struct(vec![]),
    ]);
    let results = daemon.call("system.multicall", &[calls]).unwrap();
    let told: Vec<String> = results
        .items()
        .iter()
        .map(|result| match (result.member("statename"), result.member("faultString")) {
            (Some(state), _) => state.to_string(),
            (_, Some(fault)) => fault.to_string(),
            _ => result.to_string(),
        })
        .collect();
    assert_eq!(
        told,
        [
            "True",
            "RUNNING",
            "ALREADY_STARTED: slow",
            "UNKNOWN_METHOD",
            "INCORRECT_PARAMETERS: Recursive system.multicall forbidden",
            "True",
            "STOPPED",
            "['int']",
            "INCORRECT_PARAMETERS: No methodName",
        ]
    );
}
