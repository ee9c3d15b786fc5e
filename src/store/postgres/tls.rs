//! TLS to PostgreSQL: what each `sslmode` encrypts and verifies, as in libpq.
//!
//! # Invariants
//!
//! What a parameter promises is kept or refused: no mode falls back to plain text but `prefer`, where
//! the server offers no TLS.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ::postgres::config::SslMode as ClientMode;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use postgres_openssl::MakeTlsConnector;

use super::url::{Parameters, UrlError};

/// libpq's `sslmode`. `allow` is refused: it would send orders unencrypted to a server that offers TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The certificates that a server's is verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    System,
    File(PathBuf),
}

/// What the parameters ask of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    mode: SslMode,
    /// `None` where nothing is verified.
    roots: Option<Roots>,
    /// Certificate and key of this client.
    identity: Option<(PathBuf, PathBuf)>,
    key_password: Option<String>,
}

impl Tls {
    /// Reads `sslmode` and what belongs to it. libpq's default files in `home` count where they exist.
    pub(super) fn read(parameters: &Parameters, home: Option<&Path>) -> Result<Tls, UrlError> {
        let in_home = |name: &str| {
            let path = home?.join(".postgresql").join(name);
            path.is_file().then_some(path)
        };
        let given = parameters.get("sslmode").map(parse_mode).transpose()?;
        let root_cert = parameters.get("sslrootcert");
        let (mode, roots) = match (root_cert, given) {
            (Some("system"), None | Some(SslMode::VerifyFull)) => {
                (SslMode::VerifyFull, Some(Roots::System))
            }
            // Anybody gets a certificate that the system trusts, for a host of their own.
            (Some("system"), Some(_)) => {
                let reason = "`sslrootcert=system` needs `sslmode=verify-full`, or no `sslmode`";
                return Err(UrlError::new(reason));
            }
            (_, Some(SslMode::Disable)) => (SslMode::Disable, None),
            // A certificate that is named is to be verified with.
            (Some(file), mode) => (
                mode.filter(|mode| *mode > SslMode::VerifyCa)
                    .unwrap_or(SslMode::VerifyCa),
                Some(Roots::File(file.into())),
            ),
            (None, Some(SslMode::VerifyFull)) => {
                let file = in_home("root.crt").map(Roots::File);
                (SslMode::VerifyFull, Some(file.unwrap_or(Roots::System)))
            }
            (None, Some(SslMode::VerifyCa)) => match in_home("root.crt") {
                Some(file) => (SslMode::VerifyCa, Some(Roots::File(file))),
                // As above.
                None => {
                    let reason = "`sslmode=verify-ca` needs `sslrootcert`; `verify-full` trusts \
                                  the system's certificates, too";
                    return Err(UrlError::new(reason));
                }
            },
            (None, Some(SslMode::Require)) => match in_home("root.crt") {
                Some(file) => (SslMode::VerifyCa, Some(Roots::File(file))),
                None => (SslMode::Require, None),
            },
            (None, None | Some(SslMode::Prefer)) => (SslMode::Prefer, None),
        };
        let file = |keyword, default| {
            let given = parameters.get(keyword).map(PathBuf::from);
            given.or_else(|| in_home(default))
        };
        let identity = match (
            file("sslcert", "postgresql.crt"),
            file("sslkey", "postgresql.key"),
        ) {
            (None, _) => None,
            _ if mode == SslMode::Disable => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => {
                return Err(UrlError::new(
                    "there is a certificate and no key for it: set `sslkey`",
                ));
            }
        };
        Ok(Tls {
            mode,
            roots,
            identity,
            key_password: parameters.get("sslpassword").map(str::to_owned),
        })
    }

    /// Whether the client may, must or must not encrypt; the connector verifies.
    pub(super) fn client_mode(&self) -> ClientMode {
        match self.mode {
            SslMode::Disable => ClientMode::Disable,
            SslMode::Prefer => ClientMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => ClientMode::Require,
        }
    }

    /// Builds a connector that verifies what the mode promises, and fails closed.
    pub(super) fn connector(&self) -> Result<MakeTlsConnector, UrlError> {
        let failed = |error: ErrorStack| UrlError::new(format!("TLS cannot be set up: {error}"));
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
        // libpq's own default, whatever that of the system is.
        let oldest = Some(SslVersion::TLS1_2);
        builder.set_min_proto_version(oldest).map_err(failed)?;
        match &self.roots {
            None => builder.set_verify(SslVerifyMode::NONE),
            Some(Roots::System) => {
                if let Some(file) = openssl_probe::probe().cert_file {
                    builder.set_ca_file(file).map_err(failed)?;
                }
            }
            Some(Roots::File(file)) => {
                // The builder trusts the system's certificates: only those of the file may count.
                builder.set_cert_store(X509StoreBuilder::new().map_err(failed)?.build());
                builder
                    .set_ca_file(file)
                    .map_err(|_| unreadable("certificates", "sslrootcert", file))?;
            }
        }
        if let Some((certificate, key)) = &self.identity {
            self.identify(&mut builder, certificate, key)?;
        }
        let mut tls = MakeTlsConnector::new(builder.build());
        if self.mode != SslMode::VerifyFull {
            tls.set_callback(|connection, _| {
                connection.set_verify_hostname(false);
                Ok(())
            });
        }
        Ok(tls)
    }

