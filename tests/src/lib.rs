//! Starts the real parts of the stack for the tests in `tests/`.
