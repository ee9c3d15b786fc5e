//! Erasures as rows.

use rusqlite::{Connection, Error as SqliteError, OptionalExtension};

use super::lookup::timestamp;
use crate::store::{Erasure, UidDigest};

const FIND: &str = "SELECT erased_until FROM erasures WHERE uid_sha256 = ?1";

/// Finds which of these uids were erased.
pub(super) fn find(
    connection: &Connection,
    digests: &[UidDigest],
) -> Result<Vec<Erasure>, SqliteError> {
    let mut statement = connection.prepare_cached(FIND)?;
    let mut erasures = Vec::new();
    for digest in digests {
        let until = statement
            .query_row([digest], |row| timestamp(row, 0))
            .optional()?;
        let erasure = until.and_then(|until| until.0).map(|micros| Erasure {
            uid_sha256: *digest,
            erased_until_us: micros,
        });
        erasures.extend(erasure);
    }
    Ok(erasures)
}
