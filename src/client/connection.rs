//! Connections of the HTTP client: whether anything of a request was sent, and requests to a proxy in
//! absolute form.
//!
//! The HTTP library's errors do not tell whether a failed request has left this machine; the
//! connection does. And the library opens a tunnel through a proxy for plain HTTP too, which proxies
//! allow only to port 443.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};
use ureq::{Agent, Error, Proxy, ProxyProtocol};

use crate::config;

/// Whether a byte of the current request was sent; shared with the connections of an agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// A new request begins.
    pub(super) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether these are the first bytes of the request.
    fn record(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// How requests of plain HTTP go to a proxy.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    proxy: Uri,
    /// Precedes the path in the request line: `http://HOST:PORT`.
    origin: String,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

impl Forwarding {
    /// For a plain URL and a plain HTTP proxy; everything else goes through a tunnel or directly.
    pub(super) fn new(base_url: &str, proxy: &Proxy) -> Option<Forwarding> {
        let url: Uri = base_url.parse().ok()?;
        let is_plain = url.scheme_str() == Some("http") && proxy.protocol() == ProxyProtocol::Http;
        let origin = format!("http://{}", url.authority()?);
        let has_user = proxy.username().is_some() || proxy.password().is_some();
        let authorization = has_user.then(|| {
            let user = proxy.username().unwrap_or_default();
            let password = proxy.password().unwrap_or_default();
            let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {encoded}")
        });
        is_plain.then(|| Forwarding {
            proxy: proxy.uri().clone(),
            origin,
            authorization,
        })
    }
}

/// The proxy that the environment names for this URL, as curl chooses it.
pub(super) fn proxy(base_url: &str) -> Option<Proxy> {
    let url: Uri = base_url.parse().ok()?;
    // A proxy for outgoing requests cannot reach an API on this machine. The library may choose a
    // proxy for another scheme, but it knows NO_PROXY.
    if is_loopback(&url) || Proxy::try_from_env()?.is_no_proxy(&url) {
        return None;
    }
    Proxy::new(&config::proxy(url.scheme_str()?)?).ok()
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An agent whose connections record what they send.
pub(super) fn agent(config: Config, sent: &Sent, forwarding: Option<&Forwarding>) -> Agent {
    let connector = Recording {
        sent: sent.clone(),
        is_tunnelled: config.proxy().is_some(),
        origin: forwarding.map(|forwarding| forwarding.origin.clone()),
    };
    let resolver = ProxyResolver {
        default: DefaultResolver::default(),
        proxy: forwarding.map(|forwarding| forwarding.proxy.clone()),
    };
    Agent::with_parts(config, DefaultConnector::new().chain(connector), resolver)
}

/// Resolves the proxy instead of the host of the request, where requests are forwarded.
#[derive(Debug)]
struct ProxyResolver {
    default: DefaultResolver,
    proxy: Option<Uri>,
}

impl Resolver for ProxyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = self.proxy.as_ref().unwrap_or(uri);
        self.default.resolve(host, config, timeout)
    }
}

/// The last connector of the chain, after TCP and TLS.
#[derive(Debug)]
struct Recording {
    sent: Sent,
    /// The agent has a proxy, and first connects to that, by this connector too.
    is_tunnelled: bool,
    origin: Option<String>,
}

impl<In: Transport> Connector<In> for Recording {
    type Out = Recorded<In>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Recorded<In>>, Error> {
        // What opens a tunnel is no part of the request.
        let is_to_proxy = self.is_tunnelled && details.config.proxy().is_none();
        Ok(chained.map(|inner| Recorded {
            inner,
            sent: (!is_to_proxy).then(|| self.sent.clone()),
            origin: self.origin.clone(),
        }))
    }
}

#[derive(Debug)]
struct Recorded<T> {
    inner: T,
    sent: Option<Sent>,
    origin: Option<String>,
}

impl<T: Transport> Recorded<T> {
    /// Sends the first bytes of a request, with the origin before the path.
    fn transmit_absolute(
        &mut self,
        origin: &str,
        amount: usize,
        timeout: NextTimeout,
    ) -> Result<(), Error> {
        let head = self.inner.buffers().output()[..amount].to_vec();
        let path = head.iter().position(|byte| *byte == b' ');
        let path = path.map_or(0, |space| space + 1);
        let absolute = [&head[..path], origin.as_bytes(), &head[path..]].concat();
        let mut rest = absolute.as_slice();
        while !rest.is_empty() {
            let output = self.inner.buffers().output();
            let (now, later) = rest.split_at(rest.len().min(output.len()));
            output[..now.len()].copy_from_slice(now);
            self.inner.transmit_output(now.len(), timeout)?;
            rest = later;
        }
        Ok(())
    }
}

impl<T: Transport> Transport for Recorded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let is_first = self.sent.as_ref().is_some_and(Sent::record);
        match self.origin.clone().filter(|_| is_first) {
            Some(origin) => self.transmit_absolute(&origin, amount, timeout),
            None => self.inner.transmit_output(amount, timeout),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
