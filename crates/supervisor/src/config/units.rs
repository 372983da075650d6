//! Values as supervisord writes them: booleans, sizes, durations, signals, modes.

use std::time::Duration;

use nix::sys::signal::Signal;

/// `true on yes 1` and `false off no 0`, in any case.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Bytes: a number, or one followed by `KB`, `MB` or `GB` (powers of 1024).
pub fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, factor) = match lower.as_bytes() {
        [.., b'k', b'b'] => (&lower[..lower.len() - 2], 1 << 10),
        [.., b'm', b'b'] => (&lower[..lower.len() - 2], 1 << 20),
        [.., b'g', b'b'] => (&lower[..lower.len() - 2], 1 << 30),
        _ => (lower.as_str(), 1),
    };
    digits
        .trim()
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| "must be a number of bytes, such as 1024, 50KB, 10MB or 1GB".to_owned())
}

/// A span of time: seconds as a number, or a number with `ms`, `s`, `m` or `h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time such as 500ms, 30s, 2m or a number of seconds".to_owned();
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let seconds = match text[end..].trim() {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// A signal's name, with or without `SIG`, or its number.
pub fn signal(text: &str) -> Result<Signal, String> {
    let upper = text.trim().to_ascii_uppercase();
    let found = if let Ok(number) = upper.parse::<i32>() {
        Signal::try_from(number).ok()
    } else if upper.starts_with("SIG") {
        upper.parse().ok()
    } else {
        format!("SIG{upper}").parse().ok()
    };
    found.ok_or_else(|| "must be the name of a signal, such as TERM, INT, QUIT, HUP, USR1 or KILL".to_owned())
}

/// File permissions in octal.
pub fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text.trim().trim_start_matches("0o"), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| "must be file permissions in octal, such as 0700".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in
            [("0", 0), ("1024", 1024), ("50MB", 50 << 20), ("1kb", 1024), ("2 GB", 2 << 30)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "MB", "-1", "1TB", "1.5MB", "99999999999999999999GB", "18446744073709551615KB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (text, ms) in [("100ms", 100), ("30s", 30_000), ("2m", 120_000), ("1.5", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1 2", "nan"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_go_by_name_or_number() {
        for text in ["TERM", "sigterm", "15", " Term "] {
            assert_eq!(signal(text), Ok(Signal::SIGTERM), "{text}");
        }
        assert!(signal("99").is_err() && signal("FOO").is_err());
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(mode("0700"), Ok(0o700));
        assert_eq!(mode("0o660"), Ok(0o660));
        assert!(mode("799").is_err() && mode("10000").is_err());
    }
}
