//! The parameters of a `postgresql://` URL, by libpq's rules.
//!
//! The client's own parser knows none of `sslrootcert`, `sslcert`, `sslkey` and `passfile`, and finds
//! credentials where libpq finds none; so there is this one, from which everything else is read.
//!
//! # Invariants
//!
//! No error repeats a part of the URL: any of it may be a piece of a password that contains `@`, `/`
//! or `?`.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// libpq's keywords that have an effect here, each with the variable that is read where the URL does
/// not have it.
const KEYWORDS: [(&str, Option<&str>); 23] = [
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("port", Some("PGPORT")),
    ("dbname", Some("PGDATABASE")),
    ("user", Some("PGUSER")),
    ("password", Some("PGPASSWORD")),
    ("passfile", Some("PGPASSFILE")),
    ("options", Some("PGOPTIONS")),
    // Ours is `orders`, whatever is set.
    ("application_name", None),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslpassword", None),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("tcp_user_timeout", None),
    ("keepalives", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("keepalives_count", None),
];

/// libpq's variables that say where to connect, or what to refuse there, and are not supported: who sets
/// one relies on it.
const REFUSED: [&str; 5] = [
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGSERVICE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
];

/// Why a database URL cannot be used; never with a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(pub(super) String);

impl UrlError {
    pub(super) fn new(reason: impl Into<String>) -> UrlError {
        UrlError(reason.into())
    }
}

/// The variables that fill in what a URL leaves out, as in libpq, and those that are refused.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let supported = KEYWORDS.iter().filter_map(|(_, variable)| *variable);
    supported.chain(REFUSED)
}

