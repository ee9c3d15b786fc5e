//! Properties of the Kafka client: those that users may set, and those they may not.
//!
//! Owns the syntax of `-X key=value` and KAFKA_PROPERTIES and the list of refused properties: those
//! that would break a guarantee of the pipeline, load code, or disable a check. Errors never repeat a
//! value: any of them may be a password.

use std::fmt;

use super::invalid::Invalid;
use super::redaction::MASK;

/// Properties that may not be changed, and why; a name that ends with a dot is a prefix.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "enable.idempotency",
        ],
        "an order is acknowledged only when every replica has it, once",
    ),
    (
        &[
            "delivery.report.only.error",
            "produce.offset.report",
            "enabled_events",
            "log.queue",
        ],
        "every acknowledgement is awaited and must carry the offset of its record",
    ),
    (
        &[
            "message.timeout.ms",
            "delivery.timeout.ms",
            "transactional.id",
        ],
        "the meaning of the API's responses depends on it",
    ),
    (
        &[
            "partitioner",
            "partitioner_cb",
            "msg_order_cmp",
            "queuing.strategy",
        ],
        "all versions of an order must stay in one partition, in order",
    ),
    (
        &[
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "linger.ms",
        ],
        "it is set for ordering and for prompt acknowledgements",
    ),
    (
        &[
            "enable.auto.commit",
            "auto.commit.",
            "enable.auto.offset.store",
            "offset.store.",
            "auto.offset.reset",
            "enable.partition.eof",
            "isolation.level",
            "check.crcs",
        ],
        "the position in the log is kept in the database, and no record may be skipped",
    ),
    (
        &[
            "group.id",
            "group.instance.id",
            "group.protocol",
            "group.remote.assignor",
            "partition.assignment.strategy",
        ],
        "the assignment of partitions depends on it (the group is set by KAFKA_GROUP)",
    ),
    (
        &["bootstrap.servers", "metadata.broker.list"],
        "the brokers are set by KAFKA_BROKERS",
    ),
    (
        &["allow.auto.create.topics"],
        "`orders create-topics` creates topics with their settings",
    ),
    (
        &["topic.metadata.refresh.interval.ms"],
        "new partitions must be found before their first records are missed",
    ),
    (
        &[
            "plugin.library.paths",
            "ssl.engine.location",
            "ssl.providers",
            "sasl.kerberos.kinit.cmd",
        ],
        "it loads or runs foreign code",
    ),
    (
        &["queue.buffering."],
        "the queue is bounded and sends at once",
    ),
    (&["queued."], "prefetching is bounded"),
    (
        &["test.mock."],
        "it replaces the brokers, and every acknowledged order would be lost",
    ),
];

/// Properties that may only have this value: any other disables a check.
const ONLY: &[(&str, &str)] = &[
    ("enable.ssl.certificate.verification", "true"),
    ("ssl.endpoint.identification.algorithm", "https"),
    ("enable.sasl.oauthbearer.unsecure.jwt", "false"),
];

/// Properties whose value is used anyway: to give it is no error, and changes nothing.
const USED: &[(&str, &[&str])] = &[
    ("acks", &["all", "-1"]),
    ("request.required.acks", &["all", "-1"]),
    ("enable.idempotence", &["true"]),
    ("enable.idempotency", &["true"]),
    ("delivery.report.only.error", &["false"]),
    ("message.timeout.ms", &["5000"]),
    ("delivery.timeout.ms", &["5000"]),
    ("partitioner", &["fnv1a_random"]),
    ("queuing.strategy", &["fifo"]),
    ("max.in.flight", &["2"]),
    ("max.in.flight.requests.per.connection", &["2"]),
    ("enable.auto.commit", &["false"]),
    ("enable.auto.offset.store", &["false"]),
    ("auto.offset.reset", &["error"]),
    ("enable.partition.eof", &["true"]),
    ("isolation.level", &["read_committed"]),
    ("check.crcs", &["true"]),
    ("allow.auto.create.topics", &["false"]),
];

/// One property of the Kafka client; its value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
}

impl fmt::Debug for Property {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={MASK}", self.key)
    }
}

/// The properties of KAFKA_PROPERTIES, separated by commas; `\,` is a comma inside a value.
pub(super) fn list(text: &str) -> Result<PropertyList, Invalid> {
    split(text)
        .iter()
        .enumerate()
        .map(|(index, entry)| read(entry, &format!("holds entry {}, which is", index + 1)))
        .collect::<Result<_, _>>()
        .map(PropertyList)
}

/// The properties of one variable.
#[derive(Clone, Debug, Default)]
pub struct PropertyList(pub(super) Vec<Property>);

/// The property of one `-X`.
pub(super) fn property(text: &str) -> Result<Property, Invalid> {
    read(text, "is")
}

