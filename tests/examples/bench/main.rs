//! Figures: `cargo run --release --package stack-tests --example bench -- durable|fanout|history|supervisor`.
//!
//! Everything runs on one machine with the server, in a folder below the build's own, which must be on a real disk.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod durable;
mod fanout;
mod history;
mod machine;
mod publishers;
mod readers;
mod supervisor;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["durable"] => durable::run(),
        ["fanout"] => fanout::run(),
        [fanout::crowd::reader::WORD, ref words @ ..] => fanout::crowd::reader::run(words),
        [fanout::servers::floor::WORD, ref words @ ..] => fanout::servers::floor::run(words),
        ["history"] => history::run(),
        ["supervisor"] => supervisor::run(),
        [supervisor::program::WORD, ref words @ ..] => supervisor::program::run(words),
        _ => Err(anyhow::anyhow!("name one of durable, fanout, history and supervisor")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
