//! `man/sse-server.toml.5`, made from the list of settings.

use std::fmt::Write;

use super::settings::SETTINGS;

const HEAD: &str = r#".\" Made from crates/sse-server/src/config/settings.rs by UPDATE_MANUAL=1 cargo nextest run -p sse-server manual
.Dd November 27, 2026
.Dt SSE-SERVER.TOML 5
.Os sse-stack
.Sh NAME
.Nm sse-server.toml
.Nd settings of the event hub sse-server
.Sh DESCRIPTION
A file in TOML that is named to
.Xr sse-server 1
by
.Fl -config .
Every key may be left out.
The environment variable named behind each key wins over the file; a variable that is empty counts as unset.
An unknown key, and a value that makes no sense, stop the start with one sentence each.
.Pp
.Ql sse-server --config FILE check
prints what is in force, with secrets masked, and where each value comes from.
.Pp
The keys are:
.Bl -tag -width Ds
"#;

const TAIL: &str = r#".El
.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/sse-stack/sse-server.toml
The file that the service of the Debian package reads.
.El
.Sh EXAMPLES
A history that survives restarts, and more readers:
.Bd -literal -offset indent
listen = "127.0.0.1:5001"
data_dir = "/var/lib/sse-server"
history = "disk"
max_connections = 5000
trusted_proxies = "127.0.0.1, 10.0.0.0/8"
.Ed
.Sh SEE ALSO
.Xr sse-server 1
"#;

/// The page.
fn manual() -> String {
    let mut out = HEAD.to_owned();
    for setting in SETTINGS {
        let _ = writeln!(out, ".It Ic {} Pq Ev {}", setting.key, setting.variable);
        let _ = writeln!(out, "{}", text(setting.doc));
        let default = if setting.default.is_empty() { "none".to_owned() } else { text(setting.default) };
        let _ = writeln!(out, "Default: {default}.");
    }
    out + TAIL
}

/// Words that roff takes as they are.
fn text(words: &str) -> String {
    // A sentence begins a line of its own, as the language of manuals asks.
    let escaped = words.replace('\\', "\\e").replace(". ", ".\n");
    escaped.lines().map(guarded).collect::<Vec<_>>().join("\n")
}

fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

#[test]
fn manual_of_the_settings_is_what_the_code_makes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/sse-server.toml.5");
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(file, manual()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap_or_default(), manual(), "{file}");
}

#[test]
fn words_are_not_taken_for_requests() {
    assert_eq!(text("One. .Two \\n"), "One.\n\\&.Two \\en");
}
