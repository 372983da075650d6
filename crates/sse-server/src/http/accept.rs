//! The Accept header: what a client takes for an answer.

use actix_web::http::header::HeaderValue;

/// The media ranges of one line, in lower case, with their qualities.
pub(super) fn media_ranges(value: &HeaderValue) -> Option<Vec<(String, f32)>> {
    let text = value.to_str().ok()?;
    let ranges = text.split(',').map(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let range = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let quality = pieces.find_map(|piece| piece.strip_prefix("q=").or_else(|| piece.strip_prefix("Q=")));
        (range, quality.and_then(|quality| quality.parse().ok()).unwrap_or(1.0))
    });
    Some(ranges.collect())
}
