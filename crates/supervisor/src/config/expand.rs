//! `%(name)s` in values, as supervisord expands it.

use std::collections::BTreeMap;

/// What names stand for.
pub(super) type Names = BTreeMap<String, String>;

/// Replaces `%(name)s` and `%(name)d` (with an optional zero-padded width, `%(process_num)02d`) by what the
/// name stands for, and `%%` by a percent sign (supervisor 4.3 `options.py:expand`).
pub(super) fn expand(text: &str, names: &Names) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let wrong = || format!("{text:?} has a `%` that is neither `%%` nor `%(NAME)s`");
        let (name, after) = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(wrong)?;
        let end = after.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (width, kind) = after.split_at(end);
        let value = names.get(name).ok_or_else(|| match name.strip_prefix("ENV_") {
            Some(variable) => format!("{text:?} names the environment variable {variable}, which is not set"),
            None => format!("{text:?} names `{name}`, which stands for nothing here"),
        })?;
        match kind.chars().next() {
            Some('s') => out.push_str(value),
            Some('d') => {
                let number: i64 = value.parse().map_err(|_| format!("{text:?}: `{name}` is not a number"))?;
                let digits: usize = width.parse().unwrap_or(0).min(64);
                match width.starts_with('0') {
                    true => out.push_str(&format!("{number:0digits$}")),
                    false => out.push_str(&format!("{number:digits$}")),
                }
            }
            _ => return Err(wrong()),
        }
        rest = &kind[1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_what_they_name() {
        let names: Names = [("program_name", "web"), ("process_num", "7"), ("ENV_HOME", "/home/a")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        for (text, expected) in [
            ("plain", "plain"),
            ("%(ENV_HOME)s/x", "/home/a/x"),
            ("%(program_name)s_%(process_num)02d", "web_07"),
            ("100%%", "100%"),
            ("é%(program_name)s", "éweb"),
        ] {
            assert_eq!(expand(text, &names).as_deref(), Ok(expected));
        }
        for (text, expected) in [
            ("50%", "\"50%\" has a `%` that is neither `%%` nor `%(NAME)s`"),
            ("%(ENV_X)s", "\"%(ENV_X)s\" names the environment variable X, which is not set"),
            ("%(nope)s", "\"%(nope)s\" names `nope`, which stands for nothing here"),
            ("%(program_name)", "\"%(program_name)\" has a `%` that is neither `%%` nor `%(NAME)s`"),
        ] {
            assert_eq!(expand(text, &names), Err(expected.to_owned()));
        }
    }
}
