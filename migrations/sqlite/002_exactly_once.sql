-- What exactly-once needs: the position in the log lives beside the orders it produced. An id is
-- never given twice (AUTOINCREMENT): rows of orders name the position they came from.

CREATE TABLE log_positions (
    -- How far each partition is applied: everything below next_offset is in orders, dead_letters or
    -- log_gaps.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    log_id      TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    topic_id    TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    tail_offset INTEGER,
    tail_digest BLOB,
    owner       TEXT    NOT NULL,
    owner_group TEXT    NOT NULL,
    owner_host  TEXT    NOT NULL,
    taken_at    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    UNIQUE (log_id, partition)
) STRICT;

CREATE TABLE dead_letters (
    -- Records that could not become orders: payload is whole to 16 MiB, beyond that its head.
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    position_id    INTEGER NOT NULL REFERENCES log_positions (id),
    epoch          INTEGER NOT NULL,
    topic          TEXT    NOT NULL,
    partition      INTEGER NOT NULL,
    "offset"       INTEGER NOT NULL,
    key            BLOB,
    payload        BLOB,
    payload_bytes  INTEGER NOT NULL,
    payload_sha256 BLOB,
    order_uid      TEXT,
    accepted_at    TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    dead_at        TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    UNIQUE (position_id, epoch, "offset")
) STRICT;
CREATE INDEX dead_letters_order_uid ON dead_letters (order_uid) WHERE order_uid IS NOT NULL;

CREATE TABLE log_gaps (
    -- Offsets [from_offset, to_offset) that were never applied, and why; to_offset is NULL when
    -- unknown.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    position_id INTEGER NOT NULL REFERENCES log_positions (id),
    epoch       INTEGER NOT NULL,
    from_offset INTEGER NOT NULL,
    to_offset   INTEGER,
    reason      TEXT    NOT NULL,
    noted_at    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
) STRICT;

-- Where a row came from: which incarnation of which partition, the offset there, and when it was
-- accepted. NULL in rows that other programs wrote: those are older than any record.
ALTER TABLE orders ADD COLUMN source_position INTEGER;
ALTER TABLE orders ADD COLUMN source_epoch    INTEGER;
ALTER TABLE orders ADD COLUMN source_offset   INTEGER;
ALTER TABLE orders ADD COLUMN accepted_at     TEXT;
