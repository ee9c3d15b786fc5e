//! `orders config`: every setting, its value and where it comes from.
//!
//! With `--running` those of the services of this machine, as each reports through its control socket.

use std::path::Path;

use clap::Command;
use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::{ServiceSettings, ServiceStatus};
use crate::commands::Context;
use crate::config::{
    AccessArgs, AdminArgs, ApiUrlArgs, CacheArgs, EngineArgs, Entry, GroupArgs, HttpArgs, Origin,
    control_folder, other_defaults,
};
use crate::escape::escape;
use crate::exit::{Exit, Failure};
use crate::operations::control_client::ControlClient;
use crate::operations::differences::{Configured, Difference, differences};
use crate::operations::services::{self, Service, uptime};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  orders config                        every setting, its value, its origin
  orders config --env-file prod.env    what this file would set
  orders config --output json | jq '.settings[] | select(.origin!=\"default\")'
  orders config --running              what the services of this machine use

Passwords, tokens and properties of the Kafka client are shown as ***.
A service that does not answer within 800 ms is shown as such; exit code 5
when none of those that run answers.";

/// The arguments of `orders config`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show the settings of the running services of this user on this machine
    #[arg(long)]
    running: bool,

    /// Checked by their parsers, and shown as they were given.
    #[command(flatten)]
    pub settings: AllSettings,
}

/// Every group of settings, for `orders config` to show.
#[derive(clap::Args)]
pub struct AllSettings {
    #[command(flatten)]
    pub engines: EngineArgs,
    #[command(flatten)]
    pub groups: GroupArgs,
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub admin: AdminArgs,
    #[command(flatten)]
    pub access: AccessArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub api: ApiUrlArgs,
}

/// Prints the settings; `command` is the whole command line.
pub fn run(args: Args, command: &Command, context: &Context) -> anyhow::Result<Exit> {
    let entries = context.settings.entries();
    if args.running {
        if entries.iter().any(|entry| entry.origin == Origin::Flag) {
            let message = "`--running` shows what the services use, and no flag changes that";
            return Err(Failure::usage(message)
                .hint("leave the other flags out")
                .into());
        }
        return running(&context.output);
    }
    let settings = with_other_defaults(entries, command);
    if context.output.is_json() {
        context.output.json(&json!({ "settings": settings }))?;
    } else {
        let rows = settings.iter().map(|setting| {
            let name = match &setting.command {
                Some(command) => format!("{} ({command})", setting.entry.name),
                None => setting.entry.name.clone(),
            };
            row(name, &setting.entry)
        });
        context.output.table(&HEADERS, rows)?;
    }
    Ok(Exit::Done)
}

/// A setting of `orders config`.
#[derive(Serialize)]
struct Setting {
    #[serde(flatten)]
    entry: Entry,
    /// The one command that has this default.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// Adds the defaults of commands that have another one, each after the setting.
fn with_other_defaults(entries: Vec<Entry>, command: &Command) -> Vec<Setting> {
    let mut settings = Vec::new();
    for entry in entries {
        let others = other_defaults(command, &entry);
        let others = others.into_iter().map(|(command, entry)| Setting {
            entry,
            command: Some(command),
        });
        let command = None;
        settings.push(Setting { entry, command });
        settings.extend(others);
    }
    settings
}

const HEADERS: [&str; 3] = ["setting", "value", "origin"];

fn row(name: String, entry: &Entry) -> Vec<String> {
    let value = entry.value.clone().unwrap_or_default();
    vec![name, value, entry.origin.to_string()]
}

type Answer = (ServiceStatus, ServiceSettings);

fn running(output: &Output) -> anyhow::Result<Exit> {
    let question = |client: &ControlClient| Ok((client.status()?, client.settings()?));
    let services = services::ask::<Answer>(&control_folder(), question)?;
    let names: Vec<String> = services
        .iter()
        .map(|service| format!("{} (pid {})", service.role, service.pid))
        .collect();
    let answered = || {
        let named = names.iter().zip(&services);
        named.filter_map(|(name, service)| Some((name, service.answer.as_ref().ok()?)))
    };
    let configured: Vec<_> = answered()
        .map(|(name, (_, settings))| Configured {
            name,
            folder: Path::new(&settings.folder),
            settings: &settings.settings,
        })
        .collect();
    let differences = differences(&configured);

    if output.is_json() {
        let services: Vec<Value> = services.iter().map(service_json).collect();
        let differences: Vec<Value> = differences.iter().map(difference_json).collect();
        output.json(&json!({ "services": services, "differences": differences }))?;
    } else if services.is_empty() {
        output.info("no service of this user runs on this machine");
    } else {
        let headers = ["service", "pid", "version", "up", "api", "admin", "state"];
        output.table(&headers, services.iter().map(service_row))?;
        for (name, (_, settings)) in answered() {
            output.data(&format!(
                "\n{} in {}",
                escape(name),
                escape(&settings.folder)
            ))?;
            let rows = settings.settings.iter();
            output.table(&HEADERS, rows.map(|entry| row(entry.name.clone(), entry)))?;
        }
        for (number, difference) in differences.iter().enumerate() {
            let gap = if number == 0 { "\n" } else { "" };
            output.data(&format!("{gap}{}", escape(&difference_line(difference))))?;
        }
    }
    Ok(match services.is_empty() || answered().next().is_some() {
        true => Exit::Done,
        false => Exit::Unreachable,
    })
}

fn service_row(service: &Service<Answer>) -> Vec<String> {
    let (role, pid) = (service.role.clone(), service.pid.to_string());
    match &service.answer {
        Err(why) => {
            let unknown = String::new();
            let [version, up, api, admin] = [(); 4].map(|()| unknown.clone());
            vec![role, pid, version, up, api, admin, why.clone()]
        }
        Ok((status, _)) => {
            let failed = status.checks.iter().filter(|check| !check.ok);
            let failed: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
            let state = match failed.as_slice() {
                [] => "ready".to_owned(),
                failed => format!("not ready: {}", failed.join(", ")),
            };
            let api = status.addresses.api.map(|addr| addr.to_string());
            vec![
                role,
                pid,
                status.version.clone(),
                uptime(status.uptime_s),
                api.unwrap_or_default(),
                status.addresses.admin.to_string(),
                state,
            ]
        }
    }
}

fn service_json(service: &Service<Answer>) -> Value {
    match &service.answer {
        Err(why) => json!({ "role": service.role, "pid": service.pid, "error": why }),
        Ok((status, settings)) => json!({
            "role": service.role,
            "pid": service.pid,
            "version": status.version,
            "uptime_s": status.uptime_s,
            "addresses": status.addresses,
            "checks": status.checks,
            "folder": settings.folder,
            "settings": settings.settings,
        }),
    }
}

fn difference_line(difference: &Difference<'_>) -> String {
    let values = difference.values.iter();
    let values = values.map(|(service, value)| format!("`{value}` in {service}"));
    let values = values.collect::<Vec<_>>().join(", ");
    format!("{} differs: {values}", difference.setting)
}

fn difference_json(difference: &Difference<'_>) -> Value {
    let values = difference.values.iter();
    let values = values.map(|(service, value)| json!({ "service": service, "value": value }));
    json!({ "setting": difference.setting, "values": values.collect::<Vec<_>>() })
}
