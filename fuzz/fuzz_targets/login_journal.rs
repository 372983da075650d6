//! The journal of the logins, and what a session's cookie holds.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::login_journal(input);
});
