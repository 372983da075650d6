//! The hub's configuration file.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::toml(input);
});
