//! The inputs that are kept of the fuzz targets.

use std::fs;
use std::path::Path;

/// The files of one target in fuzz/seeds, each with its name.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.join("../../fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("a seed can be read");
            (path.display().to_string(), bytes)
        })
        .collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}
