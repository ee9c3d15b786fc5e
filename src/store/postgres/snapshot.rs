//! Everything at one moment: a transaction that only reads, page by page along the keys.
//!
//! The surprising thing: there is no cursor. A page is asked for by the last key of the one before,
//! so a plan that sorts the whole table first is never an option, and both sides hold a page only.
//! While it lasts, PostgreSQL cannot clean up rows that were replaced since it began.

use super::lookup::{BY_KEY, item, order_columns, stored, with_positions};
use super::schema::NO_TIMEOUTS;
use super::*;

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

const ORDERS_A_PAGE: i64 = 100;

/// A page of orders from where `$where` says on; `$1` names no log here.
macro_rules! page {
    ($where:literal) => {
        concat!(
            "WITH ",
            with_positions!(),
            ", page AS MATERIALIZED (SELECT * FROM orders ",
            $where,
            " ORDER BY order_uid LIMIT $2) SELECT ",
            order_columns!(),
            " FROM positions s JOIN page o ON true
            LEFT JOIN delivery d ON d.order_uid = o.order_uid
            LEFT JOIN payment p ON p.order_uid = o.order_uid
            LEFT JOIN items i ON i.order_uid = o.order_uid
            ORDER BY o.order_uid, i.id"
        )
    };
}

const FIRST_PAGE: &str = page!("");
const NEXT_PAGE: &str = page!("WHERE order_uid > $3");

const POSITIONS: &str = "
    SELECT id, topic_id, partition, epoch, next_offset, NULL::int8, NULL::bytea
    FROM log_positions WHERE log_id = $1";

const COUNTS: &str = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM dead_letters)";

/// One at a time: each may hold 16 MiB.
const NEXT_LETTER: &str = r#"
    SELECT id, topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at
    FROM dead_letters WHERE id > $1 ORDER BY id LIMIT 1"#;

/// A connection inside its one transaction.
pub(super) struct PostgresSnapshot {
    client: Client,
    statements: Statements,
}

impl PostgresSnapshot {
    pub(super) fn begin(mut client: Client) -> Result<PostgresSnapshot, StoreError> {
        let wrong = |error| classify(&error);
        // Whoever reads what is exported may take their time.
        client.execute(NO_TIMEOUTS, &[]).map_err(wrong)?;
        client.batch_execute(BY_KEY).map_err(wrong)?;
        client.batch_execute(BEGIN).map_err(wrong)?;
        // The moment is that of the first statement.
        client.simple_query("SELECT 1").map_err(wrong)?;
        Ok(PostgresSnapshot {
            client,
            statements: Statements::default(),
        })
    }

    fn ask(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let statement = self.statements.get_plain(&mut self.client, sql);
        statement
            .and_then(|statement| self.client.query(&statement, parameters))
            .map_err(|error| classify(&error))
    }

    /// The orders after `last`, in order of uid; none at the end.
    fn page(&mut self, last: Option<&str>) -> Result<Vec<Order>, StoreError> {
        let rows = match last {
            None => self.ask(FIRST_PAGE, &[&"", &ORDERS_A_PAGE])?,
            Some(last) => self.ask(NEXT_PAGE, &[&"", &ORDERS_A_PAGE, &last])?,
        };
        let mut orders: Vec<Order> = Vec::new();
        for row in &rows {
            let uid: &str = row.get(0);
            match orders.last_mut() {
                Some(order) if order.order_uid == uid => order.items.extend(item(row)),
                _ => orders.push(stored(row, &[]).order),
            }
        }
        Ok(orders)
    }
}

impl Snapshot for PostgresSnapshot {
    fn positions(&mut self, log_id: &str) -> Result<Vec<Position>, StoreError> {
        let rows = self.ask(POSITIONS, &[&log_id])?;
        Ok(rows.iter().map(positions::position).collect())
    }

    fn counts(&mut self) -> Result<(u64, u64), StoreError> {
        let rows = self.ask(COUNTS, &[])?;
        let count = |column| {
            let count: i64 = rows[0].get(column);
            count.unsigned_abs()
        };
        Ok((count(0), count(1)))
    }

    fn for_each_order(
        &mut self,
        show: &mut dyn FnMut(Order) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut page = self.page(None)?;
        while let Some(last) = page.last().map(|order| order.order_uid.clone()) {
            for order in page {
                if show(order).is_break() {
                    return Ok(());
                }
            }
            page = self.page(Some(&last))?;
        }
        Ok(())
    }

    fn for_each_dead_letter(
        &mut self,
        show: &mut dyn FnMut(StoredDeadLetter) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut last = i64::MIN;
        while let Some(row) = self.ask(NEXT_LETTER, &[&last])?.first() {
            last = row.get(0);
            if show(letter(row)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the columns of [`NEXT_LETTER`].
fn letter(row: &Row) -> StoredDeadLetter {
    let moment = |column| Timestamp::from_micros(row.get::<_, Micros>(column).0);
    StoredDeadLetter {
        topic: row.get(1),
        partition: row.get(2),
        offset: row.get(3),
        key: row.get(4),
        payload: row.get(5),
        payload_bytes: row.get(6),
        payload_sha256: row.get(7),
        order_uid: row.get(8),
        accepted_at: moment(9),
        reason: row.get(10),
        dead_at: moment(11),
    }
}
