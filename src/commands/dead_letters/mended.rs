//! Mended orders: a file with one order, an array, or one order a line.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;

use crate::client::documents::{Documents, Piece};
use crate::exit::Failure;
use crate::order::Order;

/// How many orders a file may hold.
const MAX_ORDERS: usize = 10_000;

/// One mended order.
pub(super) struct Mended {
    /// `None` when it has none that an order can have.
    pub(super) order_uid: Option<String>,
    pub(super) document: Vec<u8>,
}

/// Reads all orders of a file. What cannot be an order is an error: nothing has been changed yet.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Mended>> {
    let reading = || format!("reading mended orders from `{}`", path.display());
    let file = File::open(path).with_context(reading)?;
    let is_ndjson = path
        .extension()
        .is_some_and(|extension| extension == "ndjson" || extension == "jsonl");
    let mut documents = Documents::new(BufReader::new(file), is_ndjson).with_context(reading)?;
    let mut mended = Vec::new();
    while let Some(piece) = documents.next_piece().with_context(reading)? {
        let document = match piece {
            Piece::Document { bytes, .. } => bytes,
            Piece::Malformed { line, reason } => {
                let message = format!("{}, line {line}: {reason}", reading());
                return Err(Failure::usage(message).into());
            }
        };
        if mended.len() == MAX_ORDERS {
            let message = format!("{}: more than {MAX_ORDERS} orders", reading());
            return Err(Failure::usage(message).hint("split the file").into());
        }
        let order_uid = match Order::decode(&document) {
            Ok(order) => Some(order.order_uid),
            Err(refusal) => refusal.order_uid,
        };
        mended.push(Mended {
            order_uid,
            document,
        });
    }
    if mended.is_empty() {
        let message = format!("{}: there are none", reading());
        return Err(Failure::usage(message).into());
    }
    Ok(mended)
}
