//! Where the services listen, how the API serves, and where its clients find it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::environment::{ConfigError, Environment, Setting};
use super::redaction::redact;

const MIB: u64 = 1024 * 1024;

/// The orders of a warm-up are read in one query, so all of them are in memory at once.
const MOST_LOADED: u64 = 10_000;

/// Where and how the API serves. KEEP_ALIVE_S, MAX_CONNECTIONS and LOOKUP_WAIT_MS are variables
/// only.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct HttpArgs {
    /// Address of the public API; port 0 picks one [env: HTTP_ADDR] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "HTTP")]
    pub http_addr: Option<String>,
}

/// Where and how the API serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    pub addr: SocketAddr,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    pub max_connections: usize,
    /// How long a GET waits for its lookup before it answers `lookup_queued`.
    pub lookup_wait: Duration,
}

impl HttpArgs {
    /// Settles the public address and the limits. An address that other machines can reach is
    /// warned of while there is no token.
    pub fn settle(&self, environment: &Environment) -> Result<HttpSettings, ConfigError> {
        let flag = ("--http-addr", self.http_addr.as_deref());
        let addr = match environment.setting(flag, "HTTP_ADDR")? {
            Some(setting) => listen_address(&setting)?,
            None => SocketAddr::from(([127, 0, 0, 1], 8080)),
        };
        if !addr.ip().is_loopback() {
            tracing::warn!(
                "the API listens on {addr}, which other machines can reach, and asks nobody for a \
                 token: bind 127.0.0.1 or let only a proxy of yours through"
            );
        }
        let keep_alive_s = number(environment, "KEEP_ALIVE_S", 75, 1..=3_600, "seconds")?;
        let connections = number(
            environment,
            "MAX_CONNECTIONS",
            1_000,
            1..=1_000_000,
            "connections",
        )?;
        let wait_ms = number(
            environment,
            "LOOKUP_WAIT_MS",
            2_000,
            0..=30_000,
            "milliseconds",
        )?;
        Ok(HttpSettings {
            addr,
            keep_alive: Duration::from_secs(keep_alive_s),
            max_connections: connections as usize,
            lookup_wait: Duration::from_millis(wait_ms),
        })
    }
}

/// Where the operators' port listens.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct AdminArgs {
    /// Address of /livez, /readyz and /metrics; port 0 picks one [env: ADMIN_ADDR]
    /// [default: 127.0.0.1:8081, for consume 127.0.0.1:8082]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "HTTP")]
    pub admin_addr: Option<String>,
}

impl AdminArgs {
    /// Settles the operators' address; each service has its own default.
    pub fn settle(
        &self,
        environment: &Environment,
        default: SocketAddr,
    ) -> Result<SocketAddr, ConfigError> {
        let flag = ("--admin-addr", self.admin_addr.as_deref());
        let Some(setting) = environment.setting(flag, "ADMIN_ADDR")? else {
            return Ok(default);
        };
        let addr = listen_address(&setting)?;
        if !addr.ip().is_loopback() {
            tracing::warn!("the operators' port listens on {addr}, which other machines can reach");
        }
        Ok(addr)
    }
}

/// The cache is set by variables only: CACHE_LOAD_LIMIT, CACHE_TTL_SECONDS and CACHE_MAX_BYTES.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CacheArgs {}

/// What the cache may hold, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many of the newest orders are loaded at start; 0: none.
    pub load_limit: usize,
    pub ttl: Duration,
    pub max_bytes: u64,
}

impl CacheArgs {
    /// Settles the cache. A CACHE_JANITOR_S of go-orders is accepted, and said to have no effect.
    pub fn settle(&self, environment: &Environment) -> Result<CacheSettings, ConfigError> {
        if environment.variable("CACHE_JANITOR_S")?.is_some() {
            tracing::warn!("CACHE_JANITOR_S has no effect: the cache expires its entries itself");
        }
        let load_limit = number(
            environment,
            "CACHE_LOAD_LIMIT",
            10,
            0..=MOST_LOADED,
            "orders",
        )?;
        let ttl_s = number(
            environment,
            "CACHE_TTL_SECONDS",
            360,
            1..=31_536_000,
            "seconds",
        )?;
        let max_bytes = match environment.variable("CACHE_MAX_BYTES")? {
            Some(setting) => bytes(&setting)?,
            None => 48 * MIB,
        };
        Ok(CacheSettings {
            load_limit: load_limit as usize,
            ttl: Duration::from_secs(ttl_s),
            max_bytes,
        })
    }
}

/// Where clients find the API.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ApiUrlArgs {
    /// URL of the API [env: ORDERS_API_URL] [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", help_heading = "HTTP")]
    pub api_url: Option<String>,
}

impl ApiUrlArgs {
    /// Settles the API's URL, without a slash at its end.
    pub fn settle(&self, environment: &Environment) -> Result<String, ConfigError> {
        let flag = ("--api-url", self.api_url.as_deref());
        let Some(setting) = environment.setting(flag, "ORDERS_API_URL")? else {
            return Ok("http://127.0.0.1:8080".to_owned());
        };
        let url = setting.value.trim_end_matches('/');
        let place = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        let is_plain = |place: &str| {
            let is_end = |character: char| "?#@".contains(character) || character.is_whitespace();
            !place.is_empty() && !place.starts_with('/') && !place.contains(is_end)
        };
        if place.is_some_and(is_plain) {
            return Ok(url.to_owned());
        }
        let (name, shown) = (&setting.name, redact(setting.value));
        let message =
            format!("{name} is `{shown}`, expected http://HOST:PORT or https://HOST:PORT");
        Err(ConfigError::new(message))
    }
}

