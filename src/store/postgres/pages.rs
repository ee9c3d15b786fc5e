//! Reads every order of a snapshot, in pages along the key and ahead of their use.
//!
//! There is no cursor: a page starts after the last uid of the previous one, so no plan sorts a
//! whole table. One connection reads orders, another their items, and the caller works on what was
//! read before, so that client and server keep several processors busy. Each holds a page or two of
//! orders and a few chunks of items, however many items the orders have.

use std::mem;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

use ::postgres::{Error as PgError, Row};

use super::PostgresStore;
use super::orders::{select_items, select_orders};
use super::page::Page;
use crate::order::Order;
use crate::store::{StoreError, StoredOrder};

/// Large enough that the round trips of a page do not matter.
const PAGE_ORDERS: usize = 500;

/// Items are passed on when they take this much.
const CHUNK_BYTES: usize = 256 << 10;

/// How many pages, and how many chunks, are read before they are needed.
const AHEAD: usize = 2;

/// Every table is read in the order of its key, from the first uid of a page on, and merged: a lookup
/// of each row would take twice as long. No statistics can change such a plan.
const PLAN_BY_RANGE: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_bitmapscan = off; SET enable_nestloop = off; SET enable_hashjoin = off";

static FIRST_PAGE: LazyLock<String> = LazyLock::new(|| page(""));
static NEXT_PAGE: LazyLock<String> = LazyLock::new(|| page("WHERE order_uid > $1"));

fn page(range: &str) -> String {
    let rows = format!("SELECT * FROM orders {range} ORDER BY order_uid LIMIT {PAGE_ORDERS}");
    select_orders(&rows, range, "order_uid")
}

static ITEMS: LazyLock<String> =
    LazyLock::new(|| select_items("WHERE order_uid BETWEEN $2 AND $3"));

/// A range of uids has the same rows in every table only if all sort them alike.
const COLLATIONS: &str = "SELECT count(DISTINCT attcollation) FROM pg_attribute
    WHERE attname = 'order_uid' AND attrelid IN
        ('orders'::regclass, 'delivery'::regclass, 'payment'::regclass, 'items'::regclass)";

/// Visits every order by uid, inside the transactions of a snapshot, until `visit` breaks.
pub(super) fn for_each_order(
    orders: &mut PostgresStore,
    items: &mut PostgresStore,
    visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let collations: i64 = orders.client.query_one(COLLATIONS, &[])?.get(0);
    if collations != 1 {
        return Err(StoreError::Misconfigured(
            "the columns `order_uid` of the tables have different collations: give them the one \
             of `orders`"
                .into(),
        ));
    }
    orders.client.batch_execute(PLAN_BY_RANGE)?;
    items.client.batch_execute(PLAN_BY_RANGE)?;
    scope(|scope| {
        let (pages, received_pages) = sync_channel(AHEAD);
        let (chunks, received) = sync_channel(AHEAD);
        let orders = spawn(scope, move || read_orders(orders, &pages))?;
        let items = spawn(scope, move || read_items(items, &received_pages, &chunks))?;
        let mut page = Page::new(&[]);
        let visit = &mut |stored: StoredOrder| visit(stored.order);
        let visited = received.iter().try_for_each(|chunk| match chunk {
            Chunk::Orders(rows) => page.orders(&rows, visit),
            Chunk::Items(rows) => rows.iter().try_for_each(|row| page.item(row, visit)),
        });
        // Each reader ends when it cannot pass on what it has read.
        drop(received);
        for reader in [orders, items] {
            reader.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        if visited.is_continue() {
            // Nothing follows, whether the visitor breaks or not.
            let _ = page.orders(&[], visit);
        }
        Ok(())
    })
}

type Reading<'s> = ScopedJoinHandle<'s, Result<(), PgError>>;

fn spawn<'s>(
    scope: &'s Scope<'s, '_>,
    read: impl FnOnce() -> Result<(), PgError> + Send + 's,
) -> Result<Reading<'s>, StoreError> {
    Builder::new().spawn_scoped(scope, read).map_err(|error| {
        StoreError::Unavailable(format!("no thread could be started to read: {error}"))
    })
}

/// A part of what is read: the orders of a page, then their items in chunks.
enum Chunk {
    Orders(Vec<Row>),
    Items(Vec<Row>),
}

/// Reads page after page until the last one, or until nobody receives them.
fn read_orders(store: &mut PostgresStore, pages: &SyncSender<Vec<Row>>) -> Result<(), PgError> {
    let PostgresStore {
        client, statements, ..
    } = store;
    let mut page = statements.query(client, &FIRST_PAGE, &[])?;
    while let Some(last) = page.last() {
        let last: String = last.get(0);
        if pages.send(page).is_err() {
            break;
        }
        page = statements.query(client, &NEXT_PAGE, &[&last])?;
    }
    Ok(())
}

/// Passes on each page, followed by its items, until nobody receives them.
fn read_items(
    store: &mut PostgresStore,
    pages: &Receiver<Vec<Row>>,
    chunks: &SyncSender<Chunk>,
) -> Result<(), PgError> {
    let PostgresStore {
        client, statements, ..
    } = store;
    for page in pages {
        let uids: Vec<String> = page.iter().map(|order| order.get(0)).collect();
        let mut is_received = chunks.send(Chunk::Orders(page)).is_ok();
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let parameters = [&uids as _, &uids.first() as _, &uids.last() as _];
        statements.query_each(client, &ITEMS, &parameters, |item| {
            bytes += item.raw_size_bytes();
            chunk.push(item);
            if bytes >= CHUNK_BYTES {
                bytes = 0;
                is_received = chunks.send(Chunk::Items(mem::take(&mut chunk))).is_ok();
            }
            if is_received {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if !is_received || chunks.send(Chunk::Items(chunk)).is_err() {
            break;
        }
    }
    Ok(())
}
