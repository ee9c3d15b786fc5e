-- What exactly-once needs: the position in the log lives beside the orders it produced. Everything
-- added to go-orders' tables is nullable and unconstrained, so that its consumer goes on working.

CREATE TABLE log_positions (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    log_id      TEXT        NOT NULL,
    partition   INT         NOT NULL,
    topic_id    TEXT        NOT NULL,
    epoch       INT         NOT NULL,
    next_offset BIGINT      NOT NULL,
    tail_offset BIGINT,
    tail_digest BYTEA,
    owner       UUID        NOT NULL,
    owner_group TEXT        NOT NULL,
    owner_host  TEXT        NOT NULL,
    taken_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (log_id, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE log_positions IS
    'How far each partition is applied: everything below next_offset is in orders, dead_letters or log_gaps';

CREATE TABLE dead_letters (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position_id    BIGINT      NOT NULL REFERENCES log_positions (id),
    epoch          INT         NOT NULL,
    topic          TEXT        NOT NULL,
    partition      INT         NOT NULL,
    "offset"       BIGINT      NOT NULL,
    key            BYTEA,
    payload        BYTEA,
    payload_bytes  BIGINT      NOT NULL,
    payload_sha256 BYTEA,
    order_uid      TEXT,
    accepted_at    TIMESTAMPTZ NOT NULL,
    reason         TEXT        NOT NULL,
    dead_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (position_id, epoch, "offset")
);
CREATE INDEX dead_letters_order_uid ON dead_letters (order_uid) WHERE order_uid IS NOT NULL;
COMMENT ON TABLE dead_letters IS
    'Records that could not become orders: payload is whole to 16 MiB, beyond that its head';

CREATE TABLE log_gaps (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position_id BIGINT      NOT NULL REFERENCES log_positions (id),
    epoch       INT         NOT NULL,
    from_offset BIGINT      NOT NULL,
    to_offset   BIGINT,
    reason      TEXT        NOT NULL,
    noted_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE log_gaps IS
    'Offsets [from_offset, to_offset) that were never applied, and why; to_offset is NULL when unknown';

-- Where a row came from: which incarnation of which partition, the offset there, and when it was
-- accepted. NULL in rows that other programs wrote: those are older than any record.
ALTER TABLE orders
    ADD COLUMN source_position BIGINT,
    ADD COLUMN source_epoch    INT,
    ADD COLUMN source_offset   BIGINT,
    ADD COLUMN accepted_at     TIMESTAMPTZ;

-- SERIAL ends after two thousand million rows.
ALTER TABLE items ALTER COLUMN id TYPE BIGINT;
ALTER SEQUENCE items_id_seq AS BIGINT;
