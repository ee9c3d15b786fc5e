//! Reads the body of a request in bounded memory and bounded time.
//!
//! Owns the limit of one body and the budget that all bodies share. A body that is a little too large
//! is read to its end and dropped before the 413, since a client that is cut off while it sends often
//! never reads the response.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::{Outcome, Problem};
use crate::http_server;

/// The largest body of an order.
pub const MAX_BYTES: usize = 512 << 10;

/// The memory that all bodies being read may take together; beyond it requests are shed.
pub const BUDGET_BYTES: usize = 48 << 20;

/// The least that a request takes of the budget: its decoded order, buffers and response.
const MIN_GRANT_BYTES: usize = 4 << 10;

/// How much of a body that is too large is read before the response.
const DISCARDED_BYTES: usize = 4 << 20;

/// Reads the whole body within `deadline`. Its share of the budget is kept until the request is
/// answered.
pub async fn read(
    body: Body,
    headers: &HeaderMap,
    budget: &Arc<Semaphore>,
    deadline: Duration,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let announced = body
        .size_hint()
        .exact()
        .and_then(|bytes| usize::try_from(bytes).ok());
    if announced.is_some_and(|bytes| bytes > MAX_BYTES) && headers.contains_key(EXPECT) {
        // The client waits for permission to send its body, so nothing has to be read.
        return Err(Problem::TooLarge { limit: MAX_BYTES });
    }
    match timeout(deadline, collect(body, announced, budget)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::SlowBody),
    }
}

async fn collect(
    mut body: Body,
    announced: Option<usize>,
    budget: &Arc<Semaphore>,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    if announced.is_some_and(|bytes| bytes > MAX_BYTES) {
        return Err(refuse(body).await);
    }
    let mut granted = announced.unwrap_or(0).max(MIN_GRANT_BYTES);
    let mut grant = acquire(budget, granted)?;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BrokenBody)?.into_data() else {
            continue;
        };
        let read = first.len() + whole.len() + data.len();
        if read > MAX_BYTES {
            drop((first, whole, grant));
            return Err(refuse(body).await);
        }
        if read > granted {
            grant.merge(acquire(budget, read - granted)?);
            granted = read;
        }
        // Nearly every body arrives in one piece, which is not copied.
        if whole.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(announced.unwrap_or(read));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    let bytes = if whole.is_empty() {
        first
    } else {
        whole.freeze()
    };
    Ok((bytes, grant))
}

fn acquire(budget: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    let busy = |_| Problem::Busy {
        outcome: Some(Outcome::NotAccepted),
    };
    budget.clone().try_acquire_many_owned(permits).map_err(busy)
}

async fn refuse(body: Body) -> Problem {
    http_server::discard(body, DISCARDED_BYTES).await;
    Problem::TooLarge { limit: MAX_BYTES }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read_all(
        body: Body,
        headers: &HeaderMap,
        budget: &Arc<Semaphore>,
    ) -> Result<Bytes, Problem> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let deadline = Duration::from_secs(5);
        runtime
            .block_on(read(body, headers, budget, deadline))
            .map(|(bytes, _)| bytes)
    }

    fn budget(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes))
    }

    #[test]
    fn a_body_is_read_whole_and_its_grant_returned() {
        let budget = budget(BUDGET_BYTES);
        let read = read_all(
            Body::from(vec![b'x'; MAX_BYTES]),
            &HeaderMap::new(),
            &budget,
        );
        assert_eq!(read.unwrap().len(), MAX_BYTES);
        assert_eq!(budget.available_permits(), BUDGET_BYTES);
    }

    #[test]
    fn a_body_over_the_limit_is_refused_with_or_without_expect() {
        let budget = budget(BUDGET_BYTES);
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            let read = read_all(Body::from(vec![b'x'; MAX_BYTES + 1]), &headers, &budget);
            assert!(matches!(read, Err(Problem::TooLarge { .. })));
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        assert_eq!(budget.available_permits(), BUDGET_BYTES);
    }

    #[test]
    fn a_body_over_the_budget_is_shed_and_definitely_not_accepted() {
        let budget = budget(MIN_GRANT_BYTES - 1);
        let read = read_all(Body::from("x"), &HeaderMap::new(), &budget);
        assert!(matches!(
            read,
            Err(Problem::Busy {
                outcome: Some(Outcome::NotAccepted)
            })
        ));
    }
}