/// Connection parameters by keyword; none is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Parameters, UrlError> {
        let mut schemes = ["postgresql://", "postgres://"].iter();
        let Some(rest) = schemes.find_map(|scheme| url.strip_prefix(scheme)) else {
            return Err(UrlError::new("it does not begin with `postgresql://`"));
        };
        let mut parameters = Parameters::default();
        let rest = parameters.read_credentials(rest)?;
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        if location.contains('@') {
            return Err(UrlError::new(
                "an `@` stands behind the host: in a user name or a password write `@` as %40, \
                 `/` as %2F and `?` as %3F",
            ));
        }
        let (servers, database) = location.split_once('/').unwrap_or((location, ""));
        parameters.read_servers(servers)?;
        parameters.set("dbname", decode(database, "the name of the database")?);
        parameters.read_query(query)?;
        Ok(parameters)
    }

    /// Adds what the URL has not, from variables.
    pub(super) fn or_variables(
        mut self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Parameters, UrlError> {
        if let Some(name) = REFUSED.iter().find(|name| variables.contains_key(**name)) {
            return Err(UrlError::new(format!(
                "the variable `{name}` is set, which is not supported: unset it"
            )));
        }
        for (keyword, variable) in KEYWORDS {
            if let Some(value) = variable.and_then(|variable| variables.get(variable)) {
                self.0.entry(keyword).or_insert_with(|| value.clone());
            }
        }
        Ok(self)
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        self.0.get(keyword).map(String::as_str)
    }

    fn set(&mut self, keyword: &'static str, value: String) {
        if !value.is_empty() {
            self.0.insert(keyword, value);
        }
    }

    /// Reads what stands before the first `@`, unless a `/` comes first: a `?` there is part of the
    /// password. Returns what follows.
    fn read_credentials<'u>(&mut self, rest: &'u str) -> Result<&'u str, UrlError> {
        let Some(end) = rest
            .find(['@', '/'])
            .filter(|at| rest[*at..].starts_with('@'))
        else {
            return Ok(rest);
        };
        let credentials = &rest[..end];
        let parameter = credentials
            .split_once('?')
            .and_then(|(_, it)| it.split_once('='));
        if parameter.is_some_and(|(keyword, _)| KEYWORDS.iter().any(|(it, _)| *it == keyword)) {
            // libpq would take the rest of a parameter's value for the host.
            return Err(UrlError::new(
                "an `@` in the value of a parameter is written as %40",
            ));
        }
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        self.set("user", decode(user, "the user")?);
        self.set("password", decode(password, "the password")?);
        Ok(&rest[end + 1..])
    }

    /// Reads `host:port,host:port…`; an IPv6 address stands in brackets.
    fn read_servers(&mut self, servers: &str) -> Result<(), UrlError> {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for server in servers.split(',') {
            let (host, port) = match server.strip_prefix('[') {
                None => server.split_once(':').unwrap_or((server, "")),
                Some(address) => {
                    let (address, port) = address.split_once(']').unwrap_or_default();
                    if address.is_empty() || !(port.is_empty() || port.starts_with(':')) {
                        return Err(UrlError::new("an IPv6 address is written as [::1]:5432"));
                    }
                    (address, port.trim_start_matches(':'))
                }
            };
            hosts.push(decode(host, "a host")?);
            ports.push(decode(port, "a port")?);
        }
        let join = |texts: Vec<String>| match texts.iter().all(String::is_empty) {
            true => String::new(),
            false => texts.join(","),
        };
        self.set("host", join(hosts));
        self.set("port", join(ports));
        Ok(())
    }

    /// Reads `keyword=value&keyword=value…`.
    fn read_query(&mut self, query: &str) -> Result<(), UrlError> {
        let query = query.strip_suffix('&').unwrap_or(query);
        if query.is_empty() {
            return Ok(());
        }
        for (number, pair) in (1..).zip(query.split('&')) {
            let Some((keyword, value)) = pair.split_once('=').filter(|(_, it)| !it.contains('='))
            else {
                return Err(UrlError::new(format!(
                    "parameter {number} behind the `?` is not of the form KEYWORD=VALUE: in a \
                     password write `?` as %3F and `&` as %26, in a value `=` as %3D"
                )));
            };
            let keyword = decode(keyword, "a keyword")?;
            let value = decode(value, "the value of a parameter")?;
            // As JDBC writes it.
            if keyword == "ssl" && value == "true" {
                self.set("sslmode", "require".into());
                continue;
            }
            let mut keywords = KEYWORDS.iter().map(|(keyword, _)| *keyword);
            let Some(keyword) = keywords.find(|known| *known == keyword) else {
                let known = KEYWORDS.map(|(keyword, _)| keyword).join(", ");
                return Err(UrlError::new(format!(
                    "parameter {number} behind the `?` is none of {known}"
                )));
            };
            self.set(keyword, value);
        }
        Ok(())
    }
}

