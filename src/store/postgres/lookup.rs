//! Looks orders up: one joined statement, hence one snapshot, returns rows and positions.
//!
//! The newest orders, of which there are many, are read by several statements in one transaction.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use ::postgres::Row;

use super::orders::{
    ORDER_COLUMNS, item, item_columns, order_columns, select_items, select_orders, stored,
};
use super::page::Page;
use super::{PostgresStore, positions};
use crate::order::{Item, TableRow};
use crate::store::{LookupResult, LookupResults, Position, StoreError, StoredOrder};

/// Every table is read by its key, so one plan fits every query. Planning five joins takes a
/// millisecond, thirty times as long as running them; and a plan that reads whole tables, made for
/// tables that are empty or have no statistics, takes seconds on a million orders.
const PLAN_BY_KEY: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off";

const WITH_POSITIONS: &str = "WITH positions AS MATERIALIZED (
        SELECT array_agg(id) AS ids, array_agg(topic_id) AS topic_ids,
               array_agg(partition) AS partitions, array_agg(epoch) AS epochs,
               array_agg(next_offset) AS next_offsets
        FROM log_positions WHERE log_id = $1)";

/// `id + 0` keeps the planner from reading all dead letters in the order of their ids.
const DEAD_LETTER: &str = r#"
            SELECT ARRAY[l.topic || '/' || l.partition || '/' || l."offset", l.reason] FROM (
                SELECT * FROM dead_letters WHERE order_uid = q.uid AND resolution IS NULL
                UNION ALL
                SELECT * FROM dead_letters
                WHERE sha256(key) = sha256(convert_to(q.uid, 'UTF8'))
                  AND key = convert_to(q.uid, 'UTF8') AND resolution IS NULL) l
            ORDER BY l.id + 0 DESC LIMIT 1"#;

static LOOKUP: LazyLock<String> = LazyLock::new(|| {
    format!(
        r#"{WITH_POSITIONS}
    SELECT {}, i.id IS NOT NULL, {},
        s.ids, s.topic_ids, s.partitions, s.epochs, s.next_offsets,
        q.ordinal, CASE WHEN o.order_uid IS NULL THEN ({DEAD_LETTER}) END
    FROM positions s CROSS JOIN unnest($2::text[]) WITH ORDINALITY AS q(uid, ordinal)
    LEFT JOIN orders o ON o.order_uid = q.uid
    LEFT JOIN delivery d ON d.order_uid = q.uid
    LEFT JOIN payment p ON p.order_uid = q.uid
    LEFT JOIN items i ON i.order_uid = q.uid
    ORDER BY q.ordinal, i.id"#,
        order_columns(),
        item_columns()
    )
});

/// As the first statement of a transaction.
const ONE_SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// How many of the newest orders are read at a time.
const LATEST_PAGE: i32 = 250;

static LATEST: LazyLock<String> = LazyLock::new(|| {
    let newest = "SELECT * FROM orders WHERE date_created IS NOT NULL
        ORDER BY date_created DESC LIMIT $1";
    select_orders(newest, "", "date_created DESC")
});

static ITEMS: LazyLock<String> = LazyLock::new(|| select_items(""));

impl PostgresStore {
    pub(super) fn read_uids(
        &mut self,
        log_id: &str,
        uids: &[&str],
    ) -> Result<LookupResults, StoreError> {
        if !self.statements.contains(&LOOKUP) {
            self.client.batch_execute(PLAN_BY_KEY)?;
        }
        let rows = self
            .statements
            .query(&mut self.client, &LOOKUP, &[&log_id, &uids])?;
        let positions = rows.first().map(positions_of).unwrap_or_default();
        let mut results: Vec<LookupResult> = Vec::with_capacity(uids.len());
        for row in &rows {
            let ordinal: i64 = row.get(ORDINAL);
            if ordinal as usize > results.len() {
                results.push(match row.get::<_, Option<&str>>(0) {
                    Some(_) => LookupResult::Stored(Box::new(stored(row, &positions))),
                    None => dead_lettered(row),
                });
            }
            if let Some(LookupResult::Stored(stored)) = results.last_mut() {
                stored.order.items.extend(item_of(row));
            }
        }
        Ok(LookupResults { results, positions })
    }

    pub(super) fn read_latest(
        &mut self,
        log_id: &str,
        limit: usize,
        visit: &mut dyn FnMut(StoredOrder) -> ControlFlow<()>,
    ) -> Result<Vec<Position>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.client.batch_execute(PLAN_BY_KEY)?;
        let statements = &mut self.statements;
        let mut transaction = self.client.transaction()?;
        transaction.batch_execute(ONE_SNAPSHOT)?;
        let positions = statements.query(&mut transaction, &positions::SQL.of_log, &[&log_id])?;
        let positions: Vec<Position> = positions.iter().map(positions::position).collect();
        let newest = statements.bind(&mut transaction, &LATEST, &[&limit])?;
        let mut page = Page::new(&positions);
        let mut wanted = ControlFlow::Continue(());
        while wanted.is_continue() {
            let rows = transaction.query_portal(&newest, LATEST_PAGE)?;
            wanted = page.orders(&rows, visit);
            if rows.is_empty() {
                break;
            }
            let uids: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
            statements.query_each(&mut transaction, &ITEMS, &[&uids], |item| {
                if wanted.is_continue() {
                    wanted = page.item(&item, visit);
                }
                wanted
            })?;
        }
        transaction.commit()?;
        Ok(positions)
    }
}

/// The first column of each group after those of the order.
const ITEM: usize = ORDER_COLUMNS;
const POSITIONS: usize = ITEM + 1 + Item::COLUMNS.len();
const ORDINAL: usize = POSITIONS + 5;

fn dead_lettered(row: &Row) -> LookupResult {
    let dead: Option<Vec<String>> = row.get(ORDINAL + 1);
    match dead.map(<[String; 2]>::try_from) {
        Some(Ok([location, reason])) => LookupResult::DeadLettered { location, reason },
        Some(Err(_)) | None => LookupResult::Absent,
    }
}

fn positions_of(row: &Row) -> Vec<Position> {
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

fn item_of(row: &Row) -> Option<Item> {
    row.get::<_, bool>(ITEM).then(|| item(row, ITEM + 1))
}
