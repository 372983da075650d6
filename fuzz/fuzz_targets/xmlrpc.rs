//! Calls of the control interface, and its answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    supervisor::fuzzing::xmlrpc(input);
});
