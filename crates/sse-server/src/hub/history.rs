//! The last events of the hub, bounded by count, bytes and age.

/// How much history is kept; 0 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Events kept; beyond it the oldest go.
    pub events_max: usize,
    /// Bytes kept; beyond it the oldest go.
    pub bytes_max: usize,
    /// Age of the oldest event kept, in milliseconds.
    pub age_max_ms: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { events_max: 100_000, bytes_max: 64 << 20, age_max_ms: 86_400_000 }
    }
}
