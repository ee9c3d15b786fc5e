//! Who asks a producer for the delivery reports of its records.
//!
//! On the tokio runtime where there is one: a thread that only polls is woken for every report, to
//! wake the runtime's threads in turn, and with a few dozen clients that is a good part of what an
//! order costs (benches/README.md). Elsewhere such a thread it is, and also when the runtime has
//! ended before the producer. The surprising thing: librdkafka tells only that its queue is no longer
//! empty, so whoever was told must leave it empty.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Weak;
use std::thread::{self, JoinHandle};

use rdkafka_sys as native;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::*;

/// How long there is no report before the producer is tended again.
const TEND_EVERY: Duration = Duration::from_millis(100);

/// A producer whose delivery reports are asked for as long as this is held.
pub(super) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    /// What is rung for a task, which ends soon after it finds the producer gone.
    bell: Option<Arc<Notify>>,
    /// After the producer: they go in this order, and the thread ends when it finds it gone.
    _thread: Option<Joined>,
}

/// A thread whose end is waited for.
struct Joined(Option<JoinHandle<()>>);

impl<C: ProducerContext + 'static> Polled<C> {
    /// Has them asked for by the tokio runtime in whose context this is called, or else by a thread;
    /// and the producer tended some times a second.
    pub(super) fn new(producer: BaseProducer<C>, tend: fn(&BaseProducer<C>)) -> Polled<C> {
        let producer = Arc::new(producer);
        let tended = Tended {
            producer: Arc::downgrade(&producer),
            tend,
        };
        let (bell, thread) = if let Ok(runtime) = Handle::try_current() {
            let bell = Arc::new(Notify::new());
            // SAFETY: the bell is kept until after `drop` has silenced it.
            unsafe { Reports::of(&producer).ring(Arc::as_ptr(&bell)) };
            let rung = bell.clone();
            // Outside of the future, so that its end is heard even where the runtime takes no more.
            let task = Task(tended);
            runtime.spawn(async move { task.poll_when(&rung).await });
            (Some(bell), None)
        } else {
            let thread = thread::spawn(move || tended.poll());
            (None, Some(Joined(Some(thread))))
        };
        Polled {
            producer,
            bell,
            _thread: thread,
        }
    }

    pub(super) fn producer(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext> Drop for Polled<C> {
    fn drop(&mut self) {
        if self.bell.is_some() {
            Reports::of(&self.producer).ring_no_more();
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // A thread that panicked has said so.
        drop(self.0.take().map(JoinHandle::join));
    }
}

/// A producer that is polled and tended until nobody else holds it.
struct Tended<C: ProducerContext + 'static> {
    producer: Weak<BaseProducer<C>>,
    tend: fn(&BaseProducer<C>),
}

impl<C: ProducerContext> Tended<C> {
    fn poll(&self) {
        while let Some(producer) = self.producer.upgrade() {
            producer.poll(TEND_EVERY);
            (self.tend)(&producer);
        }
    }
}

struct Task<C: ProducerContext + 'static>(Tended<C>);

impl<C: ProducerContext + 'static> Task<C> {
    async fn poll_when(&self, rung: &Notify) {
        let mut ticks = interval(TEND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The first tick comes at once, for what was there before the bell.
            let is_tick = tokio::select! {
                () = rung.notified() => false,
                _ = ticks.tick() => true,
            };
            let Some(producer) = self.0.producer.upgrade() else {
                return;
            };
            if is_tick {
                (self.0.tend)(&producer);
            }
            // One event at a time, each with the reports of a whole request. It rings again only from
            // empty: a report left behind would wait for the next tick.
            loop {
                producer.poll(Duration::ZERO);
                if Reports::of(&producer).are_none() {
                    break;
                }
            }
            // Its end takes up to half a second, which the runtime's threads do not have.
            if let Some(last) = Arc::into_inner(producer) {
                thread::spawn(move || drop(last));
            }
        }
    }
}

impl<C: ProducerContext + 'static> Drop for Task<C> {
    /// Not because of the producer's end, but because of the runtime's: others may still use it.
    fn drop(&mut self) {
        if self.0.producer.strong_count() > 0 {
            let Tended { producer, tend } = &self.0;
            let tended = Tended {
                producer: producer.clone(),
                tend: *tend,
            };
            thread::spawn(move || tended.poll());
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

    /// Rings the bell, from any thread, whenever the queue is no longer empty.
    ///
    /// # Safety
    /// The bell must live until `ring_no_more` has returned.
    unsafe fn ring(&self, bell: *const Notify) {
        let bell = bell.cast_mut().cast::<c_void>();
        // SAFETY: the queue is live; of the bell as the caller promises.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue, Some(ring), bell) }
    }

    fn ring_no_more(&self) {
        // SAFETY: the queue is live. Both this and the ringing hold the queue's lock, so from here on
        // nobody uses the bell.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut()) }
    }
}

/// # Safety
/// `bell` must be a live [`Notify`].
unsafe extern "C" fn ring(_: *mut native::rd_kafka_t, bell: *mut c_void) {
    // Never calls back into librdkafka, which holds the queue's lock.
    // SAFETY: as the caller promises.
    unsafe { &*bell.cast::<Notify>() }.notify_one();
}

#[cfg(test)]
mod tests;
