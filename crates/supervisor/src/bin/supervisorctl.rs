//! The command line of `supervisorctl`.
fn main() {}
