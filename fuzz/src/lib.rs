//! What the fuzz targets share: the modules under test, compiled without the rest of the program, and
//! what must be true of any input.

#![allow(dead_code, unused_imports, reason = "only a part of each module is tested")]

pub mod checks;

#[path = "../../src"]
mod source {
    pub mod escape;
    pub mod exit;
    pub mod order;
    pub mod owner;
    pub mod pipeline;

    pub mod config {
        use std::collections::{BTreeMap, BTreeSet};

        mod env_file;

        /// The variables of a `.env` file, or the number of its first malformed line.
        pub fn variables(
            text: &str,
            names: &BTreeSet<String>,
        ) -> Result<BTreeMap<String, String>, usize> {
            env_file::parse(text, names)
        }
    }

    pub mod store {
        pub mod postgres {
            mod url;

            /// The error of a database URL that cannot be used.
            pub fn url_error(url: &str) -> Option<String> {
                let read = url::Parameters::parse(url);
                read.err().map(|error| error.to_string())
            }
        }
    }
}

pub use source::config::variables;
pub use source::store::postgres::url_error;
pub use source::{escape, exit, order, owner, pipeline};
