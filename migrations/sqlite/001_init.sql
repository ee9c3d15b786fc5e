-- The tables of go-orders in SQLite's words. Runs with plain `sqlite3 FILE < …` too, and leaves
-- tables that are already there as they are. Times are texts in UTC with six digits of fraction, as
-- in 2021-11-26T06:22:19.000000Z: readable, and sorted as text they are sorted by time.

CREATE TABLE IF NOT EXISTS orders (
    order_uid          TEXT PRIMARY KEY NOT NULL,
    track_number       TEXT,
    entry              TEXT,
    locale             TEXT,
    internal_signature TEXT,
    customer_id        TEXT,
    delivery_service   TEXT,
    shardkey           TEXT,
    sm_id              INTEGER CHECK (sm_id BETWEEN -2147483648 AND 2147483647),
    date_created       TEXT,
    oof_shard          TEXT,
    created_at         TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
) STRICT;

CREATE TABLE IF NOT EXISTS delivery (
    order_uid TEXT PRIMARY KEY NOT NULL REFERENCES orders (order_uid) ON DELETE CASCADE,
    name      TEXT,
    phone     TEXT,
    zip       TEXT,
    city      TEXT,
    address   TEXT,
    region    TEXT,
    email     TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS payment (
    order_uid      TEXT PRIMARY KEY NOT NULL REFERENCES orders (order_uid) ON DELETE CASCADE,
    transaction_id TEXT,
    request_id     TEXT,
    currency       TEXT,
    provider       TEXT,
    amount         INTEGER,
    payment_dt     INTEGER,
    bank           TEXT,
    delivery_cost  INTEGER,
    goods_total    INTEGER,
    custom_fee     INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS items (
    id           INTEGER PRIMARY KEY,
    order_uid    TEXT REFERENCES orders (order_uid) ON DELETE CASCADE,
    chrt_id      INTEGER,
    track_number TEXT,
    price        INTEGER,
    rid          TEXT,
    name         TEXT,
    sale         INTEGER CHECK (sale BETWEEN -2147483648 AND 2147483647),
    size         TEXT,
    total_price  INTEGER,
    nm_id        INTEGER,
    brand        TEXT,
    status       INTEGER CHECK (status BETWEEN -2147483648 AND 2147483647)
) STRICT;

CREATE INDEX IF NOT EXISTS idx_orders_date_created ON orders (date_created);
CREATE INDEX IF NOT EXISTS idx_items_order_uid ON items (order_uid);
