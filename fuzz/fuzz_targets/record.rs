//! Records of the history on disk.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::record(input);
});
