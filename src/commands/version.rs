//! `orders version`: prints the version, as `--version` does.

use serde_json::json;

use crate::commands::Context;
use crate::exit::Exit;

/// Prints name and version; with `--output json` an object.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if context.output.is_json() {
        context.output.json(&json!({ "version": version }))?;
    } else {
        context.output.data(&format!("orders {version}"))?;
    }
    Ok(Exit::Done)
}
