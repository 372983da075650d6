//! The command line of `supervisord`: the genuine options with their sentences, and our two commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::daemon::loglevel;
use super::{Overrides, paths, units};

/// What `-h` prints.
pub const USAGE: &str = "\
supervisord -- run a set of applications as daemons.

Usage: supervisord [options]
       supervisord check [options]      tell every mistake of the configuration, start nothing
       supervisord convert FILE         print an INI file as TOML with the same meaning

Options:
-c/--configuration FILENAME -- the configuration (*.toml is TOML, anything else INI; looked for if not given)
-n/--nodaemon -- stay in the foreground (as 'nodaemon=true' in the configuration)
-s/--silent -- write no log to stdout (as 'silent=true')
-h/--help -- print this text and exit
-v/--version -- print the version and exit
-u/--user USER -- become this user (a name or a number)
-m/--umask UMASK -- the umask of programs (022)
-d/--directory DIRECTORY -- where to work as a daemon
-l/--logfile FILENAME -- the log of the daemon itself
-y/--logfile_maxbytes BYTES -- its size at which it is rotated
-z/--logfile_backups NUM -- how many rotated files are kept
-e/--loglevel LEVEL -- the least important level that is logged (debug, info, warn, error, critical)
-j/--pidfile FILENAME -- where the pid is written
-i/--identifier STR -- the name by which clients know this daemon
-q/--childlogdir DIRECTORY -- where the logs of programs without a file of their own are
-k/--nocleanup -- keep those logs of an earlier run at the start
-a/--minfds NUM -- open files that must be possible to start
-t/--strip_ansi -- take ANSI escape sequences out of the output of programs
--minprocs NUM -- processes that must be possible to start
--profile_options OPTIONS -- accepted for its sake, without effect

Examples:
  supervisord check -c supervisord.conf                 is the file right? starts nothing
  supervisord -n -c supervisord.conf                    run it in the foreground
  supervisord convert supervisord.conf > supervisord.toml
  supervisorctl status                                  how the programs are doing

See supervisord(8) and supervisorctl(1).
";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start.
    Run,
    /// Tell the mistakes of the configuration.
    Check,
    /// Print this INI file as TOML.
    Convert(PathBuf),
    /// Print [`USAGE`].
    Help,
    /// Print the version.
    Version,
}

/// A command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// What is to be done.
    pub action: Action,
    /// The configuration, if one is named.
    pub configuration: Option<PathBuf>,
    /// What it says instead of the configuration.
    pub overrides: Overrides,
}

/// The options: the short form, the long one, whether a value follows.
const OPTIONS: [(Option<char>, &str, bool); 19] = [
    (Some('c'), "configuration", true),
    (Some('n'), "nodaemon", false),
    (Some('s'), "silent", false),
    (Some('h'), "help", false),
    (Some('v'), "version", false),
    (Some('u'), "user", true),
    (Some('m'), "umask", true),
    (Some('d'), "directory", true),
    (Some('l'), "logfile", true),
    (Some('y'), "logfile_maxbytes", true),
    (Some('z'), "logfile_backups", true),
    (Some('e'), "loglevel", true),
    (Some('j'), "pidfile", true),
    (Some('i'), "identifier", true),
    (Some('q'), "childlogdir", true),
    (Some('k'), "nocleanup", false),
    (Some('a'), "minfds", true),
    (Some('t'), "strip_ansi", false),
    (None, "minprocs", true),
];

const PROFILE_OPTIONS: &str = "profile_options";

/// A long option by its name or the beginning of one, as `getopt` takes it.
fn long(word: &str) -> Result<(&'static str, bool), String> {
    let all = || OPTIONS.iter().map(|(_, long, value)| (*long, *value)).chain([(PROFILE_OPTIONS, true)]);
    if let Some(exact) = all().find(|(long, _)| *long == word) {
        return Ok(exact);
    }
    let mut found = all().filter(|(long, _)| long.starts_with(word));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(format!("option --{word} not a unique prefix")),
        (None, _) => Err(format!("option --{word} not recognized")),
    }
}

