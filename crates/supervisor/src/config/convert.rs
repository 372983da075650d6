//! `supervisord convert`: an INI file as TOML with the same meaning.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use super::document::{Entry, Findings, Mistake, Origin, Section, Value};
use super::{Mistakes, Source, ini, units, words};

/// Keys whose value is yes or no.
const BOOLEANS: [&str; 17] = [
    "status_only",
    "autostart",
    "autorestart",
    "stopasgroup",
    "killasgroup",
    "redirect_stderr",
    "stdout_events_enabled",
    "stdout_syslog",
    "stdout_tee",
    "stderr_events_enabled",
    "stderr_syslog",
    "stderr_tee",
    "logfile_compress",
    "nodaemon",
    "silent",
    "nocleanup",
    "strip_ansi",
];

/// Keys whose value is a number, and those where one below 0 says what 0 says.
const NUMBERS: [&str; 4] = ["priority", "numprocs_start", "nice", "port"];
const COUNTS: [&str; 11] = [
    "numprocs",
    "startsecs",
    "startretries",
    "stopwaitsecs",
    "stdout_logfile_backups",
    "stderr_logfile_backups",
    "logfile_backups",
    "buffer_size",
    "socket_backlog",
    "minfds",
    "minprocs",
];

/// Keys whose value is a list.
const LISTS: [&str; 7] =
    ["programs", "events", "depends_on", "sockets", "env_file", "supplementary_groups", "exitcodes"];

/// Keys whose value is a table, which an INI file has in TOML's words already.
const TABLES: [&str; 5] = ["ready", "alive", "backoff", "start_limit", "rlimits"];

/// Keys in which an INI file has names replaced twice.
const TWICE: [&str; 2] = ["stdout_logfile", "stderr_logfile"];

/// An INI file in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The text.
    pub toml: String,
    /// The included files that stay INI.
    pub stay: Vec<PathBuf>,
    /// Why the daemon would not start with the TOML, by its lines: what an INI file may say and TOML may not.
    pub refused: Vec<Mistake>,
}

impl Source {
    /// The INI file in TOML. What it includes stays as it is. What has no meaning becomes a comment, and so does what
    /// TOML would refuse though it does nothing.
    pub fn convert(&self) -> Result<Converted, Mistakes> {
        let refuse =
            |text: String| Mistakes(vec![Mistake { file: self.file.clone(), line: 0, text, genuine: false }]);
        if !self.is_ini() {
            return Err(refuse("is TOML already".to_owned()));
        }
        let text = std::fs::read_to_string(self.directory.join(&self.file))
            .map_err(|error| refuse(format!("cannot be read: {error}")))?;
        self.convert_text(&text)
    }

    /// As [`Source::convert`], with this for the text of the file.
    pub(super) fn convert_text(&self, text: &str) -> Result<Converted, Mistakes> {
        let origin = Origin::new(&self.file, &self.directory);
        let mut findings = Findings::default();
        let mut document = ini::read(&origin, text, &mut findings);
        if !findings.mistakes.is_empty() {
            return Err(Mistakes(findings.mistakes));
        }
        ini::inherit(&mut document);
        let Findings { unknown, included, .. } = self.findings_in(text);
        let mut writer = Writer { comments: ini::comments(text), next: 0, unknown, out: String::new() };
        for section in &document.sections {
            writer.section(section);
        }
        writer.comments_before(usize::MAX);
        let stay = included.into_iter().filter(|file| super::is_ini(file)).collect();
        let new = Self { file: self.file.with_extension("toml"), ..self.clone() };
        let mut refused = new.findings_in(&writer.out).mistakes;
        // What is wrong in an included file is so in both.
        refused.retain(|mistake| mistake.file == new.file);
        Ok(Converted { toml: writer.out, stay, refused })
    }
}

struct Writer {
    comments: Vec<(usize, String)>,
    /// The first comment that is not written yet.
    next: usize,
    /// Sections and keys that mean nothing.
    unknown: BTreeSet<(String, String)>,
    out: String,
}

impl Writer {
    fn comments_before(&mut self, line: usize) {
        while let Some((_, text)) = self.comments.get(self.next).filter(|(at, _)| *at < line) {
            let _ = writeln!(self.out, "{}", format!("# {text}").trim_end());
            self.next += 1;
        }
    }

    /// A line, with the comment that stands behind it.
    fn line(&mut self, line: usize, text: &str) {
        self.comments_before(line);
        self.out.push_str(text);
        if let Some((_, comment)) = self.comments.get(self.next).filter(|(at, _)| *at == line) {
            let _ = write!(self.out, "  # {comment}");
            self.next += 1;
        }
        self.out.push('\n');
    }

