//! Reads orders: one joined statement, and therefore one snapshot, returns rows and positions.
//!
//! Rows that other programs wrote may hold NULL in every column but the key, and may lack their
//! delivery or payment row: such values are read as "" and 0.

use std::convert::Infallible;
use std::sync::LazyLock;

use ::postgres::types::FromSql;
use ::postgres::{Error as PgError, Row};

use super::PostgresStore;
use super::micros::Micros;
use super::rows::sql_type;
use crate::order::{
    ColumnReader, Delivery, FromColumns, Item, Order, Payment, TableRow, Timestamp,
};
use crate::store::order_sql::{select_item, select_order};
use crate::store::{
    LatestOrders, LookupResult, LookupResults, Position, StoreError, StoredOrder, current_source,
};

/// The columns of one order joined with one of its items; at the end the positions, as arrays.
pub(super) fn order_columns() -> String {
    let cast = |kind| format!("::{}", sql_type(kind));
    format!(
        "{}, i.id IS NOT NULL, {},
        o.source_position, o.source_epoch, o.source_offset, o.accepted_at,
        s.ids, s.topic_ids, s.partitions, s.epochs, s.next_offsets",
        select_order(cast),
        select_item(cast)
    )
}

/// Every table is read by its key, so one plan fits every lookup. Planning five joins takes a
/// millisecond, thirty times as long as running them; and a plan made while the tables are empty,
/// which reads them whole, must not be kept.
pub(super) const PLAN_BY_KEY: &str =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off";

pub(super) const WITH_POSITIONS: &str = "WITH positions AS MATERIALIZED (
        SELECT array_agg(id) AS ids, array_agg(topic_id) AS topic_ids,
               array_agg(partition) AS partitions, array_agg(epoch) AS epochs,
               array_agg(next_offset) AS next_offsets
        FROM log_positions WHERE log_id = $1)";

static LOOKUP: LazyLock<String> = LazyLock::new(|| {
    format!(
        r#"{WITH_POSITIONS}
    SELECT {}, q.ordinal, CASE WHEN o.order_uid IS NULL THEN (
            SELECT l.topic || '/' || l.partition || '/' || l."offset" FROM dead_letters l
            WHERE l.order_uid = q.uid ORDER BY l.id DESC LIMIT 1) END
    FROM positions s CROSS JOIN unnest($2::text[]) WITH ORDINALITY AS q(uid, ordinal)
    LEFT JOIN orders o ON o.order_uid = q.uid
    LEFT JOIN delivery d ON d.order_uid = q.uid
    LEFT JOIN payment p ON p.order_uid = q.uid
    LEFT JOIN items i ON i.order_uid = q.uid
    ORDER BY q.ordinal, i.id"#,
        order_columns()
    )
});

static LATEST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{WITH_POSITIONS}, newest AS MATERIALIZED (
        SELECT * FROM orders WHERE date_created IS NOT NULL ORDER BY date_created DESC LIMIT $2)
    SELECT {} FROM positions s LEFT JOIN newest o ON true
    LEFT JOIN delivery d ON d.order_uid = o.order_uid
    LEFT JOIN payment p ON p.order_uid = o.order_uid
    LEFT JOIN items i ON i.order_uid = o.order_uid
    ORDER BY o.date_created DESC, o.order_uid, i.id",
        order_columns()
    )
});

impl PostgresStore {
    pub(super) fn read_uids(
        &mut self,
        log_id: &str,
        uids: &[&str],
    ) -> Result<LookupResults, StoreError> {
        if uids.is_empty() {
            return Ok(LookupResults {
                results: Vec::new(),
                positions: Vec::new(),
            });
        }
        let rows = self.query_uids(log_id, uids)?;
        let positions = rows.first().map(positions).unwrap_or_default();
        let mut results: Vec<LookupResult> = Vec::with_capacity(uids.len());
        for row in &rows {
            let ordinal: i64 = row.get(ORDINAL);
            if ordinal as usize == results.len() {
                // The next item of the previous order.
                if let Some(LookupResult::Stored(stored)) = results.last_mut() {
                    stored.order.items.extend(item(row));
                }
                continue;
            }
            results.push(
                match (row.get::<_, Option<&str>>(0), row.get(ORDINAL + 1)) {
                    (Some(_), _) => LookupResult::Stored(Box::new(stored(row, &positions))),
                    (None, Some(location)) => LookupResult::DeadLettered { location },
                    (None, None) => LookupResult::Absent,
                },
            );
        }
        Ok(LookupResults { results, positions })
    }

