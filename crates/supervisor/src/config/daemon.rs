//! `[supervisord]`: the daemon itself.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::document::Section;
use super::reader::Reader;
use super::{Overrides, Supervisord, environment, paths, units};

const LOGFILE_MAXBYTES: u64 = 50 << 20;
const LOGFILE_BACKUPS: i64 = 10;
const LOGFILE_BACKUPS_MAX: i64 = 10_000;

/// Takes the keys of the section; what the command line says comes before them.
pub(super) fn read(reader: &mut Reader<'_>, section: Option<&Section>) -> Supervisord {
    let empty = Section {
        kind: "supervisord".to_owned(),
        name: None,
        origin: Rc::clone(reader.origin),
        line: 0,
        entries: Vec::new(),
    };
    let source = reader.source;
    let (env, over) = (&source.environment, &source.overrides);
    let absolute = |text: &str| paths::absolute(&source.directory, &paths::home(text, env));
    let mut keys = reader.keys(section.unwrap_or(&empty));
    let backups = format!("a number from 0 to {LOGFILE_BACKUPS_MAX}");
    let logfile = keys.text("logfile");
    let logfile = over.logfile.clone().or(logfile).unwrap_or_else(|| "supervisord.log".to_owned());
    let log = logfile.to_ascii_lowercase();
    let pidfile = keys.text("pidfile");
    let pidfile = over.pidfile.clone().or(pidfile).unwrap_or_else(|| "supervisord.pid".to_owned());
    let directory = keys.get("directory", |text| existing(&absolute(text)));
    let childlogdir = keys.get("childlogdir", |text| existing(&absolute(text)));
    let user = keys.text("user");
    let user = match over.user.clone().or(user) {
        Some(name) => {
            let known = units::user(&name).map(|_| name.clone());
            keys.note("user", known.map_err(|why| format!("`user` is {name:?}, but it {why}")))
        }
        None => None,
    };
    let backups = keys.count("logfile_backups", LOGFILE_BACKUPS_MAX, &backups).unwrap_or(LOGFILE_BACKUPS);
    let supervisord = Supervisord {
        logfile: (!matches!(log.as_str(), "none" | "off" | "syslog")).then(|| absolute(&logfile)),
        syslog: log == "syslog",
        logfile_maxbytes: keys.get("logfile_maxbytes", units::bytes).unwrap_or(LOGFILE_MAXBYTES),
        logfile_backups: usize::try_from(backups).unwrap_or(0),
        logfile_compress: keys.boolean("logfile_compress").unwrap_or(false),
        loglevel: keys.get("loglevel", loglevel).unwrap_or(log::LevelFilter::Info),
        pidfile: Some(absolute(&pidfile)),
        silent: keys.boolean("silent").unwrap_or(false),
        identifier: keys.text("identifier").unwrap_or_else(|| "supervisor".to_owned()),
        umask: keys.get("umask", units::mode).unwrap_or(0o022),
        directory,
        environment: environment::of_daemon(&mut keys),
        shutdown_timeout: keys.duration("shutdown_timeout"),
        childlogdir: childlogdir.unwrap_or_else(|| temporary(env)),
        user,
        minfds: count(keys.count("minfds", i64::MAX, "a whole number, 0 or more"), 1024),
        minprocs: count(keys.count("minprocs", i64::MAX, "a whole number, 0 or more"), 200),
        nocleanup: keys.boolean("nocleanup").unwrap_or(false),
        strip_ansi: keys.boolean("strip_ansi").unwrap_or(false),
        nodaemon: keys.boolean("nodaemon").unwrap_or(false),
    };
    keys.finish();
    overridden(supervisord, over, &source.directory)
}

fn overridden(mut daemon: Supervisord, over: &Overrides, cwd: &Path) -> Supervisord {
    daemon.nodaemon |= over.nodaemon;
    daemon.silent |= over.silent;
    daemon.nocleanup |= over.nocleanup;
    daemon.strip_ansi |= over.strip_ansi;
    daemon.umask = over.umask.unwrap_or(daemon.umask);
    daemon.logfile_maxbytes = over.logfile_maxbytes.unwrap_or(daemon.logfile_maxbytes);
    daemon.logfile_backups = over.logfile_backups.unwrap_or(daemon.logfile_backups);
    daemon.loglevel = over.loglevel.unwrap_or(daemon.loglevel);
    daemon.minfds = over.minfds.unwrap_or(daemon.minfds);
    daemon.minprocs = over.minprocs.unwrap_or(daemon.minprocs);
    if let Some(identifier) = &over.identifier {
        daemon.identifier.clone_from(identifier);
    }
    if let Some(directory) = &over.directory {
        daemon.directory = Some(paths::absolute(cwd, directory));
    }
    if let Some(directory) = &over.childlogdir {
        daemon.childlogdir = paths::absolute(cwd, directory);
    }
    daemon
}

fn count(number: Option<i64>, default: u64) -> u64 {
    number.map_or(default, |number| u64::try_from(number).unwrap_or(0))
}

fn existing(path: &Path) -> Result<PathBuf, String> {
    if path.is_dir() { Ok(path.to_path_buf()) } else { Err("must be a directory that exists".to_owned()) }
}

/// Where Python would make a temporary file.
fn temporary(env: &[(String, String)]) -> PathBuf {
    ["TMPDIR", "TEMP", "TMP"]
        .iter()
        .filter_map(|name| env.iter().find(|(known, _)| known == name))
        .map(|(_, folder)| PathBuf::from(folder))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// supervisord's words for how important a line of its log is.
pub(super) fn loglevel(text: &str) -> Result<log::LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "critical" | "crit" | "error" | "erro" => Ok(log::LevelFilter::Error),
        "warn" => Ok(log::LevelFilter::Warn),
        "info" => Ok(log::LevelFilter::Info),
        "debug" | "debg" => Ok(log::LevelFilter::Debug),
        "trace" | "trac" | "blather" | "blat" => Ok(log::LevelFilter::Trace),
        _ => Err("must be critical, error, warn, info, debug, trace or blather".to_owned()),
    }
}