    fn section(&mut self, section: &Section) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let known = !self.unknown.contains(&(section.title(), String::new()));
        let mark = if known { "" } else { "# " };
        self.line(section.line, &format!("{mark}{}", header(section)));
        for entry in &section.entries {
            if !known || self.unknown.contains(&(section.title(), entry.key.clone())) {
                if !entry.inherited {
                    let text = entry.value.text().unwrap_or_default().replace('\n', " ");
                    self.line(entry.line, &format!("# {} = {text}", entry.key));
                }
                continue;
            }
            let line = if entry.inherited { section.line } else { entry.line };
            let text = format!("{} = {}", word(&entry.key), value(section, entry));
            self.line(line, &if has_no_effect(section, entry) { format!("# {text}") } else { text });
        }
        if known && matches!(section.kind.as_str(), "program" | "eventlistener" | "fcgi-program") {
            self.as_group(section);
        }
    }

    /// The two keys whose defaults are others in TOML.
    fn as_group(&mut self, section: &Section) {
        let stop = section.entry("stopasgroup").map(|entry| value(section, entry));
        if stop.is_none() {
            self.out.push_str("stopasgroup = false\n");
        }
        if section.entry("killasgroup").is_none() {
            let _ = writeln!(self.out, "killasgroup = {}", stop.as_deref().unwrap_or("false"));
        }
    }
}

fn header(section: &Section) -> String {
    // There `[inet_http_server2]` is one more `[inet_http_server]`.
    for kind in ["inet_http_server", "unix_http_server"] {
        if let Some(rest) = section.kind.strip_prefix(kind) {
            let name = format!("{rest}{}", section.name.as_deref().unwrap_or_default());
            return if name.is_empty() { format!("[{kind}]") } else { format!("[{kind}.{}]", word(&name)) };
        }
    }
    match &section.name {
        Some(name) => format!("[{}.{}]", word(&section.kind), word(name.trim())),
        None => format!("[{}]", word(&section.kind)),
    }
}

/// A key as TOML writes it.
fn word(text: &str) -> String {
    let bare =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { text.to_owned() } else { string(text) }
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `stderr_logfile` beside `redirect_stderr`, which TOML refuses.
fn has_no_effect(section: &Section, entry: &Entry) -> bool {
    let redirected = section.entry("redirect_stderr").and_then(|entry| entry.value.text());
    let text = entry.value.text().unwrap_or_default().to_ascii_lowercase();
    entry.key == "stderr_logfile"
        && redirected.is_some_and(|text| units::boolean(&text) == Ok(true))
        && !matches!(text.as_str(), "none" | "off" | "" | "auto" | "syslog")
}

/// The value in the natural type; one with names that are still to be replaced stays a string.
fn value(section: &Section, entry: &Entry) -> String {
    let text = entry.value.text().unwrap_or_default();
    let key = entry.key.as_str();
    let daemon = section.kind == "supervisord";
    if TWICE.contains(&key) || (daemon && key == "environment") {
        let text = once(&text);
        return environment(key, &text).unwrap_or_else(|| string(&text));
    }
    if let Ok(value) =
        units::boolean(&text).map_err(|_| ()).and_then(|v| BOOLEANS.contains(&key).then_some(v).ok_or(()))
    {
        return value.to_string();
    }
    if let Some(number) = units::integer(&text) {
        if NUMBERS.contains(&key) {
            return number.to_string();
        }
        if COUNTS.contains(&key) {
            return number.max(0).to_string();
        }
    }
    if TABLES.contains(&key) && matches!(entry.value.inline(), Ok(Value::Table(_))) {
        return text.replace('\n', " ");
    }
    if (LISTS.contains(&key) || section.kind == "include") && !text.contains("%(") && !text.starts_with('[') {
        let split = |c: char| if section.kind == "include" { c.is_whitespace() } else { c == ',' };
        let words = text.split(split).map(str::trim).filter(|word| !word.is_empty());
        let words: Vec<String> = words
            .map(|word| match units::integer(word) {
                Some(number) if key == "exitcodes" => number.to_string(),
                _ => string(word),
            })
            .collect();
        return format!("[{}]", words.join(", "));
    }
    if LISTS.contains(&key) && text.starts_with('[') && matches!(entry.value.inline(), Ok(Value::List(_))) {
        return text.replace('\n', " ");
    }
    environment(key, &text).unwrap_or_else(|| string(&text))
}

/// The variables as a table, if it is plain what they are.
fn environment(key: &str, text: &str) -> Option<String> {
    if key != "environment" || text.contains("%(") {
        return None;
    }
    let pairs = words::variables(text)?;
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{} = {}", word(name), line_string(value))).collect();
    Some(if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) })
}

