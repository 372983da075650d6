//! What our supervisord understands of an INI file, beside what the genuine one understands of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use stack_tests::{repository, tools};
use supervisor::config::{
    AutoRestart, Config, Group, HttpAddress, Kind, Listen, Logfile, Output, Program, Source, units,
};
use tempfile::TempDir;

/// What `%(ENV_X)s` stands for in both.
const ENVIRONMENT: [(&str, &str); 5] =
    [("HOME", "/root"), ("PATH", "/usr/bin:/bin"), ("PORT", "8080"), ("EMPTY", ""), ("WORDS", "a b,c")];

/// Files of one configuration: the first is `s.conf`, others follow a line `=== NAME`.
fn write(folder: &Path, text: &str) {
    let mut name = "s.conf".to_owned();
    let mut lines = String::new();
    let put = |name: &str, lines: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
        fs::write(path, lines).expect("written");
    };
    for line in text.split_inclusive('\n') {
        if let Some(next) = line.strip_prefix("=== ") {
            put(&name, &lines);
            (name, lines) = (next.trim().to_owned(), String::new());
        } else {
            lines += line;
        }
    }
    put(&name, &lines);
}

/// What the genuine one understands of each file, in one run.
fn genuine(folder: &Path, files: &[String]) -> Vec<Value> {
    let script = repository().join("tests/clients/supervisord_config.py");
    let out = Command::new(tools().join("venv/bin/python"))
        .arg(script)
        .args(files)
        .current_dir(folder)
        .env_clear()
        .envs(ENVIRONMENT)
        .output()
        .expect("it runs");
    let text = String::from_utf8(out.stdout).expect("it is UTF-8");
    let found: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(found.len(), files.len(), "{}", String::from_utf8_lossy(&out.stderr));
    found
}

fn source(folder: &Path, file: &str) -> Source {
    Source {
        file: file.into(),
        environment: ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        inherited: Vec::new(),
        host: nix::unistd::gethostname().expect("a name").to_string_lossy().into_owned(),
        directory: folder.to_path_buf(),
        overrides: supervisor::config::Overrides::default(),
    }
}

/// Ours, and what is wrong if its TOML means something else.
fn ours(folder: &Path, file: &str) -> Result<(Config, Option<String>), String> {
    let source = source(folder, file);
    let config = source.load().map_err(|mistakes| mistakes.to_string())?;
    // What supervisord swallows is a mistake in TOML.
    let strict = source.check().mistakes.is_empty();
    let wrong = if strict { converted(folder, file, &config).err() } else { None };
    Ok((config, wrong))
}

fn converted(folder: &Path, file: &str, config: &Config) -> Result<(), String> {
    let toml = source(folder, file).convert().map_err(|mistakes| mistakes.to_string())?.toml;
    let name = file.replace(".conf", ".toml");
    fs::write(folder.join(&name), &toml).expect("written");
    let again = source(folder, &name).load().map_err(|mistakes| format!("{mistakes}\n--- in\n{toml}"))?;
    let again = Config { file: config.file.clone(), warnings: config.warnings.clone(), ..again };
    if again == *config { Ok(()) } else { Err(format!("{again:#?}\nis not\n{config:#?}\n--- in\n{toml}")) }
}

