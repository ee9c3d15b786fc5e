//! The demo: one order through every hop, with the time of each.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::client::{Client, Got, Sent};
use crate::event_log::EventLog;
use crate::order::Order;
use crate::output::Output;
use crate::pipeline::time;
use crate::store::{LookupResult, OrderStore, StoreEngine};

const ORDER: &str = include_str!("../../../examples/test_order.json");

/// How long a hop may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often the database is asked whether it has the order.
const LOOK: Duration = Duration::from_micros(200);

/// What the demo uses.
pub(super) struct Demo {
    pub(super) api_url: String,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) orders_topic: String,
    pub(super) store: Arc<dyn StoreEngine>,
    pub(super) empty_cache: Box<dyn Fn() + Send>,
}

impl Demo {
    /// Sends the order, waits for its row, gets it from the cache and, when that is empty, through
    /// the log from the database.
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let client = Client::new(self.api_url.clone());
        let order = Order::decode(ORDER.as_bytes())
            .ok()
            .context("the example is no order")?;
        let uid = &order.order_uid;
        let mut hops = Vec::new();

        let began_us = time::now_us();
        let began = Instant::now();
        match client.send(ORDER.as_bytes(), PATIENCE)? {
            Sent::Accepted { .. } => {}
            other => bail!("the order was not accepted: {other:?}"),
        }
        let accepted = began.elapsed();
        hops.push(("POST /orders: in the log, answered with 202", accepted));
        self.await_row(uid, began_us)?;
        hops.push((
            "then from the log into the four tables",
            began.elapsed() - accepted,
        ));

        hops.push(("GET, from the API's cache", self.get(&client, &order)?));
        (self.empty_cache)();
        let what = "GET with an empty cache: log, database, log, answer";
        hops.push((what, self.get(&client, &order)?));

        output.info(&format!("\nOrder {uid} went through:"));
        let row = |(hop, took): (&str, Duration)| {
            vec![
                hop.to_owned(),
                format!("{:.2} ms", took.as_secs_f64() * 1e3),
            ]
        };
        output.table(&["hop", "took"], hops.into_iter().map(row))
    }

    /// Until the database has the order as it was accepted after `began_us`.
    fn await_row(&self, uid: &str, began_us: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let log_id = self.log.topic(&self.orders_topic)?.log_id;
        let mut store = self.store.connect()?;
        while !has_row(&mut *store, &log_id, uid, began_us)? {
            if Instant::now() >= deadline {
                bail!("the order was not stored within {} s", PATIENCE.as_secs());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn get(&self, client: &Client, order: &Order) -> anyhow::Result<Duration> {
        let began = Instant::now();
        match client.get(&order.order_uid, PATIENCE)? {
            Got::Found(found) if found.order == *order => Ok(began.elapsed()),
            other => bail!("the order was not given back as it was sent: {other:?}"),
        }
    }
}

fn has_row(
    store: &mut dyn OrderStore,
    log_id: &str,
    uid: &str,
    since_us: i64,
) -> anyhow::Result<bool> {
    let answers = store.lookup(log_id, &[uid])?.results;
    Ok(matches!(
        answers.as_slice(),
        [LookupResult::Stored(stored)] if stored.accepted_at_us >= Some(since_us)
    ))
}
