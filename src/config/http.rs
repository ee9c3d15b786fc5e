//! Where the services listen, how the API serves, and where its clients find it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::access::client_token;
use super::duration::duration;
use super::invalid::Invalid;
use super::settings::Settings;
use super::variables::CACHE_JANITOR_S;
use crate::exit::Failure;

const MIB: u64 = 1024 * 1024;

/// Where and how the API serves.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Address of the public API; port 0 picks one
    #[arg(long, env = "HTTP_ADDR", value_name = "ADDR:PORT")]
    #[arg(default_value = "127.0.0.1:8080", value_parser = listen_address)]
    pub http_addr: SocketAddr,

    /// How long an idle connection is kept
    #[arg(long = "keep-alive-s", env = "KEEP_ALIVE_S", value_name = "SECONDS")]
    #[arg(default_value = "75", hide_short_help = true)]
    #[arg(value_parser = whole(1..=3_600, "seconds", Duration::from_secs))]
    pub keep_alive: Duration,

    /// How many connections there may be
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "COUNT")]
    #[arg(default_value = "1000", hide_short_help = true)]
    #[arg(value_parser = whole(1..=1_000_000, "connections", |count| count as usize))]
    pub max_connections: usize,

    /// How long a GET waits for its lookup before it answers 202
    #[arg(long = "lookup-wait-ms", env = "LOOKUP_WAIT_MS")]
    #[arg(
        value_name = "MILLISECONDS",
        default_value = "2000",
        hide_short_help = true
    )]
    #[arg(value_parser = whole(0..=30_000, "milliseconds", Duration::from_millis))]
    pub lookup_wait: Duration,

    /// How long requests are still served after the first signal, while /readyz returns 503
    #[arg(long, env = "DRAIN_DELAY", value_name = "DURATION")]
    #[arg(default_value = "0s", value_parser = drain_delay, hide_short_help = true)]
    pub drain_delay: Duration,
}

/// Where the operators' port listens.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct AdminArgs {
    /// Address of /livez, /readyz and /metrics; port 0 picks one
    #[arg(long, env = "ADMIN_ADDR", value_name = "ADDR:PORT")]
    #[arg(default_value = "127.0.0.1:8081", value_parser = listen_address)]
    pub admin_addr: SocketAddr,
}

/// What the cache may hold, and for how long.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Cache")]
pub struct CacheArgs {
    /// How many of the newest orders are loaded at start; 0: none
    // They are read in one query, so all of them are in memory at once.
    #[arg(
        long = "cache-load-limit",
        env = "CACHE_LOAD_LIMIT",
        value_name = "COUNT"
    )]
    #[arg(default_value = "10", hide_short_help = true)]
    #[arg(value_parser = whole(0..=10_000, "orders", |count| count as usize))]
    pub load_limit: usize,

    /// How long an order stays
    #[arg(long = "cache-ttl-seconds", env = "CACHE_TTL_SECONDS")]
    #[arg(value_name = "SECONDS", default_value = "360", hide_short_help = true)]
    #[arg(value_parser = whole(1..=31_536_000, "seconds", Duration::from_secs))]
    pub ttl: Duration,

    /// How much memory the orders may use, such as 50331648 or 48MiB
    #[arg(
        long = "cache-max-bytes",
        env = "CACHE_MAX_BYTES",
        value_name = "BYTES"
    )]
    #[arg(default_value = "48MiB", value_parser = bytes, hide_short_help = true)]
    pub max_bytes: u64,
}

impl CacheArgs {
    /// Warns of a variable of go-orders that has no effect.
    pub fn warn(settings: &Settings) -> Result<(), Failure> {
        if settings.variable(CACHE_JANITOR_S)?.is_some() {
            tracing::warn!("CACHE_JANITOR_S has no effect: the cache expires its entries itself");
        }
        Ok(())
    }
}

/// Where services on other machines are found.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "HTTP")]
pub struct AdminUrlArgs {
    /// URL of the operators' port of a service on another machine, repeatable
    #[arg(long, value_name = "URL", value_parser = api_url)]
    pub admin: Vec<String>,
}

/// Where clients find the API.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "HTTP")]
pub struct ApiUrlArgs {
    /// URL of the API
    #[arg(long, env = "ORDERS_API_URL", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:8080", value_parser = api_url)]
    pub api_url: String,

    /// File with the token to send; ORDERS_TOKEN may hold the token itself
    #[arg(long, env = "ORDERS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ApiUrlArgs {
    /// The token to send.
    pub fn token(&self, settings: &Settings) -> Result<Option<String>, Failure> {
        client_token(settings, self.token_file.as_deref())
    }
}

/// An HTTP URL without user, query and fragment; the slash at its end is removed.
fn api_url(text: &str) -> Result<String, Invalid> {
    let url = text.trim_end_matches('/');
    let host = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let is_plain = |host: &str| {
        let is_end = |character: char| "?#@".contains(character) || character.is_whitespace();
        !host.is_empty() && !host.starts_with('/') && !host.contains(is_end)
    };
    let expected = "http://HOST:PORT or https://HOST:PORT";
    match host.is_some_and(is_plain) {
        true => Ok(url.to_owned()),
        false => Err(Invalid::expected(text, expected)),
    }
}

