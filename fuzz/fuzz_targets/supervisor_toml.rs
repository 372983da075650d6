//! The supervisor's configuration file.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    supervisor::fuzzing::supervisor_toml(input);
});
