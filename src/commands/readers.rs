//! Who reads the log: the members of the consumers' group, or the process that has the consumer's role.

use std::sync::Arc;

use crate::commands::open;
use crate::config::{LogEngine, LogSettings};
use crate::data_folder::{DataFolder, Role};
use crate::event_log::{ConsumerGroups, LogError};
use crate::operations::deadline::{self, Pending};
use crate::operations::status::Readers;

/// Where the readers are found.
pub enum Source {
    Group(Arc<dyn ConsumerGroups>, String),
    Folder(DataFolder),
}

/// The readers, asked for and not yet waited for.
pub enum Asked {
    Members(Pending<Result<usize, LogError>>),
    Process(Option<u32>),
}

impl Source {
    /// Connects nothing.
    pub fn open(settings: &LogSettings, group: &str) -> anyhow::Result<Source> {
        Ok(match &settings.engine {
            LogEngine::Kafka {
                brokers,
                properties,
            } => {
                let groups = open::consumer_groups(brokers, properties)?;
                Source::Group(groups.into(), group.to_owned())
            }
            LogEngine::Embedded(folder) => Source::Folder(folder.clone()),
        })
    }

    /// Asks, without waiting for the answer.
    pub fn ask(&self) -> Asked {
        match self {
            Source::Group(groups, group) => {
                let (groups, group) = (groups.clone(), group.clone());
                Asked::Members(deadline::ask(move || groups.members(&group)))
            }
            Source::Folder(folder) => Asked::Process(folder.holder(Role::Consumer)),
        }
    }
}

impl Asked {
    /// Blocks until the deadline of a source at most.
    pub fn wait(self) -> Readers {
        match self {
            Asked::Members(members) => Readers::Members(deadline::flatten(members.wait())),
            Asked::Process(process) => Readers::Process(process),
        }
    }
}
