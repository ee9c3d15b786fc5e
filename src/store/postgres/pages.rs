//! Reads every order of a snapshot, in pages along the key and ahead of their use.
//!
//! There is no cursor: a page starts after the last uid of the previous one, so no plan sorts a
//! whole table. A thread reads the next orders while the caller works, so that client and server
//! each keep a processor busy. Both hold one page of orders and a few chunks of items, however many
//! items the orders have.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::{mem, vec};

use tokio_postgres::{Error as PgError, Row};

use super::client::Client;
use super::orders::{ITEMS, PLAN_BY_KEY, item, select_orders, stored};
use super::statements::Statements;
use crate::order::Order;
use crate::store::StoreError;

/// Large enough that the round trips of a page do not matter.
const PAGE_ORDERS: usize = 500;

/// Items are passed on when they take this much.
const CHUNK_BYTES: usize = 256 << 10;

/// How many chunks are read before they are needed.
const CHUNKS_AHEAD: usize = 2;

static FIRST_PAGE: LazyLock<String> = LazyLock::new(|| page(""));
static NEXT_PAGE: LazyLock<String> = LazyLock::new(|| page("WHERE order_uid > $1"));

fn page(condition: &str) -> String {
    let rows = format!("SELECT * FROM orders {condition} ORDER BY order_uid LIMIT {PAGE_ORDERS}");
    select_orders(&rows, "order_uid")
}

/// Visits every order by uid, inside the transaction of a snapshot, until `visit` breaks.
pub(super) fn for_each_order(
    client: &mut Client,
    statements: &mut Statements,
    visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    client.batch_execute(PLAN_BY_KEY)?;
    thread::scope(|scope| {
        let (chunks, received) = sync_channel(CHUNKS_AHEAD);
        let reader = thread::Builder::new()
            .spawn_scoped(scope, move || read(client, statements, &chunks))
            .map_err(|error| {
                StoreError::Unavailable(format!("no thread could be started to read: {error}"))
            })?;
        let mut page = Page::default();
        let visited = received.iter().try_for_each(|chunk| page.add(chunk, visit));
        // The reader ends when it cannot pass on its next chunk.
        drop(received);
        reader.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        if visited.is_continue() {
            // Nothing follows, whether the visitor breaks or not.
            let _ = page.visit_rest(visit);
        }
        Ok(())
    })
}

/// A part of what is read: the orders of a page, then their items in chunks.
enum Chunk {
    Orders(Vec<Row>),
    Items(Vec<Row>),
}

/// Reads page after page until the last one, or until nobody receives them.
fn read(
    client: &mut Client,
    statements: &mut Statements,
    chunks: &SyncSender<Chunk>,
) -> Result<(), PgError> {
    let mut orders = statements.query(client, &FIRST_PAGE, &[])?;
    while !orders.is_empty() {
        let uids: Vec<String> = orders.iter().map(|order| order.get(0)).collect();
        let mut is_received = chunks.send(Chunk::Orders(orders)).is_ok();
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        statements.query_each(client, &ITEMS, &[&uids], |item| {
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
            return Ok(());
        }
        orders = statements.query(client, &NEXT_PAGE, &[&uids.last()])?;
    }
    Ok(())
}

/// The orders of a page that are not visited yet. Items come in the sequence of their orders, so an
/// order is complete when an item of a later one comes, or the next page.
#[derive(Default)]
struct Page {
    /// The order whose items come now.
    current: Option<Order>,
    /// Its number in the page, from 1.
    number: i64,
    later: vec::IntoIter<Order>,
}

impl Page {
    fn add(
        &mut self,
        chunk: Chunk,
        visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match chunk {
            Chunk::Orders(rows) => {
                self.visit_rest(visit)?;
                let orders: Vec<Order> = rows.iter().map(|row| stored(row, &[]).order).collect();
                self.later = orders.into_iter();
                self.current = self.later.next();
                self.number = 1;
            }
            Chunk::Items(rows) => {
                for row in rows {
                    while self.number < row.get(0) {
                        self.visit_current(visit)?;
                    }
                    if let Some(order) = &mut self.current {
                        order.items.push(item(&row, 1));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn visit_current(
        &mut self,
        visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.number += 1;
        match mem::replace(&mut self.current, self.later.next()) {
            Some(order) => visit(order),
            None => ControlFlow::Continue(()),
        }
    }

    fn visit_rest(&mut self, visit: &mut dyn FnMut(Order) -> ControlFlow<()>) -> ControlFlow<()> {
        while self.current.is_some() {
            self.visit_current(visit)?;
        }
        ControlFlow::Continue(())
    }
}