fn pairs(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

fn uid(user: Option<&String>) -> Option<u32> {
    user.map(|user| units::user(user).expect("checked").as_raw())
}

fn logfile(output: &Output) -> Option<String> {
    match &output.logfile {
        Logfile::None => None,
        Logfile::Auto => Some("auto".to_owned()),
        Logfile::File(path) => Some(path.display().to_string()),
    }
}

fn process(config: &Config, program: &Program) -> Value {
    let mut environment = config.supervisord.environment.clone();
    environment.retain(|(name, _)| !program.environment.iter().any(|(other, _)| other == name));
    environment.extend(program.environment.iter().cloned());
    let words = |text: &str| if text.is_empty() { None } else { Some(text.to_owned()) };
    let argv = match program.command[..] == [""] {
        true => program.command_text.is_empty().then(Vec::new),
        false => Some(program.command.clone()),
    };
    let mut found = json!({
        "name": program.name,
        "uid": uid(program.user.as_ref()),
        "command": words(&program.command_text),
        "argv": argv,
        "directory": program.directory.as_ref().map(|path| path.display().to_string()),
        "umask": program.umask,
        "priority": program.priority,
        "autostart": program.autostart,
        "autorestart": match program.autorestart {
            AutoRestart::Never => json!(false),
            AutoRestart::Unexpected => json!("RestartWhenExitUnexpected"),
            AutoRestart::Always => json!("RestartUnconditionally"),
        },
        "startsecs": program.startsecs.as_secs(),
        "startretries": program.startretries,
        "stopsignal": program.stopsignal as i32,
        "stopwaitsecs": program.stopwaitsecs.as_secs(),
        "stopasgroup": program.stopasgroup,
        "killasgroup": program.killasgroup,
        "exitcodes": program.exitcodes,
        "redirect_stderr": program.redirect_stderr,
        "environment": pairs(&environment),
        "serverurl": program.serverurl.as_deref().and_then(words),
    });
    for (stream, output) in [("stdout", &program.stdout), ("stderr", &program.stderr)] {
        found[format!("{stream}_logfile")] = json!(logfile(output));
        found[format!("{stream}_logfile_maxbytes")] = json!(output.maxbytes);
        found[format!("{stream}_logfile_backups")] = json!(output.backups);
        found[format!("{stream}_syslog")] = json!(output.syslog);
        found[format!("{stream}_capture_maxbytes")] = json!(output.capture_maxbytes);
        found[format!("{stream}_events_enabled")] = json!(output.events_enabled);
    }
    found
}

fn group(config: &Config, group: &Group) -> Value {
    let members: Vec<&Program> = config.programs.iter().filter(|p| p.group == group.name).collect();
    let processes: Vec<Value> = members.iter().map(|program| process(config, program)).collect();
    let mut found = json!({ "name": group.name, "priority": group.priority, "processes": processes });
    if let Some(listener) = &group.listener {
        let mut events = listener.events.clone();
        events.sort();
        found["events"] = json!(events);
        found["buffer_size"] = json!(listener.buffer_size);
    }
    let alone = members.iter().all(|program| program.program == group.name);
    if let Some(program) = members.first().filter(|program| program.kind == Kind::FcgiProgram && alone) {
        let name = program.fcgi_socket.as_ref().expect("it has a socket");
        let socket = config.sockets.iter().find(|socket| socket.name == *name).expect("it is there");
        let url = match &socket.listen {
            Listen::Unix(path) => format!("unix://{}", path.display()),
            Listen::Tcp(address) => format!("tcp://{address}"),
        };
        let backlog = if socket.backlog == 4096 { None } else { Some(socket.backlog) };
        found["socket"] = json!({ "url": url, "mode": socket.mode, "backlog": backlog });
    }
    found
}

fn shown(config: &Config) -> Value {
    let daemon = &config.supervisord;
    let servers: Vec<Value> = config
        .http_servers
        .iter()
        .map(|server| {
            let (host, port, file, chmod) = match &server.address {
                HttpAddress::Tcp { host, port } => (Some(host), Some(port), None, None),
                HttpAddress::Unix { file, chmod, .. } => (None, None, Some(file), Some(chmod)),
            };
            json!({ "host": host, "port": port, "file": file, "chmod": chmod, "username": server.username, "password": server.password })
        })
        .collect();
    let warnings: Vec<&str> = config
        .warnings
        .iter()
        .filter(|warning| warning.genuine)
        .map(|warning| warning.text.as_str())
        .collect();
    json!({
        "supervisord": {
            "logfile": if daemon.syslog { Some("syslog".into()) } else { daemon.logfile.clone() },
            "logfile_maxbytes": daemon.logfile_maxbytes,
            "logfile_backups": daemon.logfile_backups,
            "loglevel": daemon.loglevel.as_str(),
            "pidfile": daemon.pidfile,
            "silent": daemon.silent,
            "identifier": daemon.identifier,
            "umask": daemon.umask,
            "directory": daemon.directory,
            "environment": pairs(&daemon.environment),
            "childlogdir": daemon.childlogdir,
            "uid": uid(daemon.user.as_ref()),
            "minfds": daemon.minfds,
            "minprocs": daemon.minprocs,
            "nocleanup": daemon.nocleanup,
            "strip_ansi": daemon.strip_ansi,
            "nodaemon": daemon.nodaemon,
        },
        "serverurl": config.control_url(),
        "servers": servers,
        "groups": config.groups.iter().map(|one| group(config, one)).collect::<Vec<_>>(),
        "warnings": warnings,
        "infos": config.infos,
    })
}

/// Brings both into one form: levels that are one for us, and warnings, which come in another order and once only.
fn even(mut value: Value) -> Value {
    let level = match value["supervisord"]["loglevel"].as_str() {
        Some("CRIT" | "ERRO" | "ERROR") => "error",
        Some("TRAC" | "BLAT" | "TRACE") => "trace",
        Some("DEBG" | "DEBUG") => "debug",
        Some("WARN") => "warn",
        _ => "info",
    };
    value["supervisord"]["loglevel"] = json!(level);
    let mut warnings: Vec<String> = value["warnings"]
        .as_array()
        .map(|list| list.iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect())
        .unwrap_or_default();
    warnings.sort();
    warnings.dedup();
    value["warnings"] = json!(warnings);
    // Of two groups with one name only the first one is ever seen there.
    let mut seen = Vec::new();
    if let Some(groups) = value["groups"].as_array_mut() {
        groups.retain(|group| {
            !seen.contains(&group["name"]) && {
                seen.push(group["name"].clone());
                true
            }
        });
        for group in groups {
            // The same for processes, of which the last is.
            if let Some(processes) = group["processes"].as_array_mut() {
                let mut names: Vec<Value> = Vec::new();
                processes.reverse();
                processes.retain(|one| {
                    !names.contains(&one["name"]) && {
                        names.push(one["name"].clone());
                        true
                    }
                });
                // It sorts them whenever it starts or stops them.
                processes.sort_by_key(|one| (one["priority"].as_i64(), one["name"].to_string()));
            }
        }
    }
    value
}

/// The first place where two values differ.
fn difference(path: &str, ours: &Value, genuine: &Value) -> Option<String> {
    match (ours, genuine) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys());
            keys.into_iter().find_map(|key| difference(&format!("{path}.{key}"), &ours[key], &genuine[key]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            (0..a.len()).find_map(|n| difference(&format!("{path}[{n}]"), &a[n], &b[n]))
        }
        _ if ours == genuine => None,
        _ => Some(format!("{path}: ours {ours}, genuine {genuine}")),
    }
}

