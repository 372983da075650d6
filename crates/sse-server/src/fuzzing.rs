//! What must hold for every input, whoever made it: the bodies of the fuzz targets, and a replay of their corpora.
//!
//! Each takes bytes as they would come from outside, panics where a promise is broken, and says whether the input was
//! accepted. They are built for tests, and for `make fuzz` (`--cfg fuzzing`), and are no part of the server.

pub(crate) mod event_stream;

pub use crate::auth::fuzzing::{jwt, login_journal, tokens};
pub use crate::config::fuzzing::toml;
pub use crate::http::fuzzing::{publish, subscribe};
pub use crate::hub::fuzzing::names;
pub use crate::store::fuzzing::record;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the fuzzer found once, and one of each kind: every file still keeps its promise.
    #[test]
    fn corpora_hold_what_is_accepted_and_what_is_refused_and_break_nothing() {
        type Target = (&'static str, fn(&[u8]) -> bool);
        let targets: [Target; 8] = [
            ("jwt", jwt),
            ("login_journal", login_journal),
            ("names", names),
            ("publish", publish),
            ("record", record),
            ("subscribe", subscribe),
            ("toml", toml),
            ("tokens", tokens),
        ];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
            let (mut accepted, mut refused) = (0, 0);
            for entry in std::fs::read_dir(&folder).unwrap() {
                let input = std::fs::read(entry.unwrap().path()).unwrap();
                *(if target(&input) { &mut accepted } else { &mut refused }) += 1;
            }
            assert!(accepted > 0 && refused > 0, "{name}: {accepted} accepted, {refused} refused");
            assert!(accepted + refused <= 30, "{name} is to stay small");
        }
    }
}
