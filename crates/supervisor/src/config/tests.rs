//! What the configuration accepts, and every sentence it answers a mistake with.

mod ini;

use std::path::Path;

use super::*;

fn source(file: &str) -> Source {
    Source {
        file: file.into(),
        environment: vec![("RUN_DIR".to_owned(), "/run/sse".to_owned())],
        inherited: Vec::new(),
        host: "host".to_owned(),
        directory: "/w".into(),
        overrides: Overrides::default(),
    }
}

fn parse(text: &str) -> Result<Config, Mistakes> {
    source("s.toml").parse(text)
}

#[track_caller]
fn mistakes(text: &str, expected: &[&str]) {
    let found = parse(text).expect_err("the configuration has mistakes");
    let found: Vec<String> = found.0.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_program_has_the_defaults_of_supervisord() {
    let config = parse("[program.web]\ncommand = \"/bin/web --port 80 'a b'\"").expect("valid");
    let web = &config.programs[0];
    assert_eq!(web.command, ["/bin/web", "--port", "80", "a b"]);
    assert_eq!((web.group.as_str(), web.priority, web.autostart), ("web", 999, true));
    assert_eq!(web.autorestart, AutoRestart::Unexpected);
    assert_eq!((web.startsecs, web.startretries), (Duration::from_secs(1), 3));
    assert_eq!((web.exitcodes.as_slice(), web.stopwaitsecs), (&[0][..], Duration::from_secs(10)));
    assert_eq!((web.stdout.maxbytes, web.stdout.backups), (50 << 20, 10));
    // In TOML alone the whole group is stopped and killed.
    assert!(web.stopasgroup && web.killasgroup);
}

#[test]
fn every_key_of_a_program_arrives() {
    let config = parse(
        r#"
        [socket.http]
        listen = "unix:%(ENV_RUN_DIR)s/x.sock"
        backlog = 512
        mode = "0660"
        [group.all]
        programs = ["a", "b"]
        [program.b]
        command = ["b"]
        [program.a]
        command = ["a", "%(program_name)s", "%(here)s"]
        priority = 5
        autostart = "no"
        autorestart = true
        startsecs = 0
        startretries = 1000
        exitcodes = "0,2"
        stopsignal = "QUIT"
        stopwaitsecs = 0.5
        killasgroup = false
        redirect_stderr = true
        stdout_logfile = "%(ENV_RUN_DIR)s/a.log"
        stdout_logfile_maxbytes = "1MB"
        stdout_logfile_backups = 3
        stdout_tee = true
        logfile_compress = true
        environment = { A = "1", B = 2 }
        directory = "/tmp"
        umask = "027"
        depends_on = ["b"]
        ready = { http = "http+unix:///run/sse/x.sock:/ready?a=b", timeout = "5s", interval = "50ms" }
        backoff = { initial = "100ms", factor = 3.0, max = "2s", jitter = 0.5 }
        start_limit = { starts = 4, within = "10s" }
        on_fatal = "shutdown"
        drainsignal = "USR1"
        sockets = ["http"]
        "#,
    )
    .expect("valid");
    let a = config.programs.iter().find(|program| program.name == "a").expect("a");
    assert_eq!((a.group.as_str(), a.priority, a.autostart), ("all", 5, false));
    assert_eq!(a.command[1], "a");
    assert_eq!((a.autorestart, a.startsecs, a.startretries), (AutoRestart::Always, Duration::ZERO, 1000));
    assert_eq!((a.exitcodes.as_slice(), a.stopsignal), (&[0, 2][..], nix::sys::signal::SIGQUIT));
    assert_eq!((a.stopwaitsecs, a.stopasgroup, a.killasgroup), (Duration::from_millis(500), false, false));
    assert_eq!(a.stdout.logfile, Logfile::File("/run/sse/a.log".into()));
    assert_eq!((a.stdout.maxbytes, a.stdout.backups, a.stdout.tee), (1 << 20, 3, true));
    assert_eq!(a.environment, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]);
    assert_eq!(a.umask, Some(0o027));
    assert_eq!(
        a.ready,
        Some(Ready {
            check: Check::HttpUnix { socket: "/run/sse/x.sock".into(), path: "/ready?a=b".to_owned() },
            timeout: Duration::from_secs(5),
            interval: Duration::from_millis(50),
        })
    );
    assert_eq!(a.start_limit, Some(StartLimit { starts: 4, within: Duration::from_secs(10) }));
    assert_eq!((a.on_fatal, a.drainsignal), (OnFatal::Shutdown, Some(nix::sys::signal::SIGUSR1)));
    assert_eq!(
        config.sockets,
        [Socket {
            name: "http".to_owned(),
            listen: Listen::Unix("/run/sse/x.sock".into()),
            backlog: 512,
            mode: Some(0o660),
            owner: None
        }]
    );
}