/// Compares both on all texts; what the genuine one refuses we must refuse only if `strictly`.
fn compare(texts: &[String], strictly: bool) -> [Vec<String>; 2] {
    let root = TempDir::new().expect("a folder");
    let root = root.path();
    let files: Vec<String> = (0..texts.len()).map(|n| format!("{n}/s.conf")).collect();
    for (n, text) in texts.iter().enumerate() {
        write(&root.join(n.to_string()), text);
    }
    let (mut started, mut refused, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for ((genuine, file), text) in genuine(root, &files).into_iter().zip(&files).zip(texts) {
        let ours = ours(root, file);
        let told = match (ours, genuine.get("refused")) {
            (Err(_), Some(_)) => {
                refused.push(text.clone());
                None
            }
            (Err(why), None) => Some(format!("only ours refuses it: {why}")),
            (Ok(_), Some(why)) => {
                refused.push(text.clone());
                strictly.then(|| format!("only the genuine one refuses it: {why}"))
            }
            (Ok((_, Some(wrong))), None) => Some(format!("its TOML differs: {wrong}")),
            (Ok((config, None)), None) => {
                started.push(text.clone());
                difference("", &even(shown(&config)), &even(genuine))
            }
        };
        differences.extend(told.map(|told| format!("{told}\n--- in\n{text}")));
    }
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(5)].join("\n")
    );
    [started, refused]
}

