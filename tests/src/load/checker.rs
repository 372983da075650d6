//! What was answered against what was seen: every event once, in order, with its id.

use std::fmt;

use super::id::Id;
use super::subscriber::Trace;

/// Offenders that are told in words.
const OFFENDERS_MAX: usize = 10;

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events that were answered 200.
    pub events: u64,
    /// Events that subscribers saw, summed over all of them.
    pub deliveries: u64,
    /// Answered, but not seen by a subscriber.
    pub missing: u64,
    /// Seen again by the same subscriber.
    pub doubled: u64,
    /// An id that does not rise, or a publisher's event after a later one of the same.
    pub disordered: u64,
    /// Seen with another id than the answer's.
    pub foreign: u64,
    /// Seen, but never answered.
    pub unanswered: u64,
    /// Subscribers told that they may have missed something.
    pub resets: u64,
    /// Answers and streams that break the protocol.
    pub breaches: u64,
    /// The first ones, in words.
    pub offenders: Vec<String>,
}

/// Compares the ids that each publisher's events were answered with, in their order, with what each subscriber saw, which
/// must have been there from the beginning.
pub fn check(answers: &[Vec<Id>], traces: &[Trace]) -> Verdict {
    let mut verdict =
        Verdict { events: answers.iter().map(|ids| ids.len() as u64).sum(), ..Verdict::default() };
    check_answers(answers, &mut verdict);
    for (number, trace) in traces.iter().enumerate() {
        check_trace(number, trace, answers, &mut verdict);
    }
    verdict
}

/// Ids rise for each publisher, and no two events have the same.
fn check_answers(answers: &[Vec<Id>], verdict: &mut Verdict) {
    for (p, ids) in answers.iter().enumerate() {
        for (n, pair) in ids.windows(2).enumerate().filter(|(_, pair)| pair[0] >= pair[1]) {
            let [first, second] = [pair[0], pair[1]];
            verdict.disordered += 1;
            verdict
                .offend(|| format!("publisher {p}: event {n} was answered {first}, the next one {second}"));
        }
    }
    let mut all: Vec<Id> = answers.concat();
    all.sort_unstable();
    for pair in all.windows(2).filter(|pair| pair[0] == pair[1]) {
        verdict.breaches += 1;
        verdict.offend(|| format!("two events were answered {}", pair[0]));
    }
}

fn check_trace(number: usize, trace: &Trace, answers: &[Vec<Id>], verdict: &mut Verdict) {
    let mut times: Vec<Vec<u8>> = answers.iter().map(|ids| vec![0; ids.len()]).collect();
    let mut next = vec![0; answers.len()];
    let mut last = trace.start;
    for seen in &trace.seen {
        let (p, n, id) = (seen.p as usize, seen.n as usize, seen.id);
        let who = || format!("subscriber {number}: event {n} of publisher {p} with id {id}");
        verdict.deliveries += 1;
        let mut after = last.filter(|last| id <= *last).map(|last| last.to_string());
        match answers.get(p).and_then(|ids| ids.get(n)) {
            None => {
                verdict.unanswered += 1;
                verdict.offend(|| format!("{} was never answered", who()));
            }
            Some(answered) => {
                if *answered != id {
                    verdict.foreign += 1;
                    verdict.offend(|| format!("{}, answered with {answered}", who()));
                }
                times[p][n] = times[p][n].saturating_add(1);
                if times[p][n] > 1 {
                    verdict.doubled += 1;
                    verdict.offend(|| format!("{} came again", who()));
                } else if n < next[p] {
                    after = after.or_else(|| Some(format!("event {} of the same", next[p] - 1)));
                }
                next[p] = next[p].max(n + 1);
            }
        }
        if let Some(after) = after {
            verdict.disordered += 1;
            verdict.offend(|| format!("{} came after {after}", who()));
        }
        last = last.max(Some(id));
    }
    for (p, times) in times.iter().enumerate() {
        for (n, _) in times.iter().enumerate().filter(|(_, times)| **times == 0) {
            verdict.missing += 1;
            verdict.offend(|| {
                format!(
                    "subscriber {number}: event {n} of publisher {p}, answered {}, never came",
                    answers[p][n]
                )
            });
        }
    }
    for reset in &trace.resets {
        verdict.resets += 1;
        verdict.offend(|| format!("subscriber {number}: reset {reset}"));
    }
    for breach in &trace.breaches {
        verdict.breach(format!("subscriber {number}: {breach}"));
    }
}

impl Verdict {
    /// Whether everything is as promised.
    pub fn is_clean(&self) -> bool {
        let Self { missing, doubled, disordered, foreign, unanswered, resets, breaches, .. } = self;
        missing + doubled + disordered + foreign + unanswered + resets + breaches == 0
    }

    /// Something that broke the protocol.
    pub(super) fn breach(&mut self, what: String) {
        self.breaches += 1;
        self.offend(|| what);
    }