/// A string that stays on its line.
fn line_string(text: &str) -> String {
    if text.contains('\n') { serde_json::Value::from(text).to_string() } else { string(text) }
}

/// What has its names replaced once as `text` has them replaced twice.
fn once(text: &str) -> String {
    text.replace("%%", "%")
}

#[cfg(test)]
mod tests {
    use super::super::Overrides;
    use super::*;

    fn source(folder: &tempfile::TempDir, file: &str, text: &str) -> Source {
        std::fs::write(folder.path().join(file), text).expect("written");
        Source {
            file: file.into(),
            environment: Vec::new(),
            inherited: Vec::new(),
            host: "host".to_owned(),
            directory: folder.path().into(),
            overrides: Overrides::default(),
        }
    }

    fn convert(text: &str) -> String {
        let folder = tempfile::TempDir::new().expect("a folder");
        source(&folder, "s.conf", text).convert().expect("it can be read").toml
    }

    proptest::proptest! {
        /// Quotes, backslashes and what TOML's own long strings are made of included.
        #[test]
        fn a_command_of_many_lines_is_the_same_command_in_toml(
            lines in proptest::collection::vec(
                r#"[a-c"'\\ é	=\[]{0,4}(|'''|"""|%%|%\(here\)s|\\\\| [;#]x)[a-c'" ]{0,3}"#, 2..5,
            ),
        ) {
            let folder = tempfile::TempDir::new().expect("a folder");
            let ini = format!("[supervisord]\n[program:a]\ncommand=x {}\n", lines.join("\n    "));
            let old = source(&folder, "s.conf", &ini);
            let report = old.check();
            // What cannot be cut into words is a mistake in TOML.
            if let Some(config) = report.config.filter(|_| report.mistakes.is_empty()) {
                let toml = old.convert().expect("it can be read").toml;
                let new = source(&folder, "s.toml", &toml).load();
                let new = new.unwrap_or_else(|why| panic!("{why}\n{toml}"));
                let command = |config: &super::super::Config| {
                    let program = &config.programs[0];
                    (program.command.clone(), program.command_text.clone())
                };
                proptest::prop_assert_eq!(command(&new), command(&config), "{}", toml);
            }
        }
    }

    #[test]
    fn a_file_becomes_what_one_would_write() {
        let ini = "\
; the stack
[supervisord]
nodaemon=true   ; in the foreground
logfile_maxbytes=50MB
umask=022
environment=A=\"1\",B=\"two words\"

[unix_http_server]
file=%(here)s/s.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = conf.d/*.conf

[group:all]
programs=web,db
; who serves
[program:web]
command=/usr/bin/web
    --port %(ENV_PORT)s ; the port
colour=blue
autostart=yes
startsecs=05
exitcodes=0,2
stopasgroup=true
redirect_stderr=true
stderr_logfile=/tmp/x
stdout_logfile=/tmp/100%%%%.log
environment=P=\"%(ENV_PATH)s\"
depends_on=db
ready={ tcp = \"127.0.0.1:1\",
  timeout = \"3s\" }
[program:d.b]
command=db \"a b\"
[programs:x]
command=x
; end
";
        let toml = "\
# the stack
[supervisord]
nodaemon = true  # in the foreground
logfile_maxbytes = \"50MB\"
umask = \"022\"
environment = { A = \"1\", B = \"two words\" }

[unix_http_server]
file = \"%(here)s/s.sock\"
chmod = \"0700\"

[rpcinterface.supervisor]
\"supervisor.rpcinterface_factory\" = \"supervisor.rpcinterface:make_main_rpcinterface\"

[include]
files = [\"conf.d/*.conf\"]

[group.all]
programs = [\"web\", \"db\"]

# who serves
[program.web]
command = \"\"\"
/usr/bin/web
--port %(ENV_PORT)s\"\"\"
# the port
# colour = blue
autostart = true
startsecs = 5
exitcodes = [0, 2]
stopasgroup = true
redirect_stderr = true
# stderr_logfile = \"/tmp/x\"
stdout_logfile = \"/tmp/100%%.log\"
environment = 'P=\"%(ENV_PATH)s\"'
depends_on = [\"db\"]
ready = { tcp = \"127.0.0.1:1\", timeout = \"3s\" }
killasgroup = true

[program.\"d.b\"]
command = 'db \"a b\"'
stopasgroup = false
killasgroup = false

# [programs.x]
# command = x
# end
";
        assert_eq!(convert(ini), toml);
    }
}
