//! One corpus of configurations and commands, run with the genuine supervisord and with ours: everything that can be seen is the
//! same, or stands in the table of `docs/supervisor.md`.
//!
//! A case is a file of `tests/differential`: a script, then the files it starts from. `CASE=word` runs those whose name contains the
//! word, `OURS=folder` the programs of that folder, `CLIENT=genuine` the genuine supervisorctl for both daemons.

mod case;
mod command;
mod compare;
mod mask;
mod rpc;
mod run;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::case::Case;
use crate::compare::{List, Transcript};
use crate::run::{Which, run};

/// Most of a case is waiting.
const AT_ONCE: usize = 12;

/// Runs every case with both, and returns what differs and is not wanted.
fn compare(first: Which, second: Which, list: &List, cases: &[Case]) -> (usize, Vec<String>) {
    let done: Vec<[Mutex<Option<Transcript>>; 2]> = cases.iter().map(|_| Default::default()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = cases.get(job / 2) else { break };
                    let which = [first, second][job % 2];
                    let transcript = run(case, which);
                    write_down(&case.name, job % 2, which, &transcript);
                    *done[job / 2][job % 2].lock().expect("no run panics") = Some(transcript);
                }
            });
        }
    });
    let (mut lines, mut differences) = (0, Vec::new());
    for (case, both) in cases.iter().zip(&done) {
        let [one, other] =
            both.each_ref().map(|one| one.lock().expect("no run panics").take().expect("it ran"));
        lines += one.iter().map(|(_, lines)| lines.len()).sum::<usize>();
        differences.extend(list.differences(&case.name, &one, &other));
    }
    (lines, differences)
}

/// For whoever wants to read what was compared.
fn write_down(case: &str, side: usize, which: Which, transcript: &Transcript) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differential");
    let text: String = transcript
        .iter()
        .map(|(title, lines)| {
            format!("== {title}\n{}\n", lines.iter().map(|line| format!("{line}\n")).collect::<String>())
        })
        .collect();
    let _ = fs::create_dir_all(&folder);
    let _ = fs::write(folder.join(format!("{case}.{side}.{which:?}")), text);
}

fn cases() -> (String, Vec<Case>) {
    let filter = std::env::var("CASE").unwrap_or_default();
    let cases = Case::all(&filter);
    assert!(!cases.is_empty(), "no case is named {filter}");
    (filter, cases)
}

#[test]
fn ours_differs_from_the_genuine_one_only_as_the_table_says() {
    let (filter, cases) = cases();
    let list = List::read();
    let (lines, mut differences) = compare(Which::Genuine, Which::Ours, &list, &cases);
    let found = differences.len();
    if filter.is_empty() {
        for unused in list.wanted.iter().filter(|wanted| wanted.used.load(Ordering::SeqCst) == 0) {
            // What was open and is repaired is no mistake of whoever repaired it.
            if unused.open {
                println!("repaired, to be taken off the list: {}", unused.row);
            } else {
                differences.push(format!("excuses nothing:\n{}", unused.text));
            }
        }
    }
    let open = list.wanted.iter().filter(|wanted| wanted.open).count();
    println!(
        "{} cases, {lines} lines compared, {found} differences, {} wanted ones listed, {open} open",
        cases.len(),
        list.wanted.len() - open
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_list_and_the_table_name_the_same_differences() {
    let mistakes = List::read().against_the_table();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

/// What this finds, the masks miss.
#[test]
#[ignore = "a check of the test itself: the genuine one beside the genuine one"]
fn the_genuine_one_does_not_differ_from_itself() {
    let (_, cases) = cases();
    let (lines, differences) = compare(Which::Genuine, Which::Genuine, &List::of_orders(), &cases);
    println!("{} cases, {lines} lines compared", cases.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
