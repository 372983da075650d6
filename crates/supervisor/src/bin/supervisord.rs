//! The command line of `supervisord`.
fn main() {}
