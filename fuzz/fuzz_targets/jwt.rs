//! Signed tokens, the claims in them, and files of keys.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::jwt(input);
});
