//! The statements on position rows, which both engines derive from the notation of their dialect.
//!
//! # Invariants
//!
//! - A batch moves a position only from the batch's start, in the epoch and for the owner that the
//!   batch names.
//! - A row that another owner has acquired is not moved to another start, nor is one that is not where
//!   the start was decided from.

/// Statements on `log_positions`. Those that return rows return the columns of a position, then
/// owner, group, host and the time of the acquisition.
pub(super) struct PositionSql {
    /// Parameters: log id, partition, owner, group, host.
    pub acquire: String,
    /// Parameters: id, owner, epoch, end, offset and digest of the last record, start. Returns whether
    /// orders were erased; the row is locked by then, so the answer is that of the newest erasure.
    pub advance: String,
    /// Parameters: log id, partition, topic id, epoch, next offset, owner, group, host, then the epoch
    /// and the next offset that it moves the row from.
    pub upsert: String,
    /// Parameters: log id, partition.
    pub find: String,
    /// Parameter: id.
    pub find_by_id: String,
    /// Parameter: log id.
    pub of_log: String,
}

impl PositionSql {
    /// `p` precedes the number of a parameter, `now` is the current time, and `since` is `taken_at`
    /// as a text.
    pub(super) fn new(p: char, now: &str, since: &str) -> PositionSql {
        let columns = format!(
            "id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, {since}"
        );
        let select = format!("SELECT {columns} FROM log_positions");
        PositionSql {
            acquire: format!(
                "UPDATE log_positions
                SET owner = {p}3, owner_group = {p}4, owner_host = {p}5, taken_at = {now}
                WHERE log_id = {p}1 AND partition = {p}2
                RETURNING {columns}"
            ),
            advance: format!(
                "UPDATE log_positions
                SET next_offset = {p}4, tail_offset = COALESCE({p}5, tail_offset),
                    tail_digest = COALESCE({p}6, tail_digest)
                WHERE id = {p}1 AND owner = {p}2 AND epoch = {p}3 AND next_offset = {p}7
                RETURNING has_erasures"
            ),
            // The last applied record belongs to its epoch.
            upsert: format!(
                "INSERT INTO log_positions
                    (log_id, partition, topic_id, epoch, next_offset,
                     owner, owner_group, owner_host, has_erasures)
                VALUES ({p}1, {p}2, {p}3, {p}4, {p}5, {p}6, {p}7, {p}8,
                    EXISTS (SELECT * FROM erasures))
                ON CONFLICT (log_id, partition) DO UPDATE
                SET topic_id = excluded.topic_id,
                    epoch = excluded.epoch,
                    next_offset = excluded.next_offset,
                    tail_offset = CASE WHEN log_positions.epoch = excluded.epoch
                        THEN log_positions.tail_offset END,
                    tail_digest = CASE WHEN log_positions.epoch = excluded.epoch
                        THEN log_positions.tail_digest END
                WHERE log_positions.owner = excluded.owner
                    AND (log_positions.epoch = {p}9 AND log_positions.next_offset = {p}10
                        OR log_positions.epoch = excluded.epoch
                            AND log_positions.next_offset = excluded.next_offset)
                RETURNING {columns}"
            ),
            find: format!("{select} WHERE log_id = {p}1 AND partition = {p}2"),
            find_by_id: format!("{select} WHERE id = {p}1"),
            of_log: format!("{select} WHERE log_id = {p}1"),
        }
    }
}
