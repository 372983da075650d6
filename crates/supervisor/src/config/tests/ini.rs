//! An INI file as supervisord takes it, and what is only told.

use super::*;

fn parse_ini(text: &str) -> Result<Config, Mistakes> {
    source("s.conf").parse(text)
}

#[track_caller]
fn ini(text: &str) -> Config {
    parse_ini(&format!("[supervisord]\n{text}")).expect("supervisord starts with it")
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let found = parse_ini(text).expect_err("supervisord refuses it");
    let found: Vec<String> = found.0.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_file_of_an_image_is_read_as_it_is() {
    let config = ini("\
nodaemon=true
logfile=/dev/null            ; no log
logfile_maxbytes=0
environment=REGION=\"eu\",PATH=\"/opt/bin:/bin\"

[unix_http_server]
file=run/supervisor.sock
chmod=0777
username=u
password={SHA}5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8

[inet_http_server]
port=*:9001

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix:///run/supervisor.sock

[group:site]
programs=web,worker
priority=20

[program:web]
command=/usr/bin/gunicorn
    --bind unix:/run/web.sock   ; where nginx looks
    app:%(ENV_REGION)s
stopasgroup=true
redirect_stderr=true
environment=A=\"%(process_num)s\"

[program:worker]
command=worker --n %(process_num)d --of %(numprocs)d --group %(group_name)s
process_name=%(program_name)s_%(process_num)02d
numprocs=2
numprocs_start=3
priority=10

[program:cron]
command=cron -f
autostart=no
stdout_logfile=NONE
");
    let daemon = &config.supervisord;
    assert!(daemon.nodaemon);
    assert_eq!((daemon.logfile.as_deref(), daemon.logfile_maxbytes), (Some(Path::new("/dev/null")), 0));
    assert_eq!(daemon.pidfile.as_deref(), Some(Path::new("/w/supervisord.pid")));
    assert_eq!(config.serverurl.as_deref(), Some("unix:///run/supervisor.sock"));
    let tcp = HttpServer {
        address: HttpAddress::Tcp { host: String::new(), port: 9001 },
        username: None,
        password: None,
        status_only: false,
    };
    assert_eq!(config.http_servers[0], tcp);
    assert_eq!(config.control_url().as_deref(), Some("unix:///w/run/supervisor.sock"));
    let groups: Vec<(&str, i64)> = config.groups.iter().map(|g| (g.name.as_str(), g.priority)).collect();
    assert_eq!(groups, [("site", 20), ("cron", 999)]);
    let programs: Vec<String> =
        config.programs.iter().map(|p| format!("{} {}:{}", p.program, p.group, p.name)).collect();
    assert_eq!(
        programs,
        ["web site:web", "worker site:worker_03", "worker site:worker_04", "cron cron:cron"]
    );
    assert_eq!(config.programs[1].command, ["worker", "--n", "3", "--of", "2", "--group", "site"]);
    let web = &config.programs[0];
    assert_eq!(web.command, ["/usr/bin/gunicorn", "--bind", "unix:/run/web.sock", "app:eu"]);
    assert_eq!(web.environment, [("A".to_owned(), "0".to_owned())]);
    assert!(web.stopasgroup && web.killasgroup && web.redirect_stderr);
    assert_eq!((&web.stdout.logfile, &web.stderr.logfile), (&Logfile::Auto, &Logfile::None));
    let cron = &config.programs[3];
    assert!(!cron.stopasgroup && !cron.killasgroup && !cron.autostart);
    assert_eq!(config.named("worker").count(), 2);
    assert_eq!(config.named("site").count(), 3);
}

#[test]
fn listeners_and_fcgi_programs_have_their_own_keys() {
    let config = ini("\
[eventlistener:mail]
command=crashmail -a -m a@b
events=PROCESS_STATE_EXITED, tick_60
buffer_size=50
[fcgi-program:php]
command=php-cgi
socket=unix:///run/%(program_name)s.sock
socket_mode=0770
socket_backlog=100
numprocs=2
process_name=%(program_name)s-%(process_num)d
[fcgi-program:tcp]
command=app
socket=tcp://Localhost:9002
");
    let mail = config.groups.iter().find(|group| group.name == "mail").expect("mail");
    let events = ["PROCESS_STATE_EXITED", "TICK_60"].map(str::to_owned).to_vec();
    let listener = Listener { events, buffer_size: 50, result_handler: ResultHandler::Default };
    assert_eq!((mail.priority, &mail.listener), (-1, &Some(listener)));
    assert_eq!((config.programs[0].kind, config.programs[0].priority), (Kind::EventListener, 999));
    let php: Vec<&Program> = config.named("php").collect();
    assert_eq!((php.len(), php[1].name.as_str(), php[1].kind), (2, "php-1", Kind::FcgiProgram));
    assert_eq!(php[1].fcgi_socket.as_deref(), Some("fcgi:php"));
    let (unix, tcp) = (&config.sockets[0], &config.sockets[1]);
    assert_eq!(
        (&unix.listen, unix.mode, unix.backlog),
        (&Listen::Unix("/run/php.sock".into()), Some(0o770), 100)
    );
    assert_eq!(
        (&tcp.listen, tcp.mode, tcp.name.as_str()),
        (&Listen::Tcp("localhost:9002".to_owned()), None, "fcgi:tcp")
    );
}

#[test]
fn a_result_handler_in_python_is_not_loaded_but_that_of_supervisor_stdout_is_built_in() {
    for (handler, expected, warned) in [
        ("supervisor_stdout:event_handler", ResultHandler::Stdout, false),
        ("supervisor.dispatchers:default_handler", ResultHandler::Default, false),
        ("my:handler", ResultHandler::Default, true),
    ] {
        let text = format!("[eventlistener:a]\ncommand=a\nevents=EVENT\nresult_handler={handler}\n");
        let config = ini(&text);
        let found = config.groups[0].listener.as_ref().map(|listener| listener.result_handler);
        assert_eq!(found, Some(expected), "{handler}");
        let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        let warning = format!(
            "s.conf:5: `result_handler` is \"{handler}\", but handlers in Python are not loaded: `OK` and `FAIL` are understood"
        );
        assert_eq!(told, if warned { vec![warning] } else { vec![] });
    }
}

#[test]
fn our_keys_work_in_an_ini_file_in_the_words_of_toml() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("a.env"), "export A=1\nB='x y'\n").expect("written");
    let text = "\
[supervisord]
shutdown_timeout=9s
[program:db]
command=db
[program:web]
command=web %(ENV_B)s
depends_on=db
ready={ tcp = \"127.0.0.1:80%(process_num)02d\", timeout = \"5s\" }
alive={ notify = true, interval = \"1s\",
    failures = 2 }
env_file=a.env
environment=A=\"%(ENV_A)s2\"
rlimits={ nofile = 65536, core = \"unlimited\" }
nice=-5
group=root
supplementary_groups=root,0
reopen_signal=USR1
stdout_tee=true
";
    let file = folder.path().join("s.conf");
    let config = source(&file.display().to_string()).parse(text).expect("valid");
    assert_eq!(config.supervisord.shutdown_timeout, Some(Duration::from_secs(9)));
    let web = config.named("web").next().expect("web");
    assert_eq!(web.command, ["web", "x", "y"]);
    let pairs = [("A", "12"), ("B", "x y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(web.environment, pairs);
    let ready = web.ready.clone().expect("ready");
    assert_eq!(
        (ready.check, ready.timeout),
        (Check::Tcp("127.0.0.1:8000".to_owned()), Duration::from_secs(5))
    );
    let alive = Alive {
        check: Check::Notify,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        failures: 2,
    };
    assert_eq!(web.alive, Some(alive));
    let limits: Vec<(&str, Option<u64>)> =
        web.rlimits.iter().map(|limit| (limit.name, limit.value)).collect();
    assert_eq!(limits, [("nofile", Some(65_536)), ("core", None)]);
    assert_eq!((web.nice, web.run_group.as_deref(), web.stdout.tee), (Some(-5), Some("root"), true));
    assert_eq!(web.supplementary_groups, Some(vec!["root".to_owned(), "0".to_owned()]));
    assert_eq!(web.depends_on, ["db"]);
}

#[test]
fn what_supervisord_refuses_is_refused_with_its_line() {
    for (text, expected) in [
        ("[program:a]\ncommand=a\n", &[".ini file does not include supervisord section"][..]),
        ("[supervisord]\n[program:a]\n", &["s.conf:2: [program:a] has no `command`"]),
        (
            "[supervisord]\n[program:a b]\ncommand=a\n",
            &["s.conf:2: the name \"a b\" must not be empty or contain spaces, `:`, `/`, `*` or `,`"],
        ),
        (
            "[supervisord]\n[group:g]\nprograms=a\n",
            &["s.conf:3: [group:g] names program `a`, which does not exist"],
        ),
        (
            "[supervisord]\n[program:a]\ncommand=a\nstopasgroup=true\nkillasgroup=false\nuser=no-such-user\n",
            &[
                "s.conf:5: `stopasgroup = true` with `killasgroup = false` would leave what ignores the signal alive for ever",
                "s.conf:6: `user` is \"no-such-user\", but it must be the name or the number of a user that exists",
            ],
        ),
        (
            "[supervisord]\n[program:a]\ncommand=a\nnumprocs=2\n",
            &[
                "s.conf:4: `process_name` must contain %(process_num) when `numprocs` is above 1, such as %(program_name)s_%(process_num)02d",
            ],
        ),
        (
            "[supervisord]\n[eventlistener:a]\ncommand=a\nredirect_stderr=true\n",
            &[
                "s.conf:2: [eventlistener:a] section requires an \"events\" line",
                "s.conf:4: [eventlistener:a] section sets redirect_stderr=true but this is not allowed because it will interfere with the eventlistener protocol",
            ],
        ),
        (
            "[supervisord]\n[eventlistener:a]\ncommand=a\nevents=TICK_6,EVENT\n[eventlistener:b]\ncommand=b\nevents=%(x)s\n[group:g]\nprograms=%(x)s\n",
            &[
                "s.conf:4: Unknown event type TICK_6 in [eventlistener:a] events, did you mean `TICK_5`?",
                "s.conf:7: \"%(x)s\" names `x`, which stands for nothing here",
                "s.conf:9: \"%(x)s\" names `x`, which stands for nothing here",
            ],
        ),
        (
            "[supervisord]\n[fcgi-program:a]\ncommand=a\nsocket=/run/x\n[fcgi-program:b]\ncommand=b\n",
            &[
                "s.conf:4: `socket` is \"/run/x\", but it must be unix:///path or tcp://host:port",
                "s.conf:5: [fcgi-program:b] has no `socket`",
            ],
        ),
        (
            "[supervisord]\n[inet_http_server]\nport=localhost\nusername=u\n[rpcinterface:x]\n",
            &[
                "s.conf:2: [inet_http_server] must have both `username` and `password`, or neither",
                "s.conf:3: `port` is \"localhost\", but it must be a port, host:port or *:port",
                "s.conf:5: section [rpcinterface:x] does not specify a supervisor.rpcinterface_factory",
            ],
        ),
        ("[supervisord]\n[include]\n", &["s.conf:2: .ini file has [include] section, but no files setting"]),
        (
            "[supervisord]\n[program:a]\ncommand=a\ndepends_on=g\n[program:b]\ncommand=b\ndepends_on=a\n[group:g]\nprograms=b\n",
            &["s.conf:2: programs depend on each other in a circle: a → b → a"],
        ),
    ] {
        refused(text, expected);
    }
}

#[test]
fn a_group_whose_programs_cannot_be_read_is_not_told_that_it_has_none() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("s.conf");
    std::fs::write(&file, "[supervisord]\n[group:g]\nprograms=%(x)s\n").expect("written");
    let report = source(&file.display().to_string()).check();
    let told: Vec<&str> = report.mistakes.iter().map(|mistake| mistake.text.as_str()).collect();
    assert_eq!(told, ["\"%(x)s\" names `x`, which stands for nothing here"]);
}

#[test]
fn what_supervisord_swallows_does_not_stop_the_start_but_fails_the_check() {
    let text = "\
[supervisord]
colour=blue
[supervisorctl]
serverurl=unix://%(ENV_NO_SUCH)s
[program:a]
command=a 'b
[program:a]
startsecs=7
[programs:x]
command=x
[group:a]
programs=b
[program:b]
command=b ; c
[program:new
command=new
";
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("s.conf");
    std::fs::write(&file, text).expect("written");
    let source = source(&file.display().to_string());
    let config = source.load().expect("it starts");
    let a = config.programs.iter().find(|program| program.name == "a");
    // [group:a] and [program:a] are two groups of one name, of which the first counts.
    assert!(a.is_none());
    assert_eq!(config.named("b").next().map(|b| b.command_text.as_str()), Some("new"));
    let report = source.check();
    let tell = |list: &[Mistake]| -> Vec<String> {
        list.iter().map(|mistake| mistake.to_string().replace(&format!("{}:", file.display()), "")).collect()
    };
    assert_eq!(
        tell(&report.mistakes),
        [
            "4: \"unix://%(ENV_NO_SUCH)s\" names the environment variable NO_SUCH, which is not set",
            "5: [program:a] makes a second group `a`, which is left out",
            "6: `command` cannot be read: No closing quotation: \"a 'b\"",
            "7: [program:a] was there in line 5 already: both are one, and of a key that is in both the later counts",
            "9: unknown section [programs:x], did you mean `program`?",
            "15: the section header \"[program:new\" has no `]`, so that it and the keys below it belong to [program:b]",
        ]
    );
    assert_eq!(
        tell(&report.warnings),
        [
            "2: unknown key `colour`",
            "14: `command` ends at ` ;`, where a comment begins: ; c",
            "16: `command` was set in line 14 already: the later one counts",
        ]
    );
    assert_eq!(config.warnings.len(), 9);
    assert_eq!(report.config.map(|config| config.programs.len()), Some(1));
}

#[test]
fn supervisords_own_warnings_are_its_own_sentences() {
    let config = ini("\
[include]
files=no/such/*.conf
[program:a]
command=a
stdout_logfile=syslog
redirect_stderr=true
stderr_logfile=/tmp/x.log
[program:b]
command=b
stdout_logfile_maxbytes=0
");
    assert!(config.programs[0].stdout.syslog);
    let expected = [
        "No file matches via include \"/w/no/such/*.conf\"",
        "For [program:a], stdout_logfile=syslog but this is deprecated and will be removed.  Use stdout_syslog=true to enable syslog instead.",
        "For [program:a], redirect_stderr=true but stderr_logfile has also been set to a filename, the filename has been ignored",
        "For [program:b], AUTO logging used for stdout_logfile without rollover, set maxbytes > 0 to avoid filling up filesystem unintentionally",
    ];
    let expected: Vec<_> = expected.iter().map(|text| (log::Level::Warn, (*text).to_owned())).collect();
    assert_eq!(config.sentences(), expected);
}

#[test]
fn included_files_belong_to_the_configuration() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write(
        "s.conf",
        "[supervisord]\n[include]\nfiles = conf.d/*.conf %(here)s/extra/[x]*.toml none/*.conf\n[program:a]\ncommand=%(here)s/a\n",
    );
    write("conf.d/2.conf", "[program:a]\nstartsecs=5\ndirectory=%(here)s\n[program:c]\ncommand=c\n");
    write("conf.d/1.conf", "[program:b]\ncommand=%(here)s/b\nstartsecs=3\n[include]\nfiles=nope\n");
    write("conf.d/.hidden.conf", "[program:hidden]\ncommand=x\n");
    write("extra/x.toml", "[program.t]\ncommand = \"t\"\nbackof = {}\n");
    write("extra/y.toml", "[program.y]\ncommand = \"t\"\n");
    let here = folder.path().display().to_string();
    let source = source(&format!("{here}/s.conf"));
    let strip = |list: &[Mistake]| -> Vec<String> {
        list.iter().map(|mistake| mistake.to_string().replace(&here, "")).collect()
    };
    // A TOML file is as strict as ever, whoever includes it.
    assert_eq!(
        strip(&source.load().expect_err("a mistake").0),
        ["/extra/x.toml:3: unknown key `backof`, did you mean `backoff`?"]
    );
    write("extra/x.toml", "[program.t]\ncommand = \"t\"\n");
    let config = source.load().expect("valid");
    let names: Vec<&str> = config.programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "t"]);
    let a = &config.programs[0];
    assert_eq!(
        (a.command_text.as_str(), a.startsecs),
        (format!("{here}/a").as_str(), Duration::from_secs(5))
    );
    assert_eq!(a.directory, Some(format!("{here}/conf.d").into()));
    assert_eq!(config.programs[1].command_text, format!("{here}/conf.d/b"));
    assert!(config.programs[3].killasgroup && !config.programs[2].killasgroup);
    let infos: Vec<String> = config.infos.iter().map(|info| info.replace(&here, "")).collect();
    assert_eq!(
        infos,
        ["conf.d/1.conf", "conf.d/2.conf", "extra/x.toml"]
            .map(|file| format!("Included extra file \"/{file}\" during parsing"))
    );
    assert_eq!(
        strip(&config.warnings),
        [
            "/conf.d/1.conf:4: [include] in an included file includes nothing",
            "/conf.d/2.conf:1: [program:a] was there in /s.conf:4 already: both are one, and of a key that is in both the later counts",
            "/s.conf:3: No file matches via include \"/none/*.conf\"",
        ]
    );
}

#[test]
fn the_environment_of_supervisord_counts_from_there_on() {
    let config = ini("\
environment=DIR=\"/opt/%(ENV_RUN_DIR)s\"
logfile=%(ENV_RUN_DIR)s/s.log
[program:a]
command=%(ENV_DIR)s/a
environment=DIR=\"/mine\"
directory=%(ENV_DIR)s
priority=%(ENV_N)s
"
    .replace("priority=%(ENV_N)s\n", "")
    .as_str());
    assert_eq!(config.programs[0].command, ["/mine/a"]);
    assert_eq!(config.programs[0].directory, Some("/mine".into()));
    refused(
        "[supervisord]\nenvironment=DIR=\"/opt\"\nlogfile=%(ENV_DIR)s/x\n",
        &["s.conf:3: \"%(ENV_DIR)s/x\" names the environment variable DIR, which is not set"],
    );
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "(\\[(supervisord|program:a|DEFAULT|x)\\]?\n|[ \t]?(command|environment|exitcodes|ready|k)[=: ]{1,2}[ -~é%()sd0-9;#'\"\\\\{}]{0,24}\r?\n|.{0,12}\n){0,12}") {
        for file in ["s.conf", "s.toml"] {
            let _ = source(file).parse(&text);
        }
        let _ = arguments::parse(text.split_whitespace().map(OsString::from), &[]);
    }
}

#[test]
fn a_comment_is_one_in_toml_too() {
    let comments = crate::config::ini::comments("; form\u{c}feed \u{0}\nkey=value ; \tend\n");
    assert_eq!(comments, [(1, "form feed".to_owned()), (2, "end".to_owned())]);
}
