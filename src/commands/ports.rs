//! What the ports of a service ask of a request, from its settings.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::access::{Access, Names, TokenFile};
use crate::config::AccessArgs;
use crate::exit::Failure;
use crate::shutdown::Shutdown;

/// The rules that the ports of one service share.
pub struct Ports {
    tokens: Option<Arc<TokenFile>>,
    names: Arc<Names>,
}

impl Ports {
    /// Reads the tokens. Fails where other machines reach one of the addresses, which come with their
    /// variables, and nothing authenticates requests.
    pub fn open(args: &AccessArgs, addrs: &[(&str, SocketAddr)]) -> Result<Ports, Failure> {
        args.check(addrs)?;
        let tokens = args.auth_tokens_file.as_deref().map(TokenFile::open);
        let tokens = tokens.transpose().map_err(|error| {
            let failure = Failure::usage(error.to_string());
            match error.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        Ok(Ports {
            tokens: tokens.map(Arc::new),
            names: args.names(),
        })
    }

    /// Whether requests need a token.
    pub fn need_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// The rules of the port at this address.
    pub fn access(&self, addr: SocketAddr) -> Access {
        Access::new(addr, self.tokens.clone(), self.names.clone())
    }

    /// Follows changes of the token file until a stop is requested.
    pub fn watch(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        match &self.tokens {
            Some(tokens) => tokens.clone().watch(shutdown.clone()),
            None => Ok(()),
        }
    }
}
