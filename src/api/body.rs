//! Reads the body of a request in bounded memory and bounded time.
//!
//! Owns the limit of one body, and what it is charged for. A body that is refused while it arrives is
//! read on and dropped before the response, since a client that is cut off while it sends often never
//! reads the response.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout;

use super::body_budget::{BodyBudget, Grant};
use super::problem::{Outcome, Problem};
use crate::http_server;

/// The largest body of an order.
pub const MAX_BYTES: usize = 512 << 10;

/// The memory that all bodies may take together until their requests are answered.
pub const BUDGET_BYTES: usize = 64 << 20;

/// The least that a request takes of the budget: its decoded order, buffers and response.
const MIN_GRANT_BYTES: usize = 4 << 10;

/// How much of a body that is too large is read before the response.
const DISCARDED_BYTES: usize = 4 << 20;

/// How long the rest of a body is read for which the client has no share left.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the whole body within `deadline`. The client's share of the budget is kept until the request
/// is answered.
pub async fn read(
    mut body: Body,
    headers: &HeaderMap,
    budget: &Arc<BodyBudget>,
    client: IpAddr,
    deadline: Duration,
) -> Result<(Bytes, Grant), Problem> {
    let announced = body
        .size_hint()
        .exact()
        .and_then(|bytes| usize::try_from(bytes).ok());
    // Such a client waits for permission to send its body, so nothing has to be read.
    let asks_first = headers.contains_key(EXPECT);
    if announced.is_some_and(|bytes| bytes > MAX_BYTES) && asks_first {
        return Err(Problem::TooLarge { limit: MAX_BYTES });
    }
    let read = timeout(
        deadline,
        collect(&mut body, announced, budget.grant(client)),
    )
    .await;
    let problem = match read {
        Ok(Ok(whole)) => return Ok(whole),
        Ok(Err(problem)) => problem,
        Err(_) => Problem::SlowBody,
    };
    if matches!(problem, Problem::Busy { .. }) && !asks_first {
        let rest = http_server::discard(body, MAX_BYTES);
        let _ = timeout(DISCARD_TIMEOUT, rest).await;
    }
    Err(problem)
}

/// Grows with what arrives: what the head announces reserves nothing.
async fn collect(
    body: &mut Body,
    announced: Option<usize>,
    mut grant: Grant,
) -> Result<(Bytes, Grant), Problem> {
    if announced.is_some_and(|bytes| bytes > MAX_BYTES) {
        drop(grant);
        return Err(refuse(body).await);
    }
    charge(&mut grant, MIN_GRANT_BYTES)?;
    let mut first = Bytes::new();
    let mut whole: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BrokenBody)?.into_data() else {
            continue;
        };
        let read = first.len() + whole.len() + data.len();
        if read > MAX_BYTES {
            drop((first, whole, grant));
            return Err(refuse(body).await);
        }
        // Nearly every body arrives in one piece, which is not copied.
        if whole.is_empty() && first.is_empty() {
            charge(&mut grant, read)?;
            first = data;
            continue;
        }
        if read > whole.capacity() {
            let most = announced.unwrap_or(MAX_BYTES);
            let capacity = (2 * read).min(most).max(read);
            charge(&mut grant, capacity)?;
            whole.reserve_exact(capacity - whole.len());
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&data);
    }
    let bytes = if whole.is_empty() {
        first
    } else {
        Bytes::from(whole)
    };
    Ok((bytes, grant))
}

fn charge(grant: &mut Grant, bytes: usize) -> Result<(), Problem> {
    grant.grow_to(bytes).map_err(|_| Problem::Busy {
        outcome: Some(Outcome::NotAccepted),
    })
}

async fn refuse(body: &mut Body) -> Problem {
    http_server::discard(body, DISCARDED_BYTES).await;
    Problem::TooLarge { limit: MAX_BYTES }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::Ipv4Addr;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::http::HeaderValue;
    use hyper::body::Frame;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    fn read_all(
        body: Body,
        headers: &HeaderMap,
        budget: &Arc<BodyBudget>,
    ) -> Result<Bytes, Problem> {
        let deadline = Duration::from_secs(5);
        runtime()
            .block_on(read(body, headers, budget, CLIENT, deadline))
            .map(|(bytes, _)| bytes)
    }

    /// A body that arrives in frames of so many bytes and then ends, or never ends.
    struct Frames {
        left: usize,
        bytes: usize,
        ends: bool,
    }

    impl hyper::body::Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return if self.ends {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            self.left -= 1;
            let data = Bytes::from(vec![b'x'; self.bytes]);
            Poll::Ready(Some(Ok(Frame::data(data))))
        }
    }

    fn frames(left: usize, bytes: usize) -> Body {
        Body::new(Frames {
            left,
            bytes,
            ends: true,
        })
    }

    #[test]
    fn a_body_that_was_announced_and_does_not_arrive_takes_nearly_nothing() {
        let budget = BodyBudget::new(BUDGET_BYTES);
        for (left, taken) in [(1, MIN_GRANT_BYTES), (8, 16_000)] {
            let mut body = Body::new(Frames {
                left,
                bytes: 1_000,
                ends: false,
            });
            runtime().block_on(async {
                let announced = Some(MAX_BYTES);
                let reading = collect(&mut body, announced, budget.grant(CLIENT));
                tokio::select! {
                    biased;
                    _ = reading => panic!("the body has no end"),
                    () = tokio::task::yield_now() => assert!(budget.taken() <= taken),
                }
            });
            assert_eq!(budget.taken(), 0);
        }
    }

    #[test]
    fn a_body_is_read_whole_and_its_grant_returned() {
        let budget = BodyBudget::new(BUDGET_BYTES);
        let whole = || Body::from(vec![b'x'; MAX_BYTES]);
        for body in [whole(), frames(MAX_BYTES / 1_000, 1_000)] {
            let read = read_all(body, &HeaderMap::new(), &budget).unwrap();
            assert!(read.len() > MAX_BYTES - 1_000 && read.iter().all(|byte| *byte == b'x'));
            assert_eq!(budget.taken(), 0);
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_with_or_without_expect() {
        let budget = BodyBudget::new(BUDGET_BYTES);
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            let read = read_all(Body::from(vec![b'x'; MAX_BYTES + 1]), &headers, &budget);
            assert!(matches!(read, Err(Problem::TooLarge { .. })));
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn a_body_over_the_budget_is_shed_and_definitely_not_accepted() {
        let headers = HeaderMap::new();
        for (budget, body) in [
            (MIN_GRANT_BYTES, Body::from("x")),
            (100_000, frames(400, 1_000)),
        ] {
            let read = read_all(body, &headers, &BodyBudget::new(budget));
            assert!(matches!(
                read,
                Err(Problem::Busy {
                    outcome: Some(Outcome::NotAccepted)
                })
            ));
        }
    }
}