    fn offend(&mut self, what: impl FnOnce() -> String) {
        if self.offenders.len() < OFFENDERS_MAX {
            self.offenders.push(what());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            events,
            deliveries,
            missing,
            doubled,
            disordered,
            foreign,
            unanswered,
            resets,
            breaches,
            ..
        } = self;
        write!(
            f,
            "{events} events, {deliveries} deliveries: {missing} missing, {doubled} doubled, {disordered} out of order, \
             {foreign} with a foreign id, {unanswered} never answered, {resets} resets, {breaches} breaches"
        )?;
        self.offenders.iter().try_for_each(|offender| write!(f, "\n  {offender}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::subscriber::Seen;
    use super::*;

    fn id(seq: u64) -> Id {
        Id { ms: 1, seq }
    }

    /// Two publishers take turns: publisher `p`'s event `n` has the id `2n + p + 1`.
    fn answers() -> Vec<Vec<Id>> {
        (0..2).map(|p| (0..5).map(|n| id(2 * n + p + 1)).collect()).collect()
    }

    fn whole() -> Trace {
        let seen = (0..10).map(|k| Seen { p: k % 2, n: k / 2, id: id(u64::from(k) + 1) }).collect();
        Trace { seen, start: Some(id(0)), ..Trace::default() }
    }

    #[track_caller]
    fn check_with(change: impl FnOnce(&mut Trace), expected: Verdict, offender: &str) {
        let mut second = whole();
        change(&mut second);
        let found = check(&answers(), &[whole(), second]);
        assert_eq!(found.offenders.first().map_or("", String::as_str), offender, "{found}");
        let expected = Verdict { events: 10, offenders: found.offenders.clone(), ..expected };
        assert_eq!(found, expected);
        assert_eq!(found.is_clean(), offender.is_empty());
    }

    #[test]
    fn everything_once_in_order_is_clean() {
        check_with(|_| {}, Verdict { deliveries: 20, ..Verdict::default() }, "");
    }

    #[test]
    fn a_lost_event_is_caught() {
        let expected = Verdict { deliveries: 19, missing: 1, ..Verdict::default() };
        let lost = "subscriber 1: event 1 of publisher 0, answered 1-3, never came";
        let change = |trace: &mut Trace| trace.seen.retain(|seen| (seen.p, seen.n) != (0, 1));
        check_with(change, expected.clone(), lost);
        let last = "subscriber 1: event 4 of publisher 1, answered 1-10, never came";
        check_with(|trace| trace.seen.truncate(9), expected, last);
    }

    #[test]
    fn a_doubled_event_is_caught_with_its_own_id_and_with_a_new_one() {
        let expected = Verdict { deliveries: 21, doubled: 1, disordered: 1, ..Verdict::default() };
        let again = "subscriber 1: event 1 of publisher 0 with id 1-3 came again";
        check_with(|trace| trace.seen.insert(3, trace.seen[2]), expected, again);
        let expected = Verdict { deliveries: 21, doubled: 1, foreign: 1, ..Verdict::default() };
        let foreign = "subscriber 1: event 1 of publisher 0 with id 1-11, answered with 1-3";
        check_with(|trace| trace.seen.push(Seen { p: 0, n: 1, id: id(11) }), expected, foreign);
    }

    #[test]
    fn a_swapped_event_is_caught() {
        let expected = Verdict { deliveries: 20, disordered: 1, ..Verdict::default() };
        let swapped = "subscriber 1: event 1 of publisher 0 with id 1-3 came after 1-4";
        check_with(|trace| trace.seen.swap(2, 3), expected, swapped);
        // One publisher's events in the wrong order, though ids rise.
        let expected = Verdict { deliveries: 20, disordered: 1, foreign: 2, ..Verdict::default() };
        let foreign = "subscriber 1: event 2 of publisher 0 with id 1-3, answered with 1-5";
        let change = |trace: &mut Trace| (trace.seen[2].n, trace.seen[4].n) = (2, 1);
        check_with(change, expected, foreign);
    }

    #[test]
    fn a_foreign_id_is_caught() {
        let expected = Verdict { deliveries: 20, foreign: 1, ..Verdict::default() };
        let foreign = "subscriber 1: event 4 of publisher 1 with id 1-99, answered with 1-10";
        check_with(|trace| trace.seen[9].id = id(99), expected, foreign);
    }

    #[test]
    fn an_event_that_nobody_was_promised_is_caught() {
        let expected = Verdict { deliveries: 21, unanswered: 1, ..Verdict::default() };
        let stray = "subscriber 1: event 5 of publisher 0 with id 1-11 was never answered";
        check_with(|trace| trace.seen.push(Seen { p: 0, n: 5, id: id(11) }), expected, stray);
        let expected = Verdict { deliveries: 21, unanswered: 1, ..Verdict::default() };
        let stray = "subscriber 1: event 0 of publisher 7 with id 1-11 was never answered";
        check_with(|trace| trace.seen.push(Seen { p: 7, n: 0, id: id(11) }), expected, stray);
    }

    #[test]
    fn resets_and_breaches_are_caught() {
        let expected = Verdict { deliveries: 20, resets: 1, ..Verdict::default() };
        check_with(|trace| trace.resets.push("{}".to_owned()), expected, "subscriber 1: reset {}");
        let expected = Verdict { deliveries: 20, breaches: 1, ..Verdict::default() };
        check_with(|trace| trace.breaches.push("x".to_owned()), expected, "subscriber 1: x");
    }

    #[test]
    fn answers_that_contradict_each_other_are_caught() {
        let mut answers = answers();
        answers[1][0] = id(1);
        answers[0][4] = id(2);
        let found = check(&answers, &[]);
        assert_eq!((found.breaches, found.disordered, found.is_clean()), (1, 1, false), "{found}");
    }
}
