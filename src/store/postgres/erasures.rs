//! Erasures as rows.

use ::postgres::{Error as PgError, GenericClient};

use super::micros::Micros;
use super::statements::Statements;
use crate::store::{Erasure, UidDigest};

const FIND: &str =
    "SELECT uid_sha256, erased_until FROM erasures WHERE uid_sha256 = ANY($1::bytea[])";

/// Finds which of these uids were erased.
pub(super) fn find(
    client: &mut impl GenericClient,
    statements: &mut Statements,
    digests: &[UidDigest],
) -> Result<Vec<Erasure>, PgError> {
    let digests: Vec<&[u8]> = digests.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = statements.query(client, FIND, &[&digests])?;
    let erasures = rows.iter().filter_map(|row| {
        Some(Erasure {
            // One of the digests that were asked for.
            uid_sha256: row.get::<_, &[u8]>(0).try_into().ok()?,
            erased_until_us: row.get::<_, Micros>(1).0,
        })
    });
    Ok(erasures.collect())
}
