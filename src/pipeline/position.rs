//! Which topic, which partition, which offset, and which record is there.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Record;

/// The identity of one incarnation of a topic (Kafka: its topic id, KIP-516; a recreated topic has
/// another). Empty when the log has none (an old broker): then nothing is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(Arc<str>);

impl TopicId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether both are known and name different incarnations.
    pub fn contradicts(&self, other: &TopicId) -> bool {
        self.is_known() && other.is_known() && self != other
    }
}

impl From<&str> for TopicId {
    fn from(text: &str) -> TopicId {
        TopicId(text.into())
    }
}

impl From<String> for TopicId {
    fn from(text: String) -> TopicId {
        TopicId(text.into())
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An offset of one partition of a topic: a record's, or the next one to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionOffset {
    pub partition: i32,
    pub offset: i64,
}

impl PartitionOffset {
    pub const fn new(partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset { partition, offset }
    }
}

impl fmt::Display for PartitionOffset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.partition, self.offset)
    }
}

/// Which record of which incarnation of a topic an order came from; written as
/// `<topic id>/<partition>/<offset>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub topic_id: TopicId,
    pub at: PartitionOffset,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.topic_id, self.at)
    }
}

/// The text is not `<topic id>/<partition>/<offset>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be <topic id>/<partition>/<offset>")]
pub struct MalformedSource;

impl FromStr for Source {
    type Err = MalformedSource;

    fn from_str(text: &str) -> Result<Source, MalformedSource> {
        let parse = || {
            let (rest, offset) = text.rsplit_once('/')?;
            let (topic_id, partition) = rest.rsplit_once('/')?;
            let partition = partition.parse().ok().filter(|it| *it >= 0)?;
            let offset = offset.parse().ok().filter(|it| *it >= 0)?;
            Some(Source {
                topic_id: topic_id.into(),
                at: PartitionOffset { partition, offset },
            })
        };
        parse().ok_or(MalformedSource)
    }
}

/// The last record that was applied of a partition, to recognise a log that was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastApplied {
    pub offset: i64,
    /// SHA-256 over key, value and timestamp.
    pub digest: [u8; 32],
}

impl LastApplied {
    pub fn of(record: &Record) -> LastApplied {
        let mut digest = Sha256::new();
        for part in [&record.key, &record.value] {
            match part {
                // The length keeps ("ab", "c") apart from ("a", "bc").
                Some(bytes) => {
                    digest.update((bytes.len() as i64).to_be_bytes());
                    digest.update(bytes);
                }
                None => digest.update((-1_i64).to_be_bytes()),
            }
        }
        digest.update(record.timestamp_ms.to_be_bytes());
        LastApplied {
            offset: record.offset,
            digest: digest.finalize().into(),
        }
    }

    /// From the two columns of `log_positions`; `None` before the first record of an epoch.
    pub fn from_columns(offset: Option<i64>, digest: Option<&[u8]>) -> Option<LastApplied> {
        Some(LastApplied {
            offset: offset?,
            digest: digest?.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        let source = Source {
            topic_id: "T_/id-1".into(),
            at: PartitionOffset::new(3, 17),
        };
        assert_eq!(source.to_string(), "T_/id-1/3/17");
        assert_eq!("T_/id-1/3/17".parse(), Ok(source));
        for malformed in ["", "t", "t/1", "t/1/x", "t/-1/2", "t/1/-2"] {
            assert_eq!(malformed.parse::<Source>(), Err(MalformedSource));
        }
    }

    #[test]
    fn an_unknown_topic_id_contradicts_nothing() {
        let [one, other, unknown] = ["one", "other", ""].map(TopicId::from);
        assert!(one.contradicts(&other));
        assert!(!one.contradicts(&one) && !one.contradicts(&unknown));
        assert!(!unknown.contradicts(&one) && !unknown.contradicts(&unknown));
    }

    #[test]
    fn two_records_that_differ_have_different_digests() {
        let one = Record {
            value: Some("ab".into()),
            ..Record::default()
        };
        let mut later = one.clone();
        later.timestamp_ms += 1;
        assert_ne!(LastApplied::of(&one), LastApplied::of(&later));
        let mut shifted = one.clone();
        (shifted.key, shifted.value) = (Some("a".into()), Some("b".into()));
        assert_ne!(LastApplied::of(&one), LastApplied::of(&shifted));
    }
}
