//! Where the embedded engines keep their files.

use std::path::PathBuf;

use crate::data_folder::DataFolder;

/// The folder of the embedded engines.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Embedded engines")]
pub struct DataArgs {
    /// Folder of the embedded engines
    ///
    /// They are used when neither KAFKA_BROKERS nor DB_URL is set. Must be on a local disk.
    #[arg(
        long,
        env = "ORDERS_DATA_DIR",
        value_name = "FOLDER",
        default_value = "./orders-data"
    )]
    data_dir: PathBuf,
}

impl DataArgs {
    /// The folder, which need not exist.
    pub fn folder(&self) -> DataFolder {
        DataFolder::new(&self.data_dir)
    }
}