/// Reads the words after the program's name. `Err` is the sentence for whoever wrote them.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    env: &[(String, String)],
) -> Result<Arguments, String> {
    use lexopt::Arg;
    let mut arguments =
        Arguments { action: Action::Run, configuration: None, overrides: Overrides::default() };
    let mut parser = lexopt::Parser::from_args(words);
    let (mut seen, mut positional): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let (shown, (name, takes_value)) = match argument {
            Arg::Short('?') => ("-?".to_owned(), ("help", false)),
            Arg::Short(letter) => {
                let known = OPTIONS.iter().find(|(short, ..)| *short == Some(letter));
                let known = known.ok_or_else(|| format!("option -{letter} not recognized"))?;
                (format!("-{letter}"), (known.1, known.2))
            }
            Arg::Long(word) => {
                let option = long(word)?;
                (format!("--{}", option.0), option)
            }
            Arg::Value(word) => {
                positional.push(word.to_string_lossy().into_owned());
                continue;
            }
        };
        let value = if takes_value {
            let value = parser.value().map_err(|_| format!("option {shown} requires argument"))?;
            value.to_string_lossy().into_owned()
        } else if shown.starts_with("--") && parser.optional_value().is_some() {
            return Err(format!("option {shown} must not have an argument"));
        } else {
            String::new()
        };
        match name {
            "help" => return Ok(Arguments { action: Action::Help, ..arguments }),
            "version" => return Ok(Arguments { action: Action::Version, ..arguments }),
            _ => {}
        }
        let wrong = |why: String| format!("invalid value for {shown} {}: {why}", repr(&value));
        set(&mut arguments, name, &value, env).map_err(wrong)?;
        if seen.contains(&name) {
            return Err(format!("conflicting command line option '{shown}'"));
        }
        seen.push(name);
    }
    let words: Vec<&str> = positional.iter().map(String::as_str).collect();
    arguments.action = match words[..] {
        [] => Action::Run,
        ["check"] => Action::Check,
        ["convert", file] => Action::Convert(PathBuf::from(file)),
        ["convert"] => match arguments.configuration.clone() {
            Some(file) => Action::Convert(file),
            None => return Err("convert requires the name of an INI file".to_owned()),
        },
        _ => {
            let words: Vec<String> = words.iter().map(|word| repr(word)).collect();
            return Err(format!("positional arguments are not supported: [{}]", words.join(", ")));
        }
    };
    if let Some(user) = &arguments.overrides.user {
        let kind = if units::integer(user).is_some() { "id" } else { "name" };
        units::user(user).map_err(|_| format!("Invalid user {kind} {user}"))?;
    }
    Ok(arguments)
}

fn set(arguments: &mut Arguments, name: &str, value: &str, env: &[(String, String)]) -> Result<(), String> {
    let over = &mut arguments.overrides;
    match name {
        "configuration" => arguments.configuration = Some(PathBuf::from(value)),
        "nodaemon" => over.nodaemon = true,
        "silent" => over.silent = true,
        "nocleanup" => over.nocleanup = true,
        "strip_ansi" => over.strip_ansi = true,
        "user" => over.user = Some(value.to_owned()),
        "umask" => {
            let umask =
                units::mode(value).map_err(|_| format!("{value} can not be converted to an octal type"))?;
            over.umask = Some(umask);
        }
        "directory" => over.directory = Some(directory(value, env)?),
        "childlogdir" => over.childlogdir = Some(directory(value, env)?),
        "logfile" => over.logfile = Some(file(value, env)?),
        "pidfile" => over.pidfile = Some(file(value, env)?),
        "logfile_maxbytes" => {
            over.logfile_maxbytes = Some(units::bytes(value).map_err(|_| not_an_integer(value))?);
        }
        "logfile_backups" => over.logfile_backups = Some(number(value)?),
        "loglevel" => {
            let level = loglevel(value).map_err(|_| format!("bad logging level name {}", repr(value)))?;
            over.loglevel = Some(level);
        }
        "identifier" => over.identifier = Some(value.to_owned()),
        "minfds" => over.minfds = Some(number(value)?),
        "minprocs" => over.minprocs = Some(number(value)?),
        _ => {}
    }
    Ok(())
}

fn directory(text: &str, env: &[(String, String)]) -> Result<PathBuf, String> {
    let path = paths::home(text, env);
    if path.is_dir() { Ok(path) } else { Err(format!("{text} is not an existing directory")) }
}

fn file(text: &str, env: &[(String, String)]) -> Result<String, String> {
    let path = paths::home(text, env);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_none_or(Path::is_dir) {
        return Ok(path.display().to_string());
    }
    Err(format!("The directory named as part of the path {text} does not exist"))
}

fn number<T: TryFrom<i64>>(text: &str) -> Result<T, String> {
    let number = units::integer(text).ok_or_else(|| not_an_integer(text))?;
    T::try_from(number.max(0)).map_err(|_| not_an_integer(text))
}

fn not_an_integer(text: &str) -> String {
    format!("invalid literal for int() with base 10: {}", repr(text))
}

/// The word as Python shows it.
fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Where a configuration is looked for when none is named: the genuine places in their order, in each of them also
/// a TOML file. `program` is our own file.
#[must_use]
pub fn places(program: &Path) -> Vec<PathBuf> {
    let above = program.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    [above.join("etc"), above.to_path_buf(), "".into(), "etc".into(), "/etc".into(), "/etc/supervisor".into()]
        .iter()
        .flat_map(|folder| ["supervisord.conf", "supervisord.toml"].map(|name| folder.join(name)))
        .collect()
}

