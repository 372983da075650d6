//! Prints one table: what redb, fjall and LMDB do with a durable event history.

mod child;
mod disk;
mod event;
mod faults;
mod fjall;
mod lmdb;
mod memory;
mod rates;
mod recover;
mod redb;
mod store;
mod table;

use std::path::Path;
use std::process::ExitCode;

/// A folder on the disk to be measured, never tmpfs.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/measured");

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == "child") {
        return child::run(&args[1..]);
    }
    let wanted = |part: &str| args.is_empty() || args.iter().any(|word| word == part);
    let folder = Path::new(FOLDER);
    table::head();
    if wanted("rates") {
        rates::print(folder)?;
    }
    if wanted("recover") {
        recover::print(folder)?;
    }
    if wanted("memory") {
        memory::print(folder)?;
    }
    if wanted("faults") {
        faults::print(folder)?;
    }
    store::clear(folder)?;
    Ok(ExitCode::SUCCESS)
}
