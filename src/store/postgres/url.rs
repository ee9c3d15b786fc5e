//! The TLS parameters of a database URL, which libpq knows and rust-postgres does not.

use percent_encoding::percent_decode_str;

/// libpq's `sslmode`. `allow` is refused: it would send orders unencrypted to a server that offers
/// TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A URL without its TLS parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub plain: String,
    pub ssl_mode: SslMode,
    pub root_cert: Option<String>,
}

/// Splits `sslmode` and `sslrootcert` off a `postgresql://` URL. The error never contains the URL.
pub(super) fn split(url: &str) -> Result<Parts, String> {
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        return Err("the database URL must begin with `postgresql://`".into());
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut ssl_mode = SslMode::Prefer;
    let mut root_cert = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => ssl_mode = parse_mode(mode)?,
            Some(("sslrootcert", file)) => {
                root_cert = Some(percent_decode_str(file).decode_utf8_lossy().into_owned());
            }
            _ => rest.push(pair),
        }
    }
    let plain = if rest.is_empty() {
        base.to_string()
    } else {
        format!("{base}?{}", rest.join("&"))
    };
    Ok(Parts {
        plain,
        ssl_mode,
        root_cert,
    })
}

fn parse_mode(mode: &str) -> Result<SslMode, String> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" => Ok(SslMode::Require),
        "verify-ca" => Ok(SslMode::VerifyCa),
        "verify-full" => Ok(SslMode::VerifyFull),
        _ => {
            Err("`sslmode` must be one of disable, prefer, require, verify-ca, verify-full".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_are_split_off_the_url() {
        let url = "postgresql://u:p@h:1/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&x=1";
        let expected = Parts {
            plain: "postgresql://u:p@h:1/d?x=1".into(),
            ssl_mode: SslMode::VerifyFull,
            root_cert: Some("/etc/ca.pem".into()),
        };
        assert_eq!(split(url), Ok(expected));
        assert_eq!(split("postgres://h/d").unwrap().ssl_mode, SslMode::Prefer);
    }

    #[test]
    fn an_unknown_mode_or_scheme_is_refused_and_the_error_does_not_contain_the_url() {
        assert!(split("postgresql://u:secret@h/d?sslmode=allow").is_err());
        let error = split("mysql://u:secret@h/d").unwrap_err();
        assert!(!error.contains("secret"));
    }
}
