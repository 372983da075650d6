//! Calls as no well-behaved client makes them, before the genuine daemon and before ours.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use stack_tests::{Supervisord, Which};

const PROGRAMS: &str = "
[program:cat]
command=cat
startsecs=0
stdout_logfile=HERE/cat.log
[program:idle]
command=sleep 1000
autostart=false
stdout_logfile=NONE
stderr_logfile=NONE
";

/// What both answer, or what ours answers instead.
enum Answer {
    Same,
    Ours(&'static str),
}
use Answer::{Ours, Same};

/// The genuine one fails inside and answers 500, with a traceback in its log.
const FAULT_2: Answer = Ours("200 fault 2 INCORRECT_PARAMETERS");

fn call(method: &str, params: &[&str]) -> Vec<u8> {
    let params: String =
        params.iter().map(|value| format!("<param><value>{value}</value></param>")).collect();
    post(&format!("<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"))
}

fn post(body: &str) -> Vec<u8> {
    format!("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn to(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// The status, and what the body tells: a fault, the text of the values of an answer, or a page.
fn ask(daemon: &Supervisord, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(daemon.path("supervisor.sock")).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).into_owned();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let mut body = vec![0; field("Content-Length: ").parse().unwrap_or(0)];
    stream.read_exact(&mut body).expect("as long as it says");
    let body = String::from_utf8_lossy(&body).into_owned();
    let status = head.split(' ').nth(1).unwrap_or("nothing");
    let kind = field("Content-Type: ");
    if kind != "text/xml" {
        return format!("{status} {kind} {}", body.lines().last().unwrap_or_default()).trim_end().to_owned();
    }
    let values: Vec<&str> = body
        .split('<')
        .filter_map(|tag| tag.split_once('>'))
        .filter(|(tag, _)| ["string", "int", "boolean", "name"].contains(tag))
        .map(|(_, value)| value)
        .collect();
    match values.as_slice() {
        ["faultCode", code, "faultString", text] if body.contains("<fault>") => {
            format!("{status} fault {code} {text}")
        }
        values => format!("{status} {}", values.join(" ")),
    }
}

fn calls() -> Vec<(Vec<u8>, Answer)> {
    let s = |text: &str| format!("supervisor.{text}");
    let date = "<dateTime.iso8601>20200101T00:00:00</dateTime.iso8601>";
    let array = "<array><data><value>x</value></data></array>";
    let none = "<struct></struct>";
    let mut calls = Vec::new();
    let mut add = |bytes: Vec<u8>, answer| calls.push((bytes, answer));

    // Names.
    for name in ["", ".", "a.b", "getState", "supervisor.", "supervisor._update", "system._listMethods"] {
        add(call(name, &[]), Same);
    }
    for name in [
        "supervisor.supervisord",
        "supervisor.supervisord.options.execve",
        "system.namespaces",
        "supervisor.getstate",
        " supervisor.getState",
        "supervisor.getState\n",
        "__class__.x",
        "supervisor.__init__",
    ] {
        add(call(name, &["x"]), Same);
    }
    // How many parameters.
    for (method, params) in [
        ("getState", &["x"][..]),
        ("getProcessInfo", &[]),
        ("getProcessInfo", &["cat", "x"]),
        ("startAllProcesses", &["x", "y"]),
        ("signalAllProcesses", &[]),
        ("readLog", &["<int>0</int>"]),
        ("readProcessStdoutLog", &["cat", "<int>0</int>"]),
        ("sendProcessStdin", &["cat"]),
        ("sendRemoteCommEvent", &["a"]),
        ("clearLog", &["a"]),
    ] {
        add(call(&s(method), params), Same);
    }
    // A program's name that is none.
    for name in ["<int>1</int>", "<boolean>1</boolean>", "<double>1.5</double>", "<nil/>", array, none] {
        for method in ["getProcessInfo", "startProcess", "stopProcess", "clearProcessLogs"] {
            add(call(&s(method), &[name]), FAULT_2);
        }
    }
    for name in ["", "nope", "cat:", ":", "cat:*", "cat:nope", "<string>cat:*</string>"] {
        add(call(&s("getProcessInfo"), &[name]), Same);
    }
    // The genuine one answers 500; a date is a text here.
    add(call(&s("getProcessInfo"), &[date]), Ours("200 fault 10 BAD_NAME: 20200101T00:00:00"));
    // A group's name that is none is looked up all the same.
    for name in [
        "<int>1</int>",
        "<boolean>1</boolean>",
        "<double>1.5</double>",
        "<double>2</double>",
        "<nil/>",
        array,
        none,
    ] {
        for method in ["startProcessGroup", "stopProcessGroup", "removeProcessGroup", "addProcessGroup"] {
            add(call(&s(method), &[name]), Same);
        }
        add(call(&s("signalProcessGroup"), &[name, "HUP"]), Same);
    }
    // Whether to wait may be anything.
    for wait in ["<int>0</int>", "<double>1</double>", "<nil/>", "", "x", array, none] {
        add(call(&s("startProcess"), &["cat", wait]), Same);
        add(call(&s("stopProcess"), &["idle", wait]), Same);
    }
    // Signals go by name or number.
    for signal in ["<int>9999</int>", "nope", "", "<double>18.9</double>", " cont ", " 18 ", "sigcont"] {
        add(call(&s("signalProcess"), &["cat", signal]), Same);
    }
    for signal in ["<nil/>", array, none] {
        add(call(&s("signalProcess"), &["cat", signal]), FAULT_2);
    }
    // Numbers may be texts and fractions.
    for number in ["0", " 0 ", "<double>0.9</double>", "<boolean>0</boolean>", "<nil/>", array, none, date] {
        add(call(&s("readProcessStdoutLog"), &["cat", number, "<int>5</int>"]), Same);
    }
    for number in ["x", "", "1.0", "<double>nan</double>", "<double>1e400</double>"] {
        add(call(&s("readProcessStdoutLog"), &["cat", number, "<int>5</int>"]), FAULT_2);
    }
    for (offset, length) in [(-5, 1), (0, -1), (-5, -1), (0, 1), (2, 0), (-3, 0), (100, 0), (100, 10)] {
        let numbers = [format!("<int>{offset}</int>"), format!("<i4>{length}</i4>")];
        add(call(&s("readProcessStdoutLog"), &["cat", &numbers[0], &numbers[1]]), Same);
        add(call(&s("tailProcessStdoutLog"), &["cat", &numbers[0], &numbers[1]]), Same);
    }
    // What is sent to a program.
    for chars in ["<int>1</int>", "<boolean>0</boolean>", "<double>1.5</double>", "<nil/>", array, none] {
        add(call(&s("sendProcessStdin"), &["cat", chars]), Same);
        add(call(&s("sendProcessStdin"), &["<int>1</int>", chars]), Same);
    }
    add(call(&s("sendProcessStdin"), &["<int>1</int>", "x"]), FAULT_2);
    add(call(&s("sendProcessStdin"), &["idle", "x"]), Same);
    add(call(&s("sendRemoteCommEvent"), &["<int>1</int>", array]), Same);
    add(call(&s("sendRemoteCommEvent"), &["<nil/>", none]), Same);
    calls
}

fn system() -> Vec<(Vec<u8>, Answer)> {
    let array = |items: &str| format!("<array><data>{items}</data></array>");
    let member =
        |name: &str, value: &str| format!("<member><name>{name}</name><value>{value}</value></member>");
    let many = |members: &str| {
        call("system.multicall", &[&array(&format!("<value><struct>{members}</struct></value>"))])
    };
    let version = member("methodName", "supervisor.getVersion");
    let info = member("methodName", "supervisor.getProcessInfo");
    vec![
        (call("system.listMethods", &[]), Same),
        (call("system.listMethods", &["x"]), Same),
        (call("system.methodHelp", &[]), Same),
        (call("system.methodHelp", &["nope"]), Same),
        (call("system.methodHelp", &["<nil/>"]), Same),
        (call("system.methodSignature", &["supervisor.startProcess"]), Same),
        (call("system.methodSignature", &["nope"]), Same),
        (call("system.methodSignature", &[&array("")]), Same),
        (call("system.multicall", &[]), Same),
        (call("system.multicall", &["<int>1</int>"]), Same),
        (call("system.multicall", &[""]), Same),
        (call("system.multicall", &["<nil/>"]), Same),
        (call("system.multicall", &["<struct></struct>"]), Same),
        (call("system.multicall", &["x"]), FAULT_2),
        (call("system.multicall", &[&array("")]), Same),
        (call("system.multicall", &[&array("<value>x</value>")]), FAULT_2),
        (many(""), Same),
        (many(&member("methodName", "<nil/>")), Same),
        (many(&member("methodName", "")), Same),
        (many(&member("methodName", "system.multicall")), Same),
        (many(&member("methodName", "system.listMethods")), Same),
        (many(&version), Same),
        (many(&(version.clone() + &member("params", ""))), Same),
        (many(&(version.clone() + &member("params", "x"))), Same),
        (many(&(version.clone() + &member("params", "<int>1</int>"))), Same),
        (many(&(version.clone() + &member("params", "<nil/>"))), Same),
        (many(&(version + &member("params", "<struct></struct>"))), Same),
        (many(&(info.clone() + &member("params", "c"))), Same),
        (many(&(info.clone() + &member("params", &array("<value>nope</value>")))), Same),
        // The genuine one tells Python's exception.
        (
            many(&member("methodName", "<int>1</int>")),
            Ours("200 faultCode 2 faultString INCORRECT_PARAMETERS"),
        ),
        (
            many(&(info + &member("params", &array("<value><int>1</int></value>")))),
            Ours("200 faultCode 2 faultString INCORRECT_PARAMETERS"),
        ),
    ]
}

fn bytes() -> Vec<(Vec<u8>, Answer)> {
    let name = "<methodName>supervisor.getVersion</methodName>";
    let info = "<methodName>supervisor.getProcessInfo</methodName>";
    vec![
        // The parser looks at places more than at names.
        (post(&format!("<methodCall>{name}</methodCall>")), Same),
        (post(&format!("<anything>{name}<params/></anything>")), Same),
        (
            post(&format!(
                "<?xml version='1.0' encoding='latin-1'?><!-- x --><methodCall>{name}</methodCall>"
            )),
            Same,
        ),
        (post(&format!("<methodCall>{info}<params><value>nope</value></params></methodCall>")), Same),
        (
            post(&format!(
                "<methodCall>{info}<params><param><other>nope</other></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><x>nope</x></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value>a &lt;&#98;&gt; <![CDATA[<c>]]></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><base64>bm9\n wZQ==</base64></value></param></params></methodCall>"
            )),
            Same,
        ),
        (post(&format!("<methodCall>{info}<params><param></param></params></methodCall>")), Same),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><int>x</int></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><int/></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><double>x</double></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><array/></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><struct><member/></struct></value></param></params></methodCall>"
            )),
            Same,
        ),
        (
            post(&format!(
                "<methodCall>{info}<params><param><value><dateTime.iso8601>x</dateTime.iso8601></value></param></params></methodCall>"
            )),
            Same,
        ),
        (post("<methodCall></methodCall>"), Same),
        (post("<methodCall><methodName/></methodCall>"), Same),
        (post("<methodCall><methodName>a.b</methodName>"), Same),
        (post(&format!("<methodCall>{name}</methodCall>x")), Same),
        (post(&format!("<methodCall>{name}</methodCall><x/>")), Same),
        (post("<methodCall><methodName>&nope;</methodName></methodCall>"), Same),
        (post("<a></b>"), Same),
        (post("x"), Same),
        (post(" "), Same),
        // Entities of the client's own are not expanded here.
        (
            post(
                "<!DOCTYPE x [<!ENTITY a 'supervisor.getVersion'>]><methodCall><methodName>&a;</methodName></methodCall>",
            ),
            Ours("400 text/html </body>"),
        ),
        (to("GET /RPC2 HTTP/1.1"), Same),
        (to("PUT /RPC2 HTTP/1.1"), Same),
        (to("POST /RPC2 HTTP/1.1"), Same),
        (to("GET /nothing HTTP/1.1"), Same),
        (to("GET /logtail/nope/stdout HTTP/1.1"), Same),
        (to("GET /logtail/cat/stdin HTTP/1.1"), Same),
        (to("GET /logtail/cat/stdout/ HTTP/1.1"), Same),
        (to("GET /logtail/cat:*/stdout HTTP/1.1"), Same),
        (to("GET /logtail/idle HTTP/1.1"), Same),
        (to("GET /logtail/ HTTP/1.1"), Same),
        (to("GET /logtail HTTP/1.1"), Ours("404 text/html </body>")),
        (to("POST /logtail/cat/stdout HTTP/1.1"), Same),
        (to("POST /mainlogtail HTTP/1.1"), Same),
        (to("GET /logtail/cat HTTP/1.1"), Same),
        (to("GET /logtail/cat/stdout?x=1 HTTP/1.1"), Same),
        (to("GET /logtail/cat%3Acat/stderr HTTP/1.1"), Same),
        (to("GET /mainlogtail/ HTTP/1.1"), Same),
        // There are no pages here.
        (
            to("GET / HTTP/1.1"),
            Ours("404 text/plain there are no pages here: use supervisorctl, or XML-RPC at /RPC2"),
        ),
    ]
}

