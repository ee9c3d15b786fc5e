//! A histogram of atomic counters: observing takes no lock, so threads that observe never wait for each
//! other, as they would with the one of prometheus-client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// From 0.1 ms to about 10 s: two broker round trips are 1 ms, the deadline of a POST is 7 s.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 7.5, 10.0,
];

/// From one order to a full batch.
const ORDERS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];

/// Clones share their counts.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    /// One a bound, and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: Counter<f64, AtomicU64>,
}

impl Histogram {
    /// Of durations.
    pub fn seconds() -> Histogram {
        Histogram::new(SECONDS)
    }

    /// Of the number of orders in a batch.
    pub fn orders() -> Histogram {
        Histogram::new(ORDERS)
    }

    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram(Arc::new(Inner {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: Counter::default(),
        }))
    }

    /// Counts a value, which must not be negative.
    pub fn observe(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.inc_by(value);
    }

    pub fn observe_duration(&self, took: Duration) {
        self.observe(took.as_secs_f64());
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::MAX]);
        let counts = self.0.counts.iter().map(|it| it.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Of the same reading, so that it is what the last bucket says.
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.0.sum.get(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn buckets_are_cumulative_and_inclusive() {
        let histogram = Histogram::orders();
        for value in [1.0, 2.0, 3.0, 1_000.0, 2_000.0] {
            histogram.observe(value);
        }
        let mut registry = Registry::default();
        registry.register("batch", "Help", histogram);
        let mut encoded = String::new();
        text::encode(&mut encoded, &registry).unwrap();
        for line in [
            "batch_sum 3006.0",
            "batch_count 5",
            "batch_bucket{le=\"1.0\"} 1",
            "batch_bucket{le=\"2.0\"} 2",
            "batch_bucket{le=\"5.0\"} 3",
            "batch_bucket{le=\"1000.0\"} 4",
            "batch_bucket{le=\"+Inf\"} 5",
        ] {
            assert!(encoded.lines().any(|it| it == line), "{line}\n{encoded}");
        }
    }
}
