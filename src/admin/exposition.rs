//! What `/metrics` shows: the metrics of the service after those that every service has, in one of two
//! formats.
//!
//! docs/metrics.md lists all of them; a test holds it to the running services.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::metrics::{END, encode, register};
use super::{Check, process};

/// The commit that was built: `ORDERS_COMMIT` when the program was compiled.
const COMMIT: Option<&str> = option_env!("ORDERS_COMMIT");

/// The format of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    OpenMetrics,
}

impl Format {
    /// OpenMetrics for a client that names it, as Prometheus does.
    pub fn of(headers: &HeaderMap) -> Format {
        let mut accepted = headers.get_all(ACCEPT).iter();
        let is_open = accepted.any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.contains("application/openmetrics-text")
        });
        match is_open {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
    commit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckLabel {
    check: String,
}

/// The metrics of a service, after those that every service has.
pub fn exposition(service: &str, checks: &[Check], format: Format) -> String {
    let mut registry = Registry::default();
    let build = Info::new(Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: COMMIT.unwrap_or("unknown"),
    });
    registry.register("orders_build", "The version that runs", build);
    let help = "1 while a condition of readiness is met, as /readyz?verbose lists them";
    let ready: Family<CheckLabel, Gauge> = register(&mut registry, "orders_ready", help);
    for check in checks {
        let label = CheckLabel {
            check: escape(&check.name),
        };
        ready.get_or_create(&label).set(check.ok.into());
    }
    process::register_all(&mut registry);
    let all = encode(&registry) + service;
    match format {
        Format::Text => to_text(&all),
        Format::OpenMetrics => all + END,
    }
}

/// prometheus-client writes label values as they are.
fn escape(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    escaped.replace('\n', "\\n")
}

/// The text format 0.0.4 of what prometheus-client writes as OpenMetrics. They differ in the comments:
/// here a counter is described by the name of its samples, and there are no units.
fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // Comes before the type, which the name depends on.
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|it| it.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            text += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn counters_and_infos_are_described_by_the_names_of_their_samples() {
        let mut registry = Registry::with_prefix("orders");
        let counter: Counter = register(&mut registry, "applied", "Orders stored");
        counter.inc();
        let gauge: Gauge = register(&mut registry, "entries", "Entries");
        gauge.set(2);
        registry.register(
            "build",
            "Build",
            Info::new(CheckLabel { check: "a".into() }),
        );
        let expected = "# HELP orders_applied_total Orders stored.\n\
            # TYPE orders_applied_total counter\n\
            orders_applied_total 1\n\
            # HELP orders_entries Entries.\n\
            # TYPE orders_entries gauge\n\
            orders_entries 2\n\
            # HELP orders_build_info Build.\n\
            # TYPE orders_build_info gauge\n\
            orders_build_info{check=\"a\"} 1\n";
        assert_eq!(to_text(&encode(&registry)), expected);
    }

    #[test]
    fn the_name_of_a_check_cannot_end_its_label() {
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn openmetrics_is_for_clients_that_accept_it() {
        let format = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Format::of(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3";
        assert_eq!(format(prometheus), Format::OpenMetrics);
        assert_eq!(format("*/*"), Format::Text);
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
    }
}
