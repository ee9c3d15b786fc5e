//! Polls a producer for the delivery reports of its records.
//!
//! On a tokio runtime where one is given: a thread that only polls is woken for every report, only to
//! wake the runtime's threads, and with a few dozen clients that is a good part of what an order
//! costs (benches/README.md). Otherwise by a thread of its own, and also when the runtime has ended
//! before the producer.
//!
//! # Invariants
//!
//! librdkafka notifies only when its queue is no longer empty, so the task that was notified must
//! leave it empty.

#![expect(unsafe_code, reason = "the safe client has no interface for this")]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as native;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::clients::drop_in_background;
use super::delivery::DeliveryContext;

/// How often a producer is polled and its brokers are checked without any report.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A producer that is polled as long as this is held.
pub(super) struct PolledProducer {
    producer: Arc<BaseProducer<DeliveryContext>>,
    /// Notified by librdkafka; the task that waits for it ends soon after it finds the producer gone.
    notify: Option<Arc<Notify>>,
    /// After the producer: they are dropped in this order, and the thread ends when it finds it gone.
    _thread: Option<JoinOnDrop>,
}

struct JoinOnDrop(Option<JoinHandle<()>>);

impl PolledProducer {
    /// Polls on the runtime, or by a thread of its own.
    pub(super) fn new(
        producer: BaseProducer<DeliveryContext>,
        runtime: Option<&Handle>,
    ) -> PolledProducer {
        let producer = Arc::new(producer);
        let poller = Poller(Arc::downgrade(&producer));
        let (notify, thread) = if let Some(runtime) = runtime {
            let notify = Arc::new(Notify::new());
            // SAFETY: the notify is kept until `drop` has disabled its use.
            unsafe { EventQueue::of(&producer).enable_notify(Arc::as_ptr(&notify)) };
            let notified = notify.clone();
            runtime.spawn(async move { poller.run_task(&notified).await });
            (Some(notify), None)
        } else {
            let thread = thread::spawn(move || poller.run_thread());
            (None, Some(JoinOnDrop(Some(thread))))
        };
        PolledProducer {
            producer,
            notify,
            _thread: thread,
        }
    }
}

impl Deref for PolledProducer {
    type Target = BaseProducer<DeliveryContext>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl Drop for PolledProducer {
    fn drop(&mut self) {
        if self.notify.is_some() {
            EventQueue::of(&self.producer).disable_notify();
        }
    }
}

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        // A thread that panicked has reported it.
        drop(self.0.take().map(JoinHandle::join));
    }
}

/// Polls a producer until nobody else holds it. A task takes it along, so that it is dropped, and
/// polling goes on, even where the runtime accepts no more tasks.
struct Poller(Weak<BaseProducer<DeliveryContext>>);

impl Poller {
    fn run_thread(&self) {
        while let Some(producer) = self.0.upgrade() {
            producer.poll(POLL_INTERVAL);
            check_brokers(&producer);
        }
    }

    async fn run_task(&self, notify: &Notify) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The first tick comes at once, for reports that came before the notify was enabled.
            let is_tick = tokio::select! {
                () = notify.notified() => false,
                _ = ticks.tick() => true,
            };
            let Some(producer) = self.0.upgrade() else {
                return;
            };
            if is_tick {
                check_brokers(&producer);
            }
            // One event at a time, each with the reports of a whole request. The next notification
            // comes only after the queue was empty: a report left behind would wait for the next tick.
            loop {
                producer.poll(Duration::ZERO);
                if EventQueue::of(&producer).is_empty() {
                    break;
                }
            }
            // Closing it takes up to half a second, which the runtime's threads do not have.
            if let Some(last) = Arc::into_inner(producer) {
                drop_in_background(last);
            }
        }
    }
}

impl Drop for Poller {
    /// A task may end because the runtime does: others may still use the producer.
    fn drop(&mut self) {
        if self.0.strong_count() > 0 {
            let poller = Poller(self.0.clone());
            thread::spawn(move || poller.run_thread());
        }
    }
}

fn check_brokers(producer: &BaseProducer<DeliveryContext>) {
    producer.context().watchdog.check(producer.client());
}

/// The queue of a producer's events, which rdkafka's safe interface keeps to itself.
struct EventQueue<'producer> {
    queue: *mut native::rd_kafka_queue_t,
    producer: PhantomData<&'producer ()>,
}

impl Drop for EventQueue<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `of` and destroyed here only, while the producer is borrowed.
        unsafe { native::rd_kafka_queue_destroy(self.queue) }
    }
}

impl<'producer> EventQueue<'producer> {
    fn of(producer: &'producer BaseProducer<DeliveryContext>) -> EventQueue<'producer> {
        // SAFETY: the producer lives as long as it is borrowed. What is made is a handle of its own to
        // the queue, which stays the producer's.
        let queue = unsafe { native::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        EventQueue {
            queue,
            producer: PhantomData,
        }
    }

    fn is_empty(&self) -> bool {
        // SAFETY: the queue is live, see `of`.
        unsafe { native::rd_kafka_queue_length(self.queue) == 0 }
    }

    /// Notifies, from any thread, whenever the queue is no longer empty.
    ///
    /// # Safety
    /// `notify` must live until `disable_notify` has returned.
    unsafe fn enable_notify(&self, notify: *const Notify) {
        let notify = notify.cast_mut().cast::<c_void>();
        // SAFETY: the queue is live; `notify` is as the caller promises.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue, Some(on_event), notify) }
    }

    fn disable_notify(&self) {
        // SAFETY: the queue is live. Both this and the callback hold the queue's lock, so from here on
        // nobody uses the notify.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut()) }
    }
}

/// # Safety
/// `notify` must be a live [`Notify`].
unsafe extern "C" fn on_event(_: *mut native::rd_kafka_t, notify: *mut c_void) {
    // Never calls back into librdkafka, which holds the queue's lock.
    // SAFETY: as the caller promises.
    unsafe { &*notify.cast::<Notify>() }.notify_one();
}
