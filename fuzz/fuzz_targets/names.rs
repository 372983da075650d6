//! Event ids, topics, filters, types, and what a grant makes of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::names(input);
});
