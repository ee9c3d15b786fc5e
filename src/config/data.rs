//! Where the embedded engines keep their files.

use super::environment::{ConfigError, Environment};
use crate::data_folder::DataFolder;

/// The folder of the embedded engines.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct DataArgs {
    /// Folder of the embedded engines [env: ORDERS_DATA_DIR] [default: ./orders-data]
    ///
    /// They are used when neither KAFKA_BROKERS nor DB_URL is set. Must be on a local disk.
    #[arg(long, value_name = "FOLDER", help_heading = "Embedded engines")]
    pub data_dir: Option<String>,
}

impl DataArgs {
    /// Settles the folder; whether it is there is not asked.
    pub fn settle(&self, environment: &Environment) -> Result<DataFolder, ConfigError> {
        let flag = ("--data-dir", self.data_dir.as_deref());
        let folder = environment.setting(flag, "ORDERS_DATA_DIR")?;
        Ok(DataFolder::new(
            folder.map_or("./orders-data", |setting| setting.value),
        ))
    }
}
