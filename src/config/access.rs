//! Who may send requests to the services' ports, and the token that clients send.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgAction;

use super::invalid::Invalid;
use super::settings::Settings;
use super::variables::ORDERS_TOKEN;
use crate::access::{Names, is_token};
use crate::exit::Failure;

/// How much of a client's token file is read: no token is as large.
const MAX_TOKEN_FILE_BYTES: u64 = 8_192;

/// Who may send requests to the ports of a service.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Access")]
pub struct AccessArgs {
    /// File of the tokens that requests need, made by `orders token`; it is read again when it
    /// changes
    #[arg(long, env = "AUTH_TOKENS_FILE", value_name = "FILE")]
    pub auth_tokens_file: Option<PathBuf>,

    /// Listen where other machines reach it without tokens: a proxy authenticates every request
    #[arg(long, env = "ALLOW_UNAUTHENTICATED", value_name = "true|false")]
    #[arg(action = ArgAction::Set, default_value = "false", value_parser = boolean)]
    #[arg(hide_short_help = true)]
    allow_unauthenticated: bool,

    /// Names by which clients call a port on loopback, besides localhost, separated by commas
    #[arg(long, env = "ALLOWED_HOSTS", value_name = "HOST,…")]
    #[arg(value_parser = names, hide_short_help = true)]
    allowed_hosts: Option<Arc<Names>>,
}

impl AccessArgs {
    /// The names of the ports besides loopback's.
    pub fn names(&self) -> Arc<Names> {
        self.allowed_hosts.clone().unwrap_or_default()
    }

    /// Refuses an address that other machines can reach while nothing authenticates requests. The
    /// addresses come with their variables.
    pub fn check(&self, ports: &[(&str, SocketAddr)]) -> Result<(), Failure> {
        match (&self.auth_tokens_file, self.allow_unauthenticated) {
            (Some(_), true) => {
                let message =
                    "`AUTH_TOKENS_FILE` and `ALLOW_UNAUTHENTICATED` contradict each other";
                return Err(Failure::usage(message).hint("unset one of them"));
            }
            (Some(_), false) => return Ok(()),
            (None, _) => {}
        }
        let reachable = ports.iter().filter(|(_, addr)| !addr.ip().is_loopback());
        for (variable, addr) in reachable {
            if !self.allow_unauthenticated {
                let message = format!(
                    "`{variable}` is `{addr}`, which other machines can reach, and no token is \
                     required"
                );
                return Err(Failure::usage(message).hint(
                    "make a token with `orders token NAME --scope orders:write` and name the file \
                     of its line in AUTH_TOKENS_FILE, or listen on 127.0.0.1; \
                     ALLOW_UNAUTHENTICATED=true says that a proxy authenticates every request",
                ));
            }
            tracing::warn!(
                "{variable} is {addr}, which other machines can reach, and no token is required \
                 (ALLOW_UNAUTHENTICATED): let only the proxy that authenticates connect"
            );
        }
        Ok(())
    }
}

/// The token that a client sends: that of `file`, else of ORDERS_TOKEN.
pub fn client_token(settings: &Settings, file: Option<&Path>) -> Result<Option<String>, Failure> {
    let variable = settings.variable(ORDERS_TOKEN)?;
    let (token, origin) = match (file, variable) {
        (Some(_), Some(_)) => {
            let message = format!("`ORDERS_TOKEN_FILE` and `{ORDERS_TOKEN}` are both set");
            return Err(Failure::usage(message).hint("unset one of them"));
        }
        (None, None) => return Ok(None),
        (None, Some(token)) => (token, format!("`{ORDERS_TOKEN}`")),
        (Some(path), None) => {
            let name = format!("the token file `{}`", path.display());
            let refused = |why: String| Failure::usage(format!("reading {name}: {why}"));
            let mut text = String::new();
            File::open(path)
                .and_then(|file| file.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text))
                .map_err(|error| refused(error.to_string()))?;
            (text.trim().to_owned(), name)
        }
    };
    match is_token(&token) {
        true => Ok(Some(token)),
        // What it holds may be a secret.
        false => Err(Failure::usage(format!(
            "{origin} holds no token, which is one word of visible ASCII characters"
        ))),
    }
}

fn boolean(text: &str) -> Result<bool, Invalid> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Invalid::expected(text, "true or false")),
    }
}

fn names(text: &str) -> Result<Arc<Names>, Invalid> {
    let names = Names::parse(text).map(Arc::new);
    names.ok_or_else(|| Invalid::expected(text, "hosts without ports, separated by commas"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::settings::tests::{from_variables, resolve};
    use crate::config::variables::Variables;

    const LOOPBACK: (&str, ([u8; 4], u16)) = ("ADMIN_ADDR", ([127, 0, 0, 1], 8081));

    fn check(pairs: &[(&str, &str)], ip: [u8; 4]) -> Result<(), String> {
        let args: AccessArgs = from_variables(pairs)?;
        let (admin, addr) = LOOPBACK;
        let ports = [("HTTP_ADDR", (ip, 8080).into()), (admin, addr.into())];
        args.check(&ports).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_that_others_reach_needs_tokens_or_a_word() {
        let anywhere = [0, 0, 0, 0];
        assert_eq!(check(&[], [127, 0, 0, 1]), Ok(()));
        let refused = check(&[], anywhere).unwrap_err();
        assert!(
            refused.starts_with("`HTTP_ADDR` is `0.0.0.0:8080`"),
            "{refused}"
        );
        assert_eq!(check(&[("AUTH_TOKENS_FILE", "f")], anywhere), Ok(()));
        let word = ("ALLOW_UNAUTHENTICATED", "true");
        assert_eq!(check(&[word], anywhere), Ok(()));
        assert!(check(&[("ALLOW_UNAUTHENTICATED", "false")], anywhere).is_err());
        assert!(check(&[("AUTH_TOKENS_FILE", "f"), word], anywhere).is_err());
        let malformed = check(&[("ALLOW_UNAUTHENTICATED", "yes")], anywhere).unwrap_err();
        assert!(malformed.contains("expected true or false"), "{malformed}");
        let malformed = check(&[("ALLOWED_HOSTS", "a:1")], anywhere).unwrap_err();
        assert!(
            malformed.starts_with("`ALLOWED_HOSTS` is `a:1`"),
            "{malformed}"
        );
    }

    fn token(pairs: &[(&str, &str)], file: Option<&Path>) -> Result<Option<String>, String> {
        let variables = Variables::of_process(pairs.iter().copied());
        let (_, settings) = resolve::<AccessArgs>(&[], variables).unwrap();
        client_token(&settings, file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_has_its_token_from_one_place_and_never_repeats_it() {
        assert_eq!(token(&[], None), Ok(None));
        let variable = (ORDERS_TOKEN, "orders_s3cret");
        assert_eq!(token(&[variable], None), Ok(Some("orders_s3cret".into())));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "orders_other\n").unwrap();
        assert_eq!(token(&[], Some(&path)), Ok(Some("orders_other".into())));
        assert!(token(&[variable], Some(&path)).is_err());
        let two = token(&[(ORDERS_TOKEN, "s3 cret")], None).unwrap_err();
        assert!(!two.contains("s3"), "{two}");
        assert!(token(&[], Some(folder.path())).is_err());
    }
}
