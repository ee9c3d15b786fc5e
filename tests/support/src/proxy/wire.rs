//! The protocols that pass through a proxy, parsed just enough to find one request and its reply.
//!
//! PostgreSQL (protocol 3): a COMMIT is a simple query or a Parse whose text starts with it. Kafka:
//! every message begins with its length; a request has its api key, and its reply repeats the
//! correlation id of the request.

/// The protocol of both sides of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Not parsed.
    Unknown,
    Postgres,
    Kafka,
}

/// The reply that a client must not receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Commit,
    /// To the Produce request with that correlation id.
    Produce(u32),
}

/// One connection through a proxy.
pub struct Conversation {
    protocol: Protocol,
    frontend: Frontend,
    requests: Frames,
    responses: Frames,
}

impl Conversation {
    pub fn new(protocol: Protocol) -> Conversation {
        Conversation {
            protocol,
            frontend: Frontend::default(),
            requests: Frames::new(12),
            responses: Frames::new(8),
        }
    }

    /// The reply to expect when these bytes of the client contain a COMMIT or Produce.
    pub fn request(&mut self, bytes: &[u8]) -> Option<Reply> {
        let mut due = None;
        match self.protocol {
            Protocol::Unknown => {}
            Protocol::Postgres => due = self.frontend.commits(bytes).then_some(Reply::Commit),
            Protocol::Kafka => self.requests.feed(bytes, |start| {
                const PRODUCE: [u8; 2] = [0, 0];
                if start[4..6] == PRODUCE {
                    due = Some(Reply::Produce(number(&start[8..12])));
                }
            }),
        }
        due
    }

    /// Whether these bytes of the server contain that reply.
    pub fn has_reply(&mut self, bytes: &[u8], due: Option<Reply>) -> bool {
        let mut found = false;
        if self.protocol == Protocol::Kafka {
            self.responses.feed(bytes, |start| {
                found |= due == Some(Reply::Produce(number(&start[4..8])));
            });
        }
        // CommandComplete contains the word.
        let commits = || bytes.windows(7).any(|bytes| bytes == b"COMMIT\0");
        found || (due == Some(Reply::Commit) && commits())
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

/// Splits one direction of a Kafka connection into messages; keeps only their first bytes.
struct Frames {
    /// How many bytes of each message are kept, its length included.
    wanted: usize,
    start: Vec<u8>,
    skip: usize,
}

impl Frames {
    fn new(wanted: usize) -> Frames {
        Frames {
            wanted,
            start: Vec::new(),
            skip: 0,
        }
    }

    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (self.wanted - self.start.len()).min(bytes.len());
            self.start.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.start.len() == self.wanted {
                let length = usize::try_from(number(&self.start[..4])).expect("a length fits");
                self.skip = (4 + length).saturating_sub(self.wanted);
                each(&self.start);
                self.start.clear();
            }
        }
    }
}

/// Splits the bytes of a PostgreSQL client into messages.
#[derive(Default)]
struct Frontend {
    pending: Vec<u8>,
    started: bool,
}

impl Frontend {
    const SSL_REQUEST: u32 = 80_877_103;

    /// Whether a COMMIT is complete with these bytes.
    fn commits(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        let mut found = false;
        while let Some(message) = self.next() {
            let text = match message.first() {
                Some(b'Q') => &message[5..],
                // The statement's name comes first.
                Some(b'P') => message[5..]
                    .splitn(2, |byte| *byte == 0)
                    .nth(1)
                    .unwrap_or_default(),
                _ => continue,
            };
            found |= text.len() >= 6 && text[..6].eq_ignore_ascii_case(b"COMMIT");
        }
        found
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        // The first messages have no type byte: an optional SSLRequest, then the startup.
        let prefix = usize::from(self.started);
        let number = |at: usize| self.pending.get(at..at + 4).map(number);
        let length = prefix + usize::try_from(number(prefix)?).expect("a length fits");
        if self.pending.len() < length {
            return None;
        }
        self.started = self.started || number(4) != Some(Self::SSL_REQUEST);
        Some(self.pending.drain(..length).collect())
    }
}
