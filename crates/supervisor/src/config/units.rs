//! Values as supervisord writes them: booleans, sizes, durations, signals, modes.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Group, Uid, User};

/// `true on yes 1` and `false off no 0`, in any case.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A whole number as Python's `int` reads it: a sign and `_` between digits are allowed.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fine = digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if fine { text.replace('_', "").parse().ok() } else { None }
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
        .trim_start_matches('+')
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
    let found = match upper.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) => match upper.strip_prefix("SIG").unwrap_or(&upper) {
            "CLD" => Some(Signal::SIGCHLD),
            "POLL" => Some(Signal::SIGIO),
            "IOT" => Some(Signal::SIGABRT),
            name => format!("SIG{name}").parse().ok(),
        },
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

/// The number of the user of this name or number, who must exist.
pub fn user(text: &str) -> Result<Uid, String> {
    let found = match text.trim().parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(text),
    };
    let user = found
        .ok()
        .flatten()
        .ok_or_else(|| "must be the name or the number of a user that exists".to_owned())?;
    Ok(user.uid)
}

/// The number of the group of this name or number, which must exist.
pub fn group(text: &str) -> Result<Gid, String> {
    let found = match text.trim().parse() {
        Ok(gid) => Group::from_gid(Gid::from_raw(gid)),
        Err(_) => Group::from_name(text),
    };
    let group = found
        .ok()
        .flatten()
        .ok_or_else(|| "must be the name or the number of a group that exists".to_owned())?;
    Ok(group.gid)
}

/// `user` or `user:group`, both of which must exist.
pub fn owner(text: &str) -> Result<String, String> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let fine = user(name).is_ok() && rest.is_none_or(|name| group(name).is_ok());
    if fine { Ok(text.to_owned()) } else { Err("must be user or user:group, and both must exist".to_owned()) }
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
    fn whole_numbers_are_those_of_python() {
        for (text, expected) in [("7", 7), (" -7 ", -7), ("+1_000", 1000), ("007", 7)] {
            assert_eq!(integer(text), Some(expected), "{text}");
        }
        for text in ["", "-", "1.0", "1__0", "_1", "0x1", "- 1", "99999999999999999999"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn users_and_groups_must_exist() {
        assert_eq!((user("root"), user("0")), (Ok(Uid::from_raw(0)), Ok(Uid::from_raw(0))));
        assert_eq!(owner("root:0"), Ok("root:0".to_owned()));
        assert!(
            user("no-such-user").is_err()
                && group("no-such-group").is_err()
                && owner("root:no-such").is_err()
        );
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
        assert_eq!((signal("CLD"), signal("SIGIOT")), (Ok(Signal::SIGCHLD), Ok(Signal::SIGABRT)));
        for text in ["99", "FOO", "0", "RTMIN", "SIGRTMAX", "RTMIN+1", "34", "64"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(mode("0700"), Ok(0o700));
        assert_eq!(mode("0o660"), Ok(0o660));
        assert!(mode("799").is_err() && mode("10000").is_err());
    }
}
