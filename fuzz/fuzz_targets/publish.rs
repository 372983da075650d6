//! Bodies of a publish, in each form.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    sse_server::fuzzing::publish(input);
});