/// Decodes %XX; `what` names the part in the error.
fn decode(text: &str, what: &str) -> Result<String, UrlError> {
    let is_encoded = text.split('%').skip(1).all(|part| {
        let code = part.get(..2).and_then(|it| u8::from_str_radix(it, 16).ok());
        code.is_some_and(|code| code != 0) && !part.starts_with('+')
    });
    let decoded = percent_decode_str(text).decode_utf8();
    match decoded {
        Ok(decoded) if is_encoded => Ok(decoded.into_owned()),
        _ => Err(UrlError::new(format!(
            "{what} has a `%` that does not begin the two hexadecimal digits of a character: \
             write `%` as %25"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Vec<(&'static str, String)> {
        let parameters = Parameters::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        parameters.0.into_iter().collect()
    }

    #[test]
    fn a_url_is_read_as_libpq_reads_it() {
        let cases: [(&str, &[(&str, &str)]); 13] = [
            ("postgresql://", &[]),
            ("postgres://h", &[("host", "h")]),
            ("postgresql:///d", &[("dbname", "d")]),
            (
                "postgresql://postgres:p?x@HOST/d?sslmode=require",
                &[
                    ("dbname", "d"),
                    ("host", "HOST"),
                    ("password", "p?x"),
                    ("sslmode", "require"),
                    ("user", "postgres"),
                ],
            ),
            (
                "postgresql://u:p:q%40@h:1/d",
                &[
                    ("dbname", "d"),
                    ("host", "h"),
                    ("password", "p:q@"),
                    ("port", "1"),
                    ("user", "u"),
                ],
            ),
            ("postgresql://@h:/", &[("host", "h")]),
            (
                "postgresql://a:1,b,[::1]:3/d",
                &[("dbname", "d"), ("host", "a,b,::1"), ("port", "1,,3")],
            ),
            ("postgresql://[2001:db8::1]", &[("host", "2001:db8::1")]),
            (
                "postgresql://%2Fvar%2Frun/d",
                &[("dbname", "d"), ("host", "/var/run")],
            ),
            (
                "postgresql://h/d?user=u&password=p%26q&host=/tmp",
                &[
                    ("dbname", "d"),
                    ("host", "/tmp"),
                    ("password", "p&q"),
                    ("user", "u"),
                ],
            ),
            (
                "postgresql://h?ssl=true&",
                &[("host", "h"), ("sslmode", "require")],
            ),
            (
                "postgresql://h/d?options=-csearch_path%3Da%2Cb",
                &[
                    ("dbname", "d"),
                    ("host", "h"),
                    ("options", "-csearch_path=a,b"),
                ],
            ),
            (
                "postgresql://h/d?password=x@y",
                &[("dbname", "d"), ("host", "h"), ("password", "x@y")],
            ),
        ];
        for (url, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(k, v)| (*k, v.to_string())).collect();
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_no_part_of_it_is_repeated() {
        let refused = [
            "mysql://u:s3cr3t@h/d",
            "postgresql://u:a@s3cr3t@h/d",
            "postgresql://u:a/s3cr3t@h/d",
            "postgresql://u:1/s3cr3t@h/d?sslmode=require",
            "postgresql://u:a@b?s3cr3t@h/d",
            "postgresql://u:a@b?s3cr3t=c@h/d",
            "postgresql://h:1?user=u&password=a@s3cr3t",
            "postgresql://h?password=a@s3cr3t",
            "postgresql://u:s3cr3t%zz@h/d",
            "postgresql://u:s3cr3t%@h/d",
            "postgresql://u:s3cr3t%+1@h/d",
            "postgresql://u:s3cr3t%00@h/d",
            "postgresql://u:s3cr3t%FF@h/d",
            "postgresql://[s3cr3t/d",
            "postgresql://[]/d",
            "postgresql://[::1]s3cr3t/d",
            "postgresql://h/d?sslmode",
            "postgresql://h/d?sslmode=require&password=s3cr3t=x",
            "postgresql://h/d?s3cr3t=1",
            "postgresql://h/d?sslmode=require&&user=s3cr3t",
        ];
        for url in refused {
            let error = Parameters::parse(url).expect_err(url).to_string();
            assert!(!error.contains("s3cr3t"), "{url}: {error}");
        }
    }

    #[test]
    fn a_variable_fills_in_what_the_url_has_not() {
        let variables = [("PGUSER", "v"), ("PGPASSWORD", "w"), ("HOME", "/")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let parameters = Parameters::parse("postgresql://u@h/d").unwrap();
        let parameters = parameters.or_variables(&variables.into()).unwrap();
        assert_eq!(parameters.get("user"), Some("u"));
        assert_eq!(parameters.get("password"), Some("w"));
        assert_eq!(parameters.get("port"), None);
    }

    #[test]
    fn a_variable_that_restricts_connections_in_libpq_is_never_ignored() {
        for name in REFUSED {
            assert!(variables().any(|read| read == name), "{name}");
            let set = [(name.to_owned(), "s3cr3t".to_owned())].into();
            let refused = Parameters::default().or_variables(&set);
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn no_url_that_fuzzing_found_is_repeated_in_its_refusal() {
        for (name, url) in support::seeds::seeds("postgres_url") {
            let url = format!("postgresql://{}", String::from_utf8_lossy(&url));
            if let Err(error) = Parameters::parse(&url) {
                assert!(!error.to_string().contains("s3cr3t"), "{name}: {error}");
            }
        }
    }
}
