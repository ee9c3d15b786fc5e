//! Registering and encoding metrics, as both services do.

use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

/// The line that ends an OpenMetrics text.
pub(super) const END: &str = "# EOF\n";

/// Creates a metric that `registry` encodes.
pub fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Everything in the text format of OpenMetrics, without the line that ends it.
pub fn encode(registry: &Registry) -> String {
    let mut encoded = String::new();
    text::encode(&mut encoded, registry).expect("writing to a string does not fail");
    encoded.truncate(encoded.trim_end_matches(END).len());
    encoded
}
