//! The client's settings that follow from the parameters of a URL, the same for each of its servers.

use std::time::Duration;

use ::postgres::Config;
use ::postgres::config::{ChannelBinding, TargetSessionAttrs};

use super::session;
use super::tls::Tls;
use super::url::{Parameters, UrlError};
use crate::timeouts::timeouts;

/// How long a server may take to accept a connection, where `connect_timeout` is not set.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(5);

/// What all servers have in common.
pub(super) fn template(parameters: &Parameters, tls: &Tls) -> Result<Config, UrlError> {
    let user = match parameters.get("user") {
        Some(user) => user.to_owned(),
        None => whoami::username()
            .map_err(|error| UrlError::new(format!("it has no user, and {error}")))?,
    };
    let mut config = Config::new();
    config
        .dbname(parameters.get("dbname").unwrap_or(&user))
        .user(&user)
        .options(&session::options(parameters.get("options")))
        .application_name("orders")
        .ssl_mode(tls.client_mode())
        .connect_timeout(match limit(parameters)? {
            Some(limit) => limit,
            None => NETWORK_TIMEOUT.min(timeouts().handshake),
        })
        .tcp_user_timeout(Duration::from_secs(10))
        .keepalives_idle(Duration::from_secs(10));
    if let Some(password) = parameters.get("password") {
        config.password(password);
    }
    if let Some(milliseconds) = number(parameters, "tcp_user_timeout")? {
        config.tcp_user_timeout(Duration::from_millis(milliseconds));
    }
    let seconds = |keyword| Ok(number(parameters, keyword)?.map(Duration::from_secs));
    if let Some(idle) = seconds("keepalives_idle")? {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = seconds("keepalives_interval")? {
        config.keepalives_interval(interval);
    }
    if let Some(count) = number(parameters, "keepalives_count")? {
        config.keepalives_retries(u32::try_from(count).unwrap_or(u32::MAX));
    }
    if parameters.get("keepalives") == Some("0") {
        config.keepalives(false);
    }
    let attributes = [
        ("any", TargetSessionAttrs::Any),
        ("read-write", TargetSessionAttrs::ReadWrite),
        ("primary", TargetSessionAttrs::ReadWrite),
        ("read-only", TargetSessionAttrs::ReadOnly),
        ("standby", TargetSessionAttrs::ReadOnly),
    ];
    if let Some(attributes) = one_of(parameters, "target_session_attrs", &attributes)? {
        config.target_session_attrs(attributes);
    }
    let bindings = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    if let Some(binding) = one_of(parameters, "channel_binding", &bindings)? {
        config.channel_binding(binding);
    }
    Ok(config)
}

/// `connect_timeout`, which libpq takes as 2 s at least; `None` for libpq's "no limit" too.
pub(super) fn limit(parameters: &Parameters) -> Result<Option<Duration>, UrlError> {
    let seconds = match parameters.get("connect_timeout") {
        Some(text) if text.starts_with('-') => None,
        _ => number(parameters, "connect_timeout")?,
    };
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.max(2))))
}

/// A whole number; `None` for 0, which is libpq's word for its default.
fn number(parameters: &Parameters, keyword: &str) -> Result<Option<u64>, UrlError> {
    let Some(text) = parameters.get(keyword) else {
        return Ok(None);
    };
    let number = text.parse::<u32>();
    let number = number.map_err(|_| UrlError::new(format!("`{keyword}` is not a whole number")))?;
    Ok((number > 0).then_some(number.into()))
}

pub(super) fn one_of<T: Copy>(
    parameters: &Parameters,
    keyword: &str,
    values: &[(&str, T)],
) -> Result<Option<T>, UrlError> {
    let Some(text) = parameters.get(keyword) else {
        return Ok(None);
    };
    let found = values.iter().find(|(name, _)| *name == text);
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        UrlError::new(format!("`{keyword}` must be one of {}", names.join(", ")))
    })?;
    Ok(Some(found.1))
}
