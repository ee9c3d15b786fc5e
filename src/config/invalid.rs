//! The error of a setting's parser.

use super::redaction::redact;

/// Why the text of a setting cannot be used: what follows the setting's name in the error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Invalid {
    reason: String,
    pub(super) hint: Option<&'static str>,
}

impl Invalid {
    /// A reason that does not repeat the value: for values that may be secret.
    pub(super) fn new(reason: impl Into<String>) -> Invalid {
        Invalid {
            reason: reason.into(),
            hint: None,
        }
    }

    /// Repeats the value, without a URL's password.
    pub(super) fn expected(value: &str, expected: &str) -> Invalid {
        Invalid::new(format!("is `{}`, expected {expected}", redact(value)))
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Invalid {
        self.hint = Some(hint);
        self
    }
}
