-- What a program that knows only the migrations 001 and 002 sends to PostgreSQL, to the letter.
-- `name:` begins a statement.

-- name: acquire
UPDATE log_positions
                SET owner = $3, owner_group = $4, owner_host = $5, taken_at = now()
                WHERE log_id = $1 AND partition = $2
                RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')

-- name: advance
UPDATE log_positions
                SET next_offset = $4, tail_offset = COALESCE($5, tail_offset),
                    tail_digest = COALESCE($6, tail_digest)
                WHERE id = $1 AND owner = $2 AND epoch = $3 AND next_offset = $7

-- name: upsert_position
INSERT INTO log_positions
                    (log_id, partition, topic_id, epoch, next_offset,
                     owner, owner_group, owner_host)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (log_id, partition) DO UPDATE
                SET topic_id = excluded.topic_id,
                    epoch = excluded.epoch,
                    next_offset = excluded.next_offset,
                    tail_offset = CASE WHEN log_positions.epoch = excluded.epoch
                        THEN log_positions.tail_offset END,
                    tail_digest = CASE WHEN log_positions.epoch = excluded.epoch
                        THEN log_positions.tail_digest END
                WHERE log_positions.owner = excluded.owner
                RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')

-- name: find
SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM log_positions WHERE log_id = $1 AND partition = $2

-- name: find_by_id
SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM log_positions WHERE id = $1

-- name: of_log
SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest,
            owner, owner_group, owner_host, to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM log_positions WHERE log_id = $1

-- name: known_uids
SELECT order_uid FROM orders WHERE order_uid = ANY($1)

-- name: insert_orders
INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at)
SELECT order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int4[], $10::timestamptz[], $11::text[], $12::int8[], $13::int4[], $14::int8[], $15::timestamptz[])
    WITH ORDINALITY AS given(order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at, ordinal)

-- name: upsert_orders
INSERT INTO orders (order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at)
SELECT order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int4[], $10::timestamptz[], $11::text[], $12::int8[], $13::int4[], $14::int8[], $15::timestamptz[])
    WITH ORDINALITY AS given(order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at, ordinal)
ON CONFLICT (order_uid) DO UPDATE SET track_number = EXCLUDED.track_number, entry = EXCLUDED.entry, locale = EXCLUDED.locale, internal_signature = EXCLUDED.internal_signature, customer_id = EXCLUDED.customer_id, delivery_service = EXCLUDED.delivery_service, shardkey = EXCLUDED.shardkey, sm_id = EXCLUDED.sm_id, date_created = EXCLUDED.date_created, oof_shard = EXCLUDED.oof_shard, source_position = EXCLUDED.source_position, source_epoch = EXCLUDED.source_epoch, source_offset = EXCLUDED.source_offset, accepted_at = EXCLUDED.accepted_at
    WHERE orders.source_position IS NULL
       OR CASE WHEN orders.source_position = EXCLUDED.source_position
                AND orders.source_epoch = EXCLUDED.source_epoch
               THEN EXCLUDED.source_offset >= orders.source_offset
               ELSE EXCLUDED.accepted_at >= orders.accepted_at END
RETURNING order_uid

-- name: insert_delivery
INSERT INTO delivery (order_uid, name, phone, zip, city, address, region, email)
SELECT order_uid, name, phone, zip, city, address, region, email
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    WITH ORDINALITY AS given(order_uid, name, phone, zip, city, address, region, email, ordinal)

-- name: insert_payment
INSERT INTO payment (order_uid, transaction_id, request_id, currency, provider, amount, payment_dt, bank, delivery_cost, goods_total, custom_fee)
SELECT order_uid, transaction_id, request_id, currency, provider, amount, payment_dt, bank, delivery_cost, goods_total, custom_fee
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::int8[], $8::text[], $9::int8[], $10::int8[], $11::int8[])
    WITH ORDINALITY AS given(order_uid, transaction_id, request_id, currency, provider, amount, payment_dt, bank, delivery_cost, goods_total, custom_fee, ordinal)

-- name: insert_items
INSERT INTO items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status)
SELECT order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status
FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::int4[], $8::text[], $9::int8[], $10::int8[], $11::text[], $12::int4[])
    WITH ORDINALITY AS given(order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status, ordinal)
