//! What must hold for every configuration file, whoever wrote it.

use std::path::Path;

use super::Config;

/// A TOML file. What `check` shows of it is a configuration with the same meaning; every mistake is a sentence.
pub fn toml(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    // A fuzzer is not to read what lies about on the disk.
    if text.contains("_file") || text.contains("\\") {
        return false;
    }
    let parse = |text: &str| Config::parse(Some((Path::new("f.toml"), text)), &[]);
    let config = match parse(text) {
        Ok(config) => config,
        Err(mistakes) => {
            assert!(!mistakes.is_empty() && mistakes.iter().all(|sentence| !sentence.is_empty()));
            assert!(mistakes.iter().all(|sentence| !sentence.contains('\n')), "{mistakes:?}");
            return false;
        }
    };
    let shown = config.to_toml();
    // What is secret is not shown.
    if !shown.contains("********") {
        let again = parse(&shown).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{shown}"));
        assert_eq!(without_origins(&again.to_toml()), without_origins(&shown));
    }
    true
}

fn without_origins(shown: &str) -> Vec<&str> {
    shown.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value)).collect()
}
