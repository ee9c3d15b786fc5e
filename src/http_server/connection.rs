//! The state of one connection, measured by the reads and writes of its socket.
//!
//! Owns the socket's wrapper and the clocks; the loop decides when to cut. hyper's own
//! `header_read_timeout` treats a slow head and an idle keep-alive alike and does not notice a client
//! that never reads, so both are measured here. A client that reads nothing for five seconds gets a
//! reset, since an ordinary close would leave its unread responses in the kernel.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::sync::lock;

/// How long a client may leave unread what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection waits for from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing, or the rest of a body: a request is being answered, for that long.
    Busy(Duration),
    /// The head of the first request, or the rest of a later one, for that long.
    Head(Duration),
    /// Another request, for that long.
    Idle(Duration),
}

impl Waiting {
    /// A full port cuts the connection for which this is greatest: a silent client before one whose
    /// request is being answered, and of these the longest.
    pub fn cut_order(self) -> (bool, Duration) {
        match self {
            Waiting::Busy(taken) => (false, taken),
            Waiting::Head(waited) | Waiting::Idle(waited) => (true, waited),
        }
    }
}

/// The state of one connection, and since when it lasts. Only the connection's own task changes it; the
/// loop reads it in order to cut silent connections.
pub struct Activity(Mutex<(State, Instant)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    /// A head has begun (the first is expected from the start) and is not complete.
    Head,
    /// Since the last byte was written.
    Idle,
}

impl Activity {
    pub fn new() -> Activity {
        Activity(Mutex::new((State::Head, Instant::now())))
    }

    /// A whole head has been read.
    pub fn begin_request(&self) {
        *lock(&self.0) = (State::Busy, Instant::now());
    }

    /// The response is ready and is being written.
    pub fn end_request(&self) {
        *lock(&self.0) = (State::Idle, Instant::now());
    }

    fn has_read(&self) {
        let mut state = lock(&self.0);
        if state.0 == State::Idle {
            *state = (State::Head, Instant::now());
        }
    }

    fn has_written(&self) {
        let mut state = lock(&self.0);
        if state.0 == State::Idle {
            state.1 = Instant::now();
        }
    }

    /// What it waits for now.
    pub fn waiting(&self) -> Waiting {
        let (state, since) = *lock(&self.0);
        match state {
            State::Busy => Waiting::Busy(since.elapsed()),
            State::Head => Waiting::Head(since.elapsed()),
            State::Idle => Waiting::Idle(since.elapsed()),
        }
    }
}

/// A socket that records activity and bounds the time of a write.
pub struct TimedSocket {
    socket: TcpStream,
    activity: Arc<Activity>,
    /// Runs while a write waits for the client; boxed, and created at the first such wait only.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedSocket {
    pub fn new(socket: TcpStream, activity: Arc<Activity>) -> TimedSocket {
        TimedSocket {
            socket,
            activity,
            deadline: None,
        }
    }

    /// Passes progress on; a write that waits too long is an error and the connection is reset.
    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            self.activity.has_written();
            return polled;
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(deadline.as_mut().poll(context));
        // This client reads nothing any more; the close must not wait for it.
        let _ = self.socket.set_zero_linger();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        )))
    }
}

impl AsyncRead for TimedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TimedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.watch(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.watch(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_awaited_from_the_start_and_a_request_makes_it_busy() {
        let activity = Activity::new();
        assert!(matches!(activity.waiting(), Waiting::Head(_)));
        activity.has_read();
        assert!(matches!(activity.waiting(), Waiting::Head(_)));
        activity.begin_request();
        activity.has_read();
        assert!(matches!(activity.waiting(), Waiting::Busy(_)));
    }

    #[test]
    fn after_an_answer_it_is_idle_until_the_next_head_begins() {
        let activity = Activity::new();
        activity.begin_request();
        activity.end_request();
        activity.has_written();
        assert!(matches!(activity.waiting(), Waiting::Idle(_)));
        activity.has_read();
        assert!(matches!(activity.waiting(), Waiting::Head(_)));
    }

    #[test]
    fn a_head_that_trickles_in_does_not_start_again_with_each_byte() {
        let activity = Activity::new();
        std::thread::sleep(Duration::from_millis(20));
        activity.has_read();
        let Waiting::Head(waited) = activity.waiting() else {
            panic!("not in a head")
        };
        assert!(waited >= Duration::from_millis(20));
    }
}
