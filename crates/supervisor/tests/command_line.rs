//! What `supervisord check` prints for broken files, and how `supervisord` refuses what it cannot start.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

fn run(folder: &TempDir, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisord"));
    command.args(words).current_dir(folder.path()).env_clear().env("PATH", "/usr/bin:/bin");
    command.output().expect("it runs")
}

fn check(name: &str, text: &str) -> (Option<i32>, String) {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join(name), text).expect("written");
    let out = run(&folder, &["check", "-c", name]);
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8(text).expect("it is UTF-8");
    (out.status.code(), text.replace(&folder.path().display().to_string(), "HERE"))
}

/// File, text, exit code, what is printed.
const FILES: [(&str, &str, i32, &str); 12] = [
    (
        "header.conf",
        "[supervisord]\n[program:old]\ncommand=/bin/old\n[program:new\ncommand=/bin/new\n",
        2,
        "header.conf:5: warning: `command` was set in line 3 already: the later one counts\n\
         header.conf:4: the section header \"[program:new\" has no `]`, so that it and the keys below it belong to [program:old]\n",
    ),
    (
        "section.conf",
        "[supervisord]\n[programs:web]\ncommand=/bin/web\n[suprvisorctl]\n",
        2,
        "section.conf:2: unknown section [programs:web], did you mean `program`?\n\
         section.conf:4: unknown section [suprvisorctl], did you mean `supervisorctl`?\n",
    ),
    (
        "cut.conf",
        "[supervisord]\n[program:web]\ncommand=sh -c \"one ; two\"\nautostrat=false\n[program:job]\ncommand=job #7\n",
        2,
        "cut.conf:3: warning: `command` ends at ` ;`, where a comment begins: ; two\"\n\
         cut.conf:4: warning: unknown key `autostrat`, did you mean `autostart`?\n\
         cut.conf:6: warning: `command` ends at ` #`, where a comment begins: #7\n\
         cut.conf:3: `command` cannot be read: No closing quotation: \"sh -c \\\"one\"\n",
    ),
    (
        "warned.conf",
        "[supervisord]\n[program:job]\ncommand=job #7\n[include]\nfiles=none/*.conf\n",
        0,
        "warned.conf: valid, 1 programs\n\
         warned.conf:3: warning: `command` ends at ` #`, where a comment begins: #7\n\
         warned.conf:5: warning: No file matches via include \"HERE/none/*.conf\"\n",
    ),
    (
        "twice.conf",
        "[supervisord]\n[program:web]\ncommand=a\n[program:web]\ncommand=b\n[group:job]\nprograms=web\n[program:job]\ncommand=c\n",
        2,
        "twice.conf:5: warning: `command` was set in line 3 already: the later one counts\n\
         twice.conf:4: [program:web] was there in line 2 already: both are one, and of a key that is in both the later counts\n\
         twice.conf:8: [program:job] makes a second group `job`, which is left out\n",
    ),
    (
        "values.conf",
        "[supervisord]\nloglevel=loud\nlogfile_maxbytes=50 M\numask=999\n[program:web]\ncommand=web\nstartsecs=soon\nstopsignal=FOO\nexitcodes=0,256\nuser=no-such-user\nenvironment=A=1 B=2\n",
        2,
        "values.conf:2: `loglevel` is \"loud\", but it must be critical, error, warn, info, debug, trace or blather\n\
         values.conf:3: `logfile_maxbytes` is \"50 M\", but it must be a number of bytes, such as 1024, 50KB, 10MB or 1GB\n\
         values.conf:4: `umask` is \"999\", but it must be file permissions in octal, such as 0700\n\
         values.conf:7: `startsecs` is \"soon\", but it must be a number of seconds, 0 or more\n\
         values.conf:8: `stopsignal` is \"FOO\", but it must be the name of a signal, such as TERM, INT, QUIT, HUP, USR1 or KILL\n\
         values.conf:9: `exitcodes` has \"256\", but an exit code is a number from 0 to 255\n\
         values.conf:10: `user` is \"no-such-user\", but it must be the name or the number of a user that exists\n\
         values.conf:11: `environment` is \"A=1 B=2\", but it must be like A=\"1\",B=\"two words\"\n",
    ),
    (
        "names.conf",
        "[supervisord]\n[program:web]\ncommand=%(ENV_NO_SUCH)s %(programname)s\n[program:pool]\ncommand=50% done\nnumprocs=4\n[group:all]\nprograms=web,pol\n",
        2,
        "names.conf:3: \"%(ENV_NO_SUCH)s %(programname)s\" names the environment variable NO_SUCH, which is not set\n\
         names.conf:5: \"50% done\" has a `%` that is neither `%%` nor `%(NAME)s`\n\
         names.conf:6: `process_name` must contain %(process_num) when `numprocs` is above 1, such as %(program_name)s_%(process_num)02d\n\
         names.conf:8: [group:all] names program `pol`, which does not exist, did you mean `pool`?\n",
    ),
    (
        "listener.conf",
        "[supervisord]\n[eventlistener:mail]\ncommand=crashmail\nevents=PROCESS_STATE_EXITD\nredirect_stderr=true\n[fcgi-program:php]\ncommand=php-cgi\nsocket=/run/php.sock\n[inet_http_server]\nport=:0\nusername=u\n",
        2,
        "listener.conf:4: Unknown event type PROCESS_STATE_EXITD in [eventlistener:mail] events, did you mean `PROCESS_STATE_EXITED`?\n\
         listener.conf:5: [eventlistener:mail] section sets redirect_stderr=true but this is not allowed because it will interfere with the eventlistener protocol\n\
         listener.conf:8: `socket` is \"/run/php.sock\", but it must be unix:///path or tcp://host:port\n\
         listener.conf:9: [inet_http_server] must have both `username` and `password`, or neither\n\
         listener.conf:10: `port` is \":0\", but it must be a port, host:port or *:port\n",
    ),
    (
        "lines.conf",
        "nodaemon=true\n[supervisord]\nlogfile\n[program:web\ncommand=web\n",
        2,
        "lines.conf:1: \"nodaemon=true\" stands before any section header\n\
         lines.conf:3: \"logfile\" is neither `key = value` nor a section header\n\
         lines.conf:4: the section header \"[program:web\" has no `]`, so that it and the keys below it belong to [supervisord]\n",
    ),
    (
        "circle.conf",
        "[supervisord]\n[program:a]\ncommand=a\ndepends_on=b\n[program:b]\ncommand=b\ndepends_on=g\n[program:c]\ncommand=c\ndepends_on=a\n[group:g]\nprograms=c\n[program:d]\ncommand=d\ndepends_on=e\nready={ htp = \"x\" }\n",
        2,
        "circle.conf:2: programs depend on each other in a circle: a → b → c → a\n\
         circle.conf:13: [program:d] depends on `e`, which does not exist\n\
         circle.conf:16: unknown key `htp` in `ready`, did you mean `http`?\n\
         circle.conf:16: `ready` must name exactly one of http, tcp, unix, exec and notify\n",
    ),
    ("empty.conf", "", 2, ".ini file does not include supervisord section\n"),
    (
        "strict.toml",
        "[supervisord]\nlogfile = supervisord.log\n[program.web]\ncommand = \"web\"\n[program.web]\n",
        2,
        "strict.toml:2: string values must be quoted, expected literal string\n\
         strict.toml:5: duplicate key\n",
    ),
];

