//! The data of the events that are compared as a whole: made once for all streams of a reader, since making costs more than
//! comparing.

use crate::fanout::event;

/// Of so many events of a publisher one is compared.
const ONE_IN: u64 = 64;
/// How many are kept.
const KEPT: usize = 512;

/// Some events of each publisher.
#[derive(Debug)]
pub(crate) struct Expected {
    event_bytes: usize,
    kept: Vec<(u64, u64, String)>,
}

impl Expected {
    /// Of events with so long data.
    pub(crate) fn new(event_bytes: usize) -> Self {
        Self { event_bytes, kept: vec![(0, 0, String::new()); KEPT] }
    }

    /// The data of an event, if it is one that is compared.
    pub(crate) fn of(&mut self, number: u64, time: u64) -> Option<&str> {
        let (publisher, nth) = (number / event::NUMBER_FIRST, number % event::NUMBER_FIRST);
        if nth % ONE_IN != 0 {
            return None;
        }
        let place = (publisher * KEPT as u64 / 8 + nth / ONE_IN) as usize % KEPT;
        let kept = &mut self.kept[place];
        if (kept.0, kept.1) != (number, time) {
            *kept = (number, time, event::data(number, time, self.event_bytes));
        }
        Some(&kept.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_would_be_made_anew() {
        let mut expected = Expected::new(event::BYTES);
        // Far more than are kept, of all publishers, each twice.
        let numbers =
            (0..500).flat_map(|nth| (0..9).map(move |publisher| event::number(publisher, nth * ONE_IN)));
        for number in numbers.flat_map(|number| [number; 2]) {
            let time = 1_700_000_000_000_000 + number;
            assert_eq!(expected.of(number, time), Some(&*event::data(number, time, event::BYTES)));
            assert_eq!(expected.of(number, time + 1), Some(&*event::data(number, time + 1, event::BYTES)));
            assert_eq!(expected.of(number + 1, time), None);
        }
    }
}
