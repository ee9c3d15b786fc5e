//! The TLS part of a database URL: libpq's words that rust-postgres does not know.

/// libpq's `sslmode`. `allow` is refused: it would send orders in plain where TLS was to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ssl {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A URL with its TLS part taken out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub plain: String,
    pub ssl: Ssl,
    pub root_cert: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of a `postgresql://` URL. The error never holds the URL.
pub(super) fn split(url: &str) -> Result<Parts, String> {
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        return Err("the database URL must begin with `postgresql://`".into());
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut ssl = Ssl::Prefer;
    let mut root_cert = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => ssl = parse_mode(mode)?,
            Some(("sslrootcert", file)) => root_cert = Some(decode(file)),
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
        ssl,
        root_cert,
    })
}

fn parse_mode(mode: &str) -> Result<Ssl, String> {
    match mode {
        "disable" => Ok(Ssl::Disable),
        "prefer" => Ok(Ssl::Prefer),
        "require" => Ok(Ssl::Require),
        "verify-ca" => Ok(Ssl::VerifyCa),
        "verify-full" => Ok(Ssl::VerifyFull),
        _ => {
            Err("`sslmode` must be one of disable, prefer, require, verify-ca, verify-full".into())
        }
    }
}

/// Percent-decoding, for a file name.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tls_words_of_libpq_are_taken_out_of_the_url() {
        let url = "postgresql://u:p@h:1/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&x=1";
        let expected = Parts {
            plain: "postgresql://u:p@h:1/d?x=1".into(),
            ssl: Ssl::VerifyFull,
            root_cert: Some("/etc/ca.pem".into()),
        };
        assert_eq!(split(url), Ok(expected));
        assert_eq!(split("postgres://h/d").unwrap().ssl, Ssl::Prefer);
    }

    #[test]
    fn an_unknown_mode_or_scheme_is_refused_without_repeating_the_url() {
        assert!(split("postgresql://u:secret@h/d?sslmode=allow").is_err());
        let error = split("mysql://u:secret@h/d").unwrap_err();
        assert!(!error.contains("secret"));
    }
}