/// Files that start.
const STARTED: &[&str] = &[
    "[supervisord]\n",
    "[supervisord]\nlogfile=/tmp/a.log\nlogfile_maxbytes=1KB\nlogfile_backups=3\nloglevel=DEBUG\npidfile=~/x.pid\numask=027\nnodaemon=yes\nsilent=on\nminfds=10\nminprocs=20\nuser=root\nidentifier=me\ndirectory=/tmp/..\nnocleanup=1\nchildlogdir=/tmp\nstrip_ansi=TRUE\n",
    "[supervisord]\nenvironment=A=\"1\",B='x,y', C=/p/q-r:(s)\nlogfile=syslog\nloglevel=blather\n[program:x]\ncommand=echo %(ENV_A)s %(ENV_B)s\nenvironment=A=\"2\",D=%(ENV_PORT)s\n",
    "[supervisord]\nenvironment=A=\"100%%%%\"\n[program:x]\ncommand=echo 100%%\nstdout_logfile=/tmp/x%%%%.log\nenvironment=B=\"5%%\"\n",
    "[supervisord]\n[program:x]\ncommand=bash -c \"echo \\$HOME 'a b' \\\"c\\\" \\\\\" 'd \\' e\\ f \"\"\n",
    "[supervisord]\n[program:x]\ncommand=a\n    b ; comment\n    # whole\n\n    c;d #e\nautostart : false\n",
    "[supervisord]\n[program:x]\ncommand='unclosed\n[program:y]\ncommand=\n",
    "[supervisord]\n[program:x] trailing\nCOMMAND = /bin/a = b : c\nStopSignal=quit\n",
    "[DEFAULT]\nautostart=false\npriority=3\n[supervisord]\n[program:x]\ncommand=x\n[program:y]\ncommand=y\npriority=1\n",
    "[supervisord]\n[program:x]\ncommand=x\n[program:new\ncommand=new\nautostart=no\n",
    "[supervisord]\n[program:x]\ncommand=1\ncommand=2\n[program:x]\npriority=5\n[programs:z]\nfoo=%(bar)s\n",
    "[supervisord]\n[program:x]\ncommand=x %(process_num)d/%(numprocs)d %(group_name)s %(program_name)s %(here)s %(host_node_name)s\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=3\nnumprocs_start=8\nstdout_logfile=/tmp/%(program_name)s-%(process_num)03d.log\nenvironment=N=\"%(process_num)s\"\ndirectory=/tmp/%(ENV_N)s\n",
    "[supervisord]\n[program:x]\ncommand=x\nnumprocs=0\n[program:y]\ncommand=y\nprocess_name=other\n",
    "[supervisord]\n[program:b]\ncommand=b\n[program:a]\ncommand=a\npriority=5\n[program:c]\ncommand=c\n[group:z]\nprograms=c, b\npriority=1\n[group:y]\nprograms=b\n[group:empty]\n",
    "[supervisord]\n[group:x]\nprograms=y\n[program:x]\ncommand=x\n[program:y]\ncommand=y\n",
    "[supervisord]\n[group:g]\nprograms=a,b\n[program:a]\ncommand=a\nprocess_name=same\n[program:b]\ncommand=b\nprocess_name=same\npriority=1\n",
    "[supervisord]\n[program:x]\ncommand=x\nautorestart=1\nstartsecs=0\nstartretries=0\nexitcodes=0, 2,255\nstopsignal=10\nstopwaitsecs=0\nstopasgroup=true\n[program:y]\ncommand=y\nautorestart=UNEXPECTED\nexitcodes=\nkillasgroup=yes\nstopsignal=SIGusr2\n[program:z]\ncommand=z\nautorestart=off\npriority=-5\nstopsignal=CLD\n",
    "[supervisord]\n[program:x]\ncommand=x\nuser=0\numask=77\ndirectory=/tmp\nserverurl=AUTO\n[program:y]\ncommand=y\nuser=root\nserverurl=http://h:1\n[program:z]\ncommand=z\nserverurl=\n",
    "[supervisord]\n[program:x]\ncommand=x\nstdout_logfile=NONE\nstderr_logfile=off\n[program:y]\ncommand=y\nstdout_logfile=Auto\nstdout_logfile_maxbytes=0\nstdout_logfile_backups=0\nstderr_logfile=\n[program:z]\ncommand=z\nredirect_stderr=true\nstderr_logfile=/tmp/z.err\nstdout_logfile=~/z.log\n",
    "[supervisord]\n[program:x]\ncommand=x\nstdout_logfile=syslog\nstderr_syslog=true\nstdout_capture_maxbytes=1MB\nstderr_capture_maxbytes=2kb\nstdout_events_enabled=true\nstderr_events_enabled=1\n",
    "[supervisord]\n[inet_http_server]\nport=9001\nusername=u\npassword={SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d\n",
    "[supervisord]\n[inet_http_server]\nport=127.0.0.1:%(ENV_PORT)s\n[inet_http_server:two]\nport=*:9002\n[unix_http_server]\nfile=~/s.sock\nchmod=0770\n",
    "[supervisord]\n[unix_http_server]\nfile=%(here)s/../s.sock\nusername=a\npassword=b:c\n",
    "[supervisord]\n[eventlistener:l]\ncommand=l\nevents=PROCESS_STATE,tick_5,TICK_5,PROCESS_LOG\nbuffer_size=3\nnumprocs=2\nprocess_name=%(program_name)s_%(process_num)s\n[eventlistener:m]\ncommand=m\nevents=EVENT\npriority=7\n",
    "[supervisord]\n[fcgi-program:f]\ncommand=f\nsocket=unix:///tmp/%(program_name)s.sock\nsocket_mode=0777\nsocket_backlog=7\n[fcgi-program:g]\ncommand=g\nsocket=tcp://LocalHost:9000\n[fcgi-program:h]\ncommand=h\nsocket=unix:///tmp//h/../h.sock\n",
    "[supervisord]\n[fcgi-program:f]\ncommand=f\nsocket=tcp://localhost:9000\n[group:g]\nprograms=f\n",
    "[supervisord]\n[include]\nfiles=conf.d/*.conf %(here)s/more/?.ini none*.conf\n[program:a]\ncommand=%(here)s/a\n=== conf.d/2.conf\n[program:c]\ncommand=%(here)s/c\n[program:a]\nautostart=false\n=== conf.d/1.conf\n[program:b]\ncommand=b\n[include]\nfiles=x\n=== conf.d/.hidden.conf\n[program:hidden]\ncommand=h\n=== more/x.ini\n[program:d]\ncommand=%(here)s\n=== more/xx.ini\n[program:e]\ncommand=e\n",
    "[include]\nfiles=%(ENV_WORDS)s sub/[ab].conf sub/[!ab].conf\n=== sub/a.conf\n[supervisord]\nidentifier=included\n=== sub/c.conf\n[program:c]\ncommand=c\n",
    "[supervisord]\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=%(nonsense)s\n[ctlplugin:x]\nsupervisor.ctl_factory = no:where\n",
    "[supervisord]\n[program:x]\ncommand=x\nenvironment=\n    A=\"1\",\n    B=\"2\"\n[program:y]\ncommand=y\nenvironment=A=1;B=2,A=3\n[program:z]\ncommand=z\nenvironment=KEY=\"a;b\",K2=~/x\n",
    "[supervisord]\n[program:x]\ncommand=x\nenvironment=PATH=\"/opt:%(ENV_PATH)s\",Q=\"it's\",E=\"%(ENV_EMPTY)s\"\n[program:y]\ncommand=y %(ENV_PATH)s\n",
    "[supervisord]\r\n[program:x]\r\ncommand=x y\r\nautostart=false\r\n",
    "; comment\n[supervisord]\n\n\n  ; deeper\n[program:x]\n  command=x\n  autostart=false\n",
    "[supervisord]\n[program:x]\ncommand=a#b # c ; d\npriority=+1_0\nstartsecs= 5\n[program:y]\ncommand=a;b#c d ;e\n",
    "[supervisord]\n[program: spaced ]\ncommand=x %(program_name)s\n",
    "[supervisord]\n[program:x-1.2_é]\ncommand=é %(program_name)s\n",
    "[supervisord]\n[program:x]\ncommand=echo %(process_num)5d|%(process_num)-5d|%(process_num)x|%(program_name)4s|%(ENV_PORT)6s\n",
    "[supervisord]\nfoo=1\n[program:x]\ncommand=x\nnonsense=%(no)s\n[foo]\nbar=%(x)s\n[group:g]\n",
    "[supervisord]\n[program:x]\ncommand=x\n[]]\ny=1\n[program:a]b]\ncommand=y\n",
];

