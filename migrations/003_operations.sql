-- compatible: a program that knows only the migrations before this one goes on working
--
-- What operators do about orders: resolve dead letters, accept gaps, erase. Everything is added beside
-- what is there, nullable or with a default, so that nothing is rewritten and no statement of an older
-- program changes its meaning.

-- A dead letter is open until it is resolved; NULL is open.
ALTER TABLE dead_letters
    ADD COLUMN resolution  TEXT,
    ADD COLUMN resolved_at TIMESTAMPTZ,
    ADD COLUMN resolved_by TEXT,
    ADD COLUMN resolved_why TEXT;
COMMENT ON COLUMN dead_letters.resolution IS
    'NULL: open. retried: stored. outdated: the store had a newer version. discarded, erased: by an operator';

-- Set with the first erasure, in the transaction of that erasure: it makes the consumer look for
-- erasures once its batch holds the row, and costs it nothing before.
ALTER TABLE log_positions ADD COLUMN has_erasures BOOLEAN NOT NULL DEFAULT false;

-- The last time an operator moved a position.
ALTER TABLE log_positions
    ADD COLUMN moved_at  TIMESTAMPTZ,
    ADD COLUMN moved_by  TEXT,
    ADD COLUMN moved_why TEXT;

CREATE TABLE erasures (
    uid_sha256   BYTEA PRIMARY KEY,
    erased_until TIMESTAMPTZ NOT NULL,
    erased_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    erased_by    TEXT        NOT NULL,
    why          TEXT        NOT NULL
);
COMMENT ON TABLE erasures IS
    'Orders that must stay erased, by the SHA-256 of the uid: no record accepted up to erased_until is stored';

CREATE TABLE accepted_gaps (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position_id BIGINT      NOT NULL REFERENCES log_positions (id),
    epoch       INT         NOT NULL,
    from_offset BIGINT      NOT NULL,
    to_offset   BIGINT      NOT NULL,
    accepted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    accepted_by TEXT        NOT NULL,
    why         TEXT        NOT NULL,
    UNIQUE (position_id, epoch, from_offset, to_offset)
);
COMMENT ON TABLE accepted_gaps IS
    'Deleted offsets [from_offset, to_offset) that an operator accepts: the consumer reads on after them';