#[test]
fn check_tells_every_mistake_with_its_line() {
    for (name, text, code, expected) in FILES {
        let (found_code, found) = check(name, text);
        assert_eq!((found.as_str(), found_code), (expected, Some(code)), "{name}");
    }
}

#[test]
fn what_cannot_start_is_refused_in_the_genuine_form() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("bad.conf"), "[supervisord]\n[program:a]\n[program:b]\n").expect("written");
    let program = env!("CARGO_BIN_EXE_supervisord");
    for (words, expected) in [
        (
            &["-c", "no-such.conf"][..],
            "Error: could not find config file no-such.conf\nFor help, use PROGRAM -h\n",
        ),
        (
            &["-c", "bad.conf"],
            "Error: bad.conf:2: [program:a] has no `command`\nError: bad.conf:3: [program:b] has no `command`\nFor help, use PROGRAM -h\n",
        ),
        (&["-x"], "Error: option -x not recognized\nFor help, use PROGRAM -h\n"),
        (&["start"], "Error: positional arguments are not supported: ['start']\nFor help, use PROGRAM -h\n"),
        (&["convert", "x.toml"], "x.toml: is TOML already\n"),
    ] {
        let out = run(&folder, words);
        let text = String::from_utf8(out.stderr).expect("it is UTF-8").replace(program, "PROGRAM");
        assert_eq!((text.as_str(), out.status.code()), (expected, Some(2)), "{words:?}");
        assert!(out.stdout.is_empty());
    }
    let help = run(&folder, &["-h"]);
    assert!(
        help.status.success()
            && help.stdout.starts_with(b"supervisord -- run a set of applications as daemons.\n")
    );
}

