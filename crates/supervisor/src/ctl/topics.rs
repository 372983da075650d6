//! The names of the commands, and what `help` says of them: for the genuine ones in the genuine words.

/// A command that `help` knows.
struct Topic {
    name: &'static str,
    text: &'static str,
    /// The genuine client has it too.
    genuine: bool,
}

const fn genuine(name: &'static str, text: &'static str) -> Topic {
    Topic { name, text, genuine: true }
}

const fn ours(name: &'static str, text: &'static str) -> Topic {
    Topic { name, text, genuine: false }
}

/// Sorted, the genuine ones first.
const TOPICS: [Topic; 25] = [
    genuine("add", "add <name> [...]\tActivates any updates in config for process/group"),
    genuine("avail", "avail\t\t\tDisplay all configured processes"),
    genuine(
        "clear",
        "clear <name>\t\tClear a process' log files.\nclear <name> <name>\tClear multiple process' log files\n\
         clear all\t\tClear all process' log files",
    ),
    genuine("exit", "exit\tExit the supervisor shell."),
    genuine("fg", "fg <process>\tConnect to a process in foreground mode\n\t\tCtrl-C to exit"),
    genuine(
        "maintail",
        "maintail -f \tContinuous tail of supervisor main log file (Ctrl-C to exit)\n\
         maintail -100\tlast 100 *bytes* of supervisord main log file\n\
         maintail\tlast 1600 *bytes* of supervisor main log file\n",
    ),
    genuine(
        "open",
        "open <url>\tConnect to a remote supervisord process.\n\
         \t\t(for UNIX domain socket, use unix:///socket/path)",
    ),
    genuine(
        "pid",
        "pid\t\t\tGet the PID of supervisord.\npid <name>\t\tGet the PID of a single child process by name.\n\
         pid all\t\t\tGet the PID of every child process, one per line.",
    ),
    genuine("quit", "quit\tExit the supervisor shell."),
    genuine("reload", "reload \t\tRestart the remote supervisord."),
    genuine("remove", "remove <name> [...]\tRemoves process/group from active config"),
    genuine("reread", "reread \t\t\tReload the daemon's configuration files without add/remove"),
    genuine(
        "restart",
        "restart <name>\t\tRestart a process\nrestart <gname>:*\tRestart all processes in a group\n\
         restart <name> <name>\tRestart multiple processes or groups\nrestart all\t\tRestart all processes\n\
         Note: restart does not reread config files. For that, see reread and update.",
    ),
    genuine("shutdown", "shutdown \tShut the remote supervisord down."),
    genuine(
        "signal",
        "signal <signal name> <name>\t\tSignal a process\n\
         signal <signal name> <gname>:*\t\tSignal all processes in a group\n\
         signal <signal name> <name> <name>\tSignal multiple processes or groups\n\
         signal <signal name> all\t\tSignal all processes",
    ),
    genuine(
        "start",
        "start <name>\t\tStart a process\nstart <gname>:*\t\tStart all processes in a group\n\
         start <name> <name>\tStart multiple processes or groups\nstart all\t\tStart all processes",
    ),
    genuine(
        "status",
        "status <name>\t\tGet status for a single process\n\
         status <gname>:*\tGet status for all processes in a group\n\
         status <name> <name>\tGet status for multiple named processes\n\
         status\t\t\tGet all process status info\n\
         status --json [<name> ...]\tGet it as JSON\n\
         status --watch [<name> ...]\tGet it again every second. Ctrl-C to exit.",
    ),
    genuine(
        "stop",
        "stop <name>\t\tStop a process\nstop <gname>:*\t\tStop all processes in a group\n\
         stop <name> <name>\tStop multiple processes or groups\nstop all\t\tStop all processes",
    ),
    genuine(
        "tail",
        "tail [-f] <name> [stdout|stderr] (default stdout)\nEx:\n\
         tail -f <name>\t\tContinuous tail of named process stdout\n\t\t\tCtrl-C to exit.\n\
         tail -100 <name>\tlast 100 *bytes* of process stdout\n\
         tail <name> stderr\tlast 1600 *bytes* of process stderr",
    ),
    genuine(
        "update",
        "update\t\t\tReload config and add/remove as necessary, and will restart affected programs\n\
         update all\t\tReload config and add/remove as necessary, and will restart affected programs\n\
         update <gname> [...]\tUpdate specific groups",
    ),
    genuine("version", "version\t\t\tShow the version of the remote supervisord process"),
    ours("completion", "completion bash|zsh|fish\tPrint what makes the shell complete commands and names"),
    ours(
        "logs",
        "logs [<name> ...]\tlast lines of all processes, or of those named, each with its name\n\
         logs -f [<name> ...]\tthe same, and what comes. Ctrl-C to exit.",
    ),
    ours(
        "top",
        "top [<name> ...]\tCPU and memory of every process with all its children. Ctrl-C to exit.\n\
         top --once\t\tThe same, one table",
    ),
    ours(
        "wait",
        "wait <name> [...] [--for running|ready|stopped] [--timeout 30s]\tWait until they are. Exit 0, or 1 if not in time",
    ),
];

