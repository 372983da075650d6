//! Query and headers of a subscription.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::subscribe(input);
});
