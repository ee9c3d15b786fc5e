//! Who may send a request to a port, and what it may read or do: tokens with scopes, and the hosts
//! that a request may name.
//!
//! Both TCP ports ask here before they look at a request's meaning. Without tokens everybody may do
//! everything; such a port listens on loopback, or a proxy authenticates (`config` sees to that).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};

mod host;
mod token;
mod token_file;

pub use host::{HostError, Names, RequestHost};
pub use token::{NewToken, Scope, is_name, is_token};
pub use token_file::{TokenFile, TokenFileError};

/// What one port asks of a request.
#[derive(Clone, Debug)]
pub struct Access {
    tokens: Option<Arc<TokenFile>>,
    names: Arc<Names>,
    /// Whether a request must name this machine's loopback interface or one of `names`.
    is_host_checked: bool,
}

/// Why a request may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It has no token.
    NoToken,
    /// Its token is none of ours, any more or yet.
    InvalidToken,
    /// Its token lacks this scope.
    Scope(Scope),
}

impl Access {
    /// The rules of a port bound to `addr`. On loopback without tokens a request must name loopback
    /// or one of `names`: otherwise any page that a browser on this machine shows could read orders
    /// after binding its own name to 127.0.0.1 (DNS rebinding).
    pub fn new(addr: SocketAddr, tokens: Option<Arc<TokenFile>>, names: Arc<Names>) -> Access {
        let is_host_checked = tokens.is_none() && addr.ip().is_loopback();
        Access {
            tokens,
            names,
            is_host_checked,
        }
    }

    /// The host that a request names, when it may name that one (RFC 9112, 3.2).
    pub fn host<'a>(
        &self,
        version: Version,
        uri: &'a Uri,
        headers: &'a HeaderMap,
    ) -> Result<RequestHost<'a>, HostError> {
        let host = RequestHost::of(version, uri, headers)?;
        match self.is_host_checked && !self.names.has(&host) {
            true => Err(HostError::NotOurs),
            false => Ok(host),
        }
    }

    /// Whether the page that sends a request, if a page does, is one of this server's own.
    pub fn is_own_origin(&self, headers: &HeaderMap, host: &RequestHost<'_>) -> bool {
        host::is_own_origin(headers, host, &self.names)
    }

    /// Whether a request with these headers may do what `scope` names.
    pub fn authorize(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Denial> {
        let Some(file) = &self.tokens else {
            return Ok(());
        };
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, more) = (values.next(), values.next());
        let value = value.ok_or(Denial::NoToken)?;
        let token = bearer(value).filter(|_| more.is_none());
        let tokens = file.tokens();
        match token.and_then(|token| tokens.scopes_of(token)) {
            Some(scopes) if scopes.contains(&scope) => Ok(()),
            Some(_) => Err(Denial::Scope(scope)),
            None => Err(Denial::InvalidToken),
        }
    }

    /// The file of the tokens; `None` while everybody may do everything.
    pub fn token_file(&self) -> Option<&TokenFile> {
        self.tokens.as_deref()
    }
}

impl Denial {
    /// The status: 401 asks for a token, 403 for another one.
    pub fn status(self) -> StatusCode {
        match self {
            Denial::NoToken | Denial::InvalidToken => StatusCode::UNAUTHORIZED,
            Denial::Scope(_) => StatusCode::FORBIDDEN,
        }
    }

    /// What the client lacks, in words.
    pub fn detail(self) -> String {
        match self {
            Denial::NoToken => "send a token: `Authorization: Bearer …`".into(),
            Denial::InvalidToken => "the token is not, or no longer, valid".into(),
            Denial::Scope(scope) => format!("the token lacks the scope `{scope}`"),
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3).
    pub fn challenge(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Denial::NoToken => r#"Bearer realm="orders""#,
            Denial::InvalidToken => r#"Bearer realm="orders", error="invalid_token""#,
            Denial::Scope(Scope::OrdersWrite) => {
                r#"Bearer realm="orders", error="insufficient_scope", scope="orders:write""#
            }
            Denial::Scope(Scope::OrdersRead) => {
                r#"Bearer realm="orders", error="insufficient_scope", scope="orders:read""#
            }
            Denial::Scope(Scope::Operator) => {
                r#"Bearer realm="orders", error="insufficient_scope", scope="operator""#
            }
        })
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
