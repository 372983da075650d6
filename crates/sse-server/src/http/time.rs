//! Times as answers show them: RFC 3339, UTC, to the millisecond.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time as text.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let ms = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_is_utc_to_the_millisecond() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_795_468_560_833_999, "2026-11-23T21:16:00.833Z"),
            (1_795_468_560_000_000, "2026-11-23T21:16:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_micros(us)), text);
        }
    }
}
