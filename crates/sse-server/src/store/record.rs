//! An event as bytes in the store: checksum, id, cost, then the rest.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::hub::{Data, Draft, EventId, EventType, Frame, NewEvent, Ordinal, RecoveredEvent, Topic};

/// Checksum, milliseconds and sequence of the id, cost; all little-endian.
const HEAD: usize = 4 + 8 + 8 + 8;

/// What follows the head, in postcard's format.
#[derive(Serialize, Deserialize)]
struct Rest<'a> {
    #[serde(borrow)]
    topics: Vec<&'a str>,
    event: Option<&'a str>,
    audience: Option<&'a str>,
    is_json: bool,
    data: &'a str,
}

/// A record that is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// The event with this number, to be kept.
pub(super) fn encode(number: Ordinal, frame: &Frame) -> Vec<u8> {
    let (data, is_json) = frame.data();
    let rest = Rest {
        topics: frame.topics().iter().map(Topic::as_str).collect(),
        event: frame.event().map(EventType::as_str),
        audience: frame.audience().map(EventType::as_str),
        is_json,
        data,
    };
    let mut record = Vec::with_capacity(HEAD + data.len() + 64);
    record.extend_from_slice(&[0; 4]);
    for field in [frame.id().ms, frame.id().seq, frame.cost() as u64] {
        record.extend_from_slice(&field.to_le_bytes());
    }
    let mut record = postcard::to_extend(&rest, record).expect("text and numbers are postcard");
    let sum = checksum(number, &record[4..]);
    record[..4].copy_from_slice(&sum.to_le_bytes());
    record
}

/// What the index needs of a record; damage anywhere in it is found.
pub(super) fn outline(number: Ordinal, record: &[u8]) -> Result<RecoveredEvent, Damaged> {
    let (sum, content) = record.split_at_checked(4).ok_or(Damaged)?;
    if content.len() < HEAD - 4 || sum != checksum(number, content).to_le_bytes() {
        return Err(Damaged);
    }
    let field = |n: usize| u64::from_le_bytes(content[n * 8..][..8].try_into().expect("eight bytes"));
    let cost = usize::try_from(field(2)).map_err(|_| Damaged)?;
    Ok(RecoveredEvent { id: EventId { ms: field(0), seq: field(1) }, cost })
}

/// The event of a record, ready to be sent again.
pub(super) fn decode(number: Ordinal, record: &[u8], now: Instant) -> Result<Frame, Damaged> {
    let id = outline(number, record)?.id;
    let rest: Rest<'_> = postcard::from_bytes(&record[HEAD..]).map_err(|_| Damaged)?;
    let topics = rest.topics.iter().map(|topic| Topic::parse(topic)).collect::<Result<_, _>>();
    let kind = |text: Option<&str>| text.map(EventType::parse).transpose().map_err(|_| Damaged);
    let (event, audience) = (kind(rest.event)?, kind(rest.audience)?);
    let data = rest.data.to_owned();
    let data = if rest.is_json { Data::Json(data) } else { Data::Text(data) };
    let event = NewEvent::new(topics.map_err(|_| Damaged)?, event, data).map_err(|_| Damaged)?;
    Ok(Draft::new(event.only_for(audience), now).seal(id))
}

/// A record in another's place is damaged too.
pub(super) fn checksum(number: Ordinal, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(topics: &[String], types: [Option<&str>; 2], data: Data, id: EventId) -> Frame {
        let topics = topics.iter().map(|topic| Topic::parse(topic).unwrap()).collect();
        let [event, audience] = types.map(|text| text.map(|text| EventType::parse(text).unwrap()));
        let event = NewEvent::new(topics, event, data).unwrap().only_for(audience);
        Draft::new(event, Instant::now()).seal(id)
    }

    proptest! {
        #[test]
        fn event_comes_back_from_the_store_as_it_was(
            topics in prop::collection::vec("[a-z:]{1,9}", 1..4),
            event in prop::option::of("[a-zé ]{1,64}"),
            audience in prop::option::of("[a-z]{1,64}"),
            text in "(.|[\r\n]){0,40}",
            is_json in any::<bool>(),
            (ms, seq, number) in any::<(u64, u64, u64)>(),
        ) {
            let data = if is_json { Data::Json(format!("[{}]", text.len())) } else { Data::Text(text) };
            let frame = frame(&topics, [event.as_deref(), audience.as_deref()], data, EventId { ms, seq });
            let record = encode(number, &frame);
            let back = decode(number, &record, Instant::now()).unwrap();
            prop_assert_eq!(back.wire(), frame.wire());
            prop_assert_eq!((back.id(), back.topics(), back.event()), (frame.id(), frame.topics(), frame.event()));
            prop_assert_eq!((back.data(), back.cost()), (frame.data(), frame.cost()));
            prop_assert_eq!(back.audience(), frame.audience());
            let outline = outline(number, &record).unwrap();
            prop_assert_eq!((outline.id, outline.cost), (frame.id(), frame.cost()));
        }

        #[test]
        fn damage_is_found_wherever_it_is(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
            let frame = frame(&["t".to_owned()], [None, None], Data::Text("hello".into()), EventId { ms: 1, seq: 2 });
            let mut record = encode(7, &frame);
            let at = at.index(record.len());
            if cut {
                record.truncate(at);
            } else {
                record[at] ^= 1 << bit;
            }
            prop_assert_eq!(outline(7, &record), Err(Damaged));
            prop_assert_eq!(outline(8, &encode(7, &frame)), Err(Damaged));
        }
    }
}
