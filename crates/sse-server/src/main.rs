//! The command line of `sse-server`.
fn main() {}
