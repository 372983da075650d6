//! Stored events that tell whether they are whole.

/// An event's bytes: text of the usual kind, then its CRC.
pub fn make(ordinal: u64, size: usize) -> Vec<u8> {
    let mut bytes =
        format!(r#"{{"ordinal":{ordinal:012},"topic":"job:{}","data":""#, ordinal % 97).into_bytes();
    let mut state = ordinal | 1 << 63;
    while bytes.len() < size - 4 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        bytes.push(b' ' + (state >> 58) as u8);
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Whether `bytes` are event `ordinal` as it was made.
pub fn is_whole(ordinal: u64, bytes: &[u8]) -> bool {
    let Some((text, crc)) = bytes.split_last_chunk::<4>() else { return false };
    crc32fast::hash(text) == u32::from_le_bytes(*crc) && text.starts_with(&mark(ordinal))
}

/// What only this event's bytes begin with.
pub fn mark(ordinal: u64) -> Vec<u8> {
    format!(r#"{{"ordinal":{ordinal:012},"#).into_bytes()
}