#[test]
fn an_environment_may_be_a_string_as_in_an_ini_file() {
    let config = parse("[program.a]\ncommand = \"a\"\nenvironment = 'A=\"1,2\", B=x'").expect("valid");
    assert_eq!(
        config.programs[0].environment,
        [("A".to_owned(), "1,2".to_owned()), ("B".to_owned(), "x".to_owned())]
    );
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    mistakes(
        r#"[supervisord]
logfile_maxbytes = "lots"
loglevle = "info"
[program.web]
comand = "web"
[program.db]
command = "db"
startsecs = "soon"
autorestart = "maybe"
stopsignal = "FOO"
exitcodes = [0, 256]
depends_on = ["wbe"]
environment = "A"
ready = { http = "ftp://x", tcp = "1:2" }
numprocs = 2
[programs.x]
command = "x"
[inet_http_server]
port = 0
"#,
        &[
            "s.toml:2: `logfile_maxbytes` is \"lots\", but it must be a number of bytes, such as 1024, 50KB, 10MB or 1GB",
            "s.toml:3: unknown key `loglevle`, did you mean `loglevel`?",
            "s.toml:4: [program.web] has no `command`",
            "s.toml:5: unknown key `comand`, did you mean `command`?",
            "s.toml:6: [program.db] depends on `wbe`, which does not exist, did you mean `web`?",
            "s.toml:8: `startsecs` is \"soon\", but it must be a number of seconds, 0 or more",
            "s.toml:9: `autorestart` is \"maybe\", but it must be true, false or unexpected",
            "s.toml:10: `stopsignal` is \"FOO\", but it must be the name of a signal, such as TERM, INT, QUIT, HUP, USR1 or KILL",
            "s.toml:11: `exitcodes` has \"256\", but an exit code is a number from 0 to 255",
            "s.toml:13: `environment` is \"A\", but it must be like A=\"1\",B=\"two words\"",
            "s.toml:14: `ready.http` is \"ftp://x\", but it must be like http://127.0.0.1:5001/path or http+unix:///run/x.sock:/path",
            "s.toml:15: `process_name` must contain %(process_num) when `numprocs` is above 1, such as %(program_name)s_%(process_num)02d",
            "s.toml:16: unknown section [programs], did you mean `program`?",
            "s.toml:19: `port` is \"0\", but it must be a port, host:port or *:port",
        ],
    );
}

#[test]
fn what_cannot_work_together_is_a_mistake() {
    mistakes(
        "[program.a]\ncommand = \"a\"\ndepends_on = [\"b\"]\n[program.b]\ncommand = \"b\"\ndepends_on = \"a\"",
        &["s.toml:1: programs depend on each other in a circle: a → b → a"],
    );
    mistakes(
        "[program.a]\ncommand = \"a\"\ndepends_on = [\"a\"]\nsockets = [\"http\"]",
        &[
            "s.toml:1: [program.a] depends on itself",
            "s.toml:1: [program.a] uses [socket.http], which does not exist",
        ],
    );
    mistakes(
        "[program.a]\ncommand = \"a\"\nstopasgroup = true\nkillasgroup = false",
        &[
            "s.toml:4: `stopasgroup = true` with `killasgroup = false` would leave what ignores the signal alive for ever",
        ],
    );
    mistakes(
        "[program.a]\ncommand = \"%(ENV_NOPE)s/a 'b\"",
        &["s.toml:2: \"%(ENV_NOPE)s/a 'b\" names the environment variable NOPE, which is not set"],
    );
}

#[test]
fn a_file_that_is_not_toml_is_told_with_every_line() {
    mistakes(
        "[supervisord]\nlogfile = \n[program.a\n",
        &[
            "s.toml:2: string values must be quoted, expected literal string",
            "s.toml:3: unclosed table, expected `]`",
        ],
    );
}

#[test]
fn a_reload_names_what_was_added_changed_and_removed() {
    let old =
        parse("[program.a]\ncommand = \"a\"\n[program.b]\ncommand = \"b\"\n[program.c]\ncommand = \"c\"");
    let new =
        parse("[program.b]\ncommand = \"b\"\n[program.c]\ncommand = \"c 2\"\n[program.d]\ncommand = \"d\"");
    let names = |name: &str| vec![name.to_owned()];
    assert_eq!(
        diff(&old.expect("valid").definitions(), &new.expect("valid")),
        Diff { added: names("d"), changed: names("c"), removed: names("a") }
    );
}
