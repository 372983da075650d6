//! What must hold for every configuration file, whoever wrote it.

use super::{Config, Overrides, Source, diff};

fn source(file: &str) -> Source {
    Source {
        file: file.into(),
        environment: vec![("HOME".to_owned(), "/home/a b".to_owned())],
        inherited: Vec::new(),
        host: "host".to_owned(),
        directory: "/nowhere".into(),
        overrides: Overrides::default(),
    }
}

/// A fuzzer is not to read what lies about on the disk.
fn names_files(text: &str) -> bool {
    ["include", "env_file", "\\u", "\\U", "\\x"].iter().any(|word| text.contains(word))
}

fn loaded(source: &Source, text: &str) -> Option<Config> {
    match source.parse(text) {
        Ok(config) => {
            // A reload without a change changes nothing.
            assert_eq!(diff(&config.definitions(), &config), super::Diff::default());
            Some(config)
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty() && mistakes.0.iter().all(|mistake| !mistake.text.is_empty()));
            None
        }
    }
}

/// A `supervisord.conf`. One that has no mistake, not even one that supervisord swallows, means the same in TOML.
pub fn ini(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    if names_files(text) {
        return false;
    }
    let old = source("s.conf");
    let Some(config) = loaded(&old, text) else { return false };
    let findings = old.findings_in(text);
    if findings.mistakes.is_empty() && findings.swallowed.is_empty() {
        let converted = old.convert_text(text).expect("it was read");
        if converted.refused.is_empty() {
            let toml = &converted.toml;
            let again = source("s.toml").parse(toml);
            let again = again.unwrap_or_else(|mistakes| panic!("{mistakes}\n--- in\n{toml}"));
            let (file, warnings) = (config.file.clone(), config.warnings.clone());
            assert_eq!(Config { file, warnings, ..again }, config, "\n--- in\n{toml}");
        }
    }
    true
}

/// A configuration in TOML.
pub fn supervisor_toml(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    !names_files(text) && loaded(&source("s.toml"), text).is_some()
}
