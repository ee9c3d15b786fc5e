//! The statements of operators' commands, which both engines derive from the notation of their dialect.

use super::OrderFilter;
use super::rejections::PRUNED;

/// What differs between the dialects.
pub(super) struct Dialect {
    /// Precedes the number of a parameter.
    pub parameter: char,
    /// The current time.
    pub now: &'static str,
}

pub(super) const POSTGRES: Dialect = Dialect {
    parameter: '$',
    now: "now()",
};

pub(super) const SQLITE: Dialect = Dialect {
    parameter: '?',
    now: "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
};

/// The statements on positions and gaps.
pub(super) struct OperatorSql {
    /// Parameters: position, epoch.
    pub accepted: String,
    /// Parameters: log id, partition, topic id, next offset, offset and digest of the last record, who,
    /// why. The position must still be where `find_next` found it: it is locked by then.
    pub move_back: String,
    /// Locks the row. Parameters: log id, partition, topic id.
    pub find_next: String,
    /// Locks the row, and leaves who and why in it. Parameters: log id, partition, topic id, who, why.
    /// Returns id, epoch and next offset.
    pub lock_position: String,
    /// Parameters: log id, limit.
    pub recorded_gaps: String,
    /// Parameters: log id, limit.
    pub acceptances: String,
    /// Parameters: position, epoch, from, to, who, why.
    pub accept: String,
}

impl OperatorSql {
    pub(super) fn new(dialect: &Dialect, lock: &str) -> OperatorSql {
        let Dialect { parameter: p, now } = dialect;
        OperatorSql {
            accepted: format!(
                "SELECT from_offset, to_offset FROM accepted_gaps
                WHERE position_id = {p}1 AND epoch = {p}2"
            ),
            find_next: format!(
                "SELECT next_offset FROM log_positions
                WHERE log_id = {p}1 AND partition = {p}2 AND topic_id = {p}3 {lock}"
            ),
            move_back: format!(
                "UPDATE log_positions
                SET next_offset = {p}4, tail_offset = {p}5, tail_digest = {p}6,
                    moved_at = {now}, moved_by = {p}7, moved_why = {p}8
                WHERE log_id = {p}1 AND partition = {p}2 AND topic_id = {p}3
                  AND next_offset > {p}4"
            ),
            lock_position: format!(
                "UPDATE log_positions SET moved_at = {now}, moved_by = {p}4, moved_why = {p}5
                WHERE log_id = {p}1 AND partition = {p}2 AND topic_id = {p}3
                RETURNING id, epoch, next_offset"
            ),
            recorded_gaps: format!(
                "SELECT p.partition, g.epoch, g.from_offset, g.to_offset, g.reason, g.noted_at
                FROM log_gaps g JOIN log_positions p ON p.id = g.position_id
                WHERE p.log_id = {p}1 AND g.reason <> '{PRUNED}'
                ORDER BY g.id DESC LIMIT {p}2"
            ),
            acceptances: format!(
                "SELECT p.partition, a.epoch, a.from_offset, a.to_offset, a.accepted_at,
                    a.accepted_by, a.why
                FROM accepted_gaps a JOIN log_positions p ON p.id = a.position_id
                WHERE p.log_id = {p}1 ORDER BY a.id DESC LIMIT {p}2"
            ),
            accept: format!(
                "INSERT INTO accepted_gaps
                    (position_id, epoch, from_offset, to_offset, accepted_by, why)
                VALUES ({p}1, {p}2, {p}3, {p}4, {p}5, {p}6)
                ON CONFLICT (position_id, epoch, from_offset, to_offset) DO NOTHING"
            ),
        }
    }
}

/// A condition of a list of orders.
#[derive(Clone, Copy)]
pub(super) enum Condition<'f> {
    Customer(&'f str),
    Track(&'f str),
    Since(i64),
    Until(i64),
}

/// The conditions of a filter.
pub(super) fn conditions(filter: &OrderFilter) -> Vec<Condition<'_>> {
    [
        filter.customer_id.as_deref().map(Condition::Customer),
        filter.track_number.as_deref().map(Condition::Track),
        filter.since_us.map(Condition::Since),
        filter.until_us.map(Condition::Until),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Lists orders that meet the conditions, whose parameters come in their order; the last one is the
/// limit.
pub(super) fn list_orders(dialect: &Dialect, conditions: &[Condition<'_>]) -> String {
    let p = dialect.parameter;
    let texts: Vec<String> = (1..)
        .zip(conditions)
        .map(|(number, condition)| match condition {
            Condition::Customer(_) => format!("customer_id = {p}{number}"),
            Condition::Track(_) => format!("track_number = {p}{number}"),
            Condition::Since(_) => format!("accepted_at >= {p}{number}"),
            Condition::Until(_) => format!("accepted_at < {p}{number}"),
        })
        .collect();
    let filter = match texts.as_slice() {
        [] => String::new(),
        texts => format!("WHERE {}", texts.join(" AND ")),
    };
    let limit = conditions.len() + 1;
    // Both dialects use their index on accept times for this order: SQLite has NULL below all values.
    let order = "accepted_at DESC NULLS LAST";
    format!(
        "SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.customer_id, ''),
            COALESCE(o.delivery_service, ''), COALESCE(p.amount, 0), COALESCE(p.currency, ''),
            (SELECT count(*) FROM items i WHERE i.order_uid = o.order_uid),
            o.date_created, o.accepted_at
        FROM (SELECT * FROM orders {filter} ORDER BY {order} LIMIT {p}{limit}) o
        LEFT JOIN payment p ON p.order_uid = o.order_uid
        ORDER BY o.{order}, o.order_uid"
    )
}
