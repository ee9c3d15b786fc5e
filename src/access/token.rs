//! Tokens: what a file of them says, and how a new one is made. No file is touched here.
//!
//! A line is `NAME SCOPES sha256:HEX`, with the scopes separated by commas; empty lines and lines
//! that begin with `#` are skipped. Only digests are kept: who reads the file cannot use it.
//!
//! # Invariants
//!
//! - A presented token is hashed once, and compared with every digest in constant time.
//! - An error names the line and never repeats it: it may hold a token written there by mistake.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::ValueEnum;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How many random bytes a token has.
const TOKEN_BYTES: usize = 32;

/// What a token begins with, so that people and secret scanners recognise one.
const PREFIX: &str = "orders_";

/// The longest token that a client sends.
const MAX_TOKEN_BYTES: usize = 4_096;

/// How many tokens a file may have: each request is compared with all of them.
const MAX_TOKENS: usize = 1_000;

/// What a token allows.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// POST /orders
    #[value(name = "orders:write")]
    OrdersWrite,
    /// GET /api/order/UID
    #[value(name = "orders:read")]
    OrdersRead,
    /// /metrics and the details of /readyz
    #[value(name = "operator")]
    Operator,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Scope::OrdersWrite => "orders:write",
            Scope::OrdersRead => "orders:read",
            Scope::Operator => "operator",
        })
    }
}

/// The tokens of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

#[derive(Debug, PartialEq, Eq)]
struct Token {
    name: String,
    scopes: Vec<Scope>,
    digest: [u8; 32],
}

impl Tokens {
    /// Reads the text of a file. The error says what is wrong with it, without repeating any of it.
    pub fn parse(text: &[u8]) -> Result<Tokens, String> {
        let text = str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let mut tokens: Vec<Token> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |why: &str| format!("line {} {why}", index + 1);
            let token = parse_line(line).map_err(refused)?;
            if let Some(same) = tokens.iter().find(|it| it.digest == token.digest) {
                return Err(refused(&format!("repeats the token of `{}`", same.name)));
            }
            tokens.push(token);
            if tokens.len() > MAX_TOKENS {
                return Err(format!("it has more than {MAX_TOKENS} tokens"));
            }
        }
        match tokens.is_empty() {
            true => Err("it has no token".into()),
            false => Ok(Tokens(tokens)),
        }
    }

    /// What the token allows, `None` when it is none of these.
    pub fn scopes_of(&self, token: &[u8]) -> Option<&[Scope]> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        // All of them, whichever it is: the time taken says nothing.
        for token in &self.0 {
            if token.digest.ct_eq(&digest).into() {
                found = Some(token);
            }
        }
        found.map(|token| token.scopes.as_slice())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn parse_line(line: &str) -> Result<Token, &'static str> {
    let mut words = line.split_whitespace();
    let (Some(name), Some(scopes), Some(digest), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("is not `NAME SCOPES sha256:HEX`");
    };
    if !is_name(name) {
        return Err("begins with a name that is not 1 to 64 of the characters A-Z a-z 0-9 . _ -");
    }
    let scopes = scopes.split(',').map(|scope| Scope::from_str(scope, false));
    let scopes = scopes.collect::<Result<Vec<_>, _>>();
    let scopes =
        scopes.map_err(|_| "has another scope than orders:write, orders:read and operator")?;
    let digest = digest.strip_prefix("sha256:").and_then(hex);
    Ok(Token {
        name: name.to_owned(),
        scopes,
        digest: digest.ok_or("does not end with sha256: and 64 hexadecimal digits")?,
    })
}

/// Whether a token may have this name.
pub fn is_name(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    (1..=64).contains(&name.len()) && name.chars().all(is_part)
}

/// Whether a header can carry this text as a token.
pub fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A token that was just made: the secret, and the line that lets it in.
#[derive(Debug)]
pub struct NewToken {
    pub token: String,
    pub line: String,
}

impl NewToken {
    /// Makes one from 256 random bits of the kernel. The name must be one ([`is_name`]).
    pub fn generate(name: &str, scopes: &[Scope]) -> io::Result<NewToken> {
        let mut random = [0; TOKEN_BYTES];
        // So few bytes come at once; a short read would be a kernel that breaks its promise.
        let read = getrandom(&mut random, GetRandomFlags::empty())?;
        if read != TOKEN_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        let digest = Sha256::digest(&token);
        let line = format!("{name} {} sha256:{digest:x}", scopes.join(","));
        Ok(NewToken { token, line })
    }
}
