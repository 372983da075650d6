//! From a document to a configuration: every section in its turn, then what they say about each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::rc::Rc;

use super::document::{Document, Findings, Mistake, Origin, Section, Weight};
use super::expand::Names;
use super::keys::{Keys, nearest};
use super::{Config, Mistakes, Report, Source, daemon, dependencies, groups, include, listeners};

/// Sections that have a meaning.
const SECTIONS: [&str; 13] = [
    "supervisord",
    "unix_http_server",
    "inet_http_server",
    "supervisorctl",
    "program",
    "group",
    "socket",
    "eventlistener",
    "fcgi-program",
    "include",
    "rpcinterface",
    "ctlplugin",
    "DEFAULT",
];

/// The part of supervisord's own plugin that answers its clients, which is built in here.
const RPC_FACTORY: &str = "supervisor.rpcinterface:make_main_rpcinterface";

impl Source {
    /// Reads and checks the configuration, as leniently as supervisord where it is an INI file.
    pub fn load(&self) -> Result<Config, Mistakes> {
        started(self.read(None))
    }

    /// As [`Source::load`], with this for the text of the file.
    pub fn parse(&self, text: &str) -> Result<Config, Mistakes> {
        started(self.read(Some(text)))
    }

    /// Reads the configuration and tells everything that is wrong with it.
    #[must_use]
    pub fn check(&self) -> Report {
        let (findings, config) = self.read(None);
        let mut mistakes = findings.mistakes;
        mistakes.extend(findings.swallowed);
        sort(&mut mistakes);
        Report { mistakes, warnings: findings.warnings, config }
    }

    /// What was found on the way through this text of the file, whether it would start or not.
    pub(super) fn findings_in(&self, text: &str) -> Findings {
        self.read(Some(text)).0
    }

    fn read(&self, text: Option<&str>) -> (Findings, Option<Config>) {
        let mut findings = Findings::default();
        let origin = Origin::new(&self.file, &self.directory);
        let config = self.text(text, &origin, &mut findings).and_then(|text| {
            let mut reader = Reader::new(self, &origin, &mut findings);
            reader.config(&text)
        });
        for list in [&mut findings.mistakes, &mut findings.swallowed, &mut findings.warnings] {
            sort(list);
        }
        let config = config.filter(|_| findings.mistakes.is_empty());
        (findings, config)
    }

    fn text(&self, text: Option<&str>, origin: &Rc<Origin>, findings: &mut Findings) -> Option<String> {
        if let Some(text) = text {
            return Some(text.to_owned());
        }
        let file = self.directory.join(&self.file);
        let why = match fs::read_to_string(&file) {
            Ok(text) => return Some(text),
            Err(_) if !file.exists() => format!("could not find config file {}", self.file.display()),
            Err(error) => format!("could not read config file {}: {error}", self.file.display()),
        };
        findings.mistakes.push(Mistake { file: origin.file.clone(), line: 0, text: why, genuine: true });
        None
    }
}

/// What supervisord swallows is a warning at a start.
fn started((findings, config): (Findings, Option<Config>)) -> Result<Config, Mistakes> {
    let config = config.ok_or(Mistakes(findings.mistakes))?;
    let mut warnings = findings.swallowed;
    warnings.extend(findings.warnings);
    sort(&mut warnings);
    Ok(Config { warnings, ..config })
}

/// By file and line, each once: the processes of one section make the same mistakes.
fn sort(list: &mut Vec<Mistake>) {
    list.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let mut seen = BTreeSet::new();
    list.retain(|mistake| seen.insert((mistake.file.clone(), mistake.line, mistake.text.clone())));
}

