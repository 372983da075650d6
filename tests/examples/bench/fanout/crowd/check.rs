//! What must hold for the events of one stream: each has an id and an end, those of one publisher are in order, and of some
//! everything is compared.

use anyhow::{Context as _, ensure};

use super::expected::Expected;
use crate::fanout::event::{self, PUBLISHERS_MAX};

/// The longest id that is looked at.
const ID_BYTES_MAX: usize = 48;

/// Where one stream is.
#[derive(Debug)]
pub(crate) struct Check {
    /// The newest number of each publisher.
    newest: [u64; PUBLISHERS_MAX],
    /// The newest id that was looked at.
    newest_id: (u64, u64),
    /// The id before an event, and its length.
    id: ([u8; ID_BYTES_MAX], usize),
    /// Number and time of an event whose end has not come.
    event: Option<(u64, u64)>,
}

impl Check {
    pub(crate) fn new() -> Self {
        Self { newest: [0; PUBLISHERS_MAX], newest_id: (0, 0), id: ([0; ID_BYTES_MAX], 0), event: None }
    }

    /// Takes the next line, without its `\n`. Number and time of an event that ends with it.
    pub(crate) fn line(
        &mut self,
        line: &[u8],
        expected: &mut Expected,
    ) -> anyhow::Result<Option<(u64, u64)>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.id.1 = 0;
            return Ok(self.event.take());
        }
        if let Some(id) = line.strip_prefix(b"id: ") {
            ensure!(id.len() <= ID_BYTES_MAX, "an id of {} bytes", id.len());
            self.id.0[..id.len()].copy_from_slice(id);
            self.id.1 = id.len();
            return Ok(None);
        }
        let Some((number, time)) = event::read(line) else { return Ok(None) };
        ensure!(self.event.is_none(), "event {number} before the one before it has ended");
        let publisher = event::publisher(number).with_context(|| format!("event {number} is nobody's"))?;
        let newest = &mut self.newest[publisher];
        ensure!(number > *newest, "event {number} after event {newest} of the same publisher");
        *newest = number;
        let id = &self.id.0[..self.id.1];
        ensure!(!id.is_empty(), "event {number} has no id");
        if let Some(data) = expected.of(number, time) {
            let id = pair(id).with_context(|| format!("an id {:?}", String::from_utf8_lossy(id)))?;
            ensure!(id > self.newest_id, "the id {id:?} after {:?}", self.newest_id);
            self.newest_id = id;
            ensure!(
                line.strip_prefix(b"data: ") == Some(data.as_bytes()),
                "event {number} is not what was published: {}",
                String::from_utf8_lossy(line)
            );
        }
        self.event = Some((number, time));
        Ok(None)
    }
}

/// Two numbers with `-` between them, or `:` as the push module of nginx has it.
fn pair(id: &[u8]) -> Option<(u64, u64)> {
    let (a, b) = std::str::from_utf8(id).ok()?.split_once(['-', ':'])?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 200;

    fn text(id: &str, number: u64) -> String {
        format!("id: {id}\ndata: {}\n\n", event::data(number, 1_700_000_000_000_000, BYTES))
    }

    /// The events' numbers, or what is wrong.
    fn read(text: &str) -> Result<Vec<u64>, String> {
        let (mut check, mut expected) = (Check::new(), Expected::new(BYTES));
        let mut numbers = Vec::new();
        for line in text.split_terminator('\n') {
            let event = check.line(line.as_bytes(), &mut expected).map_err(|error| format!("{error:#}"))?;
            numbers.extend(event.map(|(number, _)| number));
        }
        Ok(numbers)
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let said = read(text).expect_err("it is wrong");
        assert!(said.starts_with(words), "{said}");
    }

    fn n(publisher: usize, nth: u64) -> u64 {
        event::number(publisher, nth)
    }

    #[test]
    fn events_of_each_publisher_rise_whatever_the_others_do() {
        let greeting = "retry: 3000\nid: 0-0\nevent: connected\ndata: {}\n\n";
        let stream = [text("1-1", n(0, 4)), text("1-2", n(7, 0)), text("1-3", n(0, 5)), text("1-4", n(7, 1))];
        assert_eq!(
            read(&format!("{greeting}{}", stream.concat())),
            Ok(vec![n(0, 4), n(7, 0), n(0, 5), n(7, 1)])
        );
        let swapped = [&stream[2][..], &stream[1], &stream[0]].concat();
        refused(&swapped, "event 100000004 after event 100000005 of the same publisher");
        let twice = [&stream[0][..], &stream[0]].concat();
        refused(&twice, "event 100000004 after event 100000004 of the same publisher");
    }

    #[test]
    fn an_event_counts_when_its_blank_line_has_come() {
        let whole = text("1-1", n(0, 0));
        assert_eq!(read(&whole), Ok(vec![n(0, 0)]));
        assert_eq!(read(whole.trim_end()), Ok(vec![]));
        assert_eq!(read(&whole.replace('\n', "\r\n")), Ok(vec![n(0, 0)]), "lines may end so too");
        let unended = format!("{}\n{}", whole.trim_end(), text("1-2", n(0, 1)));
        refused(&unended, "event 100000001 before the one before it has ended");
    }

    #[test]
    fn an_event_without_id_or_with_an_old_one_is_refused() {
        let whole = text("5-1", n(0, 0));
        refused(whole.split_once('\n').expect("an id line").1, "event 100000000 has no id");
        refused(&whole.replace("5-1", "5"), "an id \"5\"");
        // Only of the events that are looked at as a whole.
        let events = |id: &str| {
            (0..64).map(|nth| text("5-1", n(0, nth))).chain([text(id, n(0, 64))]).collect::<String>()
        };
        assert!(read(&events("5-2")).is_ok());
        refused(&events("5-1"), "the id (5, 1) after (5, 1)");
    }

    #[test]
    fn all_of_every_64th_event_of_a_publisher_is_compared() {
        let whole = text("1-1", n(0, 0));
        let end = whole.trim_end().len();
        for wrong in [
            format!("{}x{}", &whole[..end - 3], &whole[end - 2..]),
            format!("{}{}", &whole[..end - 3], &whole[end - 2..]),
            format!("{} \n\n", &whole[..end]),
        ] {
            refused(&wrong, "event 100000000 is not what was published: data: {\"t\":1700000000000000,");
        }
        let late = |nth: u64| {
            let good: String = (0..nth).map(|nth| text(&format!("1-{nth}"), n(0, nth))).collect();
            good + &text(&format!("2-{nth}"), n(0, nth)).replace("\"percent\"", "\"per cent\"")
        };
        assert!(read(&late(63)).is_ok());
        refused(&late(64), "event 100000064 is not what was published");
    }
}