/// The first of the places that there is. `Err` is the genuine sentence.
pub fn find(places: &[PathBuf]) -> Result<PathBuf, String> {
    if let Some(found) = places.iter().find(|place| place.exists()) {
        return Ok(found.clone());
    }
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(format!(
        "No config file found at default paths ({}); use the -c option to specify a config file at a different path",
        places.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(OsString::from), &[])
    }

    #[test]
    fn every_genuine_option_arrives_in_both_forms() {
        let short = "-c a.conf -n -s -u root -m 077 -d / -l /tmp/x.log -y 1MB -z 3 -e debug -j /tmp/x.pid -i me -q /tmp -k -a 10 -t --minprocs 5";
        let long = "--configuration=a.conf --nodaemon --silent --user root --umask=077 --directory / --logfile /tmp/x.log --logfile_maxbytes 1MB --logfile_backups=3 --loglevel DEBUG --pidfile /tmp/x.pid --identifier me --childlogdir /tmp --nocleanup --minfds 10 --strip_ansi --minprocs=5";
        let expected = Arguments {
            action: Action::Run,
            configuration: Some("a.conf".into()),
            overrides: Overrides {
                nodaemon: true,
                silent: true,
                nocleanup: true,
                strip_ansi: true,
                user: Some("root".to_owned()),
                umask: Some(0o077),
                directory: Some("/".into()),
                logfile: Some("/tmp/x.log".to_owned()),
                logfile_maxbytes: Some(1 << 20),
                logfile_backups: Some(3),
                loglevel: Some(log::LevelFilter::Debug),
                pidfile: Some("/tmp/x.pid".to_owned()),
                identifier: Some("me".to_owned()),
                childlogdir: Some("/tmp".into()),
                minfds: Some(10),
                minprocs: Some(5),
            },
        };
        for line in [short, long] {
            assert_eq!(read(line).as_ref(), Ok(&expected), "{line}");
        }
        assert_eq!(read("--conf a.conf -nsk").map(|a| a.overrides.nocleanup), Ok(true));
        assert_eq!(read("--profile_options=calls"), read(""));
    }

    #[test]
    fn what_is_to_be_done() {
        for (line, expected) in [
            ("", Action::Run),
            ("check -c x", Action::Check),
            ("-c x check", Action::Check),
            ("convert x.conf", Action::Convert("x.conf".into())),
            ("convert -c x.conf", Action::Convert("x.conf".into())),
            ("-n -h --nonsense", Action::Help),
            ("-?", Action::Help),
            ("-v", Action::Version),
        ] {
            assert_eq!(read(line).map(|arguments| arguments.action), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_in_the_genuine_words() {
        for (line, expected) in [
            ("-x", "option -x not recognized"),
            ("--nope", "option --nope not recognized"),
            ("--min 3", "option --min not a unique prefix"),
            ("-c", "option -c requires argument"),
            ("--conf", "option --configuration requires argument"),
            ("--nodaemon=1", "option --nodaemon must not have an argument"),
            ("start", "positional arguments are not supported: ['start']"),
            ("-n -n", "conflicting command line option '-n'"),
            ("-c a --configuration b", "conflicting command line option '--configuration'"),
            ("-e loud", "invalid value for -e 'loud': bad logging level name 'loud'"),
            ("-m 9", "invalid value for -m '9': 9 can not be converted to an octal type"),
            (
                "-d /dev/null/such",
                "invalid value for -d '/dev/null/such': /dev/null/such is not an existing directory",
            ),
            (
                "--logfile /dev/null/such/x",
                "invalid value for --logfile '/dev/null/such/x': The directory named as part of the path /dev/null/such/x does not exist",
            ),
            ("-z x", "invalid value for -z 'x': invalid literal for int() with base 10: 'x'"),
            ("-u no-such-user", "Invalid user name no-such-user"),
            ("-u 4294967000", "Invalid user id 4294967000"),
        ] {
            assert_eq!(read(line), Err(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_configuration_is_looked_for_in_the_genuine_places() {
        let places = places(Path::new("/usr/local/bin/supervisord"));
        let conf: Vec<String> = places
            .iter()
            .filter(|place| place.extension().is_some_and(|e| e == "conf"))
            .map(|place| place.display().to_string())
            .collect();
        assert_eq!(
            conf,
            [
                "/usr/local/etc/supervisord.conf",
                "/usr/local/supervisord.conf",
                "supervisord.conf",
                "etc/supervisord.conf",
                "/etc/supervisord.conf",
                "/etc/supervisor/supervisord.conf"
            ]
        );
        let none = ["/dev/null/such/a".into(), "/dev/null/such/b".into()];
        let text = "No config file found at default paths (/dev/null/such/a, /dev/null/such/b); use the -c option to specify a config file at a different path";
        assert_eq!(find(&none), Err(text.to_owned()));
        assert_eq!(find(&["/dev/null/such/a".into(), "/".into()]), Ok("/".into()));
    }
}