/// Files that are refused.
const REFUSED: &[&str] = &[
    "",
    "[program:x]\ncommand=x\n",
    "logfile=x\n[supervisord]\n",
    "[supervisord]\nnonsense\n",
    "[supervisord\n",
    "[supervisord]\n[program\n",
    "[supervisord]\nnodaemon=maybe\n",
    "[supervisord]\nloglevel=loud\n",
    "[supervisord]\nlogfile_maxbytes=1TB\n",
    "[supervisord]\nuser=no-such-user\n",
    "[supervisord]\ndirectory=/no/such\n",
    "[supervisord]\numask=9\n",
    "[supervisord]\nenvironment=A\n",
    "[supervisord]\nlogfile=%(ENV_NO)s\n",
    "[supervisord]\n[program:x]\n",
    "[supervisord]\n[program:a b]\ncommand=x\n",
    "[supervisord]\n[program:a/b]\ncommand=x\n",
    "[supervisord]\n[program:x]\ncommand=%(nope)s\n",
    "[supervisord]\n[program:x]\ncommand=50%\n",
    "[supervisord]\n[program:x]\ncommand=%(program_name)d\n",
    "[supervisord]\n[program:x]\ncommand=x\nstdout_logfile=/tmp/%%x\n",
    "[supervisord]\n[program:x]\ncommand=x\nnumprocs=2\n",
    "[supervisord]\n[program:x]\ncommand=x\nstopasgroup=1\nkillasgroup=0\n",
    "[supervisord]\n[program:x]\ncommand=x\nexitcodes=256\n",
    "[supervisord]\n[program:x]\ncommand=x\nstopsignal=NOPE\n",
    "[supervisord]\n[program:x]\ncommand=x\nstartsecs=soon\n",
    "[supervisord]\n[program:x]\ncommand=x\nautorestart=sometimes\n",
    "[supervisord]\n[program:x]\ncommand=x\nenvironment=A=1 B=2\n",
    "[supervisord]\n[program:x]\ncommand=x\nuser=no-such-user\n",
    "[supervisord]\n[group:g]\nprograms=nope\n",
    "[supervisord]\n[eventlistener:l]\ncommand=l\n",
    "[supervisord]\n[eventlistener:l]\ncommand=l\nevents=NOPE\n",
    "[supervisord]\n[eventlistener:l]\ncommand=l\nevents=EVENT\nbuffer_size=0\n",
    "[supervisord]\n[eventlistener:l]\ncommand=l\nevents=EVENT\nredirect_stderr=true\n",
    "[supervisord]\n[fcgi-program:f]\ncommand=f\n",
    "[supervisord]\n[fcgi-program:f]\ncommand=f\nsocket=/tmp/x\n",
    "[supervisord]\n[fcgi-program:f]\ncommand=f\nsocket=tcp://h:1\nsocket_mode=0700\n",
    "[supervisord]\n[inet_http_server]\n",
    "[supervisord]\n[inet_http_server]\nport=70000\n",
    "[supervisord]\n[unix_http_server]\nfile=/tmp/x\nusername=u\n",
    "[supervisord]\n[unix_http_server]\nfile=/tmp/x\nchown=no-such-user\n",
    "[supervisord]\n[include]\n",
    "[supervisord]\n[include]\nfiles=x.conf\n=== x.conf\nnonsense\n",
    "[supervisord]\n[rpcinterface:x]\n",
];

