//! `orders token`: makes a token for the API or the operators' port.

use clap::builder::ValueParser;
use serde::Serialize;

use crate::access::{NewToken, Scope, is_name};
use crate::commands::Context;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  orders token shop --scope orders:write,orders:read
  orders token prometheus --scope operator
  orders token shop --scope orders:write --output json

Add the line to the file that AUTH_TOKENS_FILE names: services read it again
within a second. Clients send the token: set ORDERS_TOKEN or ORDERS_TOKEN_FILE.";

/// Nothing is stored: the line has only the token's SHA-256, and the token is shown this once.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Who will use it; its line begins with the name
    #[arg(value_name = "NAME", value_parser = ValueParser::new(name))]
    name: String,

    /// What it allows, repeatable or separated by commas
    #[arg(long = "scope", value_enum, value_name = "SCOPE", required = true)]
    #[arg(value_delimiter = ',')]
    scopes: Vec<Scope>,
}

/// The output of `--output json`.
#[derive(Serialize)]
struct Made {
    name: String,
    scopes: Vec<String>,
    token: String,
    line: String,
}

/// Prints the token and its line.
pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut scopes: Vec<Scope> = Vec::new();
    for scope in args.scopes {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    let made = NewToken::generate(&args.name, &scopes).map_err(|error| {
        Failure::new(Exit::Failed, "getting random bytes from the kernel").because(error)
    })?;
    let output = &context.output;
    if output.is_json() {
        output.json(&Made {
            name: args.name,
            scopes: scopes.iter().map(Scope::to_string).collect(),
            token: made.token,
            line: made.line,
        })?;
    } else {
        output.table(&["token", &made.token], [vec!["line".into(), made.line]])?;
        output.info(
            "the token is shown this once; add the line to the file that AUTH_TOKENS_FILE names",
        );
    }
    Ok(Exit::Done)
}

fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 64 of the characters A-Z a-z 0-9 . _ -".into()),
    }
}