#[test]
fn a_log_of_the_daemon_that_cannot_be_written_is_one_sentence_and_no_start() {
    let folder = TempDir::new().expect("a folder");
    let here = folder.path().canonicalize().expect("it is there").display().to_string();
    fs::write(folder.path().join("file"), "").expect("written");
    fs::create_dir(folder.path().join("folder")).expect("made");
    for (logfile, expected) in [
        (
            "file/x.log",
            "Error: The directory named as part of the path HERE/file/x.log does not exist, and cannot be made: Not a directory (os error 20)\nFor help, use PROGRAM -h\n",
        ),
        (
            "file/in/x.log",
            "Error: The directory named as part of the path HERE/file/in/x.log does not exist, and cannot be made: Not a directory (os error 20)\nFor help, use PROGRAM -h\n",
        ),
        (
            "folder",
            "Error: cannot open the log file HERE/folder: Is a directory (os error 21)\nFor help, use PROGRAM -h\n",
        ),
    ] {
        let text = format!(
            "[supervisord]\nlogfile=%(here)s/{logfile}\npidfile=%(here)s/s.pid\n[unix_http_server]\nfile=%(here)s/s.sock\n"
        );
        fs::write(folder.path().join("s.conf"), text).expect("written");
        for words in [&["-c", "s.conf"][..], &["-n", "-c", "s.conf"]] {
            let out = run(&folder, words);
            let text = String::from_utf8(out.stderr).expect("it is UTF-8");
            let text = text.replace(env!("CARGO_BIN_EXE_supervisord"), "PROGRAM").replace(&here, "HERE");
            assert_eq!((text.as_str(), out.status.code()), (expected, Some(2)), "{words:?}");
            assert!(out.stdout.is_empty());
            // Nothing of a daemon that never was is left.
            assert!(!folder.path().join("s.sock").exists() && !folder.path().join("s.pid").exists());
        }
    }
}

#[test]
fn convert_says_which_included_files_stay_as_they_are() {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    fs::create_dir(folder.path().join("conf.d")).expect("made");
    write("old.conf", "[supervisord]\n[include]\nfiles=conf.d/*.conf conf.d/*.toml none/*.conf\n");
    write("conf.d/2.conf", "[program:b]\ncommand=b\n");
    write("conf.d/1.conf", "[program:a]\ncommand=a\n");
    write("conf.d/3.toml", "[program.c]\ncommand = \"c\"\n");
    let out = run(&folder, &["convert", "old.conf"]);
    let said = String::from_utf8(out.stderr).expect("it is UTF-8");
    let here = folder.path().canonicalize().expect("it is there").display().to_string();
    assert_eq!(
        (said.replace(&here, "HERE").as_str(), out.status.code()),
        (
            "HERE/conf.d/1.conf: stays INI, and is still included\nHERE/conf.d/2.conf: stays INI, and is still included\n",
            Some(0)
        )
    );
    write("new.toml", &String::from_utf8(out.stdout).expect("it is UTF-8"));
    let out = run(&folder, &["check", "-c", "new.toml"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "new.toml: valid, 3 programs\n");
}

#[test]
fn convert_says_what_of_a_file_that_runs_is_refused_in_toml() {
    let folder = TempDir::new().expect("a folder");
    let ini = "[supervisord]\nlogfile=s.log\n[program:a]\ncommand=echo \"a\n[program:b]\ncommand=b\n[group:g]\nprograms=\n";
    fs::write(folder.path().join("old.conf"), ini).expect("written");
    let out = run(&folder, &["convert", "old.conf"]);
    let said = "the TOML would be refused, at line 5: `command` cannot be read: No closing quotation: \"echo \\\"a\"\n\
                the TOML would be refused, at line 15: [group.g] has no `programs`\n";
    assert_eq!((String::from_utf8_lossy(&out.stderr).as_ref(), out.status.code()), (said, Some(0)));
    // As the check says it.
    fs::write(folder.path().join("new.toml"), &out.stdout).expect("written");
    let out = run(&folder, &["check", "-c", "new.toml"]);
    let said = said.replace("the TOML would be refused, at line ", "new.toml:");
    assert_eq!((String::from_utf8_lossy(&out.stderr).into_owned(), out.status.code()), (said, Some(2)));
}

#[test]
fn convert_prints_toml_that_passes_the_check() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("old.conf"), "[supervisord]\nnodaemon=true\n[program:a]\ncommand=a ; why\n")
        .expect("written");
    let out = run(&folder, &["convert", "old.conf"]);
    let toml = "[supervisord]\nnodaemon = true\n\n[program.a]\ncommand = \"a\"  # why\nstopasgroup = false\nkillasgroup = false\n";
    assert_eq!((String::from_utf8_lossy(&out.stdout).as_ref(), out.status.code()), (toml, Some(0)));
    fs::write(folder.path().join("new.toml"), toml).expect("written");
    let out = run(&folder, &["check", "-c", "new.toml"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "new.toml: valid, 1 programs\n");
}
