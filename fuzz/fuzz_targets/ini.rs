//! A supervisord.conf, and what it becomes in TOML.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    supervisor::fuzzing::ini(input);
});
