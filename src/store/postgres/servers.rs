//! The servers that a database URL names, in the order in which they are tried.
//!
//! Each address of each host has a time limit of its own, for the network, TLS, the password and the
//! first query together, as in libpq.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ::postgres::config::SslMode;
use ::postgres::{Client, Config};
use postgres_openssl::MakeTlsConnector;
use uuid::Uuid;

use super::connecting::{ConnectError, Connecting};
use super::errors::{all_of, connect_error};
use super::passfile::PasswordFile;
use super::session;
use super::template::{limit, one_of, template};
use super::tls::Tls;
use super::url::{Parameters, UrlError};
use crate::store::StoreError;
use crate::timeouts::timeouts;

/// Debian's folder of PostgreSQL's sockets.
const SOCKET_FOLDER: &str = "/var/run/postgresql";

/// The servers of one database.
pub(super) struct Servers {
    servers: Vec<Server>,
    tls: MakeTlsConnector,
    limit: Duration,
    /// Whether they are tried in random order.
    is_shuffled: bool,
    /// Hosts, ports and database, without secrets.
    description: String,
}

struct Server {
    config: Config,
    connecting: Connecting,
    host: String,
    port: u16,
    /// Host, port and database.
    address: String,
}

impl Servers {
    /// Reads a `postgresql://` URL; `variables` fill in what it leaves out. Reads certificates and
    /// the password file, and does not connect.
    pub(super) fn new(
        url: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Servers, UrlError> {
        let parameters = Parameters::parse(url)?.or_variables(variables)?;
        let home = variables.get("HOME").map(Path::new);
        let tls = Tls::read(&parameters, home)?;
        let template = template(&parameters, &tls)?;
        let database = template.get_dbname().unwrap_or_default().to_owned();
        let mut servers = hosts(&parameters)?
            .into_iter()
            .map(|host| host.server(&template, &database))
            .collect::<Vec<_>>();
        if parameters.get("password").is_none() {
            add_passwords(&mut servers, &password_file(&parameters, home));
        }
        let names = servers.iter().map(|it| format!("{}:{}", it.host, it.port));
        Ok(Servers {
            description: format!("{}/{database}", names.collect::<Vec<_>>().join(",")),
            tls: tls.connector()?,
            limit: limit(&parameters)?.unwrap_or(timeouts().handshake),
            is_shuffled: one_of(
                &parameters,
                "load_balance_hosts",
                &[("disable", false), ("random", true)],
            )?
            .unwrap_or(false),
            servers,
        })
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// Opens a connection to the first server that takes it. The error has the reason of each.
    pub(super) fn connect(&self) -> Result<Client, StoreError> {
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        if self.is_shuffled {
            servers.sort_by_cached_key(|_| Uuid::new_v4());
        }
        let mut failures: Vec<StoreError> = Vec::new();
        for server in servers {
            match server.connect(&self.tls, self.limit) {
                Ok(client) => return Ok(client),
                Err(reasons) => failures.extend(reasons),
            }
        }
        Err(all_of(failures))
    }
}

impl Server {
    /// Tries each address of the host.
    fn connect(&self, tls: &MakeTlsConnector, limit: Duration) -> Result<Client, Vec<StoreError>> {
        let mut failures = Vec::new();
        for config in self.addresses().map_err(|error| vec![error])? {
            match self.connect_to(&config, tls, limit) {
                Ok(client) => return Ok(client),
                Err(error) => failures.push(error),
            }
        }
        Err(failures)
    }

    fn connect_to(
        &self,
        config: &Config,
        tls: &MakeTlsConnector,
        limit: Duration,
    ) -> Result<Client, StoreError> {
        match self
            .connecting
            .connect(config, tls.clone(), session::CHECK, limit)
        {
            Ok((client, answer)) => {
                session::check(answer.as_deref(), &self.address).map(|()| client)
            }
            Err(ConnectError::Client(error)) => Err(connect_error(error, &self.address)),
            Err(ConnectError::Silent) => {
                Err(self.unavailable(&format!("it does not respond within {limit:?}")))
            }
            Err(ConnectError::Local(error)) => Err(self.unavailable(&error)),
        }
    }

    fn unavailable(&self, reason: &dyn Display) -> StoreError {
        StoreError::Unavailable(format!("{reason} (at `{}`)", self.address))
    }

    /// One configuration for each address that the host's name stands for.
    fn addresses(&self) -> Result<Vec<Config>, StoreError> {
        if self.host.starts_with('/') || !self.config.get_hostaddrs().is_empty() {
            return Ok(vec![self.config.clone()]);
        }
        let resolved = (self.host.as_str(), self.port).to_socket_addrs();
        let addresses = resolved.map_err(|error| self.unavailable(&error))?;
        let at = |address: IpAddr| {
            let mut config = self.config.clone();
            config.hostaddr(address);
            config
        };
        Ok(addresses.map(|address| at(address.ip())).collect())
    }
}

/// One element of `host`, `hostaddr` and `port`.
struct Host {
    name: String,
    address: Option<IpAddr>,
    port: u16,
}

impl Host {
    fn server(self, template: &Config, database: &str) -> Server {
        let mut config = template.clone();
        config.host(&self.name).port(self.port);
        if self.name.starts_with('/') {
            // As in libpq: TLS has no place on a socket of this machine.
            config.ssl_mode(SslMode::Disable);
        } else if let Some(address) = self.address {
            config.hostaddr(address);
        }
        Server {
            config,
            connecting: Connecting::default(),
            address: format!("{}:{}/{database}", self.name, self.port),
            host: self.name,
            port: self.port,
        }
    }
}

fn hosts(parameters: &Parameters) -> Result<Vec<Host>, UrlError> {
    let list = |keyword| {
        let value = parameters.get(keyword);
        value.map_or_else(Vec::new, |value| value.split(',').collect::<Vec<_>>())
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    let fits = |given: usize| given == 0 || given == count;
    if !fits(names.len()) || !fits(addresses.len()) || !(ports.len() == 1 || fits(ports.len())) {
        return Err(UrlError::new(
            "the numbers of hosts, addresses and ports differ",
        ));
    }
    let host = |at: usize| {
        let address = addresses.get(at).filter(|it| !it.is_empty());
        let address = address.map(|it| IpAddr::from_str(it)).transpose();
        let address = address.map_err(|_| UrlError::new("`hostaddr` is not an IP address"))?;
        let name = names.get(at).filter(|it| !it.is_empty());
        Ok(Host {
            name: match (name, address) {
                (Some(name), _) => (*name).to_owned(),
                (None, Some(address)) => address.to_string(),
                (None, None) if Path::new(SOCKET_FOLDER).is_dir() => SOCKET_FOLDER.to_owned(),
                (None, None) => "localhost".to_owned(),
            },
            address,
            port: port(ports.get(at).or(ports.first()))?,
        })
    };
    (0..count).map(host).collect()
}

fn port(text: Option<&&str>) -> Result<u16, UrlError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(5432);
    };
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| {
        UrlError::new(
            "a port is not a number from 1 to 65535: in a user name or a password write `@` as \
             %40, `:` as %3A, `/` as %2F and `?` as %3F",
        )
    })
}

