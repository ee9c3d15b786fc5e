-- compatible: a program that knows only the migrations before this one goes on working
--
-- What operators do about orders: resolve dead letters, accept gaps, erase. Everything is added beside
-- what is there, nullable or with a default.

-- A dead letter is open until it is resolved; NULL is open. retried: stored. outdated: the store had a
-- newer version. discarded, erased: by an operator.
ALTER TABLE dead_letters ADD COLUMN resolution   TEXT;
ALTER TABLE dead_letters ADD COLUMN resolved_at  TEXT;
ALTER TABLE dead_letters ADD COLUMN resolved_by  TEXT;
ALTER TABLE dead_letters ADD COLUMN resolved_why TEXT;

-- Set with the first erasure, in the transaction of that erasure.
ALTER TABLE log_positions ADD COLUMN has_erasures INTEGER NOT NULL DEFAULT 0;

-- The last time an operator moved a position.
ALTER TABLE log_positions ADD COLUMN moved_at  TEXT;
ALTER TABLE log_positions ADD COLUMN moved_by  TEXT;
ALTER TABLE log_positions ADD COLUMN moved_why TEXT;

CREATE TABLE erasures (
    -- Orders that must stay erased, by the SHA-256 of the uid: no record accepted up to erased_until is
    -- stored.
    uid_sha256   BLOB PRIMARY KEY,
    erased_until TEXT NOT NULL,
    erased_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    erased_by    TEXT NOT NULL,
    why          TEXT NOT NULL
) STRICT;

CREATE TABLE accepted_gaps (
    -- Deleted offsets [from_offset, to_offset) that an operator accepts: the consumer reads on after them.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    position_id INTEGER NOT NULL REFERENCES log_positions (id),
    epoch       INTEGER NOT NULL,
    from_offset INTEGER NOT NULL,
    to_offset   INTEGER NOT NULL,
    accepted_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    accepted_by TEXT    NOT NULL,
    why         TEXT    NOT NULL,
    UNIQUE (position_id, epoch, from_offset, to_offset)
) STRICT;