    fn query_uids(&mut self, log_id: &str, uids: &[&str]) -> Result<Vec<Row>, PgError> {
        if !self.statements.contains(&LOOKUP) {
            self.client.batch_execute(PLAN_BY_KEY)?;
        }
        self.statements
            .query(&mut self.client, &LOOKUP, &[&log_id, &uids])
    }

    pub(super) fn read_latest(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<LatestOrders, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self
            .statements
            .query(&mut self.client, &LATEST, &[&log_id, &limit])?;
        let positions = rows.first().map(positions).unwrap_or_default();
        let orders = stored_orders(&rows, &positions);
        Ok(LatestOrders { orders, positions })
    }
}

/// The first column of each group after those of the order.
const ITEM: usize = Order::COLUMNS.len() + Delivery::COLUMNS.len() + Payment::COLUMNS.len();
const SOURCE: usize = ITEM + 1 + Item::COLUMNS.len();
const POSITIONS: usize = SOURCE + 4;
const ORDINAL: usize = POSITIONS + 5;

fn positions(row: &Row) -> Vec<Position> {
    let Some(ids) = row.get::<_, Option<Vec<i64>>>(POSITIONS) else {
        return Vec::new();
    };
    let topic_ids: Vec<String> = row.get(POSITIONS + 1);
    let partitions: Vec<i32> = row.get(POSITIONS + 2);
    let epochs: Vec<i32> = row.get(POSITIONS + 3);
    let next_offsets: Vec<i64> = row.get(POSITIONS + 4);
    ids.into_iter()
        .zip(topic_ids)
        .zip(partitions)
        .zip(epochs.into_iter().zip(next_offsets))
        .map(
            |(((id, topic_id), partition), (epoch, next_offset))| Position {
                id,
                topic_id: topic_id.into(),
                partition,
                epoch,
                next_offset,
                last_applied: None,
            },
        )
        .collect()
}

/// Reads orders from rows that are sorted by order; a row without one is skipped.
pub(super) fn stored_orders(rows: &[Row], positions: &[Position]) -> Vec<StoredOrder> {
    let mut orders: Vec<StoredOrder> = Vec::new();
    for row in rows {
        let Some(uid) = row.get::<_, Option<&str>>(0) else {
            continue;
        };
        match orders.last_mut() {
            Some(last) if last.order.order_uid == uid => last.order.items.extend(item(row)),
            _ => orders.push(stored(row, positions)),
        }
    }
    orders
}

fn stored(row: &Row, positions: &[Position]) -> StoredOrder {
    let Ok(mut order) = Order::from_columns(&mut Columns { row, next: 0 });
    order.items.extend(item(row));
    StoredOrder {
        order,
        source: current_source(
            positions,
            row.get(SOURCE),
            row.get(SOURCE + 1),
            row.get(SOURCE + 2),
        ),
        accepted_at_us: row
            .get::<_, Option<Micros>>(SOURCE + 3)
            .map(|micros| micros.0),
    }
}

fn item(row: &Row) -> Option<Item> {
    row.get::<_, bool>(ITEM).then(|| {
        let next = ITEM + 1;
        let Ok(item) = Item::from_columns(&mut Columns { row, next });
        item
    })
}

/// Reads columns that [`order_columns`] has given the types that are expected.
struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    fn get<V: FromSql<'r>>(&mut self) -> V {
        self.next += 1;
        self.row.get(self.next - 1)
    }
}

impl ColumnReader for Columns<'_> {
    type Error = Infallible;

    fn text(&mut self) -> Result<String, Infallible> {
        Ok(self.get())
    }

    fn int(&mut self) -> Result<i32, Infallible> {
        Ok(self.get())
    }

    fn bigint(&mut self) -> Result<i64, Infallible> {
        Ok(self.get())
    }

    fn timestamp(&mut self) -> Result<Timestamp, Infallible> {
        let micros: Option<Micros> = self.get();
        Ok(micros.map_or(Timestamp(None), |micros| Timestamp::from_micros(micros.0)))
    }
}
