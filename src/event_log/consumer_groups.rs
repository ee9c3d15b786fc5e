//! Consumer groups, apart from the log itself: only operators ask for them.

use super::LogError;

/// What a log knows of its consumer groups. An embedded log has none: a lock tells who reads it.
pub trait ConsumerGroups: Send + Sync {
    /// How many members a group has; 0 when there is no such group. A member that was killed counts
    /// until its session expires. Blocks up to 5 s.
    fn members(&self, group: &str) -> Result<usize, LogError>;
}