ORDER BY ordinal

-- name: copy_orders
COPY orders (order_uid, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, oof_shard, source_position, source_epoch, source_offset, accepted_at) FROM STDIN BINARY

-- name: copy_delivery
COPY delivery (order_uid, name, phone, zip, city, address, region, email) FROM STDIN BINARY

-- name: copy_payment
COPY payment (order_uid, transaction_id, request_id, currency, provider, amount, payment_dt, bank, delivery_cost, goods_total, custom_fee) FROM STDIN BINARY

-- name: copy_items
COPY items (order_uid, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status) FROM STDIN BINARY

-- name: outranked
    SELECT o.order_uid, p.log_id, p.partition, o.source_offset
    FROM orders o JOIN log_positions p ON p.id = o.source_position
    WHERE o.order_uid = ANY($1) AND o.source_position <> $2

-- name: delete_parts
    WITH d AS (DELETE FROM delivery WHERE order_uid = ANY($1)),
         p AS (DELETE FROM payment WHERE order_uid = ANY($1))
    DELETE FROM items WHERE order_uid = ANY($1)

-- name: insert_dead_letters
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    SELECT $1, $2, $3, $4, d.*
    FROM unnest($5::int8[], $6::bytea[], $7::bytea[], $8::int8[], $9::bytea[], $10::text[],
        $11::timestamptz[], $12::text[]) AS d
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING

-- name: insert_gaps
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT $1, $2, g.* FROM unnest($3::int8[], $4::int8[], $5::text[]) AS g

-- name: insert_gap_once
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT $1::int8, $2::int4, $3::int8, $4::int8, $5::text
    WHERE NOT EXISTS (
        SELECT FROM log_gaps
        WHERE position_id = $1 AND epoch = $2 AND from_offset = $3
          AND to_offset IS NOT DISTINCT FROM $4 AND reason = $5)

-- name: lookup
WITH positions AS MATERIALIZED (
        SELECT array_agg(id) AS ids, array_agg(topic_id) AS topic_ids,
               array_agg(partition) AS partitions, array_agg(epoch) AS epochs,
               array_agg(next_offset) AS next_offsets
        FROM log_positions WHERE log_id = $1)
    SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0)::int4, o.date_created::timestamptz, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0)::int8, COALESCE(p.payment_dt, 0)::int8, COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0)::int8, COALESCE(p.goods_total, 0)::int8, COALESCE(p.custom_fee, 0)::int8, o.source_position, o.source_epoch, o.source_offset, o.accepted_at, i.id IS NOT NULL, COALESCE(i.chrt_id, 0)::int8, COALESCE(i.track_number, ''), COALESCE(i.price, 0)::int8, COALESCE(i.rid, ''), COALESCE(i.name, ''), COALESCE(i.sale, 0)::int4, COALESCE(i.size, ''), COALESCE(i.total_price, 0)::int8, COALESCE(i.nm_id, 0)::int8, COALESCE(i.brand, ''), COALESCE(i.status, 0)::int4,
        s.ids, s.topic_ids, s.partitions, s.epochs, s.next_offsets,
        q.ordinal, CASE WHEN o.order_uid IS NULL THEN (
            SELECT l.topic || '/' || l.partition || '/' || l."offset" FROM dead_letters l
            WHERE l.order_uid = q.uid ORDER BY l.id DESC LIMIT 1) END
    FROM positions s CROSS JOIN unnest($2::text[]) WITH ORDINALITY AS q(uid, ordinal)
    LEFT JOIN orders o ON o.order_uid = q.uid
    LEFT JOIN delivery d ON d.order_uid = q.uid
    LEFT JOIN payment p ON p.order_uid = q.uid
    LEFT JOIN items i ON i.order_uid = q.uid
    ORDER BY q.ordinal, i.id