    fn identify(
        &self,
        builder: &mut SslConnectorBuilder,
        certificate: &Path,
        key: &Path,
    ) -> Result<(), UrlError> {
        builder
            .set_certificate_chain_file(certificate)
            .map_err(|_| unreadable("certificate", "sslcert", certificate))?;
        let private = read_key(key, self.key_password.as_deref())?;
        builder.set_private_key(&private).map_err(|_| {
            UrlError::new(format!(
                "the key `{}` does not belong to the certificate `{}`",
                key.display(),
                certificate.display()
            ))
        })
    }
}

fn parse_mode(mode: &str) -> Result<SslMode, UrlError> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => Err(UrlError::new(
            "`sslmode` must be one of disable, prefer, require, verify-ca, verify-full",
        )),
    }
}

/// As libpq, refuses a key that others may read; one of root may be read by its group.
fn read_key(file: &Path, password: Option<&str>) -> Result<PKey<Private>, UrlError> {
    let unreadable = || unreadable("key", "sslkey", file);
    let metadata = fs::metadata(file).map_err(|_| unreadable())?;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & others != 0 {
        let reason = format!(
            "others may use the key `{}`: `chmod 600` it",
            file.display()
        );
        return Err(UrlError::new(reason));
    }
    let pem = fs::read(file).map_err(|_| unreadable())?;
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        // Without a password nothing is asked on a terminal.
        let password = password.unwrap_or_default().as_bytes();
        let fits = password.len() <= buffer.len();
        let length = if fits { password.len() } else { 0 };
        buffer[..length].copy_from_slice(&password[..length]);
        Ok(length)
    });
    key.map_err(|_| {
        let hint = "it must be PEM, and `sslpassword` its password where it has one";
        UrlError::new(format!("{}: {hint}", unreadable()))
    })
}

fn unreadable(what: &str, keyword: &str, file: &Path) -> UrlError {
    UrlError::new(format!(
        "the {what} of `{keyword}={}` cannot be read",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, home: Option<&Path>) -> Result<Tls, UrlError> {
        let parameters = Parameters::parse(&format!("postgresql://h/d?{query}"))?;
        Tls::read(&parameters, home)
    }

    fn verified(query: &str, home: Option<&Path>) -> (SslMode, Option<Roots>) {
        let tls = read(query, home).unwrap_or_else(|error| panic!("{query}: {error}"));
        (tls.mode, tls.roots)
    }

    #[test]
    fn a_root_certificate_means_verification_whatever_the_mode() {
        let file = Some(Roots::File("/ca".into()));
        let system = Some(Roots::System);
        let cases = [
            ("", (SslMode::Prefer, None)),
            ("sslmode=require", (SslMode::Require, None)),
            ("sslmode=verify-full", (SslMode::VerifyFull, system.clone())),
            ("sslmode=disable&sslrootcert=/ca", (SslMode::Disable, None)),
            ("sslrootcert=/ca", (SslMode::VerifyCa, file.clone())),
            (
                "sslmode=prefer&sslrootcert=/ca",
                (SslMode::VerifyCa, file.clone()),
            ),
            (
                "sslmode=require&sslrootcert=/ca",
                (SslMode::VerifyCa, file.clone()),
            ),
            (
                "sslmode=verify-full&sslrootcert=/ca",
                (SslMode::VerifyFull, file),
            ),
            ("sslrootcert=system", (SslMode::VerifyFull, system)),
        ];
        for (query, expected) in cases {
            assert_eq!(verified(query, None), expected, "{query}");
        }
        for query in [
            "sslmode=allow",
            "sslmode=require&sslrootcert=system",
            // Anybody's certificate would do.
            "sslmode=verify-ca",
            "sslcert=/c",
        ] {
            assert!(read(query, None).is_err(), "{query}");
        }
    }

    #[test]
    fn a_certificate_without_a_key_does_not_matter_where_nothing_is_encrypted() {
        assert_eq!(
            read("sslmode=disable&sslcert=/c", None).unwrap().identity,
            None
        );
    }

    #[test]
    fn the_default_files_count_where_they_exist() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".postgresql");
        fs::create_dir(&folder).unwrap();
        for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let root = Some(Roots::File(folder.join("root.crt")));
        let home = Some(home.path());
        assert_eq!(
            verified("sslmode=require", home),
            (SslMode::VerifyCa, root.clone())
        );
        assert_eq!(
            verified("sslmode=verify-full", home),
            (SslMode::VerifyFull, root.clone())
        );
        assert_eq!(
            verified("sslmode=verify-ca", home),
            (SslMode::VerifyCa, root)
        );
        assert_eq!(verified("", home), (SslMode::Prefer, None));
        let identity = (folder.join("postgresql.crt"), folder.join("postgresql.key"));
        assert_eq!(read("", home).unwrap().identity, Some(identity));
    }
}
