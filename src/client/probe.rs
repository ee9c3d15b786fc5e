//! Asks a service whether it is healthy.

use std::time::Duration;

use super::{Client, ClientError};
use crate::escape::escape;

/// How much of an answer is shown.
const MAX_SHOWN_CHARS: usize = 500;

impl Client {
    /// The status and the text of the answer to a GET, in one line without control characters. Blocks
    /// for at most `within`. Only [`ClientError::Unreachable`].
    pub fn probe(&self, path: &str, within: Duration) -> Result<(u16, String), ClientError> {
        let url = format!("{}{path}", self.base_url);
        let request = self.agent.get(url).config();
        let request = self.begin(request.timeout_global(Some(within)).build());
        let unreachable = |reason| ClientError::Unreachable {
            url: self.base_url.clone(),
            reason,
        };
        let response = self
            .read(request.call())?
            .map_err(|error| unreachable(error.reason))?;
        let text = String::from_utf8_lossy(response.body());
        let text: Vec<&str> = text.lines().collect();
        let text: String = text.join("; ").chars().take(MAX_SHOWN_CHARS).collect();
        Ok((response.status().as_u16(), escape(&text).into_owned()))
    }
}
