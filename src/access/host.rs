//! The host that a request names, and the origin of the page that sends it.
//!
//! A browser lets any page send requests to this machine. `Host` tells what name the page used, and
//! `Origin` which site it is from; neither can be set by a page.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri, Version};

/// Why the host of a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// HTTP/1.1 requires it.
    #[error("the request has no Host header")]
    Missing,
    /// Two readers could disagree about which one counts.
    #[error("the request has several Host headers")]
    Several,
    #[error("the Host header is not a host with an optional port")]
    Malformed,
    /// It is none of this server's names.
    #[error(
        "the request names another host than this machine's loopback interface: list the name in \
         ALLOWED_HOSTS, or send a Host header such as localhost"
    )]
    NotOurs,
}

impl HostError {
    pub fn status(self) -> StatusCode {
        match self {
            HostError::NotOurs => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The host of a request; without a name where HTTP/1.0 allows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHost<'a> {
    /// Without the brackets of an IPv6 address.
    host: Option<&'a str>,
    port: Option<u16>,
}

impl<'a> RequestHost<'a> {
    /// The host that the request target names, else that of the Host header.
    pub fn of(
        version: Version,
        uri: &'a Uri,
        headers: &'a HeaderMap,
    ) -> Result<RequestHost<'a>, HostError> {
        let mut values = headers.get_all(HOST).iter();
        let (first, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(HostError::Several);
        }
        let header = match first {
            Some(value) => value
                .to_str()
                .ok()
                .and_then(parse)
                .ok_or(HostError::Malformed)?,
            None if version < Version::HTTP_11 => RequestHost {
                host: None,
                port: None,
            },
            None => return Err(HostError::Missing),
        };
        // A target in absolute form outranks the header (RFC 9112, 3.2.2).
        match uri.authority() {
            Some(authority) => parse(authority.as_str()).ok_or(HostError::Malformed),
            None => Ok(header),
        }
    }
}

/// Names of this server besides those of the loopback interface.
#[derive(Debug, Default)]
pub struct Names(Vec<String>);

impl Names {
    /// The names of a list that is separated by commas, `None` when one is not a host without a port.
    pub fn parse(text: &str) -> Option<Names> {
        let names = text.split(',').map(|name| {
            let parsed = parse(name.trim()).filter(|it| it.port.is_none())?;
            let host = parsed.host.filter(|host| !host.is_empty())?;
            Some(host.to_ascii_lowercase())
        });
        names.collect::<Option<_>>().map(Names)
    }

    pub(super) fn has(&self, request: &RequestHost<'_>) -> bool {
        // Without a name there was none to bind to this machine: only HTTP/1.0 allows that.
        request
            .host
            .is_none_or(|host| is_loopback(host) || self.lists(host))
    }

    fn lists(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Whether every `Origin` is this server: the same host and port, or one of `names`.
pub(super) fn is_own_origin(headers: &HeaderMap, request: &RequestHost<'_>, names: &Names) -> bool {
    headers.get_all(ORIGIN).iter().all(|value| {
        let Some((scheme, authority)) = value.to_str().ok().and_then(|it| it.split_once("://"))
        else {
            return false;
        };
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let Some(RequestHost {
            host: Some(host),
            port,
        }) = parse(authority)
        else {
            return false;
        };
        let port_of = |port: Option<u16>| port.unwrap_or(default_port);
        let is_same = request.host.is_some_and(|it| it.eq_ignore_ascii_case(host))
            && port_of(port) == port_of(request.port);
        is_same || names.lists(host)
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn parse(text: &str) -> Option<RequestHost<'_>> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let is_host = text.starts_with('[') || host.bytes().all(is_part);
    let port = match port {
        // RFC 3986 allows an empty one.
        None | Some("") => None,
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
    };
    let host = Some(host);
    is_host.then_some(RequestHost { host, port })
}

fn is_loopback(host: &str) -> bool {
    let is_address = |host: &str| {
        let address = host.parse::<IpAddr>();
        address.is_ok_and(|address| address.to_canonical().is_loopback())
    };
    host.eq_ignore_ascii_case("localhost") || is_address(host)
}
