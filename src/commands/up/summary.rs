//! The message that `orders up` prints when everything is ready.

use std::path::Path;
use std::time::Duration;

use crate::config::{LogEngine, LogSettings, StoreSettings};

/// Addresses and engines, for the message at the start.
pub(super) struct Summary {
    pub(super) api_url: String,
    pub(super) admin_url: String,
    pub(super) log: LogSettings,
    pub(super) store: StoreSettings,
}

impl Summary {
    pub(super) fn text(&self, within: Duration) -> String {
        let (api, admin) = (&self.api_url, &self.admin_url);
        let (log, orders) = (self.log_line(), self.orders_line());
        let next = self.next_line();
        format!(
            "
ready in {:.2} s

  API              {api}/orders, {api}/api/order/<uid>
  page             {api}/
  operators' port  {admin}/readyz?verbose, {admin}/metrics
  log              {log}
  orders           {orders}

Next, in another terminal:

  {next}

Ctrl-C stops it; every order that was accepted with 202 is kept.",
            within.as_secs_f64()
        )
    }

    fn log_line(&self) -> String {
        match &self.log.engine {
            LogEngine::Kafka { .. } => {
                format!(
                    "{}: 202 means that every in-sync replica has it",
                    self.log.describe()
                )
            }
            LogEngine::Embedded(folder) => {
                format!("`{}`: 202 means that it is fsynced", folder.log().display())
            }
        }
    }

    fn orders_line(&self) -> String {
        match &self.store {
            StoreSettings::Postgres { .. } => "PostgreSQL".into(),
            StoreSettings::Sqlite { file } => {
                format!("`{0}`: sqlite3 {0} 'SELECT * FROM orders'", file.display())
            }
        }
    }

    /// A command that can be copied.
    fn next_line(&self) -> String {
        let program = std::env::args().next().unwrap_or("orders".into());
        let example = Path::new("examples/test_order.json");
        let order = if example.exists() {
            example.display().to_string()
        } else {
            "order.json".into()
        };
        let usual = "http://127.0.0.1:8080";
        let api = match self.api_url.as_str() {
            url if url == usual => String::new(),
            url => format!(" --api-url {url}"),
        };
        format!("{program} send{api} {order}")
    }
}
