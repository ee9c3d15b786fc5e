//! TLS to PostgreSQL: what each `sslmode` encrypts and verifies, as in libpq.

use ::postgres::config::SslMode as ClientSslMode;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;

use super::url::SslMode;
use crate::store::StoreError;

/// Whether the client may, must or must not encrypt; the connector verifies.
pub(super) fn client_mode(mode: SslMode) -> ClientSslMode {
    match mode {
        SslMode::Disable => ClientSslMode::Disable,
        SslMode::Prefer => ClientSslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => ClientSslMode::Require,
    }
}

/// Builds a connector that verifies what the mode requires. Fails rather than verify less.
pub(super) fn connector(
    mode: SslMode,
    root_cert: Option<&str>,
) -> Result<MakeTlsConnector, StoreError> {
    let failed =
        |error: ErrorStack| StoreError::Misconfigured(format!("TLS cannot be set up: {error}"));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
    match (mode, root_cert) {
        (SslMode::VerifyCa | SslMode::VerifyFull, Some(file)) => {
            builder.set_ca_file(file).map_err(|_| {
                StoreError::Misconfigured(format!(
                    "the certificates of `sslrootcert={file}` cannot be read"
                ))
            })?;
        }
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            if let Some(file) = openssl_probe::probe().cert_file {
                builder.set_ca_file(file).map_err(failed)?;
            }
        }
        (SslMode::Disable | SslMode::Prefer | SslMode::Require, _) => {
            builder.set_verify(SslVerifyMode::NONE);
        }
    }
    let mut tls = MakeTlsConnector::new(builder.build());
    if mode != SslMode::VerifyFull {
        tls.set_callback(|connection, _| {
            connection.set_verify_hostname(false);
            Ok(())
        });
    }
    Ok(tls)
}
