//! Discards the rest of a request's body.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

/// Reads and drops a body, at most `most` bytes of it: closing a socket with unread bytes resets it,
/// and a reset may overtake the response.
pub async fn discard(mut body: impl Body<Data = Bytes> + Unpin, most: usize) {
    let mut discarded = 0;
    while discarded < most
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}