/// Reads one configuration.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) origin: &'a Rc<Origin>,
    pub(super) names: Names,
    pub(super) findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source, origin: &'a Rc<Origin>, findings: &'a mut Findings) -> Self {
        let mut names: BTreeMap<String, String> =
            source.environment.iter().map(|(name, value)| (format!("ENV_{name}"), value.clone())).collect();
        names.insert("here".to_owned(), origin.here.clone());
        names.insert("host_node_name".to_owned(), source.host.clone());
        Self { source, origin, names: Names::new(names), findings }
    }

    fn config(&mut self, text: &str) -> Option<Config> {
        let mut infos = Vec::new();
        let document = include::read(self, text, &mut infos);
        // With half of the sections nothing more can be said for sure.
        if !self.findings.mistakes.is_empty() {
            return None;
        }
        self.sections(&document);
        let section = document.sections.iter().find(|s| s.kind == "supervisord" && s.name.is_none());
        if section.is_none() && self.origin.ini {
            let text = ".ini file does not include supervisord section".to_owned();
            let file = self.origin.file.clone();
            self.findings.mistakes.push(Mistake { file, line: 0, text, genuine: true });
        }
        if document.sections.is_empty() && !self.origin.ini {
            // Such as one that an editor is just writing: nothing is to be stopped for it.
            let file = self.origin.file.clone();
            let text = "has no section".to_owned();
            self.findings.mistakes.push(Mistake { file, line: 0, text, genuine: false });
        }
        let supervisord = daemon::read(self, section);
        // They hold from here on, as there: not in `[supervisord]` itself.
        self.names.variables(&supervisord.environment);
        let servers = listeners::http_servers(self, &document);
        let sockets = listeners::sockets(self, &document);
        let serverurl = self.supervisorctl(&document);
        let mut config = Config {
            file: self.source.directory.join(&self.source.file),
            supervisord,
            http_servers: servers,
            groups: Vec::new(),
            programs: Vec::new(),
            sockets,
            serverurl,
            warnings: Vec::new(),
            infos,
        };
        groups::read(self, &document, &mut config);
        dependencies::check(self, &document, &config);
        Some(config)
    }

    pub(super) fn keys<'b>(&'b mut self, section: &'b Section) -> Keys<'b> {
        Keys::new(section, &self.names, self.findings)
    }

    /// Notes something at the header of a section.
    pub(super) fn find(&mut self, weight: Weight, section: &Section, text: String) {
        self.findings.add(weight, &section.origin, section.line, text);
    }

    /// What is wrong with sections as such, and with those that have no meaning here.
    fn sections(&mut self, document: &Document) {
        for section in &document.sections {
            let server =
                section.kind.starts_with("unix_http_server") || section.kind.starts_with("inet_http_server");
            let named = matches!(
                section.kind.as_str(),
                "program"
                    | "group"
                    | "socket"
                    | "eventlistener"
                    | "fcgi-program"
                    | "rpcinterface"
                    | "ctlplugin"
            );
            if !(SECTIONS.contains(&section.kind.as_str()) || (server && section.origin.ini)) {
                let title = if section.origin.ini { section.title() } else { format!("[{}]", section.kind) };
                let near = nearest(&section.kind, SECTIONS.into_iter());
                self.find(Weight::Swallowed, section, format!("unknown section {title}{near}"));
                self.findings.unknown.insert((section.title(), String::new()));
            } else if named != section.name.is_some() && !server {
                let form =
                    if named { format!("[{}:NAME]", section.kind) } else { format!("[{}]", section.kind) };
                let text = format!("unknown section {}, it must be {form}", section.title());
                self.find(Weight::Swallowed, section, text);
                self.findings.unknown.insert((section.title(), String::new()));
            }
            match section.kind.as_str() {
                "rpcinterface" if section.name.is_some() => self.rpcinterface(section),
                "ctlplugin" if section.name.is_some() => {
                    let text = format!("{} is a plugin in Python, which is not loaded", section.title());
                    self.find(Weight::Hint, section, text);
                }
                _ => {}
            }
        }
    }

    fn rpcinterface(&mut self, section: &Section) {
        let mut keys = self.keys(section);
        let factory = keys.text("supervisor.rpcinterface_factory");
        let title = keys.title();
        match factory.as_deref() {
            Some(RPC_FACTORY) => {}
            None if keys.section.entry("supervisor").is_some() => {}
            None => keys.mistake(
                "supervisor.rpcinterface_factory",
                format!("section {title} does not specify a supervisor.rpcinterface_factory"),
            ),
            Some(_) => keys.find(
                Weight::Hint,
                "supervisor.rpcinterface_factory",
                format!("{title} is a plugin in Python, which is not loaded"),
            ),
        }
    }

    /// The daemon does not use it, so it stops no start from an INI file.
    fn supervisorctl(&mut self, document: &Document) -> Option<String> {
        let section = document.sections.iter().find(|s| s.kind == "supervisorctl" && s.name.is_none())?;
        let before = self.findings.mistakes.len();
        let mut keys = self.keys(section);
        let url = keys.text("serverurl");
        for key in ["username", "password", "prompt", "history_file"] {
            let _ = keys.text(key);
        }
        keys.finish();
        if section.origin.ini {
            let swallowed = self.findings.mistakes.split_off(before);
            self.findings.swallowed.extend(swallowed);
        }
        url
    }
}

/// Names stand in `status`, in `group:name` and in paths of the control interface.
pub(super) fn process_name(name: &str) -> Result<(), (Weight, String)> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | '*' | ',');
    if name.is_empty() || name.contains(forbidden) {
        let weight = if name.contains([' ', ':', '/']) { Weight::Mistake } else { Weight::Swallowed };
        let text = format!("the name {name:?} must not be empty or contain spaces, `:`, `/`, `*` or `,`");
        return Err((weight, text));
    }
    Ok(())
}
