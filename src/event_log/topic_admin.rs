//! Administration of topics, apart from the log itself: only `orders create-topics` and `orders up`
//! need it.

use std::collections::BTreeMap;

use super::{LogError, OffsetRange, TopicId};

/// A topic to create, and what an existing one is compared with.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i32,
    pub settings: BTreeMap<String, String>,
}

/// An existing topic. `settings` holds every configuration entry that the log reports.
#[derive(Clone, Debug)]
pub struct TopicDescription {
    pub name: String,
    pub topic_id: TopicId,
    pub replication_factor: i32,
    /// `ranges[p]` belongs to partition `p`.
    pub ranges: Vec<OffsetRange>,
    pub settings: BTreeMap<String, String>,
}

/// Describes, creates and grows topics.
pub trait TopicAdmin: Send + Sync {
    /// How many brokers there are, which is the most replicas that a topic can have; 1 for an
    /// embedded log. Blocks up to 5 s.
    fn brokers(&self) -> Result<usize, LogError>;

    /// The named topics, without those that do not exist, or every topic. Blocks up to 10 s.
    fn describe(&self, names: Option<&[&str]>) -> Result<Vec<TopicDescription>, LogError>;

    /// Creates topics; one that exists by then is left as it is. Blocks up to 30 s.
    fn create_topics(&self, wanted: &[TopicSpec]) -> Result<(), LogError>;

    /// Adds partitions to a topic that never held a record. Blocks up to 30 s.
    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError>;
}
