//! An event's data: when it was published, its number, and as much text as makes it as long as it is to be.

/// What begins the data.
const TIME: &str = "{\"t\":";
const NUMBER: &str = ",\"n\":";
const TIME_DIGITS: usize = 16;
const NUMBER_DIGITS: usize = 9;
/// The first number of the first publisher, and how far the next one's is from it: JSON has no zeros before a number.
pub(crate) const NUMBER_FIRST: u64 = 100_000_000;
/// The publishers that a number can name, with its first digit.
pub(crate) const PUBLISHERS_MAX: usize = 9;
/// The data of most rows.
pub(crate) const BYTES: usize = 200;
/// The shortest data.
pub(crate) const BYTES_MIN: usize = 100;

/// What jobs say of themselves, over and over.
const SENTENCES: &[&str] = &[
    "transcribing the audio",
    "summarising a chapter",
    "waiting for the model",
    "detecting the language",
    "fetching the video",
    "splitting into segments",
    "merging the summaries",
    "writing the result",
];

/// The number of a publisher's event: counted from 0, both.
pub(crate) fn number(publisher: usize, nth: u64) -> u64 {
    (publisher as u64 + 1) * NUMBER_FIRST + nth
}

/// Whose event has this number.
pub(crate) fn publisher(number: u64) -> Option<usize> {
    let publisher = (number / NUMBER_FIRST).checked_sub(1)? as usize;
    (publisher < PUBLISHERS_MAX).then_some(publisher)
}

/// JSON of exactly `bytes` bytes (at least `BYTES_MIN`), like a job's progress; the same for the same number and time.
pub(crate) fn data(number: u64, micros: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(number);
    let mut text = format!(
        "{TIME}{micros}{NUMBER}{number},\"job\":\"v-{}\",\"percent\":{},\"text\":\"",
        random.u32(1000..1016),
        random.u32(10..100)
    );
    while text.len() < bytes {
        text += SENTENCES[random.usize(..SENTENCES.len())];
        text.push(' ');
        if random.bool() {
            text += &random.u16(..).to_string();
            text += ", ";
        }
    }
    text.truncate(bytes - 2);
    text += "\"}";
    text
}

/// Number and time of the event of a `data` line.
pub(crate) fn read(line: &[u8]) -> Option<(u64, u64)> {
    let rest = line.strip_prefix(b"data: ")?.strip_prefix(TIME.as_bytes())?;
    let (time, rest) = rest.split_at_checked(TIME_DIGITS)?;
    let (number, _) = rest.strip_prefix(NUMBER.as_bytes())?.split_at_checked(NUMBER_DIGITS)?;
    Some((digits(number), digits(time)))
}

fn digits(text: &[u8]) -> u64 {
    text.iter().fold(0, |value, digit| value * 10 + u64::from(digit.wrapping_sub(b'0')))
}