/// The genuine one's own example: as it is, and with every key that it shows commented out.
fn examples() -> [String; 2] {
    let out = Command::new(tools().join("venv/bin/echo_supervisord_conf")).output().expect("it runs");
    let text = String::from_utf8(out.stdout).expect("it is UTF-8");
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix(';') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => key,
            _ => line,
        })
        .collect();
    // What names users, folders and numbers that are not there.
    let absent = |line: &&&str| {
        ![
            "user=",
            "chown=",
            "socket_owner=",
            "directory=",
            "numprocs=",
            "stopasgroup=",
            "killasgroup=",
            "serverurl=",
            "[include]",
            "files =",
            "redirect_stderr=",
            "programs=",
        ]
        .iter()
        .any(|key| line.starts_with(key))
    };
    let all: Vec<&str> = uncommented.iter().filter(absent).copied().collect();
    // It refuses a folder that is not there, which we make.
    let all = all.join("\n").replace("/a/path", "/tmp/path");
    [text.clone(), all]
}

#[test]
fn the_genuine_example_means_the_same_to_us() {
    let examples = examples();
    assert!(examples[1].contains("\n[fcgi-program:") || examples[1].contains("\n[eventlistener:"));
    let none: [String; 0] = [];
    assert_eq!(compare(&examples, true)[1], none);
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_the_genuine_one_starts_with_means_the_same_to_us() {
    let none: [String; 0] = [];
    assert_eq!(compare(&owned(STARTED), true)[1], none);
}

#[test]
fn what_the_genuine_one_refuses_we_refuse() {
    let none: [String; 0] = [];
    assert_eq!(compare(&owned(REFUSED), true)[0], none);
}

/// Lines that random files are made of: what stands in real ones, and what looks like it.
const LINES: &[&str] = &[
    "[program:a]",
    "[program:b]",
    "[program:c",
    "[group:g]",
    "[eventlistener:e]",
    "[fcgi-program:f]",
    "[supervisord]",
    "[include]",
    "[DEFAULT]",
    "[other]",
    "[inet_http_server]",
    "[unix_http_server]",
    "command=x",
    "command=x y ; z",
    "command = %(program_name)s %(process_num)02d",
    "command=a 'b  c' \"d\\$e\"",
    "command=%(ENV_PORT)s%%",
    "  continued",
    "\tcontinued ; comment",
    "",
    "; comment",
    "  # comment",
    "programs=a,b",
    "programs=a",
    "events=TICK_5",
    "socket=tcp://h:1",
    "files=nope",
    "port=9001",
    "file=/tmp/s.sock",
    "process_name=%(program_name)s_%(process_num)d",
    "numprocs=2",
    "numprocs_start=1",
    "autostart=false",
    "priority=3",
    "priority=1",
    "startsecs : 4",
    "STARTSECS=2",
    "stopasgroup=true",
    "killasgroup=true",
    "exitcodes=0,1",
    "environment=A=\"1\"",
    "environment=B=%(ENV_PORT)s,A='%(program_name)s'",
    "stdout_logfile=/tmp/x.log",
    "stdout_logfile=NONE",
    "stderr_logfile=AUTO",
    "redirect_stderr=true",
    "umask=022",
    "directory=/tmp",
    "user=root",
    "identifier=i#j ;k",
    "nodaemon=true",
    "unknown=%(nope)s",
    "[",
    "x",
    "=y",
    "stopsignal=HUP ; x",
];

#[test]
fn random_files_that_start_mean_the_same_to_both() {
    let mut random = fastrand::Rng::with_seed(4);
    let texts: Vec<String> = (0..400)
        .map(|_| {
            let mut text = "[supervisord]\n[program:a]\ncommand=a\n[program:b]\ncommand=b\n".to_owned();
            for _ in 0..random.usize(1..14) {
                text += random.choice(LINES).expect("there are lines");
                text.push('\n');
            }
            text
        })
        .collect();
    let [started, refused] = compare(&texts, false).map(|list| list.len());
    assert!(started > 50 && refused > 50, "{started} started, {refused} refused");
}
