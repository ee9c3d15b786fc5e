//! The metrics of both services: as docs/metrics.md lists them, and by the conventions of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use support::http;
use support::{Env, Process, TIMEOUT, eventually_ok};

/// Type and labels of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

type Metrics = BTreeMap<String, Metric>;

fn exposition(process: &Process) -> String {
    let url = format!("{}/metrics", process.admin_url());
    let answer = http::get(&url).expect_status(200);
    let format = answer.header("content-type");
    assert_eq!(format, Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

/// What the table says of a service.
fn documented(service: &str) -> Metrics {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = fs::read_to_string(path).expect("the document can be read");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let of_service = cells.filter(|cells| ["both", service].contains(&cells[4]));
    let metric = |cells: Vec<&str>| {
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let metric = Metric {
            kind: cells[2].into(),
            labels: labels.map(|label| label.trim_matches('`').into()).collect(),
        };
        (cells[1].trim_matches('`').to_owned(), metric)
    };
    of_service.map(metric).collect()
}

/// The metrics of an exposition. Panics where it breaks a rule of the text format, or of
/// `promtool check metrics`: each has a help and a type before its samples, only counters end in
/// `_total`, units are base units.
fn parse(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let (mut help, mut current) = (None, String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').expect("a help has a text");
            assert!(text.len() > 5, "{line}");
            help = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type has a kind");
            assert_eq!(help, Some(name), "{line}");
            check_name(name, kind);
            let metric = Metric {
                kind: kind.into(),
                ..Metric::default()
            };
            let before = metrics.insert(name.into(), metric);
            assert_eq!(before, None, "`{name}` is there twice");
            current = name.into();
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.trim_end_matches('}')),
                None => (series, ""),
            };
            let metric = metrics.get_mut(&current).expect("a type comes first");
            let mut names = labels_of(labels);
            if metric.kind == "histogram" {
                let suffix = name.strip_prefix(current.as_str()).unwrap_or_default();
                assert!(["_sum", "_count", "_bucket"].contains(&suffix), "{line}");
                assert_eq!(names.remove("le"), suffix == "_bucket", "{line}");
            } else {
                assert_eq!(name, current, "{line}");
            }
            metric.labels.extend(names);
        }
    }
    metrics
}

fn labels_of(labels: &str) -> BTreeSet<String> {
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
    let name = |pair: &str| pair.split_once("=\"").expect("a value").0.to_owned();
    pairs.map(name).collect()
}

fn check_name(name: &str, kind: &str) {
    let is_legal =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    assert!(name.chars().all(is_legal), "`{name}`");
    assert_eq!(
        name.ends_with("_total"),
        kind == "counter",
        "`{name}` is a {kind}"
    );
    let reserved = ["_count", "_sum", "_bucket"];
    assert!(
        !reserved.iter().any(|suffix| name.ends_with(suffix)),
        "`{name}`"
    );
    let words = [
        "ms",
        "milliseconds",
        "minutes",
        "kb",
        "mb",
        "kilobytes",
        "gauge",
        "counter",
        "histogram",
    ];
    assert!(
        !name.split('_').any(|word| words.contains(&word)),
        "`{name}`"
    );
    let is_time = name.contains("duration") || name.contains("waiting") || name.contains("_time_");
    assert!(
        !is_time || name.trim_end_matches("_total").ends_with("_seconds"),
        "`{name}`"
    );
}

/// A partition has series once its position was compared with the log.
fn wait_until_measured(consumer: &Process) {
    let name = "orders_consumer_next_offset{partition=\"0\"}";
    eventually_ok(name, TIMEOUT, || consumer.find_metric(name));
}

#[test]
fn the_metrics_of_both_services_are_those_of_the_documentation() {
    let env = Env::ready();
    let (api, consumer) = (env.api(), env.consumer());
    wait_until_measured(&consumer);
    for (service, process) in [("API", &api), ("consumer", &consumer)] {
        assert_eq!(
            parse(&exposition(process)),
            documented(service),
            "{service}"
        );
    }
    let zero = "orders_http_requests_total{route=\"/orders\",method=\"POST\",status=\"202\"}";
    assert_eq!(api.find_metric(zero), Ok(0.0));
    for process in [&api, &consumer] {
        assert_eq!(
            process.find_metric("process_open_fds").map(|it| it > 5.0),
            Ok(true)
        );
        let bytes = process.metric("process_resident_memory_bytes");
        assert!((1 << 20..1 << 30).contains(&bytes), "{bytes}");
    }
}

#[test]
fn one_process_with_both_services_names_each_metric_once() {
    let env = Env::embedded();
    let up = env.up();
    wait_until_measured(&up);
    let mut both = documented("API");
    both.extend(documented("consumer"));
    assert_eq!(parse(&exposition(&up)), both);
}

#[test]
fn prometheus_gets_openmetrics_and_the_checks_that_fail() {
    let env = Env::ready();
    let consumer = env.consumer();
    let ready = "orders_ready{check=\"database\"}";
    assert_eq!(consumer.find_metric(ready), Ok(1.0));
    let url = format!("{}/metrics", consumer.admin_url());
    let accept = [(
        "Accept",
        "application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.1",
    )];
    let answer = http::request("GET", &url, &accept, b"").expect("an answer");
    let format = answer.header("content-type").expect("there is a type");
    assert!(
        format.starts_with("application/openmetrics-text; "),
        "{format}"
    );
    let text = answer.text();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.contains("# TYPE orders_applied counter\n"), "{text}");
}

#[test]
fn a_check_that_fails_is_zero_in_the_metrics() {
    let env = Env::empty();
    env.orders(&["create-topics", "--partitions", "1"])
        .run()
        .succeeds();
    let consumer = env.consume().spawn();
    consumer.wait_until_unready("FAIL migrations");
    let ready = "orders_ready{check=\"migrations\"}";
    assert_eq!(consumer.find_metric(ready), Ok(0.0));
}