fn read(entry: &str, subject: &str) -> Result<Property, Invalid> {
    let Some((key, value)) = entry.split_once('=') else {
        let reason = format!("{subject} not of the form key=value");
        return Err(Invalid::new(reason)
            .hint("separate entries by commas, and write a comma in a value as \\,"));
    };
    let (key, value) = (key.trim(), value.trim());
    if let Some(reason) = refusal(key, value) {
        let reason = format!("sets `{key}`, which must stay as it is: {reason}");
        return Err(Invalid::new(reason));
    }
    Ok(Property {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// The entries of KAFKA_PROPERTIES with their values replaced: any of them may be a password.
pub(super) fn mask(text: &str) -> String {
    let entries = split(text).into_iter().map(|entry| {
        let key = entry.split_once('=').map_or("", |(key, _)| key);
        format!("{}={MASK}", key.trim())
    });
    entries.collect::<Vec<_>>().join(",")
}

/// The entries of a list, `\,` being a comma inside a value.
fn split(list: &str) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        let entry = entries.last_mut().expect("there is always a last entry");
        match character {
            '\\' if characters.next_if_eq(&',').is_some() => entry.push(','),
            ',' => entries.push(String::new()),
            other => entry.push(other),
        }
    }
    entries.retain(|entry| !entry.trim().is_empty());
    entries
}

/// Whether the client uses this value of a property that may not be changed.
pub(super) fn is_as_used(key: &str, value: &str) -> bool {
    let mut values = USED.iter().filter(|(name, _)| *name == key);
    values.any(|(_, values)| values.iter().any(|it| it.eq_ignore_ascii_case(value)))
}

fn refusal(key: &str, value: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("it has no name");
    }
    if is_as_used(key, value) {
        return None;
    }
    let is_refused = |name: &&str| key == *name || name.ends_with('.') && key.starts_with(name);
    let mut refused = REFUSED.iter();
    if let Some((_, reason)) = refused.find(|(names, _)| names.iter().any(is_refused)) {
        return Some(reason);
    }
    let is_disabled = |(known, only): &&(&str, &str)| *known == key && *only != value;
    ONLY.iter()
        .find(is_disabled)
        .map(|_| "another value disables a check of the peer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(entry: &str) -> Result<(String, String), String> {
        let property = property(entry).map_err(|error| error.to_string())?;
        Ok((property.key, property.value))
    }

    #[test]
    fn properties_that_break_a_guarantee_or_load_code_are_refused_by_name() {
        let refused = [
            "acks=1",
            "request.required.acks=0",
            "enable.idempotence=false",
            "enable.idempotency=false",
            "partitioner=random",
            "enable.auto.commit=true",
            "auto.commit.interval.ms=1",
            "enable.auto.offset.store=true",
            "auto.offset.reset=latest",
            "plugin.library.paths=/tmp/x.so",
            "test.mock.num.brokers=3",
            "enable.ssl.certificate.verification=false",
            "ssl.endpoint.identification.algorithm=none",
            "message.timeout.ms=1",
            "delivery.timeout.ms=1",
            "isolation.level=read_uncommitted",
            "group.id=x",
            "bootstrap.servers=x",
            "metadata.broker.list=x",
            "transactional.id=x",
            "group.instance.id=x",
            "group.protocol=consumer",
            "allow.auto.create.topics=true",
            "check.crcs=false",
            "max.in.flight=1000",
            "max.in.flight.requests.per.connection=1000",
            "queue.buffering.max.ms=1000",
            "queue.buffering.max.messages=1",
            "linger.ms=1000",
            "queued.max.messages.kbytes=1",
            "delivery.report.only.error=true",
            "partition.assignment.strategy=cooperative-sticky",
            " acks = 1",
        ];
        for entry in refused {
            let key = entry.split_once('=').unwrap().0.trim();
            let error = read_one(entry).unwrap_err();
            let expected = format!("sets `{key}`, which must stay");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn other_properties_are_passed_on() {
        let passed = [
            "security.protocol=SASL_SSL",
            "sasl.password=a=b",
            "enable.ssl.certificate.verification=true",
            "ssl.endpoint.identification.algorithm=https",
            "compression.codec=zstd",
            "client.id=x",
        ];
        for entry in passed {
            let (key, value) = entry.split_once('=').unwrap();
            assert_eq!(read_one(entry), Ok((key.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn an_entry_without_an_equals_sign_is_named_by_number_and_not_repeated() {
        let error = read_one("s3cret").unwrap_err();
        assert_eq!(error, "is not of the form key=value");
        let error = list("a=1,s3cret").unwrap_err().to_string();
        assert_eq!(error, "holds entry 2, which is not of the form key=value");
    }

    #[test]
    fn every_value_is_masked() {
        let masked = mask(r"sasl.password=a\,b=c, client.id=me,s3cret");
        assert_eq!(masked, "sasl.password=***,client.id=***,=***");
    }

    #[test]
    fn a_comma_separates_entries_unless_it_is_escaped() {
        assert_eq!(split(r"a=1, b=2\,3,,c=\d"), ["a=1", " b=2,3", r"c=\d"]);
        assert_eq!(split(""), Vec::<String>::new());
    }
}