fn password_file(parameters: &Parameters, home: Option<&Path>) -> PasswordFile {
    let given = parameters.get("passfile").map(PathBuf::from);
    let path = given.or_else(|| Some(home?.join(".pgpass")));
    path.map_or_else(PasswordFile::default, |path| PasswordFile::read(&path))
}

fn add_passwords(servers: &mut [Server], file: &PasswordFile) {
    for server in servers {
        // As in libpq, which means the default folder of sockets only.
        let host = match server.host.as_str() {
            SOCKET_FOLDER => "localhost",
            host => host,
        };
        let (database, user) = (server.config.get_dbname(), server.config.get_user());
        let (database, user) = (database.unwrap_or_default(), user.unwrap_or_default());
        if let Some(password) = file.password(host, server.port, database, user) {
            server.config.password(password);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Result<Servers, String> {
        let variables = [("PGUSER".to_owned(), "me".to_owned())].into();
        Servers::new(url, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn each_host_has_its_port_and_the_description_names_all() {
        let cases = [
            ("postgresql://a,b/d", "a:5432,b:5432/d"),
            ("postgresql://a:1,b:2/d", "a:1,b:2/d"),
            ("postgresql://a:1,b/d", "a:1,b:5432/d"),
            ("postgresql://a,b/d?port=7", "a:7,b:7/d"),
            ("postgresql://h", "h:5432/me"),
            ("postgresql:///d?hostaddr=127.0.0.1", "127.0.0.1:5432/d"),
            ("postgresql:///d?host=/tmp", "/tmp:5432/d"),
        ];
        for (url, expected) in cases {
            let servers = servers(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(servers.describe(), expected, "{url}");
        }
    }

    #[test]
    fn values_that_cannot_be_used_are_refused_by_keyword() {
        let refused = [
            ("postgresql://h:s3cr3t/d", "a port is not"),
            ("postgresql://h:0/d", "a port is not"),
            ("postgresql://a,b/d?port=1,2,3", "the numbers of"),
            ("postgresql://a/d?hostaddr=s3cr3t", "`hostaddr`"),
            (
                "postgresql://a/d?connect_timeout=s3cr3t",
                "`connect_timeout`",
            ),
            (
                "postgresql://a/d?target_session_attrs=s3cr3t",
                "`target_session_attrs`",
            ),
            (
                "postgresql://a/d?channel_binding=s3cr3t",
                "`channel_binding`",
            ),
            ("postgresql://a/d?sslmode=s3cr3t", "`sslmode`"),
        ];
        for (url, expected) in refused {
            let error = servers(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("s3cr3t"), "{url}: {error}");
        }
    }

    #[test]
    fn the_time_limit_is_that_of_the_url() {
        let limit = |query: &str| servers(&format!("postgresql://h/d?{query}")).unwrap().limit;
        assert_eq!(limit("connect_timeout=3"), Duration::from_secs(3));
        assert_eq!(limit("connect_timeout=1"), Duration::from_secs(2));
        for none in ["connect_timeout=0", "connect_timeout=-1", "port=1"] {
            assert_eq!(limit(none), timeouts().handshake, "{none}");
        }
    }
}