/// Of `help` itself.
const HELP: &str = "help\t\tPrint a list of available actions\nhelp <action>\tPrint help for <action>";

/// The screen that the list is laid out for.
const COLUMNS: usize = 80;

/// Every command's name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ["help"].into_iter().chain(TOPICS.iter().map(|topic| topic.name))
}

/// What is said of a command; nothing is known of others.
pub(super) fn topic(name: &str) -> Option<&'static str> {
    match name {
        "help" => Some(HELP),
        name => TOPICS.iter().find(|topic| topic.name == name).map(|topic| topic.text),
    }
}

/// The list that `help` shows: the genuine block, then ours as a block of its own, as the genuine client shows
/// the commands of a plugin.
pub(super) fn list() -> String {
    let block = |title: &str, genuine: bool| {
        let names: Vec<&str> =
            TOPICS.iter().filter(|topic| topic.genuine == genuine).map(|topic| topic.name).collect();
        let title = format!("{title} commands (type help <topic>):");
        format!("\n{title}\n{}\n{}\n", "=".repeat(title.len()), columns(&names, COLUMNS - 1))
    };
    format!("{}{}", block("default", true), block("more", false))
}

/// Words in as few rows as fit, filled downwards (Python's `cmd.columnize`).
fn columns(words: &[&str], width: usize) -> String {
    let layout = |rows: usize| -> Vec<usize> {
        words.chunks(rows).map(|column| column.iter().map(|word| word.len()).max().unwrap_or(0)).collect()
    };
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    let rows = (1..=words.len().max(1)).find(|rows| total(&layout(*rows)) <= width).unwrap_or(words.len());
    let widths = layout(rows.max(1));
    let mut out = String::new();
    for row in 0..rows {
        let cells: Vec<String> = widths
            .iter()
            .enumerate()
            .filter_map(|(column, width)| {
                words.get(row + rows * column).map(|word| format!("{word:<width$}"))
            })
            .collect();
        out.push_str(&cells.join("  "));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_begins_as_the_genuine_one() {
        let genuine = "\ndefault commands (type help <topic>):\n=====================================\n\
            add    exit      open  reload  restart   start   tail   \n\
            avail  fg        pid   remove  shutdown  status  update \n\
            clear  maintail  quit  reread  signal    stop    version\n\n";
        let ours = "\nmore commands (type help <topic>):\n==================================\n\
            completion  logs  top  wait\n\n";
        assert_eq!(list(), format!("{genuine}{ours}"));
    }

    #[test]
    fn words_fill_as_few_rows_as_fit() {
        assert_eq!(columns(&["a", "bb", "c"], 10), "a  bb  c\n");
        assert_eq!(columns(&["aaaa", "b", "cc", "d"], 8), "aaaa  cc\nb     d \n");
        assert_eq!(columns(&["a", "b", "c"], 1), "a\nb\nc\n");
    }
}