#[test]
fn odd_calls_are_answered_alike() {
    let [genuine, ours] = [Which::Genuine, Which::Ours].map(|which| Supervisord::start(which, PROGRAMS, &[]));
    for daemon in [&genuine, &ours] {
        daemon.within(Duration::from_secs(20), "cat runs", || daemon.pid("cat"));
        ask(daemon, &call("supervisor.sendProcessStdin", &["cat", "0123456789"]));
        daemon.within(Duration::from_secs(10), "its log", || {
            (daemon.read("cat.log").len() == 10).then_some(())
        });
    }
    let cases: Vec<_> = calls().into_iter().chain(system()).chain(bytes()).collect();
    let mut wrong = Vec::new();
    for (bytes, answer) in &cases {
        let [theirs, found] = [&genuine, &ours]
            .map(|daemon| ask(daemon, bytes).replace(&daemon.folder().display().to_string(), "HERE"));
        let expected = match answer {
            Same => theirs.clone(),
            Ours(expected) => (*expected).to_owned(),
        };
        // A difference that is none any more has no place in the table.
        if found != expected || (matches!(answer, Ours(_)) && theirs == found) {
            let text = String::from_utf8_lossy(bytes);
            let asked = text
                .split_once("\r\n\r\n")
                .filter(|(_, body)| !body.is_empty())
                .map_or(&*text, |(_, body)| body);
            wrong.push(format!(
                "{asked}\n    genuine: {theirs}\n    ours:    {found}\n    wanted:  {expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    ours.stop();
    genuine.stop();
}