/// `ip:port`, `name:port`, or `:port` for all interfaces.
fn listen_address(setting: &Setting<'_>) -> Result<SocketAddr, ConfigError> {
    let expected = "ADDR:PORT, such as 127.0.0.1:8080";
    if let Some(port) = setting.value.strip_prefix(':') {
        let port = port.parse().map_err(|_| setting.refuse(expected))?;
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    if let Ok(addr) = setting.value.parse() {
        return Ok(addr);
    }
    let found = setting
        .value
        .to_socket_addrs()
        .map_err(|_| setting.refuse(expected))?;
    // `localhost` may be both: clients try 127.0.0.1 first.
    let (v4, v6): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv4);
    v4.into_iter()
        .chain(v6)
        .next()
        .ok_or_else(|| setting.refuse(expected))
}

fn number(
    environment: &Environment,
    variable: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    of: &str,
) -> Result<u64, ConfigError> {
    match environment.variable(variable)? {
        Some(setting) => setting.number(range, of),
        None => Ok(default),
    }
}

/// A number of bytes, plain or with KiB, MiB or GiB behind it.
fn bytes(setting: &Setting<'_>) -> Result<u64, ConfigError> {
    let units = [("KiB", 1024), ("MiB", MIB), ("GiB", 1024 * MIB)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((setting.value.strip_suffix(suffix)?, *unit)))
        .unwrap_or((setting.value, 1));
    let bytes = number
        .trim()
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(setting.refuse("a number of bytes above 0, such as 50331648 or 48MiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(pairs: &[(&str, &str)]) -> Result<HttpSettings, String> {
        let environment = Environment::from_pairs(pairs.iter().copied());
        HttpArgs::default()
            .settle(&environment)
            .map_err(|error| error.to_string())
    }

    fn cache(pairs: &[(&str, &str)]) -> Result<CacheSettings, String> {
        let environment = Environment::from_pairs(pairs.iter().copied());
        CacheArgs::default()
            .settle(&environment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_bind_loopback_only() {
        let settings = http(&[]).unwrap();
        assert_eq!(settings.addr.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.keep_alive, Duration::from_secs(75));
        assert_eq!(settings.max_connections, 1_000);
        assert_eq!(settings.lookup_wait, Duration::from_secs(2));
        let admin = AdminArgs::default();
        let default = SocketAddr::from(([127, 0, 0, 1], 8082));
        assert_eq!(admin.settle(&Environment::default(), default), Ok(default));
    }

    #[test]
    fn an_address_may_be_a_port_alone_or_a_name() {
        assert_eq!(
            http(&[("HTTP_ADDR", ":8080")]).unwrap().addr.to_string(),
            "0.0.0.0:8080"
        );
        assert_eq!(
            http(&[("HTTP_ADDR", "[::1]:0")]).unwrap().addr.to_string(),
            "[::1]:0"
        );
        assert_eq!(
            http(&[("HTTP_ADDR", "localhost:1")])
                .unwrap()
                .addr
                .to_string(),
            "127.0.0.1:1"
        );
        for bad in ["8080", ":", ":x", "127.0.0.1", "127.0.0.1:70000"] {
            let error = http(&[("HTTP_ADDR", bad)]).unwrap_err();
            assert!(
                error.starts_with(&format!("`HTTP_ADDR` is `{bad}`, expected")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_cache_has_go_orders_defaults_and_refuses_to_keep_nothing() {
        let expected = CacheSettings {
            load_limit: 10,
            ttl: Duration::from_secs(360),
            max_bytes: 48 * MIB,
        };
        assert_eq!(cache(&[]), Ok(expected.clone()));
        assert_eq!(cache(&[("CACHE_JANITOR_S", "60")]), Ok(expected));
        assert_eq!(cache(&[("CACHE_LOAD_LIMIT", "0")]).unwrap().load_limit, 0);
        let most = [("CACHE_LOAD_LIMIT", "10000")];
        assert_eq!(cache(&most).unwrap().load_limit, 10_000);
        let error = cache(&[("CACHE_LOAD_LIMIT", "10001")]).unwrap_err();
        let expected =
            "`CACHE_LOAD_LIMIT` is `10001`, expected a whole number of orders from 0 to 10000";
        assert_eq!(error, expected);
        let error = cache(&[("CACHE_TTL_SECONDS", "0")]).unwrap_err();
        assert!(
            error.starts_with("`CACHE_TTL_SECONDS` is `0`, expected"),
            "{error}"
        );
    }

    #[test]
    fn bytes_may_have_a_unit() {
        let max_bytes = |value| cache(&[("CACHE_MAX_BYTES", value)]).map(|cache| cache.max_bytes);
        assert_eq!(max_bytes("1048576"), Ok(MIB));
        assert_eq!(max_bytes("2 MiB"), Ok(2 * MIB));
        for bad in ["0", "64MB", "-1", "99999999999GiB"] {
            assert!(
                max_bytes(bad)
                    .unwrap_err()
                    .starts_with("`CACHE_MAX_BYTES` is `"),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_api_url_is_checked_trimmed_and_never_shows_a_password() {
        let settle = |url| {
            let args = ApiUrlArgs {
                api_url: Some(String::from(url)),
            };
            args.settle(&Environment::default())
                .map_err(|error| error.to_string())
        };
        assert_eq!(settle("https://h:1/"), Ok("https://h:1".into()));
        for bad in ["h:1", "ftp://h", "http://", "http://h?x"] {
            assert!(
                settle(bad).unwrap_err().starts_with("`--api-url` is `"),
                "{bad}"
            );
        }
        assert!(!settle("http://me:s3cret@h").unwrap_err().contains("s3cret"));
    }
}