/// `ip:port`, `name:port`, or `:port` for all interfaces.
fn listen_address(text: &str) -> Result<SocketAddr, Invalid> {
    let invalid = || Invalid::expected(text, "ADDR:PORT, such as 127.0.0.1:8080");
    if let Some(port) = text.strip_prefix(':') {
        let port = port.parse().map_err(|_| invalid())?;
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| invalid())?.collect();
    // `localhost` may be both: clients try 127.0.0.1 first.
    let v4 = found.iter().find(|addr| addr.is_ipv4());
    v4.or(found.first()).copied().ok_or_else(invalid)
}

fn drain_delay(text: &str) -> Result<Duration, Invalid> {
    duration(text).map_err(|_| Invalid::expected(text, "a duration such as 500ms, 30s or 2m"))
}

/// The parser of a whole number of `unit`.
fn whole<T>(
    range: RangeInclusive<u64>,
    unit: &'static str,
    convert: fn(u64) -> T,
) -> impl Fn(&str) -> Result<T, Invalid> + Clone {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(convert(number)),
        _ => {
            let (least, most) = (range.start(), range.end());
            let expected = format!("a whole number of {unit} from {least} to {most}");
            Err(Invalid::expected(text, &expected))
        }
    }
}

/// A number of bytes, plain or with KiB, MiB or GiB behind it.
fn bytes(text: &str) -> Result<u64, Invalid> {
    let units = [("KiB", 1024), ("MiB", MIB), ("GiB", 1024 * MIB)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
        .unwrap_or((text, 1));
    let number: Option<u64> = number.trim().parse().ok();
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => {
            let expected = "a number of bytes above 0, such as 50331648 or 48MiB";
            Err(Invalid::expected(text, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::tests::{from_variables, resolve};
    use crate::config::variables::Variables;

    fn http(pairs: &[(&str, &str)]) -> Result<HttpArgs, String> {
        from_variables(pairs)
    }

    fn cache(pairs: &[(&str, &str)]) -> Result<CacheArgs, String> {
        from_variables(pairs)
    }

    #[test]
    fn defaults_bind_loopback_only() {
        let settings = http(&[]).unwrap();
        assert_eq!(settings.http_addr.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.keep_alive, Duration::from_secs(75));
        assert_eq!(settings.max_connections, 1_000);
        assert_eq!(settings.lookup_wait, Duration::from_secs(2));
        assert_eq!(settings.drain_delay, Duration::ZERO);
        let admin: AdminArgs = from_variables(&[]).unwrap();
        assert_eq!(admin.admin_addr.to_string(), "127.0.0.1:8081");
    }

    #[test]
    fn an_address_may_be_a_port_alone_or_a_name() {
        for (text, expected) in [
            (":8080", "0.0.0.0:8080"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:1", "127.0.0.1:1"),
        ] {
            let settings = http(&[("HTTP_ADDR", text)]).unwrap();
            assert_eq!(settings.http_addr.to_string(), expected);
        }
        for bad in ["8080", ":", ":x", "127.0.0.1", "127.0.0.1:70000"] {
            let error = http(&[("HTTP_ADDR", bad)]).unwrap_err();
            let expected = format!("`HTTP_ADDR` is `{bad}`, expected");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn the_cache_has_go_orders_defaults_and_refuses_to_keep_nothing() {
        let expected = CacheArgs {
            load_limit: 10,
            ttl: Duration::from_secs(360),
            max_bytes: 48 * MIB,
        };
        assert_eq!(cache(&[]), Ok(expected));
        assert_eq!(cache(&[("CACHE_LOAD_LIMIT", "0")]).unwrap().load_limit, 0);
        let most = [("CACHE_LOAD_LIMIT", "10000")];
        assert_eq!(cache(&most).unwrap().load_limit, 10_000);
        let error = cache(&[("CACHE_LOAD_LIMIT", "10001")]).unwrap_err();
        let expected =
            "`CACHE_LOAD_LIMIT` is `10001`, expected a whole number of orders from 0 to 10000";
        assert_eq!(error, expected);
        let error = cache(&[("CACHE_TTL_SECONDS", "0")]).unwrap_err();
        let expected = "`CACHE_TTL_SECONDS` is `0`, expected";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn bytes_may_have_a_unit() {
        let max_bytes = |value| cache(&[("CACHE_MAX_BYTES", value)]).map(|cache| cache.max_bytes);
        assert_eq!(max_bytes("1048576"), Ok(MIB));
        assert_eq!(max_bytes("2 MiB"), Ok(2 * MIB));
        for bad in ["0", "64MB", "-1", "99999999999GiB"] {
            let error = max_bytes(bad).unwrap_err();
            assert!(error.starts_with("`CACHE_MAX_BYTES` is `"), "{error}");
        }
    }

    #[test]
    fn the_api_url_is_checked_trimmed_and_never_shows_a_password() {
        let resolved = |url| {
            let args = resolve::<ApiUrlArgs>(&["--api-url", url], Variables::default());
            args.map(|(args, _)| args.api_url)
                .map_err(|error| error.to_string())
        };
        assert_eq!(resolved("https://h:1/"), Ok("https://h:1".into()));
        for bad in ["h:1", "ftp://h", "http://", "http://h?x"] {
            let error = resolved(bad).unwrap_err();
            assert!(error.starts_with("`--api-url` is `"), "{error}");
        }
        let error = resolved("http://me:s3cret@h").unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
