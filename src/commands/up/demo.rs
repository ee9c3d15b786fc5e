//! The demo: sends one order through every hop and prints the time of each.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::client::{Client, GetOutcome, SendOutcome};
use crate::event_log::EventLog;
use crate::order::Order;
use crate::output::Output;
use crate::pipeline::time;
use crate::store::{LookupResult, OrderStore, StoreEngine};

const ORDER: &str = include_str!("../../../examples/test_order.json");

/// Limit of one hop.
const HOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause between two queries for the row.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// What the demo uses.
pub(super) struct Demo {
    pub(super) api_url: String,
    pub(super) token: Option<String>,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) orders_topic: String,
    pub(super) store: Arc<dyn StoreEngine>,
    pub(super) empty_cache: Box<dyn Fn() + Send>,
}

impl Demo {
    /// Sends the order, waits for its row, gets it from the cache and, with an empty cache, through
    /// the log from the database.
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let client = Client::new(self.api_url.clone(), self.token.clone());
        let order = Order::decode(ORDER.as_bytes())
            .ok()
            .context("the example is not an order")?;
        let uid = &order.order_uid;
        let mut hops = Vec::new();

        let began_us = time::now_us();
        let began = Instant::now();
        match client.send(ORDER.as_bytes(), HOP_TIMEOUT)? {
            SendOutcome::Accepted { .. } => {}
            SendOutcome::Refused { detail, .. } => bail!("the example order was refused: {detail}"),
            SendOutcome::NotAccepted(error) | SendOutcome::Unknown(error) => {
                bail!("the example order was not accepted: {}", error.reason)
            }
        }
        let accepted = began.elapsed();
        hops.push(("POST /orders: in the log, 202", accepted));
        self.await_row(uid, began_us)?;
        hops.push((
            "from the log into the four tables",
            began.elapsed() - accepted,
        ));

        hops.push(("GET, from the API's cache", self.get(&client, &order)?));
        (self.empty_cache)();
        let what = "GET with an empty cache: log, database, log";
        hops.push((what, self.get(&client, &order)?));

        output.info(&format!("\nHops of order {uid}:"));
        let row = |(hop, took): (&str, Duration)| {
            vec![
                hop.to_owned(),
                format!("{:.2} ms", took.as_secs_f64() * 1e3),
            ]
        };
        output.table(&["hop", "took"], hops.into_iter().map(row))
    }

    /// Waits for the row of the version that was accepted after `began_us`.
    fn await_row(&self, uid: &str, began_us: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + HOP_TIMEOUT;
        let log_id = self.log.topic(&self.orders_topic)?.log_id;
        let mut store = self.store.connect()?;
        while !has_row(&mut *store, &log_id, uid, began_us)? {
            if Instant::now() >= deadline {
                bail!(
                    "the order was not stored within {} s",
                    HOP_TIMEOUT.as_secs()
                );
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn get(&self, client: &Client, order: &Order) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let reason = match client.get(&order.order_uid, HOP_TIMEOUT)? {
            GetOutcome::Found(found) if found.order == *order => return Ok(began.elapsed()),
            GetOutcome::Found(_) => "it differs from the one that was sent".into(),
            GetOutcome::NotFound { detail } | GetOutcome::Refused { detail, .. } => detail,
            GetOutcome::Pending(error) => error.reason,
        };
        bail!("the example order was not returned: {reason}")
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
