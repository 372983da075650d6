//! The command `completion`: scripts for the shells, and the words that these ask for.

use super::super::complete::{Wanted, candidates, wanted};
use super::super::discover::{Surroundings, discover};
use super::super::options::Options;
use super::{Done, Session, exit};

/// Each script gives the line up to the cursor to `completion words`, which answers with one word a line. In bash a
/// colon parts words, so what stands before the last one is taken off again.
const SCRIPTS: [(&str, &str); 3] = [
    (
        "bash",
        r#"_supervisorctl() {
    local line="${COMP_LINE:0:COMP_POINT}" word part=""
    local current="${line##*[[:space:]]}"
    if [[ $COMP_WORDBREAKS == *:* && $current == *:* ]]; then part="${current%:*}:"; fi
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$part"}")
    done < <("${COMP_WORDS[0]}" completion words "$line" 2>/dev/null)
}
complete -F _supervisorctl supervisorctl
"#,
    ),
    (
        "zsh",
        r#"#compdef supervisorctl
_supervisorctl() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words "$LBUFFER" 2>/dev/null)}")
    [[ -n ${found[1]} ]] && compadd -a found
}
compdef _supervisorctl supervisorctl
"#,
    ),
    (
        "fish",
        r#"complete --command supervisorctl --no-files --arguments '(supervisorctl completion words (commandline --cut-at-cursor | string collect) 2>/dev/null)'
"#,
    ),
];

impl Session<'_> {
    pub(super) async fn completion(&mut self, rest: &str) -> Done {
        if let Some(line) = rest.strip_prefix("words ") {
            return self.words(line).await;
        }
        match SCRIPTS.iter().find(|(shell, _)| *shell == rest) {
            Some((_, script)) => Ok(self.output.out.write_all(script.as_bytes())?),
            None => {
                self.usage("Error: completion requires bash, zsh or fish", "completion")?;
                self.exit = exit::INVALID_ARGS;
                Ok(())
            }
        }
    }

    /// What a command line can go on with. The daemon is the one that the line itself names. Nobody wants to read
    /// about mistakes while typing, so there is no answer then.
    async fn words(&mut self, line: &str) -> Done {
        let line = line.trim_start();
        let (_, typed) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        let Ok(options) = Options::parse(&words) else { return Ok(()) };
        let mut command = options.command.join(" ");
        if typed.ends_with(char::is_whitespace) && !command.is_empty() {
            command.push(' ');
        }
        let infos = match wanted(&command) {
            Wanted::Group | Wanted::Process => {
                let Ok(found) = Surroundings::here()
                    .map_err(|_| ())
                    .and_then(|surroundings| discover(&options, &surroundings).map_err(|_| ()))
                else {
                    return Ok(());
                };
                match found.daemon().call("supervisor.getAllProcessInfo", &[]).await {
                    Ok(infos) => infos.items().to_vec(),
                    Err(_) => return Ok(()),
                }
            }
            _ => Vec::new(),
        };
        candidates(&command, &infos).iter().try_for_each(|word| self.say(word))
    }
}