-- name: latest
SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0)::int4, o.date_created::timestamptz, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0)::int8, COALESCE(p.payment_dt, 0)::int8, COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0)::int8, COALESCE(p.goods_total, 0)::int8, COALESCE(p.custom_fee, 0)::int8, o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM (SELECT * FROM orders WHERE date_created IS NOT NULL
        ORDER BY date_created DESC LIMIT $1) o
    LEFT JOIN (SELECT * FROM delivery ) d ON d.order_uid = o.order_uid
    LEFT JOIN (SELECT * FROM payment ) p ON p.order_uid = o.order_uid
    ORDER BY o.date_created DESC

-- name: items
SELECT q.number, COALESCE(i.chrt_id, 0)::int8, COALESCE(i.track_number, ''), COALESCE(i.price, 0)::int8, COALESCE(i.rid, ''), COALESCE(i.name, ''), COALESCE(i.sale, 0)::int4, COALESCE(i.size, ''), COALESCE(i.total_price, 0)::int8, COALESCE(i.nm_id, 0)::int8, COALESCE(i.brand, ''), COALESCE(i.status, 0)::int4
    FROM unnest($1::text[]) WITH ORDINALITY AS q(uid, number)
    JOIN (SELECT * FROM items ) i ON i.order_uid = q.uid
    ORDER BY q.number, i.id

-- name: first_page
SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0)::int4, o.date_created::timestamptz, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0)::int8, COALESCE(p.payment_dt, 0)::int8, COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0)::int8, COALESCE(p.goods_total, 0)::int8, COALESCE(p.custom_fee, 0)::int8, o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM (SELECT * FROM orders  ORDER BY order_uid LIMIT 500) o
    LEFT JOIN (SELECT * FROM delivery ) d ON d.order_uid = o.order_uid
    LEFT JOIN (SELECT * FROM payment ) p ON p.order_uid = o.order_uid
    ORDER BY o.order_uid

-- name: next_page
SELECT o.order_uid, COALESCE(o.track_number, ''), COALESCE(o.entry, ''), COALESCE(o.locale, ''), COALESCE(o.internal_signature, ''), COALESCE(o.customer_id, ''), COALESCE(o.delivery_service, ''), COALESCE(o.shardkey, ''), COALESCE(o.sm_id, 0)::int4, o.date_created::timestamptz, COALESCE(o.oof_shard, ''), COALESCE(d.name, ''), COALESCE(d.phone, ''), COALESCE(d.zip, ''), COALESCE(d.city, ''), COALESCE(d.address, ''), COALESCE(d.region, ''), COALESCE(d.email, ''), COALESCE(p.transaction_id, ''), COALESCE(p.request_id, ''), COALESCE(p.currency, ''), COALESCE(p.provider, ''), COALESCE(p.amount, 0)::int8, COALESCE(p.payment_dt, 0)::int8, COALESCE(p.bank, ''), COALESCE(p.delivery_cost, 0)::int8, COALESCE(p.goods_total, 0)::int8, COALESCE(p.custom_fee, 0)::int8, o.source_position, o.source_epoch, o.source_offset, o.accepted_at
    FROM (SELECT * FROM orders WHERE order_uid > $1 ORDER BY order_uid LIMIT 500) o
    LEFT JOIN (SELECT * FROM delivery WHERE order_uid > $1) d ON d.order_uid = o.order_uid
    LEFT JOIN (SELECT * FROM payment WHERE order_uid > $1) p ON p.order_uid = o.order_uid
    ORDER BY o.order_uid

-- name: page_items
SELECT q.number, COALESCE(i.chrt_id, 0)::int8, COALESCE(i.track_number, ''), COALESCE(i.price, 0)::int8, COALESCE(i.rid, ''), COALESCE(i.name, ''), COALESCE(i.sale, 0)::int4, COALESCE(i.size, ''), COALESCE(i.total_price, 0)::int8, COALESCE(i.nm_id, 0)::int8, COALESCE(i.brand, ''), COALESCE(i.status, 0)::int4
    FROM unnest($1::text[]) WITH ORDINALITY AS q(uid, number)
    JOIN (SELECT * FROM items WHERE order_uid BETWEEN $2 AND $3) i ON i.order_uid = q.uid
    ORDER BY q.number, i.id

-- name: counts
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM dead_letters)

-- name: next_letter
    SELECT id, topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at
    FROM dead_letters WHERE id > $1 ORDER BY id LIMIT 1
