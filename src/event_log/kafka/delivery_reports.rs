//! Who asks a producer for the delivery reports of its records.
//!
//! On the tokio runtime where there is one: a thread that only polls is woken for every report, to
//! wake the runtime's threads in turn, and with a few dozen clients that is a good part of what an
//! order costs (benches/README.md). Elsewhere such a thread it is. The surprising thing: librdkafka
//! tells only that its queue is no longer empty, so whoever was told must leave it empty.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Weak;
use std::thread;

use rdkafka_sys as native;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::*;

/// How long the thread waits at a time.
const POLL: Duration = Duration::from_millis(100);

/// A producer whose delivery reports are asked for as long as this is held.
pub(super) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    /// Rings when there are reports; `None` where a thread waits for them.
    bell: Option<Arc<Notify>>,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Has them asked for by the tokio runtime in whose context this is called, or else by a thread.
    pub(super) fn new(producer: BaseProducer<C>) -> Polled<C> {
        let producer = Arc::new(producer);
        let weak = Arc::downgrade(&producer);
        let bell = if let Ok(runtime) = Handle::try_current() {
            let bell = Arc::new(Notify::new());
            Reports::of(&producer).ring(&bell);
            // What came before the bell was there.
            bell.notify_one();
            runtime.spawn(poll_when_rung(weak, bell.clone()));
            Some(bell)
        } else {
            thread::spawn(move || poll(&weak));
            None
        };
        Polled { producer, bell }
    }

    pub(super) fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext> Drop for Polled<C> {
    fn drop(&mut self) {
        if let Some(bell) = &self.bell {
            Reports::of(&self.producer).ring_no_more(bell);
            // The last time: its task finds the producer gone.
            bell.notify_one();
        }
    }
}

/// Neither holds the producer while it waits without an end.
fn poll<C: ProducerContext>(producer: &Weak<BaseProducer<C>>) {
    while let Some(producer) = producer.upgrade() {
        producer.poll(POLL);
    }
}

async fn poll_when_rung<C: ProducerContext>(producer: Weak<BaseProducer<C>>, bell: Arc<Notify>) {
    loop {
        bell.notified().await;
        let Some(producer) = producer.upgrade() else {
            return;
        };
        // One event at a time, each with the reports of a whole request. It rings again only from
        // empty: a report left behind would wait for ever.
        loop {
            producer.poll(Duration::ZERO);
            if Reports::of(&producer).are_none() {
                break;
            }
            yield_now().await;
        }
    }
}

/// The queue of a producer's events, which rdkafka's safe interface keeps to itself.
struct Reports<'producer> {
    queue: *mut native::rd_kafka_queue_t,
    producer: PhantomData<&'producer ()>,
}

impl Drop for Reports<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `of` and destroyed here only, while the producer is borrowed.
        unsafe { native::rd_kafka_queue_destroy(self.queue) }
    }
}

impl<'producer> Reports<'producer> {
    fn of<C: ProducerContext>(producer: &'producer BaseProducer<C>) -> Reports<'producer> {
        // SAFETY: the producer lives as long as it is borrowed. What is made is a handle of its own to
        // the queue, which stays the producer's.
        let queue = unsafe { native::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        Reports {
            queue,
            producer: PhantomData,
        }
    }

    fn are_none(&self) -> bool {
        // SAFETY: the queue is live, see `of`.
        unsafe { native::rd_kafka_queue_length(self.queue) == 0 }
    }

    /// Rings the bell, from any thread, whenever the queue is no longer empty; until `ring_no_more`.
    fn ring(&self, bell: &Arc<Notify>) {
        let bell = Arc::into_raw(bell.clone()).cast_mut().cast::<c_void>();
        // SAFETY: the queue is live, and the bell is held until `ring_no_more`.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue, Some(ring), bell) }
    }

    /// To be called once, with the bell given to `ring`.
    fn ring_no_more(&self, bell: &Arc<Notify>) {
        // SAFETY: the queue is live. Both this and the ringing hold the queue's lock, so from here on
        // nobody uses the count that `ring` took.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            Arc::decrement_strong_count(Arc::as_ptr(bell));
        }
    }
}

/// # Safety
/// `bell` must be a live [`Notify`].
unsafe extern "C" fn ring(_: *mut native::rd_kafka_t, bell: *mut c_void) {
    // Never calls back into librdkafka, which holds the queue's lock.
    // SAFETY: as the caller promises.
    unsafe { &*bell.cast::<Notify>() }.notify_one();
}
