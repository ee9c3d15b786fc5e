//! Orders that are read in pages, each with its items, which come from a query of their own.

use std::ops::ControlFlow;
use std::{mem, vec};

use ::postgres::Row;

use super::orders::{item, stored};
use crate::store::{Position, StoredOrder};

/// The orders of a page that are not visited yet. Items come in the sequence of their orders, so an
/// order is complete when an item of a later one comes, or the next page.
pub(super) struct Page<'p> {
    positions: &'p [Position],
    /// The order whose items come now.
    current: Option<StoredOrder>,
    /// Its number in the page, from 1.
    number: i64,
    later: vec::IntoIter<StoredOrder>,
}

type Visit<'v> = dyn FnMut(StoredOrder) -> ControlFlow<()> + 'v;

impl<'p> Page<'p> {
    /// An empty page; the orders' sources are found among `positions`.
    pub(super) fn new(positions: &'p [Position]) -> Page<'p> {
        Page {
            positions,
            current: None,
            number: 1,
            later: Vec::new().into_iter(),
        }
    }

    /// Visits what is left of the page; these orders are the next one.
    pub(super) fn orders(&mut self, rows: &[Row], visit: &mut Visit<'_>) -> ControlFlow<()> {
        while self.current.is_some() {
            self.visit_current(visit)?;
        }
        let orders = rows.iter().map(|row| stored(row, self.positions));
        self.later = orders.collect::<Vec<_>>().into_iter();
        self.current = self.later.next();
        self.number = 1;
        ControlFlow::Continue(())
    }

    /// Adds an item to its order, and visits the orders before that one.
    pub(super) fn item(&mut self, row: &Row, visit: &mut Visit<'_>) -> ControlFlow<()> {
        while self.number < row.get(0) {
            self.visit_current(visit)?;
        }
        if let Some(stored) = &mut self.current {
            stored.order.items.push(item(row, 1));
        }
        ControlFlow::Continue(())
    }

    fn visit_current(&mut self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        self.number += 1;
        match mem::replace(&mut self.current, self.later.next()) {
            Some(order) => visit(order),
            None => ControlFlow::Continue(()),
        }
    }
}
