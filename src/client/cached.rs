//! What the cache of an API holds, without a lookup.

use std::time::Duration;

use percent_encoding::utf8_percent_encode;
use ureq::http::header::CACHE_CONTROL;

use super::wire::{self, Problem};
use super::{Client, ClientError, RetryableError};
use crate::pipeline::Source;

/// What the cache of an API holds of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    Held {
        /// The record that it is from; `None` when the API does not know.
        source: Option<Source>,
        /// The log was unavailable, so there may be a newer version.
        is_unverified: bool,
    },
    Nothing,
}

impl Client {
    /// What the API's cache holds of an order; it looks nothing up. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the API does not process the request.
    pub fn get_cached(&self, order_uid: &str, timeout: Duration) -> Result<Cached, ClientError> {
        let segment = utf8_percent_encode(order_uid, wire::SEGMENT);
        let url = format!("{}/api/order/{segment}", self.base_url);
        let request = self.agent.get(url).header(CACHE_CONTROL, "only-if-cached");
        let request = request.config().timeout_global(Some(timeout)).build();
        let unreachable = |error: RetryableError| ClientError::Unreachable {
            url: self.base_url.clone(),
            reason: error.reason,
        };
        let response = self
            .read(self.begin(request).call())?
            .map_err(unreachable)?;
        let status = response.status().as_u16();
        match status {
            200 => Ok(Cached::Held {
                source: wire::header(&response, "order-source")
                    .and_then(|source| source.parse().ok()),
                is_unverified: wire::header(&response, "cache-status")
                    .is_some_and(|it| it.contains("detail=unverified")),
            }),
            504 if Problem::read(&response).is_of_the_api => Ok(Cached::Nothing),
            401 | 403 | 421 => Err(self.denied(status, Problem::read(&response).into_detail())),
            _ => Err(self.not_the_api(status)),
        }
    }
}
