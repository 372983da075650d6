//! What must hold for every record of the history on disk, whatever the disk made of it.

use std::time::Instant;

use super::record::{checksum, decode, encode, outline};

/// Eight bytes are the event's number, the rest is its record; its checksum is set right, or nothing would get past it.
/// What is read is written again as it was.
pub fn record(input: &[u8]) -> bool {
    let Some((number, record)) = input.split_first_chunk::<8>() else { return false };
    let (number, now) = (u64::from_le_bytes(*number), Instant::now());
    let _ = decode(number, record, now);
    let mut record = record.to_vec();
    let Some((sum, content)) = record.split_first_chunk_mut::<4>() else { return false };
    *sum = checksum(number, content).to_le_bytes();
    let Ok(frame) = decode(number, &record, now) else { return false };
    assert_eq!(outline(number, &record).map(|outline| outline.id), Ok(frame.id()));
    let again = encode(number, &frame);
    let back = decode(number, &again, now).expect("what was written can be read");
    assert_eq!(back.wire(), frame.wire());
    assert_eq!((back.id(), back.data(), back.topics()), (frame.id(), frame.data(), frame.topics()));
    assert_eq!((back.event(), back.audience()), (frame.event(), frame.audience()));
    assert_eq!(outline(number, &again).map(|outline| outline.cost), Ok(frame.cost()));
    true
}
